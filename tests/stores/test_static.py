"""A static store serves what stands in its mapping or file now, and says what is wrong with it."""

import os
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_network
from pathlib import Path

import pytest

from keyguard.errors import ConfigurationError, StoreUnavailable
from keyguard.model import Found, KeyRecord, Owner
from keyguard.settings import Keyring
from keyguard.stores import static
from keyguard.stores.static import StaticStore
from keyguard.testing import make_digest

ONE, TWO = make_digest("one"), make_digest("two")
PEPPERED = f"hmac-{ONE}"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FULL = f"""
[keys]
plain = "{TWO}"

[keys.ci]
owner = "ada"
superuser = true
scopes = ["flows:read", "mcp:*"]
networks = ["192.0.2.0/24", "2001:db8::1"]
not_before = 2026-01-01T00:00:00.000001Z
expires_at = 2027-01-01T02:00:00+02:00
digest = "{ONE}"
"""

CI = Found(
    key=KeyRecord(
        id="ci",
        name="ci",
        owner_id="ada",
        prefix="lf_",
        lookup=ONE,
        verifier=ONE,
        scopes=frozenset({"flows:read", "mcp:*"}),
        networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::1")),
        created_at=EPOCH,
        not_before=datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    ),
    owner=Owner(id="ada", name="ada", is_superuser=True),
)
PLAIN = Found(
    key=KeyRecord(id="plain", name="plain", owner_id="plain", prefix="lf_", lookup=TWO, verifier=TWO, created_at=EPOCH),
    owner=Owner(id="plain", name="plain"),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.toml"


@pytest.fixture
def trusting(monkeypatch):
    """Let a store trust a file's stamp at once: nobody can give a file an old `st_ctime`."""
    monkeypatch.setattr(static, "_SETTLED", -(10**18))


class Reading(Exception):
    pass


def reading(*args):
    raise Reading


def settle(path: Path) -> None:
    """Give a file a time of change long ago, as `cp -p` and `rsync -t` do, and wait for a new tick of `st_ctime`."""
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        os.utime(path, ns=(10**18, 10**18))


async def test_a_file_holds_keys(path):
    """Each entry of a file is a key: in short its digest, in full with owner, rights, window and networks."""
    path.write_text(FULL)
    store = StaticStore(path, keyring=Keyring(prefix="lf"))
    assert await store.find([ONE]) == CI
    assert await store.find([TWO]) == PLAIN
    assert await store.find_owner("ada") == CI.owner
    assert await store.find_owner("ci") is None


async def test_a_mapping_holds_keys():
    """A mapping has the same form as a file's table."""
    zone = timezone(timedelta(hours=2))
    store = StaticStore(
        {
            "plain": TWO,
            "ci": {
                "digest": ONE,
                "owner": "ada",
                "superuser": True,
                "scopes": {"flows:read", "mcp:*"},
                "networks": ("192.0.2.0/24", "2001:db8::1"),
                "not_before": CI.key.not_before,
                "expires_at": datetime(2027, 1, 1, 2, tzinfo=zone),
            },
        },
        keyring=Keyring(prefix="lf"),
    )
    await store.open()
    assert [await store.find([ONE]), await store.find([TWO])] == [CI, PLAIN]
    assert (await store.find([ONE])).key.expires_at.tzinfo is UTC


async def test_owners_may_have_several_keys():
    """Two entries of one owner are two keys; an empty list of scopes is none."""
    store = StaticStore({"a": {"digest": ONE, "owner": "ada", "scopes": []}, "b": {"digest": TWO, "owner": "ada"}})
    first, second = await store.find([ONE]), await store.find([TWO])
    assert first.owner == second.owner == await store.find_owner("ada")
    assert first.key.scopes == frozenset()
    assert second.key.scopes == {"*"}


async def test_peppered_digests_are_found():
    """A digest under a pepper is found where the keyring has peppers."""
    store = StaticStore({"ci": PEPPERED}, keyring=Keyring(peppers=[b"sixteen bytes or more"]))
    assert (await store.find([PEPPERED, ONE])).key.verifier == PEPPERED


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"": ONE}, "a key's name is a text"),
        ({7: ONE}, "a key's name is a text"),
        ({"ci": "kg_notadigest"}, "'ci': digest is 'sha256\\$' or"),
        ({"ci": ONE.upper()}, "digest is"),
        ({"ci": ONE + "\n"}, "digest is"),
        ({"ci": f"md5${'0' * 64}"}, "digest is"),
        ({"ci": 7}, "digest is"),
        ({"ci": {}}, "digest is"),
        ({"ci": PEPPERED}, "needs a keyring with peppers"),
        ({"ci": {"digest": ONE, "admin": True}}, "an entry has the fields digest, owner"),
        ({"ci": {"digest": ONE, "owner": ""}}, "owner is a text"),
        ({"ci": {"digest": ONE, "owner": 1}}, "owner is a text"),
        ({"ci": {"digest": ONE, "superuser": "no"}}, "superuser is true or false"),
        ({"ci": {"digest": ONE, "scopes": "flows"}}, "scopes is a list, even of one"),
        ({"ci": {"digest": ONE, "scopes": ["superuser"]}}, "'superuser' is granted by KeyGuard itself"),
        ({"ci": {"digest": ONE, "scopes": [1]}}, "a scope is"),
        ({"ci": {"digest": ONE, "networks": "10.0.0.0/8"}}, "networks is a list, even of one"),
        ({"ci": {"digest": ONE, "networks": ["10.0.0.1/8"]}}, "without host bits; not '10.0.0.1/8'"),
        ({"ci": {"digest": ONE, "networks": [1]}}, "without host bits; not 1"),
        ({"ci": {"digest": ONE, "expires_at": datetime(2027, 1, 1)}}, "expires_at is a date and time with its offset"),  # noqa: DTZ001 That is the point.
        ({"ci": {"digest": ONE, "not_before": "tomorrow"}}, "not_before is a date and time with its offset"),
        ({"a": ONE, "b": ONE}, "'b': another key has the same digest"),
        (
            {"a": {"digest": ONE, "owner": "x"}, "b": {"digest": TWO, "owner": "x", "superuser": True}},
            "superuser in one entry and not in another",
        ),
    ],
)
def test_a_wrong_entry_is_refused(entries, sentence):
    """What is not as described is refused where the store is made, with a sentence that says what is allowed."""
    with pytest.raises(ConfigurationError, match=sentence):
        StaticStore(entries)


def test_a_key_in_the_place_of_a_digest_is_not_quoted():
    """Somebody who writes a key where its digest belongs does not find it in the error."""
    with pytest.raises(ConfigurationError) as refused:
        StaticStore({"ci": "kg_thekeyitself"})
    assert "thekeyitself" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"keys = [", "is not a TOML file"),
        (b"\xff", "is not a TOML file"),
        (b"", "has the table \\[keys\\], and nothing beside it"),
        (b"keys = 1", "has the table"),
        (b"[keys]\n[key.ci]\n", "nothing beside it"),
        (b"[keys]\nci = 'x'", "keys.toml: the key 'ci': digest is"),
        (b"[keys.ci]\ndigest = ''\nowner = 'ada'", "keys.toml: the key 'ci': digest is the last field of its table"),
        (b"[keys]\nci = {digest = '', owner = 'ada'}", "digest is the last field of its table"),
        (b"[keys]\nci.digest = ''\nci.owner = 'ada'", "digest is the last field of its table"),
        (b"[keys.ci]\nowner = 'ada'", "keys.toml: the key 'ci': digest is"),
        (b"[keys.ci]", "keys.toml: the key 'ci': digest is"),
        (None, "cannot be read: No such file"),
    ],
)
@pytest.mark.usefixtures("trusting")
async def test_a_wrong_file_is_refused(path, text, sentence):
    """A file that is missing or wrong is refused when the store is made; later it makes the store unavailable."""
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ConfigurationError, match=sentence):
        StaticStore(path)
    path.write_text(FULL)
    store = StaticStore(str(path))
    settle(path)
    assert await store.find([ONE]) is not None
    path.write_bytes(text) if text is not None else path.unlink()
    for ask in (store.find([ONE]), store.find_owner("ada"), store.open(), store.find([ONE])):
        with pytest.raises(StoreUnavailable, match=sentence):
            await ask
    assert not store.is_open
    path.write_text(FULL)
    assert await store.find([ONE]) is not None


async def test_a_file_that_is_cut_short_widens_no_key(path):
    """Of a file that was cut short anywhere, each key is as in the whole file, or not there, or all is refused."""
    path.write_text(FULL)
    store = StaticStore(path, keyring=Keyring(prefix="lf"))
    answers = []
    for end in range(len(FULL)):
        path.write_text(FULL[:end])
        try:
            answers.append((await store.find([ONE]), await store.find([TWO])))
        except StoreUnavailable:
            answers.append("refused")
    assert {answer for answer in answers if answer != "refused"} == {(None, None), (None, PLAIN), (CI, PLAIN)}
    assert "refused" in answers


@pytest.mark.usefixtures("trusting")
async def test_a_key_taken_out_of_the_file_is_gone(path):
    """A change of the file is seen by the next check."""
    path.write_text(FULL)
    store = StaticStore(path)
    settle(path)
    assert await store.find([ONE]) is not None
    path.write_text(f'[keys]\nplain = "{TWO}"\n')
    assert await store.find([ONE]) is None
    assert await store.find_owner("ada") is None
    assert await store.find([TWO]) is not None


@pytest.mark.usefixtures("trusting")
async def test_a_replaced_file_is_seen(path, tmp_path):
    """A file that takes the place of the old one is read, even with the same size and time."""
    path.write_text(f'[keys]\nci = "{ONE}"\n')
    settle(path)
    store = StaticStore(path)
    assert await store.find([ONE]) is not None
    new = tmp_path / "new"
    new.write_text(f'[keys]\nci = "{TWO}"\n')
    settle(new)
    new.replace(path)
    assert await store.find([ONE]) is None


@pytest.mark.usefixtures("trusting")
async def test_a_file_that_keeps_size_and_time_is_seen_to_change(path):
    """A digest that is replaced in place, with the file's size and time kept, no longer finds its key."""
    path.write_text(f'[keys]\nci = "{ONE}"\n')
    settle(path)
    store = StaticStore(path)
    assert await store.find([ONE]) is not None
    before = path.stat()
    path.write_text(f'[keys]\nci = "{TWO}"\n')
    settle(path)
    after = path.stat()
    assert (before.st_mtime_ns, before.st_size, before.st_ino) == (after.st_mtime_ns, after.st_size, after.st_ino)
    assert await store.find([ONE]) is None
    assert await store.find([TWO]) is not None


@pytest.mark.usefixtures("trusting")
async def test_an_unchanged_file_is_not_read_again(path, monkeypatch):
    """A file that is certainly the one that was read last is looked at, and not read."""
    path.write_text(FULL)
    store = StaticStore(path, keyring=Keyring(prefix="lf"))
    monkeypatch.setattr(Path, "read_text", reading)
    assert await store.find([ONE]) == CI


async def test_a_young_file_with_an_old_time_is_read_again(path, monkeypatch):
    """A file that was put there just now is not trusted to show its next change, however old it says it is."""
    path.write_text(FULL)
    settle(path)
    store = StaticStore(path)
    monkeypatch.setattr(Path, "read_text", reading)
    with pytest.raises(Reading):
        await store.find([ONE])


async def test_changes_within_one_tick_are_seen(path):
    """A file that was changed just now is not trusted to show by its time that it changed again."""
    path.write_text(f'[keys]\nci = "{ONE}"\n')
    store = StaticStore(path)
    status = path.stat()
    path.write_text(f'[keys]\nci = "{TWO}"\n')
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert await store.find([ONE]) is None
    assert await store.find([TWO]) is not None


# --- how fresh it is ----------------------------------------------------------------------------------------------


def test_a_mapping_vouches_for_ever():
    """What cannot change has one token, and is exact."""
    store = StaticStore({"ci": ONE})
    assert store.is_exact
    assert store.token() == store.token() == 0


@pytest.mark.usefixtures("trusting")
async def test_the_token_moves_with_the_contents(path):
    """A changed file has no token until it is read, and then another one; the same contents again have the same."""
    path.write_text(FULL)
    store = StaticStore(path, keyring=Keyring(prefix="lf"))
    settle(path)
    await store.find([ONE])
    before = store.token()
    assert before is not None
    path.write_text(FULL + "# A remark.")
    settle(path)
    assert store.token() is None
    await store.find([ONE])
    assert store.token() == before
    path.write_text(f'[keys]\nplain = "{TWO}"\n')
    settle(path)
    assert store.token() is None
    await store.find([ONE])
    assert store.token() not in {None, before}


@pytest.mark.usefixtures("trusting")
async def test_a_missing_or_broken_file_vouches_for_nothing(path):
    """While the file is missing or wrong there is no token, before and after a check has found that out."""
    path.write_text(FULL)
    store = StaticStore(path)
    settle(path)
    await store.find([ONE])
    assert store.token() is not None
    for spoil in (lambda: path.write_text("keys = ["), path.unlink):
        spoil()
        assert store.token() is None
        with pytest.raises(StoreUnavailable):
            await store.find([ONE])
        assert store.token() is None


async def test_a_young_file_vouches_for_nothing(path):
    """A file that was changed just now has no token: its next change might not show in its time."""
    path.write_text(FULL)
    store = StaticStore(path)
    await store.find([ONE])
    assert store.token() is None


@pytest.mark.usefixtures("trusting")
async def test_a_token_reads_no_file(path, monkeypatch):
    """A token looks at the file and does not read it, whether it has changed or not."""
    path.write_text(FULL)
    store = StaticStore(path)
    monkeypatch.setattr(Path, "read_text", reading)
    store.token()
    path.write_text("")
    settle(path)
    assert store.token() is None
