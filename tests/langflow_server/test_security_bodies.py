"""Bodies that are made to keep a worker busy, or to fail in it."""

import secrets

import pytest
from langflow_accounts import call
from langflow_serving import ONE_DATABASE

FORM = (
    b'--B\r\nContent-Disposition: form-data; name="username"\r\n\r\nsomebody\r\n'
    b'--B\r\nContent-Disposition: form-data; name="password"\r\n\r\nwrong\r\n--B--\r\n'
)


def sign_in(server, kind):
    with server.client() as client:
        address = f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.7"  # Nobody else's attempts count for it.
        headers = {"Content-Type": kind, "X-Forwarded-For": address}
        return client.post("/api/v1/login", content=FORM, headers=headers)


@ONE_DATABASE
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


@ONE_DATABASE
@pytest.mark.parametrize("charset", ["", "; charset=utf-8", '; charset="UTF-8"', ";charset=us-ascii"])
def test_a_form_in_parts_is_a_form(server, charset):
    """Without a charset, or with UTF-8, a form in parts is read as every other: here, the password is wrong."""
    assert sign_in(server, f"multipart/form-data; boundary=B{charset}").status_code == 401


def wrong(number):
    return {str(each): [] for each in range(number)}


NODE = {"id": "a", "type": "Text"}


@ONE_DATABASE
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/run/sample", {"tweaks": wrong(101)}),
        ("/run/sample", {"tweaks": {"ChatInput-1": wrong(101)}}),
        ("/process/sample", {"tweaks": {"ChatInput-1": wrong(101)}}),
        ("/flows/", {"name": "wide", "data": {"nodes": [{**NODE, "fields": wrong(101)}]}}),
        ("/variables/", {"name": "wide", "value": "x", "default_fields": [1] * 101}),
    ],
    ids=["nodes", "fields", "older", "flow", "variable"],
)
def test_what_is_too_much_is_not_looked_through(server, key, path, body):
    """Of a list or an object with more in it than there can be, that alone is told, however much is wrong inside."""
    answer = call(server, "POST", path, key, json=body)
    assert answer.status_code == 422
    assert [said["msg"] for said in answer.json()["detail"]] == ["Value error, there are more than 100"]


@ONE_DATABASE
def test_the_first_of_what_is_wrong_is_told(server, key):
    """Of a body that is wrong in many places, the answer names twenty."""
    body = {"name": "wrong", "data": {"nodes": [{**NODE, "fields": wrong(100)}]}}
    answer = call(server, "POST", "/flows/", key, json=body)
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == 20
