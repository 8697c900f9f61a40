"""A conversation with a provider: what is sent, what comes back, and what is made of an answer that is none."""

import asyncio
import socket
from contextlib import aclosing

import pytest
from langflow_provider import providing
from langflow_serving import PATIENCE

from langflow_server.flows.providers import MAX_ANSWER_BYTES, PROVIDERS, chat, provider_named
from langflow_server.problems import BadRequest, ProviderFailed, ProviderSilent
from langflow_server.server import Server
from langflow_server.settings import Settings

KEY = "sk-canary-of-the-provider"
OPENAI = PROVIDERS["OpenAI"]


@pytest.fixture(scope="module")
def provider():
    with providing() as elsewhere, providing(elsewhere.url) as running:
        running.other = elsewhere
        yield running


@pytest.fixture
async def ask(provider, tmp_path):
    """Asks a model, and returns the pieces of its answer. Whoever asks with the same settings asks the same server."""
    servers = {}

    async def asking(model, text, *, url=provider.url, patience=PATIENCE, credential=KEY, **more):
        settings = Settings(config_dir=tmp_path, environment={"OPENAI_BASE_URL": url}, provider_timeout=patience)
        server = servers.setdefault((url, patience), Server(settings))
        messages = [{"role": "user", "content": text}]
        answer = chat(server, OPENAI, credential=credential, model=model, messages=messages, **more)
        async with asyncio.timeout(PATIENCE), aclosing(answer) as pieces:
            return [piece async for piece in pieces]

    yield asking
    for server in servers.values():
        await server.http.aclose()


async def test_it_is_asked_as_openai_is(ask, provider):
    """One POST to `/chat/completions` brings the credential as a bearer token, the model and the messages."""
    assert await ask("says", "once say: hello there", temperature=0.5) == ["hello there"]
    (asked,) = provider.of("once say")
    assert (asked.path, asked.authorization) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert asked.body == {
        "model": "says",
        "messages": [{"role": "user", "content": "once say: hello there"}],
        "stream": False,
        "temperature": 0.5,
    }


async def test_a_stream_comes_in_pieces(ask):
    """Each piece is yielded as it comes, and together they are the answer, in whatever letters."""
    assert await ask("says", "say: Grüße aus 東京", stream=True) == ["Grüße", " aus", " 東京"]


async def test_a_stream_that_is_left_is_closed(ask, provider):
    """Who stops listening closes the connection, so that the provider does not go on for nobody."""
    provider.left.clear()
    with pytest.raises(ProviderFailed):
        await ask("endless-stream", "leave me", stream=True)  # It is left when it has said too much.
    assert await asyncio.to_thread(provider.left.wait, PATIENCE)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("refuses", "OpenAI has answered with the status 401: it does not take the API key."),
        ("fails", "OpenAI has answered with the status 500."),
        ("no-such-model", "OpenAI has answered with the status 404: it may not have the model."),
        ("redirects", "OpenAI has answered with the status 307."),
        ("not-json", "OpenAI has not answered as a language model does."),
        ("no-text", "OpenAI has not answered as a language model does."),
        ("zipped", "OpenAI has not answered as a language model does."),
    ],
)
async def test_an_answer_that_is_none(ask, provider, model, says, stream):
    """What is no answer is told by its status alone, whether it was to be streamed or not; nothing of it is quoted."""
    with pytest.raises(ProviderFailed) as raised:
        await ask(model, f"{model} {stream}", stream=stream)
    assert raised.value.detail == says
    assert KEY in str(provider.of(f"{model} {stream}"))


@pytest.mark.parametrize("model", ["stops", "breaks", "error-inside", "endless-stream"])
async def test_a_stream_that_does_not_end_well(ask, model):
    """One that stops, breaks, tells of an error or has no end is an error too: what came may be half of a sentence."""
    with pytest.raises(ProviderFailed) as raised:
        await ask(model, model, stream=True)
    assert KEY not in raised.value.detail


async def test_a_body_without_end(ask):
    """It is given up when there is more of it than any model says."""
    assert MAX_ANSWER_BYTES < 10_000_000
    with pytest.raises(ProviderFailed, match="not answered as a language model"):
        await ask("endless", "endless")


@pytest.mark.parametrize(
    ("model", "stream"),
    [("hangs", False), ("hangs", True), ("hangs-inside", False), ("hangs-inside", True), ("dribbles", False)],
)
async def test_a_provider_that_says_nothing(ask, model, stream):
    """After `provider_timeout` seconds without a next piece it is given up, and blanks are no piece."""
    with pytest.raises(ProviderSilent, match=r"OpenAI has said nothing for 0\.2 seconds\."):
        await ask(model, f"{model} {stream}", stream=stream, patience=0.2)


async def test_a_provider_that_is_not_there(ask):
    """A refused connection, a name that nobody has and an address that is none are one error, without the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://a.name.invalid", "no address", "http://[", "ftp://127.0.0.1"):
        with pytest.raises(ProviderFailed, match=r"^OpenAI cannot be reached, or has broken off\.$"):
            await ask("says", "say: hello", url=url)


async def test_a_redirect_is_not_followed(ask, provider):
    """The host that it leads to is asked nothing, so it is sent no credential."""
    with pytest.raises(ProviderFailed):
        await ask("redirects", "go elsewhere")
    assert provider.of("go elsewhere")
    assert provider.other.asked == []


@pytest.mark.parametrize("credential", ["", " ", "sk-1 2", "sk-1\n", "sk-1\r\nX-Other: 1", "sk-ключ", "sk-\0"])
async def test_what_cannot_stand_in_a_header_is_not_sent(ask, provider, credential):
    """A credential with a blank, a line break or a foreign letter is a clear error that does not quote it."""
    with pytest.raises(BadRequest, match=r"^The API key for OpenAI has a blank, a line break or a foreign letter"):
        await ask("says", f"say: header {credential!r}", credential=credential)
    assert provider.of(f"header {credential!r}") == []


async def test_no_cookie_is_kept(ask, provider):
    """What a provider sets for one conversation is not sent with the next, which may be another user's."""
    await ask("sets-a-cookie", "first cookie")
    await ask("says", "say: second cookie")
    (second,) = provider.of("second cookie")
    assert "Cookie" not in second.headers


def test_providers_are_known_by_name():
    """In whatever case; one that is not known is told apart from those that are."""
    assert provider_named("openai") is OPENAI
    with pytest.raises(BadRequest, match=r"There is no provider 'Acme'\. Known are: OpenAI, Anthropic"):
        provider_named("Acme")


def test_each_provider_is_asked_over_tls():
    """The addresses that stand here are HTTPS: a credential is not sent in the clear unless the environment says so."""
    for provider in PROVIDERS.values():
        assert provider.base_url.startswith("https://")
        assert provider.variable == f"{provider.name.upper()}_API_KEY"
