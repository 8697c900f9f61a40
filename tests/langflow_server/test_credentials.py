"""Which credential a component gets, as it arrives at the provider."""

import itertools
import secrets
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from langflow_accounts import API, add_key, add_user, by_key
from langflow_provider import providing
from langflow_serving import PATIENCE, serving

from langflow_server.flows import credentials
from langflow_server.flows.graph import Graph
from langflow_server.flows.providers import PROVIDERS
from langflow_server.problems import BadRequest

ENVIRONMENT = "sk-of-the-environment"
DOTENV = "sk-of-the-env-file"


@pytest.fixture(scope="module")
def provider():
    with providing() as running:
        yield running


@pytest.fixture(scope="module")
def paying(provider, tmp_path_factory):
    """A server with a key for OpenAI in its environment, one for Anthropic in `.env`, both for Groq, and no other."""
    directory = tmp_path_factory.mktemp("langflow-paying")
    (directory / ".env").write_text(f"ANTHROPIC_API_KEY={DOTENV}\nGROQ_API_KEY={DOTENV}\nGOOGLE_API_KEY=\n")
    settings = {"OPENAI_API_KEY": ENVIRONMENT, "GROQ_API_KEY": ENVIRONMENT}
    urls = {each.url_variable: provider.url for each in PROVIDERS.values()}
    with serving(directory, **settings, **urls) as running:
        yield running


class Caller:
    """A user of the paying server with a key, and one connection."""

    def __init__(self, server, client):
        self.user = add_user(server)
        self.client = client
        client.headers.update(by_key(add_key(server, self.user)))

    def add_variable(self, name, value, kind="Credential", default_fields=()):
        body = {"name": name, "value": value, "type": kind, "default_fields": list(default_fields)}
        answer = self.client.post(f"{API}/variables/", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def add_flow(self, api_key=None, *, name=None, **fields):
        answer = self.client.post(
            f"{API}/flows/", json={"name": name or secrets.token_hex(8), "data": graph(api_key, **fields)}
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def change_flow(self, flow, api_key=None, **fields):
        return self.client.patch(f"{API}/flows/{flow['id']}", json={"data": graph(api_key, **fields)})

    def run(self, flow, api_key=None, *, stream=False, **tweaks):
        """Run a flow; return the answer, and a text that the provider was asked with, in no other run."""
        text = f"say: {secrets.token_hex(8)}"
        if api_key is not None:
            tweaks["api_key"] = api_key
        body = {"input_value": text, "tweaks": {"Model-1": tweaks} if tweaks else {}}
        return self.client.post(f"{API}/run/{flow['id']}", params={"stream": stream}, json=body), text


@contextmanager
def calling(server):
    with server.client() as client:
        yield Caller(server, client)


@pytest.fixture
def caller(paying):
    with calling(paying) as ready:
        yield ready


def graph(api_key=None, **fields):
    """A flow that asks a model what it is asked."""
    model = {"provider": "OpenAI", "model": "says", **fields}
    if api_key is not None:
        model["api_key"] = api_key
    return {
        "nodes": [
            {"id": "ChatInput-1", "type": "ChatInput", "fields": {}},
            {"id": "Model-1", "type": "LanguageModel", "fields": model},
            {"id": "ChatOutput-1", "type": "ChatOutput", "fields": {}},
        ],
        "edges": [
            {"source": "ChatInput-1", "target": "Model-1", "field": "prompt"},
            {"source": "Model-1", "target": "ChatOutput-1", "field": "text"},
        ],
    }


# --- which one ----------------------------------------------------------------------------------------------------

PROVIDED = {"OpenAI": ENVIRONMENT, "Anthropic": DOTENV, "Groq": ENVIRONMENT, "Mistral": None}
"""What the environment has for each: what stands in it itself goes before what stands in `.env`."""

IN_THE_FLOW = {None: None, "sk-in-the-flow": "sk-in-the-flow", ("variable", "REFERRED"): "sk-referred-to"}
IN_THE_TWEAK = {
    None: None,
    "": None,
    "sk-in-the-tweak": "sk-in-the-tweak",
    ("variable", "TWEAKED"): "sk-referred-to-by-tweak",
}


def written(setting):
    return dict([setting]) if isinstance(setting, tuple) else setting


@pytest.mark.parametrize("has_name", [False, True], ids=["no variable by name", "a variable by name"])
@pytest.mark.parametrize("has_field", [False, True], ids=["none for the field", "one for the field"])
def test_the_flow_goes_before_the_page_and_the_page_before_the_environment(paying, provider, has_name, has_field):
    """Each combination of tweak, flow, page and environment: the first that is set is the one that arrives."""
    with calling(paying) as caller:
        caller.add_variable("REFERRED", "sk-referred-to")
        caller.add_variable("TWEAKED", "sk-referred-to-by-tweak", "Generic")
        if has_name:
            for name in PROVIDED:
                caller.add_variable(f"{name.upper()}_API_KEY", f"sk-by-name-{name}")
        if has_field:
            for name in PROVIDED:
                caller.add_variable(f"MY_{name}", f"sk-for-the-field-{name}", default_fields=[f"{name} API Key"])
        seen = 0
        for (name, provided), flow_has in itertools.product(PROVIDED.items(), IN_THE_FLOW):
            flow = caller.add_flow(written(flow_has), provider=name)
            for tweak, tweaked in IN_THE_TWEAK.items():
                first_set = [
                    tweaked,
                    IN_THE_FLOW[flow_has],
                    f"sk-for-the-field-{name}" if has_field else None,
                    f"sk-by-name-{name}" if has_name else None,
                    provided,
                ]
                expected = next((each for each in first_set if each is not None), None)
                answer, text = caller.run(flow, written(tweak))
                if expected is None:
                    assert answer.status_code == 400
                    assert answer.json()["detail"].endswith(
                        "Mistral needs an API key. Give it to the component, or add a variable MISTRAL_API_KEY in the "
                        "settings, or start the server with MISTRAL_API_KEY in its environment."
                    )
                    assert provider.of(text) == []
                else:
                    assert answer.status_code == 200, answer.text
                    assert provider.key_for(text) == expected, (name, flow_has, tweak)
                seen += 1
        assert seen == 48


def test_a_stream_gets_the_same_one(caller, provider):
    """Whether the answer is streamed makes no difference to whose credential is used."""
    caller.add_variable("OPENAI_API_KEY", "sk-of-the-page")
    flow = caller.add_flow()
    answer, text = caller.run(flow, stream=True)
    assert answer.status_code == 200
    assert provider.key_for(text) == "sk-of-the-page"
    (asked,) = provider.of(text)
    assert asked.body["stream"] is True


def test_a_flow_acts_for_its_owner(caller, paying, provider):
    """Another user's variables are never used: what one has set changes nothing for the other."""
    with calling(paying) as other:
        other.add_variable("OPENAI_API_KEY", "sk-of-another-user")
        other.add_variable("SHARED", "sk-of-another-user")
        answer, text = caller.run(caller.add_flow())
        assert provider.key_for(text) == ENVIRONMENT
        answer, text = caller.run(caller.add_flow({"variable": "SHARED"}))
        assert answer.status_code == 400
        assert "There is no variable 'SHARED'." in answer.text
        assert provider.of(text) == []


def test_no_other_variable_of_the_environment_is_read(caller, provider):
    """A reference names a variable of the user's, so neither another provider's key nor the server's secrets."""
    for name in ("GROQ_API_KEY", "LANGFLOW_SUPERUSER_PASSWORD", "PATH"):
        answer, text = caller.run(caller.add_flow({"variable": name}))
        assert answer.status_code == 400
        assert f"There is no variable '{name}'." in answer.text
        assert provider.of(text) == []


def test_a_flow_cannot_say_where_its_provider_is(caller):
    """Or whoever writes a flow could have the environment's credential sent to a server of theirs."""
    for field in ("base_url", "api_base", "openai_api_base", "url"):
        body = {"name": "elsewhere", "data": graph(**{field: "http://127.0.0.1:1/v1"})}
        answer = caller.client.post(f"{API}/flows/", json=body)
        assert answer.status_code == 400
        assert field in answer.text
        answer, _ = caller.run(caller.add_flow(), **{field: "http://127.0.0.1:1/v1"})
        assert answer.status_code == 400


def test_the_credential_of_a_flow_is_for_its_provider(caller, provider):
    """A tweak that names another provider does not have the flow's credential sent there."""
    flow = caller.add_flow("sk-for-openai")
    answer, text = caller.run(flow, provider="Anthropic")
    assert answer.status_code == 200
    assert provider.key_for(text) == DOTENV


# --- what is set and cannot be used -------------------------------------------------------------------------------


def test_a_variable_that_was_removed_is_not_replaced_by_the_environments(caller, provider):
    """A flow that refers to it fails with its name; one that does not goes on with the next that is set."""
    variable = caller.add_variable("OPENAI_API_KEY", "sk-removed")
    referring, other = caller.add_flow({"variable": "OPENAI_API_KEY"}), caller.add_flow()
    for flow in (referring, other):
        _, text = caller.run(flow)
        assert provider.key_for(text) == "sk-removed"
    assert caller.client.delete(f"{API}/variables/{variable['id']}").status_code == 204
    answer, text = caller.run(referring)
    assert answer.status_code == 400
    assert "There is no variable 'OPENAI_API_KEY'. Add it, or name another." in answer.text
    assert provider.of(text) == []
    _, text = caller.run(other)
    assert provider.key_for(text) == ENVIRONMENT


def test_a_new_value_is_used_at_once(caller, provider):
    """And so are another name and other fields."""
    variable, flow = caller.add_variable("OPENAI_API_KEY", "sk-old"), caller.add_flow()

    def used_after(**changes):
        assert caller.client.patch(f"{API}/variables/{variable['id']}", json=changes).status_code == 200
        _, text = caller.run(flow)
        return provider.key_for(text)

    assert used_after(value="sk-new") == "sk-new"
    assert used_after(name="MINE") == ENVIRONMENT
    assert used_after(default_fields=["OpenAI API Key"]) == "sk-new"
    assert used_after(type="Generic", value="sk-shown") == "sk-shown"


@pytest.mark.parametrize("where", ["by name", "by field", "by reference", "in the flow"])
def test_a_value_that_does_not_open_is_not_replaced(caller, paying, provider, where):
    """What somebody has damaged in the database is a clear error, though the environment has a credential, too."""
    if where == "in the flow":
        flow = caller.add_flow("sk-damaged")
    else:
        name, fields = ("OPENAI_API_KEY", []) if where == "by name" else ("MINE", ["OpenAI API Key"])
        caller.add_variable(name, "sk-damaged", default_fields=fields if where == "by field" else [])
        flow = caller.add_flow({"variable": name} if where == "by reference" else None)
    with sqlite3.connect(paying.directory / "config" / "langflow.db", timeout=PATIENCE) as connection:
        own = (caller.user.id,)
        assert connection.execute(
            "UPDATE keyguard_credentials SET sealed = 'x' || sealed WHERE owner_id = ?", own
        ).rowcount
    connection.close()
    answer, text = caller.run(flow)
    assert answer.status_code == 400
    assert "does not open" in answer.text
    assert provider.of(text) == []


def test_two_variables_for_one_field_are_an_error(caller, provider):
    """Both are named, and neither is used; a reference in the flow says which."""
    caller.add_variable("ONE", "sk-one", default_fields=["OpenAI API Key"])
    caller.add_variable("TWO", "sk-two", default_fields=["OpenAI API Key"])
    answer, text = caller.run(caller.add_flow())
    assert answer.status_code == 400
    assert "Several variables are for the field 'OpenAI API Key': ONE, TWO. Leave it to one of them." in answer.text
    assert provider.of(text) == []
    _, text = caller.run(caller.add_flow({"variable": "TWO"}))
    assert provider.key_for(text) == "sk-two"


def test_a_credential_with_a_line_break_is_a_clear_error(caller, provider):
    """As copied from a terminal: it cannot stand in a header, and the answer says so without quoting it."""
    caller.add_variable("OPENAI_API_KEY", "sk-copied\nwith more")
    answer, text = caller.run(caller.add_flow())
    assert answer.status_code == 400
    assert "a blank, a line break or a foreign letter" in answer.text
    assert "sk-copied" not in answer.text
    assert provider.of(text) == []


def test_a_flow_cannot_print_a_credential(caller):
    """A Credential in a field that is shown is refused when the flow runs; a Generic variable is its text."""
    caller.add_variable("SECRET", "sk-canary")
    caller.add_variable("GREETING", "good morning", "Generic")

    def said(name):
        data = {
            "nodes": [
                {"id": "Text-1", "type": "Text", "fields": {"text": {"variable": name}}},
                {"id": "ChatOutput-1", "type": "ChatOutput", "fields": {}},
            ],
            "edges": [{"source": "Text-1", "target": "ChatOutput-1", "field": "text"}],
        }
        flow = caller.client.post(f"{API}/flows/", json={"name": name, "data": data}).json()
        return caller.run(flow)[0]

    assert "good morning" in said("GREETING").text
    refused = said("SECRET")
    assert refused.status_code == 400
    assert "only a field that is secret may use it" in refused.text
    assert "sk-canary" not in refused.text


# --- what is kept of a flow's own ---------------------------------------------------------------------------------


def shown_key(flow):
    return flow["data"]["nodes"][1]["fields"].get("api_key")


def test_a_flow_shows_a_mark_in_the_place_of_its_credential(caller):
    """What answers its making, its change and each question for it has ten asterisks there, and no more."""
    flow = caller.add_flow("sk-canary")
    answers = [
        caller.client.get(f"{API}/flows/"),
        caller.client.get(f"{API}/flows/{flow['id']}"),
        caller.change_flow(flow, "sk-canary-2"),
    ]
    assert shown_key(flow) == "**********"
    for answer in answers:
        assert answer.status_code == 200
        assert "canary" not in answer.text
        found = answer.json()
        assert shown_key(found[0] if isinstance(found, list) else found) == "**********"


def test_the_mark_keeps_what_is_there(caller, provider):
    """Sent back as it was shown, the credential stays; another text is a new one; without the field there is none."""
    flow = caller.add_flow("sk-first")

    def used_after(api_key):
        assert caller.change_flow(flow, api_key, temperature=0.5).status_code == 200
        _, text = caller.run(flow)
        return provider.key_for(text)

    assert used_after("**********") == "sk-first"
    assert used_after("sk-second") == "sk-second"
    assert used_after("**********") == "sk-second"
    assert used_after(None) == ENVIRONMENT


def test_the_mark_in_a_tweak_is_the_flows(caller, provider):
    """A program that sends back all fields as it has read them changes nothing."""
    _, text = caller.run(caller.add_flow("sk-first"), "**********")
    assert provider.key_for(text) == "sk-first"


def test_the_mark_of_nothing_is_refused(caller):
    """Where nothing is kept, as in a copy of a flow, it is 400: the environment's would be used in its place unseen."""
    answer = caller.client.post(f"{API}/flows/", json={"name": "copy", "data": graph("**********")})
    assert answer.status_code == 400
    assert "Node 'Model-1': no 'api_key' is kept for it. Give its value." in answer.text
    flow = caller.add_flow()
    assert caller.change_flow(flow, "**********").status_code == 400


def test_what_is_sealed_cannot_be_named(caller):
    """A flow cannot point into the vault, at its own or at another's: only the server writes where that is."""
    for api_key in ({"sealed": "flows/x/y"}, {"variable": "A", "sealed": "flows/x/y"}, ["sk"], 5, True):
        assert caller.client.post(f"{API}/flows/", json={"name": "n", "data": graph(api_key)}).status_code in (400, 422)
        assert caller.run(caller.add_flow(), api_key)[0].status_code in (400, 422)


# --- a flow and its sealed values ---------------------------------------------------------------------------------


def as_data(api_key):
    return Graph.model_validate(graph(api_key)).model_dump(mode="json")


async def sealed_names(server, user_id):
    return {each.name for each in await server.vault.list(user_id)}


def place(data):
    return data["nodes"][1]["fields"]["api_key"]["sealed"]


async def test_what_a_flow_had_before_stays_until_the_new_one_is_written(opened):
    """Inside of the block both are there; then the old one is removed. With the mark nothing is put or removed."""
    server, user = opened
    async with credentials.taken_in(server, user, "f", as_data("sk-1")) as first:
        assert first["nodes"][1]["fields"]["api_key"] == {"sealed": place(first)}
    async with credentials.taken_in(server, user, "f", as_data("sk-2"), first) as second:
        assert await sealed_names(server, user) == {place(first), place(second)}
    assert await sealed_names(server, user) == {place(second)}
    async with credentials.taken_in(server, user, "f", as_data(credentials.SEALED), second) as third:
        assert place(third) == place(second)
    assert await sealed_names(server, user) == {place(second)}
    await credentials.forget(server, user, third)
    assert await sealed_names(server, user) == set()


async def test_what_was_not_written_is_not_kept(opened):
    """If the row is refused, the new value is removed and the old one stays."""
    server, user = opened
    async with credentials.taken_in(server, user, "f", as_data("sk-1")) as first:
        pass
    with pytest.raises(BadRequest, match="no"):
        async with credentials.taken_in(server, user, "f", as_data("sk-2"), first):
            raise BadRequest("no")
    assert await sealed_names(server, user) == {place(first)}
    kept = first["nodes"][1]["fields"]["api_key"]
    assert await credentials.credential_for(server, user, provider=PROVIDERS["OpenAI"], kept=kept) == "sk-1"


async def test_a_flow_whose_value_is_gone_fails_clearly(opened):
    """If the vault has lost it, neither a variable nor the environment takes its place."""
    server, user = opened
    async with credentials.taken_in(server, user, "f", as_data("sk-1")) as data:
        pass
    await server.vault.remove(user, place(data))
    with pytest.raises(BadRequest, match="The flow's API key is not there any more"):
        await credentials.credential_for(
            server, user, provider=PROVIDERS["OpenAI"], kept=data["nodes"][1]["fields"]["api_key"]
        )


def test_many_who_change_one_flow_at_once(caller, paying, provider):
    """Whoever was last, the flow runs with a credential that somebody has set, and goes on to."""
    flow, keys = caller.add_flow("sk-0"), [f"sk-{number}" for number in range(1, 7)]

    def changed(key):
        with paying.client(headers=caller.client.headers) as client:
            return client.patch(f"{API}/flows/{flow['id']}", json={"data": graph(key)}).status_code

    with ThreadPoolExecutor(len(keys)) as threads:
        assert list(threads.map(changed, keys)) == [200] * len(keys)
    for _ in range(2):
        answer, text = caller.run(flow)
        assert answer.status_code == 200
        assert provider.key_for(text) in keys
