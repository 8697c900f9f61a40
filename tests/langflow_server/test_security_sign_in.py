"""Sessions that nobody has asked for."""

import pytest
from langflow_accounts import in_this_process


@pytest.mark.parametrize("path", ["/api/v1/auto_login", "/sign-in"])
def test_another_sites_images_begin_no_session(tmp_path, path):
    """With AUTO_LOGIN, what begins a session does so for who comes, also by a link, but not for what a page embeds."""
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    with in_this_process(tmp_path, auto_login=True) as (client, _):

        def begun(headers):
            client.cookies.clear()
            return "set-cookie" in client.get(path, headers=headers, follow_redirects=False).headers

        assert begun({})
        assert begun(followed)
        assert not begun(embedded)
