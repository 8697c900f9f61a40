"""The examples run as their pages say: started, called by the lines that they print, ended with Ctrl-C."""

import json

import pytest

SERVERS = {
    # What the printed lines are answered with, in their order.
    "quickstart/server.py": [200, 200, 401, 403, 200],
    "fastapi_app/app.py": [200, 200, 403, 201, 200, 204, 401],
    "custom_store/server.py": [200, 200, 401],
}


@pytest.mark.parametrize(("path", "statuses"), SERVERS.items())
def test_the_printed_lines(start, call, tmp_path, path, statuses):
    """Each line that an example prints is answered as the text around it says; what it leaves behind shows no key."""
    with start(path) as example:
        assert [call(line)[0] for line in example.calls] == statuses
    assert example.keys
    written = example.log + "".join(file.read_text("latin-1") for file in tmp_path.iterdir())
    assert [key for key in example.keys if key in written] == []


@pytest.mark.parametrize("path", ["quickstart/server.py", "fastapi_app/app.py"])
def test_starting_again(start, call, path):
    """An example that is started again in the same folder issues new keys, and those of the first start are good."""
    with start(path) as first:
        pass
    with start(path) as second:
        assert not first.keys & second.keys
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
