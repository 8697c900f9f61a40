"""Searching: what is looked for stands in the address of the list, and a key never does."""

import string

import pytest
from key_pages import fill, notice, rows, see

from keyguard import KeyFormat, Keyring, lifecycle
from keyguard.admin._searched import for_address, holds_key
from keyguard.stores.memory import MemoryStore

HEX, LETTERS = "0123456789abcdef", string.ascii_lowercase
KEYRING = Keyring(
    peppers=["p" * 32],
    formats=[
        KeyFormat(prefix="sk-", alphabet=HEX, min_length=10, max_length=20),
        KeyFormat(alphabet=LETTERS, min_length=8, max_length=30),
    ],
)
FOREIGN = "sk-0123456789"
CHOSEN = "correcthorsebatterystaple"
LOOKS_LIKE_ONE = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"


@pytest.fixture
async def store():
    """A store that also accepts keys of two other forms."""
    store = MemoryStore(keyring=KEYRING)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def issued(store, people, clock):
    return await lifecycle.issue(store, people.ada, name="laptop", clock=clock)


def is_leaked(answer, *secrets):
    """Whether a part of a secret stands in an answer, or in an address that led to it."""
    shown = f"{answer.url} {answer.headers} {answer.text}"
    return any(secret[at : at + 10] in shown for secret in secrets for at in range(len(secret) - 9))


async def test_what_is_looked_for_stands_in_the_address(signed_in, issued):
    """The form leads to the list of what was asked, whose address can be kept; what goes without saying is left out."""
    ada = await signed_in()
    answer = await fill(ada, "/", q=" lap top & co ", state="expiring-soon", sort="-name", owner="bob")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/keys/?q=lap+top+%26+co&state=expiring-soon&sort=-name"
    answer = await fill(ada, "/", q="lap", sort="-created")
    assert answer.headers["location"] == "/keys/?q=lap"
    assert rows(await see(ada, "/?q=lap"))[0][1].startswith("laptop")
    root = await signed_in("root")
    assert (await fill(root, "/", owner="bob", page="7")).headers["location"] == "/keys/?owner=bob"


@pytest.mark.parametrize("around", ["{}", "  {}\n", "x-api-key: {}", "export KEY='{}';", "{}!", "/?x-api-key={}&a=b"])
async def test_a_whole_key_is_looked_for_by_its_id(signed_in, issued, around):
    """Of a key that is pasted into the search, prefix and id alone get into an address, and they find it."""
    ada, text = await signed_in(), issued.key.reveal()
    answer = await fill(ada, "/", q=around.format(text), state="active", sort="name")
    assert answer.headers["location"] == f"/keys/?q=kg_{issued.record.id}&state=active&sort=name"
    page = await ada.follow(answer)
    assert "laptop" in page.text
    assert not is_leaked(answer, issued.key.reveal()[16:])
    assert not is_leaked(page, issued.key.reveal()[16:])


async def test_what_looks_like_a_key_is_not_looked_for(signed_in, people, issued):
    """Any other text that may be a key gets into no address and no page; a notice says so, and the rest stays asked."""
    root = await signed_in("root")
    for text in (LOOKS_LIKE_ONE, f"Bearer {FOREIGN}", CHOSEN, f"{LOOKS_LIKE_ONE}%2F"):
        for field, rest in (("q", {"owner": "ada"}), ("owner", {"q": "ada"})):
            answer = await fill(root, "/", **{field: text}, **rest, state="all", sort="uses")
            assert not is_leaked(answer, text)
            ((other, word),) = rest.items()
            said = await notice(root, answer, f"/?{other}={word}&state=all&sort=uses" if other == "q" else None)
            assert said.startswith("What you typed looks like a key. It was not searched for")
            assert not is_leaked(await root.follow(answer), text)


async def test_an_owner_who_is_called_like_a_key(signed_in, store, issue, clock):
    """The name or id of an owner is looked for, even where it looks like a key."""
    owner = await lifecycle.add_owner(store, LOOKS_LIKE_ONE, clock=clock)
    await issue("theirs", owner=owner)
    root = await signed_in("root")
    page = await root.follow(await fill(root, "/", owner=LOOKS_LIKE_ONE))
    assert "theirs" in page.text


async def test_an_address_with_a_key_is_left_at_once(signed_in, browse, issued):
    """An address that somebody has written a key into leads to one without; no page and no link repeats it."""
    ada, text = await signed_in(), issued.key.reveal()
    answer = await ada.get("/", params={"q": text, "state": "active", "page": "3"})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/keys/?q=kg_{issued.record.id}&state=active&page=3"
    assert "looks like a key" in await notice(ada, await ada.get("/", params={"q": LOOKS_LIKE_ONE}), "/")
    answer = await browse().get("/", params={"q": text})
    assert answer.headers["location"] == "/keys/sign-in"


async def test_searching_needs_the_token(signed_in, issued):
    """The form is checked as each one is: another site can have nobody search."""
    ada = await signed_in()
    assert (await ada.post("/", {"q": "lap"}, csrf="")).status_code == 403
    assert (await ada.post("/", {"q": "lap"}, headers={"origin": "https://evil.test"})).status_code == 403


async def test_the_activity_of_an_owner_is_asked_for_by_name(signed_in, people, issued):
    """The address has the id of an owner, and nothing that is nobody's name; others come to their own activity."""
    root, ada = await signed_in("root"), await signed_in()
    assert (await fill(root, "/activity", owner="bob")).headers["location"] == "/keys/activity?owner=bob-id"
    assert (await fill(root, "/activity", owner=" ")).headers["location"] == "/keys/activity"
    answer = await fill(root, "/activity", owner=issued.key.reveal())
    assert await notice(root, answer, "/activity") == "No owner is called that: this is your own activity."
    answer = await ada.post("/activity", {"owner": "bob"})
    assert answer.headers["location"] == "/keys/activity"


async def test_the_api_does_not_look_for_keys(ada, issued):
    """To look for a whole key through the API is a 422 that says what to look for instead, without the key."""
    for text in (issued.key.reveal(), f"x {issued.key.reveal()[:30]}", FOREIGN):
        answer = await ada.get("/keys", params={"q": text})
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {
                "parameter": "q",
                "detail": "must not hold a key, because addresses are written to logs: its prefix and id find it",
            }
        ]
        assert text[16:] not in answer.text or text == FOREIGN
        assert FOREIGN not in answer.text
    found = (await ada.get(f"/keys?q=kg_{issued.record.id}")).json()["keys"]
    assert [each["id"] for each in found] == [issued.record.id]


@pytest.mark.parametrize(
    "text", ["", "laptop", "kg", "kg_", "kg_3fJ2", "kg_3fJ2x0Qm7LpZ", "a" * 39, "deployment", "sk-", "sk-01", "عربي"]
)
def test_words_are_no_keys(text):
    """Words, the first characters of a key, and prefix and id stand in an address as they are."""
    assert for_address(text, KEYRING) == text
    assert not holds_key(text, KEYRING)


def test_no_text_makes_it_fail():
    """Whatever is typed is read."""
    for text in ("\udcff", "\0", "kg_" * 100, "…", "\U0001f511"):
        for_address(text, KEYRING)
