"""Bodies that are made to keep a worker busy, or to fail in it."""

import secrets

import pytest

FORM = (
    b'--B\r\nContent-Disposition: form-data; name="username"\r\n\r\nsomebody\r\n'
    b'--B\r\nContent-Disposition: form-data; name="password"\r\n\r\nwrong\r\n--B--\r\n'
)


def sign_in(server, kind):
    with server.client() as client:
        address = f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.7"  # Nobody else's attempts count for it.
        headers = {"Content-Type": kind, "X-Forwarded-For": address}
        return client.post("/api/v1/login", content=FORM, headers=headers)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data; boundary=B; charset=punycode",
        "multipart/form-data; charset=punycode; boundary=B",
        'MULTIPART/Form-Data; boundary=B; CharSet = "punycode"',
        "multipart/form-data; boundary=B; charset*=utf-8''punycode",
        "multipart/form-data; boundary=B; charset*0=puny; charset*1=code",
        "multipart/form-data; boundary=B; charset=utf-8; charset=punycode",
        "multipart/form-data; boundary=B; charset=utf-7",
    ],
)
def test_a_form_names_no_codec(server, kind):
    """A form in parts that names another charset than UTF-8 is 415: some of Python's codecs take minutes for it."""
    answer = sign_in(server, kind)
    assert answer.status_code == 415
    assert "UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", '; charset="UTF-8"', ";charset=us-ascii"])
def test_a_form_in_parts_is_a_form(server, charset):
    """Without a charset, or with UTF-8, a form in parts is read as every other: here, the password is wrong."""
    assert sign_in(server, f"multipart/form-data; boundary=B{charset}").status_code == 401
