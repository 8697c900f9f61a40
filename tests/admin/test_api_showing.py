"""What the key page's API shows: lists, what was done, owners, and whoever calls."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from key_page_api import Api, problem

from keyguard import Policy, lifecycle
from keyguard.admin import KeyAdmin
from keyguard.model import Principal, Usage
from keyguard.stores.memory import MemoryStore

PASSWORD = "correct horse battery staple"


async def names(api, query=""):
    answer = await api.get(f"/keys{query}")
    assert answer.status_code == 200, answer.text
    return [key["name"] for key in answer.json()["keys"]]


def linked(answer):
    """Where the Link field of an answer leads to, by relation."""
    return {link["rel"]: urlsplit(link["url"]) for link in answer.links.values()}


# --- lists ------------------------------------------------------------------------------------------------------


async def test_the_list_is_of_ones_own_keys(ada, bob, root):
    """Everybody sees their own keys, the newest first; a superuser everyone's, or those of one owner."""
    for api, name in [(ada, "a1"), (bob, "b1"), (ada, "a2"), (root, "r1")]:
        await api.issue(name=name)
    assert sorted(await names(ada)) == ["a1", "a2"]
    assert await names(bob) == ["b1"]
    assert sorted(await names(root)) == ["a1", "a2", "b1", "r1"]
    owner = (await bob.session())["owner"]["id"]
    assert await names(root, f"?owner={owner}") == ["b1"]
    assert await names(bob, f"?owner={owner}") == ["b1"]


async def test_a_list_of_anothers_keys_is_not_found(ada, people):
    """To name another owner, or one that there is not, is 404 for whoever is no superuser."""
    for owner in (people.bob.id, "nobody"):
        assert problem(await ada.get(f"/keys?owner={owner}")) == (404, "not_found")


async def test_a_list_comes_in_parts(ada, clock):
    """Each part says how many there are in all, and where the ones before and behind it are."""
    for number in range(5):
        await ada.issue(name=f"k{number}")
        clock.advance(timedelta(seconds=1))
    answer = await ada.get("/keys?per_page=2&page=2&q=k&state=active&state=grace")
    told = answer.json()
    assert ([key["name"] for key in told["keys"]], told["total"], told["page"], told["per_page"]) == (
        ["k2", "k1"],
        5,
        2,
        2,
    )
    links = linked(answer)
    assert {link.path for link in links.values()} == {"/keys/api/keys"}
    common = {"per_page": ["2"], "q": ["k"], "state": ["active", "grace"], "sort": ["created"]}
    assert parse_qs(links["next"].query) == common | {"page": ["3"]}
    assert parse_qs(links["prev"].query) == common | {"page": ["1"]}
    followed = await ada.browser.client.get(links["next"].geturl())
    assert [key["name"] for key in followed.json()["keys"]] == ["k0"]
    assert set(linked(followed)) == {"prev"}
    assert "link" not in (await ada.get("/keys?per_page=5")).headers
    assert (await ada.get("/keys?page=1000000&per_page=100")).json()["keys"] == []


async def test_keys_are_found_by_text_and_state(ada):
    """What is searched for stands in the name or at the beginning of the id; a state leaves those that are in it."""
    laptop, _ = await ada.issue(name="Laptop"), await ada.issue(name="server")
    await ada.patch(f"/keys/{laptop['id']}", {"disabled": True}, if_match="*")
    assert await names(ada, "?q=lap") == ["Laptop"]
    assert await names(ada, f"?q={laptop['id'][:6]}") == ["Laptop"]
    assert await names(ada, "?state=disabled") == ["Laptop"]
    assert await names(ada, "?state=active") == ["server"]
    assert await names(ada, "?q=%00") == []


async def test_keys_that_expire_soon_are_found(ada, clock):
    """A key that ends within a week is shown as such, and can be asked for by that word, which stands alone."""
    for name, days in (("soon", 6), ("later", 8)):
        await ada.issue(name=name, expires_at=(clock() + timedelta(days=days)).isoformat())
    await ada.issue(name="never", expires_at=None)
    assert await names(ada, "?state=expiring_soon") == ["soon"]
    shown = (await ada.get("/keys?sort=expires")).json()["keys"]
    assert [(key["name"], key["expiring_soon"]) for key in shown] == [
        ("soon", True),
        ("later", False),
        ("never", False),
    ]
    answer = await ada.get("/keys?state=expiring_soon&state=active")
    assert problem(answer) == (422, "invalid_parameters")
    assert answer.json()["errors"][0]["parameter"] == "state"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?sort=name", ["a", "b", "c"]),
        ("?sort=name&order=desc", ["c", "b", "a"]),
        ("?sort=created", ["c", "a", "b"]),
        ("?sort=created&order=asc", ["b", "a", "c"]),
        ("?sort=uses", ["a", "c", "b"]),
        ("?sort=last_used", ["a", "c", "b"]),
        ("?sort=owner", ["c", "a", "b"]),
    ],
)
async def test_keys_are_ordered(ada, store, clock, query, expected):
    """Names go from A to Z where nothing else is said; of times and uses the last, or the most, come first."""
    made = {}
    for name in ("b", "a", "c"):
        made[name] = (await ada.issue(name=name))["id"]
        clock.advance(timedelta(seconds=1))
    await store.record_uses({made["a"]: Usage(total=9, last_used_at=clock())}, worker="w", sequence=1)
    assert await names(ada, query) == expected


# --- what was done ----------------------------------------------------------------------------------------------


async def test_what_was_done_to_a_key(ada, root, people, clock):
    """The events of a key tell what was done, by whom and when, the newest first."""
    made = await ada.issue(name="old")
    clock.advance(timedelta(minutes=1))
    await root.patch(f"/keys/{made['id']}", {"name": "new"}, if_match="*")
    told = (await ada.get(f"/keys/{made['id']}/events")).json()["events"]
    assert [(event["kind"], event["actor"], event["key_id"], event["owner_id"]) for event in told] == [
        ("key.renamed", people.root.id, made["id"], people.ada.id),
        ("key.issued", people.ada.id, made["id"], people.ada.id),
    ]
    assert told[0]["detail"] == {"name": "new"}
    assert told[0]["at"] == clock().isoformat().replace("+00:00", "Z")


async def test_events_come_in_parts(ada):
    """A full part says where the events before it are."""
    made = await ada.issue()
    for name in ("a", "b", "c"):
        await ada.patch(f"/keys/{made['id']}", {"name": name}, if_match="*")
    seen, path = [], f"/keys/{made['id']}/events?limit=3"
    answer = await ada.get(path)
    while True:
        seen += [event["kind"] for event in answer.json()["events"]]
        if "next" not in linked(answer):
            break
        assert linked(answer)["next"].path == f"/keys/api/keys/{made['id']}/events"
        answer = await ada.browser.client.get(linked(answer)["next"].geturl())
    assert seen == ["key.renamed"] * 3 + ["key.issued"]


async def test_what_was_done_to_an_owner(ada, root, people):
    """Everybody learns of what was done to them and their keys; a superuser of what was done to anybody."""
    await ada.issue()
    mine = (await ada.get("/events")).json()["events"]
    assert {event["owner_id"] for event in mine} == {people.ada.id}
    assert mine[0]["kind"] == "key.issued"
    assert (await root.get(f"/events?owner={people.ada.id}&limit=1")).json()["events"] == mine[:1]
    assert problem(await ada.get(f"/events?owner={people.bob.id}")) == (404, "not_found")
    assert problem(await root.get("/events?owner=none")) == (404, "not_found")


# --- owners, and whoever calls ----------------------------------------------------------------------------------


async def test_owners_are_listed_for_superusers(ada, root, people):
    """A superuser sees who there is; nobody else does."""
    told = (await root.get("/owners")).json()["owners"]
    assert told[0] == {"id": people.ada.id, "name": "ada", "is_active": True, "is_superuser": False}
    assert [owner["name"] for owner in told] == ["ada", "bob", "root"]
    assert problem(await ada.get("/owners")) == (403, "superuser_required")


async def test_a_session_tells_who_calls_and_what_may_be_chosen(ada, people):
    """The session says who is signed in, how that is known, and what the form of a new key would offer."""
    told = await ada.session()
    assert told.pop("csrf_token")
    assert told == {
        "owner": {"id": people.ada.id, "name": "ada", "is_superuser": False},
        "way": "session",
        "signs_in_here": True,
        "choices": {
            "scopes": [],
            "may_grant_all": True,
            "lifetimes_seconds": [7 * 86_400, 30 * 86_400, 90 * 86_400],
            "default_lifetime_seconds": 90 * 86_400,
            "max_lifetime_seconds": None,
        },
    }


async def test_signing_in_and_out(nobody, store, clock):
    """Nobody learns the token that signing in asks for; signed in, they have another one, until they sign out."""
    told = await nobody.session()
    assert (told["owner"], told["way"], told["choices"]) == (None, None, None)
    assert problem(await nobody.get("/keys")) == (401, "not_signed_in")
    answer = await nobody.post("/session", {"name": "ada", "password": PASSWORD})
    assert (answer.status_code, answer.json()["owner"]["name"]) == (201, "ada")
    assert problem(await nobody.post("/keys")) == (403, "csrf_token")
    nobody.token = answer.json()["csrf_token"]
    await nobody.issue(name="first")
    cookie = nobody.browser.cookie("keyguard_session")
    assert await lifecycle.find_session(store, cookie, clock=clock)
    gone = await nobody.delete("/session")
    assert (gone.status_code, gone.content) == (204, b"")
    assert await lifecycle.find_session(store, cookie, clock=clock) is None
    assert problem(await nobody.get("/keys")) == (401, "not_signed_in")


async def test_who_signs_in_wrongly_learns_that_alone(nobody):
    """A wrong password and a wrong name are told in one and the same answer."""
    answers = [await nobody.post("/session", {"name": name, "password": "wrong"}) for name in ("ada", "no such owner")]
    assert problem(answers[0]) == (401, "wrong_password")
    assert answers[0].content == answers[1].content


async def test_too_many_attempts_are_429(nobody):
    """After five attempts a minute the API says how long to wait, also to whoever has it right then."""
    for _ in range(5):
        assert (await nobody.post("/session", {"name": "bob", "password": "wrong"})).status_code == 401
    answer = await nobody.post("/session", {"name": "bob", "password": PASSWORD})
    assert problem(answer) == (429, "too_many_attempts")
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_an_app_that_signs_people_in_itself(browse, clock):
    """Where the app signs people in, they are who it says; they neither sign in nor out here."""
    store = MemoryStore()
    owner = await lifecycle.add_owner(store, "ada", clock=clock)
    page = KeyAdmin(store, clock=clock, identify=lambda _: Principal(id=owner.id, name="ada", is_superuser=True))
    api = await Api.of(browse(page, mount=""))
    told = await api.session()
    assert (told["owner"], told["way"], told["signs_in_here"]) == (
        {"id": owner.id, "name": "ada", "is_superuser": True},
        "app",
        False,
    )
    await api.issue(name="first")
    assert problem(await api.post("/session", {"name": "ada", "password": "a"})) == (404, "not_found")
    assert problem(await api.delete("/session")) == (409, "no_session_here")


async def test_a_key_of_fewer_rights_issues_none_with_more(browse, clock):
    """Whoever the app lets in with some rights cannot make a key that has others."""
    store = MemoryStore()
    owner = await lifecycle.add_owner(store, "ada", clock=clock)
    scopes = frozenset({"flows:*"})
    page = KeyAdmin(
        store,
        clock=clock,
        scopes=["flows:read", "users:read"],
        identify=lambda _: Principal(id=owner.id, name="ada", scopes=scopes),
    )
    api = await Api.of(browse(page, mount=""))
    choices = (await api.session())["choices"]
    assert (choices["may_grant_all"], [scope["name"] for scope in choices["scopes"]]) == (False, ["flows:read"])
    assert problem(await api.post("/keys")) == (403, "insufficient_scope")
    assert problem(await api.post("/keys", {"scopes": ["users:read"]})) == (422, "invalid_body")
    assert (await api.issue(scopes=["flows:read"]))["scopes"] == ["flows:read"]


async def test_everybody_is_the_auto_login_user(browse, clock):
    """With auto_login the caller is that user, and still has to send the token."""
    store = MemoryStore()
    await lifecycle.add_owner(store, "ada", clock=clock)
    page = KeyAdmin(store, clock=clock, policy=Policy(auto_login=True, auto_login_user="ada"))
    api = await Api.of(browse(page, mount=""))
    assert (await api.session())["way"] == "auto_login"
    await api.issue()
    assert problem(await api.post("/keys", headers={"x-csrf-token": None})) == (403, "csrf_token")
