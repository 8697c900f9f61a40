"""What the key page's API does while others change the same key, and while its store fails."""

import asyncio

import pytest
from key_page_api import problem

from keyguard.errors import Overloaded, StoreUnavailable

# --- two at once ------------------------------------------------------------------------------------------------


# --- two at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how_many", [2, 5])
async def test_of_changes_with_one_tag_exactly_one_is_made(ada, how_many):
    """Of several who have read the same and change it at the same moment, one does; the others learn of it: 412."""
    made = await ada.issue()
    where = f"/keys/{made['id']}"
    bodies = [{"name": f"name {number}"} for number in range(how_many - 1)] + [{"disabled": True}]
    answers = await asyncio.gather(*(ada.patch(where, body, if_match=made["etag"]) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * (how_many - 1)
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    now = await ada.key(made["id"])
    assert (now["name"], now["state"], now["etag"]) == (winner["name"], winner["state"], winner["etag"])


async def test_of_two_rotations_with_one_tag_one_makes_a_key(ada):
    """A key that two rotate at the same moment has one successor."""
    made = await ada.issue()
    where, body = f"/keys/{made['id']}/rotate", {"grace_seconds": 60}
    answers = await asyncio.gather(*(ada.post(where, body, if_match=made["etag"]) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [201, 412]
    assert (await ada.get("/keys")).json()["total"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "overtaken"),
    [
        ("PATCH", "", {"name": "new"}, "rename_key"),
        ("PATCH", "", {"disabled": True}, "set_key_disabled"),
        ("PATCH", "", {"disabled": False}, "set_key_disabled"),
        ("DELETE", "", None, "revoke_key"),
        ("POST", "/rotate", {"grace_seconds": 60}, "rotate_key"),
        ("POST", "/end-grace", None, "revoke_key"),
    ],
)
async def test_what_comes_between_reading_and_changing_is_not_overwritten(
    ada, store, monkeypatch, method, path, body, overtaken
):
    """A change that comes between the comparison of the tag and our own change stays; ours is not made: 412."""
    key = await ada.issue()
    if path == "/end-grace":
        key = (await ada.post(f"/keys/{key['id']}/rotate", {"grace_seconds": 60}, if_match="*")).json()["predecessor"]
    change, rename = getattr(type(store), overtaken), type(store).rename_key

    async def somebody_is_faster(self, *args, **more):
        await rename(self, key["id"], "theirs")
        return await change(self, *args, **more)

    monkeypatch.setattr(type(store), overtaken, somebody_is_faster)
    answer = await ada.ask(method, f"/keys/{key['id']}{path}", json=body, if_match=key["etag"])
    assert problem(answer) == (412, "changed")
    now = await ada.key(key["id"])
    assert (now["name"], now["state"], now["rotated_at"]) == ("theirs", key["state"], key["rotated_at"])


async def test_a_key_that_is_changed_while_several_are_deleted_stays(ada, store, monkeypatch):
    """A change that comes between the comparison of a tag and the deletion keeps that key; it is told of it."""
    made = await ada.issue()
    revoke = type(store).revoke_key

    async def somebody_is_faster(self, key_id, *args, **more):
        await type(store).rename_key(self, key_id, "mine")
        return await revoke(self, key_id, *args, **more)

    monkeypatch.setattr(type(store), "revoke_key", somebody_is_faster)
    answer = await ada.post("/keys/delete", {"keys": [{"id": made["id"], "etag": made["etag"]}]})
    (result,) = answer.json()["results"]
    assert (result["deleted"], result["problem"]["code"]) == (False, "changed")
    assert (await ada.key(made["id"]))["state"] == "active"


# --- a store that does not answer -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreUnavailable("down"), Overloaded("busy")])
async def test_a_store_that_does_not_answer_is_503(ada, store, monkeypatch, error):
    """While the store cannot answer, the API says when to try again."""

    async def fail(*_args, **_more):
        raise error

    monkeypatch.setattr(type(store), "search_keys", fail)
    answer = await ada.get("/keys")
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_of_several_each_has_what_became_of_it_when_the_store_fails(ada, store, monkeypatch):
    """Keys that were deleted before the store failed are told to be; for the others there is a problem."""
    made = [await ada.issue() for _ in range(2)]
    revoke = type(store).revoke_key

    async def fail_for_the_second(self, key_id, *args, **more):
        if key_id == made[1]["id"]:
            raise StoreUnavailable("down")
        return await revoke(self, key_id, *args, **more)

    monkeypatch.setattr(type(store), "revoke_key", fail_for_the_second)
    asked = {"keys": [{"id": key["id"], "etag": key["etag"]} for key in made]}
    results = (await ada.post("/keys/delete", asked)).json()["results"]
    assert [result["deleted"] for result in results] == [True, False]
    assert results[1]["problem"]["code"] == "unavailable"


async def test_a_new_key_is_told_though_the_store_fails_after_it(ada, store, monkeypatch):
    """A key that took another's place is shown, whatever can still be said of the other one."""
    made, rotate = await ada.issue(), type(store).rotate_key

    async def rotate_and_fail(self, *args, **more):
        done = await rotate(self, *args, **more)
        monkeypatch.setattr(type(store), "get_key", fail)
        return done

    async def fail(*_args, **_more):
        raise StoreUnavailable("down")

    monkeypatch.setattr(type(store), "rotate_key", rotate_and_fail)
    answer = await ada.post(f"/keys/{made['id']}/rotate", {}, if_match=made["etag"])
    assert answer.status_code == 201
    assert answer.json()["key"].startswith(f"kg_{answer.json()['id']}_")
    assert "predecessor" not in answer.json()


async def test_what_nobody_expected_is_told_to_nobody(ada, store, monkeypatch):
    """What nobody expected while several are deleted is answered as anywhere: 500, and nothing of it is told."""
    made = await ada.issue()

    async def fail(*_args, **_more):
        raise RuntimeError("of another app")

    monkeypatch.setattr(type(store), "revoke_key", fail)
    body = {"keys": [{"id": made["id"], "etag": made["etag"]}]}
    headers = {"origin": ada.browser.origin, "x-csrf-token": ada.token}
    answer = await ada.browser.client.post("/keys/api/keys/delete", json=body, headers=headers)
    assert problem(answer) == (500, "failed")
    assert "another app" not in answer.text
