"""The examples in other frameworks than Starlette do what is particular to their framework."""

import json
import re

import httpx2

from keyguard import lifecycle
from keyguard.stores.sql import SQLStore


def test_litestars_docs_page_says_where_a_key_goes(start, call):
    """The Litestar app's OpenAPI document is open and asks for a key in the header, which reaches its owner's notes."""
    with start("litestar_app/app.py") as example:
        reader, writer, admin = example.keys
        status, text = call(f"curl {example.url}/schema/openapi.json")
        assert call(f"curl -H 'x-api-key: {writer}' -X POST '{example.url}/notes?text=hers'") == (201, '["hers"]')
        assert call(f"curl -H 'x-api-key: {reader}' {example.url}/notes") == (200, '["hers"]')
        assert call(f"curl -H 'x-api-key: {admin}' {example.url}/notes") == (200, "[]")
    assert status == 200
    document = json.loads(text)
    (name,) = document["components"]["securitySchemes"]
    assert document["security"] == [{name: []}]
    assert document["components"]["securitySchemes"][name] == {"type": "apiKey", "in": "header", "name": "x-api-key"}


async def test_quarts_stream_ends_with_its_key(start, tmp_path):
    """A stream of the Quart app goes on while its key is good, and ends where one was revoked from outside."""
    store = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/quart_app.db")
    with start("quart_app/app.py") as example:
        reader, writer, _ = example.keys
        async with httpx2.AsyncClient(base_url=example.url) as client:

            async def write(text):
                answer = await client.post("/notes", params={"text": text}, headers={"x-api-key": writer})
                assert answer.status_code == 201

            await write("first")
            async with client.stream("GET", "/notes/stream", headers={"x-api-key": reader}) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "first"
                await write("second")
                assert await anext(lines) == "second"
                await lifecycle.revoke(store, reader.split("_")[1])
                await write("third")
                assert [line async for line in lines] == []
    await store.close()


def test_djangos_users_are_the_owners(start, call):
    """Django's session lets in where nothing is written, and a user whom its admin switches off has no good key."""
    with start("django_app/server.py") as example:
        (password,) = re.findall(r"as ada or root, with the password (\S+)", example.printed)
        with httpx2.Client(base_url=example.url, headers={"referer": example.url}, follow_redirects=True) as browser:

            def send(path, **fields):
                """Fill in the form of a page, and leave what stands in it as it is; None unticks a box."""
                inputs = [
                    dict(re.findall(r'(\w+)="([^"]*)"', each))
                    for each in re.findall(r"<input [^>]*>", browser.get(path).text)
                    if 'type="checkbox"' not in each or " checked" in each
                ]
                filled = {each["name"]: each.get("value", "") for each in inputs if "name" in each} | fields
                return browser.post(path, data={name: value for name, value in filled.items() if value is not None})

            assert browser.get("/me").status_code == 401
            assert send("/admin/login/?next=/me", username="root", password=password).json()["hello"] == "root"
            assert browser.get("/keys").status_code == 200
            forged = browser.post("/notes/add?text=forged")
            assert (forged.status_code, forged.json()) == (403, {"detail": "This needs a key, not a session."})
            assert [call(f"curl {example.url}/me?x-api-key={key}")[0] for key in example.keys] == [200, 200, 200]

            (ada,) = re.findall(
                r'href="(/admin/auth/user/\d+/change/)[^"]*">ada<', browser.get("/admin/auth/user/").text
            )
            assert "was changed successfully" in send(ada, is_active=None, _save="Save").text
            assert [call(f"curl {example.url}/me?x-api-key={key}")[0] for key in example.keys] == [401, 401, 200]
