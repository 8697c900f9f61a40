"""What answers say to whatever stands on the way."""

import pytest
from langflow_accounts import add_key, add_user, by_key, call


@pytest.fixture(scope="module")
def key(server):
    return by_key(add_key(server, add_user(server)))


@pytest.mark.parametrize("path", ["/users/whoami", "/api_key/", "/flows/", "/variables/"])
def test_no_cache_keeps_what_one_caller_is_told(server, key, path):
    """An answer that depends on who asks is kept by no cache, which would not know that a key's header matters."""
    answer = call(server, "GET", path, key)
    assert answer.status_code == 200
    assert answer.headers.get_list("cache-control") == ["no-store"]
