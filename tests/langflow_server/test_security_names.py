"""Names and ids that no client of ours would send."""

import pytest
from langflow_accounts import call

ODD = ["%00", "sample%00", "%ED%A0%80", "%FF", "..%2Fsample", "%F0%9F%98%80", "a" * 5000]


@pytest.mark.parametrize("path", ["/run/{}", "/run/{}?stream=true", "/process/{}"])
@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_no_flow_has_an_odd_name(server, key, path, name):
    """A flow is 404 by a name that none can have, also by one that the database would not even look for."""
    assert call(server, "POST", path.format(name), key, json={}).status_code == 404
