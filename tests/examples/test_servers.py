"""The examples run as their pages say: started, called by the lines that they print, ended with Ctrl-C."""

import json
import re

import httpx2
import pytest

SERVERS = {
    # What the printed lines are answered with, in their order.
    "quickstart/server.py": [200, 200, 401, 403, 200],
    "fastapi_app/app.py": [200, 200, 403, 201, 200, 204, 401],
    "litestar_app/app.py": [200, 200, 403, 201, 403, 200, 401, 401, 200],
    "quart_app/app.py": [200, 200, 403, 201, 200, 403, 200, 401, 200],
    "django_app/server.py": [200, 200, 403, 201, 403, 200, 401],
    "websocket_chat/server.py": [201, 401, 403, 200],
    "own_users/app.py": [200, 200, 201, 200, 200, 401, 403, 200, 401, 401],
    "custom_store/server.py": [200, 200, 401],
    "key_page/server.py": [401, 200],
}


@pytest.mark.parametrize(("path", "statuses"), SERVERS.items())
def test_the_printed_lines(start, call, tmp_path, path, statuses):
    """Each line is answered as the text around it says; the one file that is left behind shows no key."""
    with start(path) as example:
        assert [call(line)[0] for line in example.calls] == statuses
    assert example.keys or path == "key_page/server.py"  # There they are made by hand.
    written = example.log + "".join(file.read_text("latin-1") for file in tmp_path.iterdir())
    assert [key for key in example.keys if key in written] == []
    made = {file.name for file in tmp_path.iterdir()} - {"cookies.txt"}  # That one is curl's.
    assert len(made) == 1, made


@pytest.mark.parametrize("path", ["quickstart/server.py", "fastapi_app/app.py"])
def test_starting_again(start, call, path):
    """An example that is started again in the same folder issues new keys, and those of the first start are good."""
    with start(path) as first:
        pass
    with start(path) as second:
        assert not {*first.keys} & {*second.keys}
        assert call(second.calls[0])[0] == 200
        key, new_key = (next(key for key in example.keys if key in example.calls[0]) for example in (first, second))
        assert call(second.calls[0].replace(new_key, key))[0] == 200


def test_the_quickstart_knows_the_caller(start, call):
    """The quickstart greets the owner of the key, and says which key it was and where it stood."""
    with start("quickstart/server.py") as example:
        by_header, by_query = (call(line)[1] for line in example.calls[:2])
    assert by_header == '{"hello":"ada","key":"quickstart","came by":"header"}'
    assert by_query == '{"hello":"ada","key":"quickstart","came by":"query"}'


def test_the_custom_store_forgets_a_key(start, call, tmp_path):
    """A key that is taken out of the custom store's file is refused by the next request, without a restart."""
    file = tmp_path / "people.json"
    with start("custom_store/server.py") as example:
        assert call(example.calls[0])[0] == 200
        file.write_text(json.dumps(json.loads(file.read_text()) | {"keys": []}))
        assert call(example.calls[0])[0] == 401
        file.unlink()
        assert call(example.calls[0])[0] == 503


def test_a_key_is_made_on_the_page(start, call):
    """Whoever signs in with the printed password makes a key, and the lines that it is shown with are answered."""
    with start("key_page/server.py") as example:
        (url,) = re.findall(r"Open (\S+)/keys in", example.printed)
        (password,) = re.findall(r"as ada, with the password (\S+)", example.printed)
        with httpx2.Client(base_url=url, headers={"origin": url}, follow_redirects=True) as browser:

            def send(path, **fields):
                """Fill in the form of a page, and leave what is hidden in it as it is."""
                hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', browser.get(path).text)
                return browser.post(path, data=dict(hidden) | fields)

            assert send("/keys/sign-in", name="ada", password=password).url.path == "/keys/"
            made = send("/keys/new", name="by hand", lifetime="none", access="all")
        example.printed += made.text  # So that what the server writes is searched for it, too.
        (key,) = example.keys
        assert call(f"curl -H 'x-api-key: {key}' {url}/") == (
            200,
            '{"hello":"ada","key":"by hand","scopes":["*","authenticated"]}',
        )
    assert key not in example.log
