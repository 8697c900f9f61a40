"""The vault over each store: what is put can be got, by its owner and name, under a key that is there."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from leaks import WATCH
from vaults import ADA, BOB, NEW, OLD, OTHER, opened, place_of

from keyguard.errors import CannotOpen, ConfigurationError, NotFound, StoreUnavailable, WrongSecret
from keyguard.model import AnonymousUser, AuditKind, Principal
from keyguard.ports import CredentialStore
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, FrozenClock
from keyguard.vault import MAX_VALUE_BYTES, SecretFile, SecretKeys, ValueSource, Vault

UNSTORABLE = ("\ud800", "ada\udfff", "\0", "ada\0")

VALUE = "sk-proj-Vq7Rm2Xc9Lw4Tz"
ANOTHER = "sk-proj-Hn5Bd8Ks1Pf6Gy"

VAULT_KINDS = frozenset({AuditKind.CREDENTIAL_STORED, AuditKind.CREDENTIAL_REMOVED, AuditKind.CREDENTIALS_RESEALED})


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def place(request):
    return place_of(request, request.param)


@pytest.fixture
async def store(place):
    async with opened(place) as store:
        yield store


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def vault(store, clock):
    return Vault(store, SecretKeys([OLD]), clock=clock)


async def events(store):
    """What the audit log says of credentials, the first first."""
    found = await store.list_events(kinds=VAULT_KINDS)
    return [(event.kind.value, event.actor, event.owner_id, event.detail) for event in reversed(found)]


# --- put and get --------------------------------------------------------------------------------------------------


async def test_what_is_put_can_be_got(vault):
    """A value comes back as it was put, to its owner by its name, and to nobody else by no other."""
    await vault.put(ADA, "TOKEN", VALUE)
    await vault.put(BOB, "TOKEN", ANOTHER)
    assert (await vault.get(ADA, "TOKEN"), await vault.get(BOB, "TOKEN")) == (VALUE, ANOTHER)
    for owner, name in ((ADA, "token"), (ADA, "TOKEN "), (BOB, "OTHER"), ("3", "TOKEN"), (ADA, "")):
        with pytest.raises(NotFound, match="no credential by that name"):
            await vault.get(owner, name)


@pytest.mark.parametrize("value", ["x", "\0", " ", "line\nbreak", "пароль 🗝", "\\u0041", '"}', "x" * MAX_VALUE_BYTES])
async def test_any_text_is_a_value(vault, value):
    """A value is any text of UTF-8 up to 64 KiB, NUL characters included."""
    await vault.put(ADA, "TOKEN", value)
    assert await vault.get(ADA, "TOKEN") == value


async def test_an_owner_is_whoever_has_an_id(vault):
    """An owner, a principal as it stands in `request.user` and an id mean the same."""
    await vault.put(Principal(id="1", name="ada"), "TOKEN", VALUE)
    for owner in (ADA, Principal(id="1", name="ada"), "1"):
        assert await vault.get(owner, "TOKEN") == VALUE
        assert [each.name for each in await vault.list(owner)] == ["TOKEN"]


async def test_nobody_is_no_owner(vault):
    """Where nobody is signed in there is no owner: nothing is put, and above all not everybody's listed."""
    await vault.put(ADA, "TOKEN", VALUE)
    for call in (
        lambda: vault.get(AnonymousUser(), "TOKEN"),
        lambda: vault.put(AnonymousUser(), "TOKEN", VALUE),
        lambda: vault.remove(None, "TOKEN"),
        lambda: vault.list(AnonymousUser()),
        lambda: vault.resolve(AnonymousUser(), "TOKEN"),
    ):
        with pytest.raises(ConfigurationError, match="somebody who has an id"):
            await call()


@pytest.mark.parametrize("owner", ["3", *UNSTORABLE])
async def test_an_unknown_owner_gets_nothing(vault, store, owner):
    """A value is kept for an owner whom the store knows; an id that no store can hold is nobody's."""
    with pytest.raises(NotFound):
        await vault.put(owner, "TOKEN", VALUE)
    assert await vault.list() == []
    assert await events(store) == []


async def test_a_second_value_takes_the_place_of_the_first(vault, clock):
    """Putting again replaces value and metadata; the time at which it was first put stays."""
    await vault.put(ADA, "TOKEN", VALUE, metadata={"of": "the provider", "n": [1, None, True]})
    (first,) = await vault.list(ADA)
    clock.advance(timedelta(seconds=90))
    await vault.put(ADA, "TOKEN", ANOTHER)
    (second,) = await vault.list(ADA)
    assert await vault.get(ADA, "TOKEN") == ANOTHER
    assert (first.metadata, second.metadata) == ({"of": "the provider", "n": [1, None, True]}, {})
    assert (first.created_at, first.updated_at) == (NOON, NOON)
    assert (second.created_at, second.updated_at) == (NOON, NOON + timedelta(seconds=90))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("", "x", "name is a text of 1 to 255 characters"),
        ("n" * 256, "x", "name is a text of 1 to 255 characters"),
        (None, "x", "name is a text"),
        *((name, "x", "that a store can hold") for name in UNSTORABLE),
        ("TOKEN", "", "value is a text that is not empty"),
        ("TOKEN", "\ud83d", "no half of a surrogate pair"),
        ("TOKEN", "\ud83d\ude00", "no half of a surrogate pair"),
        ("TOKEN", b"x", "value is a text"),
        ("TOKEN", None, "value is a text"),
        ("TOKEN", "x" * (MAX_VALUE_BYTES + 1), "at most 65536 bytes"),
        ("TOKEN", "é" * (MAX_VALUE_BYTES // 2 + 1), "at most 65536 bytes"),
    ],
    ids=lambda part: ascii(part)[:20],
)
async def test_what_cannot_be_kept_is_refused(vault, name, value, problem):
    """A name or value that cannot be kept is refused by a sentence that quotes neither, and nothing is stored."""
    for call in (vault.put, vault.seal):
        with pytest.raises(ConfigurationError, match=problem) as caught:
            await call(ADA, name, value)
        assert caught.value.__context__ is None
    assert await vault.list() == []


async def test_the_longest_name_is_kept(vault):
    """A name may have 255 characters of any kind."""
    await vault.put(ADA, "🗝" * 255, VALUE)
    assert await vault.get(ADA, "🗝" * 255) == VALUE


@pytest.mark.parametrize("metadata", [{"a": float("nan")}, {"a": {1}}, {"a": "x" * 8192}, ["a"]])
async def test_metadata_is_a_json_object(vault, metadata):
    """Metadata is a JSON object of at most 8 KiB."""
    with pytest.raises(ConfigurationError, match="JSON"):
        await vault.put(ADA, "TOKEN", VALUE, metadata=metadata)
    assert await vault.list() == []


@pytest.mark.parametrize("text", UNSTORABLE)
async def test_what_cannot_be_stored_is_not_there(vault, text):
    """Asked for by a name that no database takes, there is nothing; and nothing of it is removed."""
    for owner, name in ((ADA, text), (text, "TOKEN")):
        with pytest.raises(NotFound):
            await vault.get(owner, name)
        assert await vault.resolve(owner, name, environ={name: "x"} if owner is ADA else {}) is None
        assert not await vault.remove(owner, name)


async def test_a_removed_value_is_gone(vault):
    """Removing tells whether there was something, and touches nothing else."""
    for owner, name in ((ADA, "TOKEN"), (ADA, "OTHER"), (BOB, "TOKEN")):
        await vault.put(owner, name, VALUE)
    assert await vault.remove(ADA, "TOKEN")
    assert not await vault.remove(ADA, "TOKEN")
    with pytest.raises(NotFound):
        await vault.get(ADA, "TOKEN")
    assert [(each.owner_id, each.name) for each in await vault.list()] == [("1", "OTHER"), ("2", "TOKEN")]
    assert [each.name for each in await vault.list(BOB)] == ["TOKEN"]


async def test_every_change_is_in_the_audit_log(vault, store):
    """Each change is one event with its actor, owner and name and without the value; what changed nothing is none."""
    await vault.put(ADA, "TOKEN", VALUE, actor=BOB)
    await vault.put(ADA, "TOKEN", ANOTHER, actor="cli:root")
    await vault.get(ADA, "TOKEN")
    await vault.remove(ADA, "OTHER", actor=BOB)
    await vault.remove(ADA, "TOKEN")
    assert await events(store) == [
        ("credential.stored", "2", "1", {"name": "TOKEN"}),
        ("credential.stored", "cli:root", "1", {"name": "TOKEN"}),
        ("credential.removed", "", "1", {"name": "TOKEN"}),
    ]


# --- sealed for one owner and name --------------------------------------------------------------------------------


async def test_a_copied_row_does_not_open(vault, store):
    """A row that somebody copied to another owner or name does not open there, and the error names the place."""
    await vault.put(ADA, "TOKEN", VALUE)
    (credential,) = await vault.list()
    await store.put_credential(replace(credential, owner_id="2"))
    await store.put_credential(replace(credential, name="OTHER"))
    for owner, name in ((BOB, "TOKEN"), (ADA, "OTHER")):
        for call in (vault.get, vault.resolve):
            with pytest.raises(CannotOpen, match=f"{name!r} of the owner {owner.id!r} does not open") as caught:
                await call(owner, name)
            assert VALUE not in str(caught.value)
    assert await vault.get(ADA, "TOKEN") == VALUE


async def test_a_row_of_somebody_else_does_not_open():
    """Where a store gives another owner's row, or one of another name, than was asked for, nothing opens."""

    class Confused(MemoryStore):
        async def get_credential(self, owner_id, name):
            return (await self.list_credentials())[0]

    store = Confused()
    await store.add_owner(ADA, created_at=NOON)
    vault = Vault(store, SecretKeys([OLD]))
    await vault.put(ADA, "TOKEN", VALUE)
    assert await vault.get(ADA, "TOKEN") == VALUE
    for owner, name in ((BOB, "TOKEN"), (ADA, "OTHER")):
        with pytest.raises(CannotOpen, match="sealed for another owner or name"):
            await vault.get(owner, name)


async def test_what_is_sealed_by_hand_is_as_if_it_were_put(vault, store, clock):
    """A credential that `seal` gives may be stored by whoever takes many at once, and `unseal` reads one."""
    clock.advance(timedelta(days=1))
    credential = await vault.seal(ADA, "TOKEN", VALUE, metadata={"from": "elsewhere"})
    assert (credential.owner_id, credential.name, credential.metadata) == ("1", "TOKEN", {"from": "elsewhere"})
    assert credential.created_at == credential.updated_at == clock.now
    assert await vault.list() == []
    await store.put_credential(credential)
    assert await vault.get(ADA, "TOKEN") == await vault.unseal(credential) == VALUE
    with pytest.raises(CannotOpen):
        await vault.unseal(replace(credential, owner_id="2"))


# --- which value is used ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [None, "", "from the flow"])
@pytest.mark.parametrize("stored", [None, "stored"])
@pytest.mark.parametrize("environ", [None, {}, {"TOKEN": ""}, {"TOKEN": "from the environment"}])
async def test_the_first_that_is_set_is_used(flow, stored, environ):
    """A value set in the flow comes before a stored one, and that before the environment's; an empty one is not set."""
    async with opened(None) as store:
        vault = Vault(store, SecretKeys([OLD]))
        if stored:
            await vault.put(ADA, "TOKEN", stored)
        resolved = await vault.resolve(ADA, "TOKEN", flow=flow, environ=environ)
    if flow:
        expected = ("from the flow", ValueSource.FLOW)
    elif stored:
        expected = ("stored", ValueSource.STORED)
    elif environ and environ["TOKEN"]:
        expected = ("from the environment", ValueSource.ENVIRONMENT)
    else:
        expected = None
    assert (resolved and (resolved.value, resolved.source)) == expected


async def test_only_the_owners_own_value_is_used(vault):
    """What another owner has by that name is not used, and the environment is read by the very name."""
    await vault.put(BOB, "TOKEN", VALUE)
    assert await vault.resolve(ADA, "TOKEN", environ={"token": "x", "TOKEN ": "x"}) is None


async def test_a_value_that_does_not_open_is_not_passed_over(vault, store):
    """Where the stored one does not open, the environment's is not used in its place; one set in the flow is."""
    await vault.put(BOB, "TOKEN", VALUE)
    (credential,) = await vault.list()
    await store.put_credential(replace(credential, owner_id="1"))
    with pytest.raises(CannotOpen):
        await vault.resolve(ADA, "TOKEN", environ={"TOKEN": "x"})
    assert (await vault.resolve(ADA, "TOKEN", flow="set", environ={"TOKEN": "x"})).value == "set"


@pytest.mark.parametrize("name", ["KEYGUARD_SECRET_KEY", "KEYGUARD_PEPPERS", "keyguard_secret_key"])
async def test_our_own_variables_are_not_resolved(vault, name):
    """Whoever may name a variable cannot have the vault's own secret key by its name."""
    assert await vault.resolve(ADA, name, environ={name: OLD}) is None


async def test_a_resolved_value_does_not_show_itself(vault):
    """The `repr` of what was resolved says where it was found, and not what it is."""
    resolved = await vault.resolve(ADA, "TOKEN", flow=VALUE)
    assert repr(resolved) == "Resolved(source=<ValueSource.FLOW: 'flow'>)"


# --- opening ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [[OLD], [OLD, NEW], [NEW, OLD], [NEW, OTHER, OLD]])
async def test_a_vault_opens_with_the_key_that_sealed(vault, store, keys):
    """Wherever among the keys the right one stands, the vault opens and reads."""
    await vault.put(ADA, "TOKEN", VALUE)
    again = Vault(store, SecretKeys(keys))
    await again.open()
    await again.open()
    assert await again.get(ADA, "TOKEN") == VALUE


async def test_a_wrong_key_refuses_and_destroys_nothing(vault, store, tmp_path):
    """With a key missing that sealed something, opening and every first call are refused, and nothing is changed."""
    await vault.put(ADA, "TOKEN", VALUE)
    before, log = await store.list_credentials(), await events(store)
    (tmp_path / "wrong.key").write_text(NEW)
    for keys, where in (
        (SecretKeys([NEW, OTHER]), "not among those given"),
        (SecretFile(tmp_path / "wrong.key"), f"not in {str(tmp_path / 'wrong.key')!r}"),
        (SecretFile(tmp_path / "missing.key"), f"there is no file {str(tmp_path / 'missing.key')!r}"),
    ):
        wrong = Vault(store, keys)
        for call in (
            wrong.open,
            lambda wrong=wrong: wrong.put(ADA, "TOKEN", ANOTHER),
            lambda wrong=wrong: wrong.put(BOB, "TOKEN", ANOTHER),
            lambda wrong=wrong: wrong.get(ADA, "TOKEN"),
            lambda wrong=wrong: wrong.resolve(ADA, "TOKEN", environ={"TOKEN": "x"}),
            lambda wrong=wrong: wrong.seal(BOB, "TOKEN", ANOTHER),
            wrong.rotate,
        ):
            with pytest.raises(WrongSecret) as caught:
                await call()
            assert where in str(caught.value)
    assert (await store.list_credentials(), await events(store)) == (before, log)
    assert not (tmp_path / "missing.key").exists()
    assert await vault.get(ADA, "TOKEN") == VALUE


async def test_where_a_key_is_lost_the_values_can_be_removed(vault, store, tmp_path):
    """Without the key what is there can be listed and removed, by name; with nothing left the vault opens again."""
    await vault.put(ADA, "TOKEN", VALUE)
    again = Vault(store, SecretFile(tmp_path / "secret.key"))
    with pytest.raises(WrongSecret):
        await again.open()
    for credential in await again.list():
        assert await again.remove(credential.owner_id, credential.name)
    await again.put(ADA, "TOKEN", VALUE)
    assert await again.get(ADA, "TOKEN") == VALUE


async def test_one_missing_key_of_several_refuses(vault, store):
    """Every key that sealed something must be there, and not just one of them."""
    await vault.put(ADA, "TOKEN", VALUE)
    await Vault(store, SecretKeys([NEW, OLD])).put(BOB, "TOKEN", ANOTHER)
    for key in (OLD, NEW):
        with pytest.raises(WrongSecret, match=r"sealed with 1 secret key\(s\)"):
            await Vault(store, SecretKeys([key])).open()
    await Vault(store, SecretKeys([OLD, NEW])).open()


async def test_a_key_is_generated_for_an_empty_store(store, tmp_path):
    """Where there is no file and nothing is sealed, the key is made at opening, and the next vault reads it."""
    file = SecretFile(tmp_path / "made" / "secret.key")
    first = Vault(store, file)
    await first.open()
    WATCH.key(file.path.read_text().strip())
    await first.put(ADA, "TOKEN", VALUE)
    assert await Vault(store, SecretFile(file.path)).get(ADA, "TOKEN") == VALUE


async def test_many_first_calls_open_it_once(store, tmp_path):
    """Calls that come at the same moment to a vault that is not open make one key between them."""

    class CountingFile(SecretFile):
        loads = 0

        def load(self, **options):
            self.loads += 1
            return super().load(**options)

    file = CountingFile(tmp_path / "secret.key")
    vaults = [Vault(store, file), Vault(store, CountingFile(file.path))]
    await asyncio.gather(*(vaults[n % 2].put(ADA, f"TOKEN{n}", f"value {n}") for n in range(12)))
    assert file.loads == 1
    assert len(await store.sealed_with()) == 1
    for n, vault in itertools.product(range(12), vaults):
        assert await vault.get(ADA, f"TOKEN{n}") == f"value {n}"


async def test_what_failed_once_is_tried_again(store, vault, tmp_path):
    """A vault that could not open does so at a later call, when the file is there."""
    await vault.put(ADA, "TOKEN", VALUE)
    late = Vault(store, SecretFile(tmp_path / "secret.key"))
    with pytest.raises(WrongSecret):
        await late.get(ADA, "TOKEN")
    (tmp_path / "secret.key").write_text(f"{OLD}\n")
    assert await late.get(ADA, "TOKEN") == VALUE


async def test_a_store_that_cannot_be_reached(tmp_path):
    """Where the store does not answer, that is said, and no key is made."""
    vault = Vault(SQLStore(f"sqlite+aiosqlite:///{tmp_path}/no/folder/keys.db"), SecretFile(tmp_path / "secret.key"))
    for call in (vault.open, vault.list, lambda: vault.put(ADA, "TOKEN", VALUE), lambda: vault.remove(ADA, "TOKEN")):
        with pytest.raises(StoreUnavailable):
            await call()
    assert list(tmp_path.iterdir()) == []


async def test_a_vault_outlives_event_loops(tmp_path):
    """A vault that was opened in one event loop serves in the next one."""
    store = MemoryStore()
    await store.add_owner(ADA, created_at=NOON)
    vault = Vault(store, SecretFile(tmp_path / "secret.key"))
    await asyncio.to_thread(lambda: asyncio.run(vault.put(ADA, "TOKEN", VALUE)))
    await vault.open()
    assert await vault.get(ADA, "TOKEN") == VALUE


# --- another key --------------------------------------------------------------------------------------------------


async def fill(vault, number):
    """Put that many values; return them by owner and name."""
    values = {
        (owner.id, f"TOKEN{n:03}"): f"the value {n} of {owner.name}" for n in range(number) for owner in (ADA, BOB)
    }
    for (owner, name), value in values.items():
        await vault.put(owner, name, value, metadata={"about": name})
    return values


async def opens(vault, values):
    return {place: await vault.get(*place) for place in values} == values


async def test_rotating_seals_everything_under_the_first_key(vault, store, clock):
    """After rotating, the first key alone opens all; nothing else of a credential has changed."""
    values = await fill(vault, 7)
    before = await store.list_credentials()
    clock.advance(timedelta(days=9))
    both = Vault(store, SecretKeys([NEW, OLD]), clock=clock)
    assert await both.rotate(batch=3, actor=ADA) == 14
    after = await store.list_credentials()
    alone = Vault(store, SecretKeys([NEW]))
    await alone.open()
    assert await opens(alone, values)
    same = [
        replace(new, sealed=old.sealed, sealed_with=old.sealed_with) for old, new in zip(before, after, strict=True)
    ]
    assert same == before
    assert (await events(store))[14:] == [
        ("credential.resealed", "1", None, {"count": count}) for count in (3, 3, 3, 3, 2)
    ]
    with pytest.raises(WrongSecret):
        await Vault(store, SecretKeys([OLD])).open()


async def test_rotating_again_does_nothing(vault, store):
    """Where all is sealed under the first key already, nothing is done and nothing noted; so with an empty store."""
    assert await vault.rotate() == 0
    await fill(vault, 2)
    before, log = await store.list_credentials(), await events(store)
    assert await vault.rotate() == 0
    assert await Vault(store, SecretKeys([OLD, NEW])).rotate() == 0
    assert (await store.list_credentials(), await events(store)) == (before, log)


@pytest.mark.parametrize("batch", [0, -1, 1.5, None])
async def test_a_batch_has_a_size(batch):
    """A batch is a whole number from 1 on."""
    with pytest.raises(ConfigurationError, match="from 1 on"):
        await Vault(MemoryStore(), SecretKeys([OLD])).rotate(batch=batch)


@pytest.mark.parametrize("batch", [1, 2, 500])
async def test_what_does_not_open_is_left_and_named(vault, store, batch):
    """What does not open keeps nobody from the rest, is left as it is, and is named when all others are done."""
    values = await fill(vault, 5)
    places = sorted(values)
    broken = {places[n] for n in (0, 1, 4, 9)}
    (good,) = (each for each in await store.list_credentials() if (each.owner_id, each.name) == places[2])
    for owner, name in broken:
        await store.put_credential(replace(good, owner_id=owner, name=name))
    before = {(each.owner_id, each.name): each for each in await store.list_credentials()}
    both = Vault(store, SecretKeys([NEW, OLD]))
    for resealed in (6, 0):
        with pytest.raises(CannotOpen, match=f"^{resealed} were sealed again, and 4 were left as they are") as caught:
            async with asyncio.timeout(30):
                await both.rotate(batch=batch)
        assert all(f"{name!r} of the owner {owner!r}" in str(caught.value) for owner, name in broken)
    after = {(each.owner_id, each.name): each for each in await store.list_credentials()}
    assert {place for place in after if after[place] == before[place]} == broken
    assert await opens(both, {place: value for place, value in values.items() if place not in broken})
    for owner, name in broken:
        await both.put(owner, name, values[owner, name])
    assert await both.rotate() == 0
    assert await opens(Vault(store, SecretKeys([NEW])), values)


async def test_many_that_do_not_open_are_counted(vault, store):
    """Of many that do not open the first ten are named."""
    await fill(vault, 6)
    for credential in await store.list_credentials():
        await store.put_credential(replace(credential, sealed="v1.gAAAAA"))
    with pytest.raises(CannotOpen, match=r"12 were left .*'TOKEN003' of the owner '2' and others$"):
        await Vault(store, SecretKeys([NEW, OLD])).rotate(batch=1)


class Shuffling(MemoryStore):
    """Gives what is to be sealed again in another order each time."""

    turns = 0

    async def credentials_to_reseal(self, sealed_with, *, limit):
        found = await super().credentials_to_reseal(sealed_with, limit=1000)
        self.turns += 1
        start = self.turns * limit % max(1, len(found))
        return [*found[start:], *found[:start]][:limit]


class Refusing(Shuffling):
    """Does not take what was sealed again for one owner."""

    async def reseal_credentials(self, resealed, *, events=()):
        return await super().reseal_credentials([pair for pair in resealed if pair[0].owner_id == "2"], events=events)


@pytest.mark.parametrize("batch", [1, 2, 3, 50])
@pytest.mark.parametrize("kind", [Shuffling, Refusing])
async def test_rotating_comes_to_an_end(kind, batch):
    """In whatever order the store gives them, and even if it never takes some, each is tried once and it ends."""
    store = kind()
    for owner in (ADA, BOB):
        await store.add_owner(owner, created_at=NOON)
    values = await fill(Vault(store, SecretKeys([OLD])), 10)
    both = Vault(store, SecretKeys([NEW, OLD]))
    for credential in (await store.list_credentials("1"))[:8]:
        await store.put_credential(replace(credential, sealed="v1.gAAAAA"))
    async with asyncio.timeout(20):
        with pytest.raises(CannotOpen, match=f"^{12 if kind is Shuffling else 10} were sealed again, and 8 were left"):
            await both.rotate(batch=batch)
    assert store.turns < 60
    assert await opens(both, {place: value for place, value in values.items() if place[0] == "2"})


async def test_what_is_put_meanwhile_is_not_overwritten(place):
    """Beside workers that put new values, under the old key first or the new one, no value is lost by rotating."""
    async with opened(place) as store:
        old, both = Vault(store, SecretKeys([OLD, NEW])), Vault(store, SecretKeys([NEW, OLD]))
        values = await fill(old, 30)
        done = asyncio.Event()

        async def write(vault, owner):
            for n in itertools.count():
                name = f"TOKEN{n % 30:03}"
                if done.is_set():
                    return
                await vault.put(owner, name, f"newer {n}")
                values[owner.id, name] = f"newer {n}"
                await asyncio.sleep(0)  # A store in memory never waits.

        writers = [asyncio.create_task(write(old, ADA)), asyncio.create_task(write(both, BOB))]
        for _ in range(2):
            await both.rotate(batch=4)
        done.set()
        await asyncio.gather(*writers)
        assert await opens(both, values)
        await both.rotate(batch=4)
        assert await store.sealed_with() == {both._keys.checks[0]}
        assert await opens(Vault(store, SecretKeys([NEW])), values)


async def test_several_may_rotate_at_once(vault, store):
    """Beside one another each of them ends, and together they have sealed everything once."""
    values = await fill(vault, 20)
    vaults = [Vault(store, SecretKeys([NEW, OLD])) for _ in range(3)]
    assert sum(await asyncio.gather(*(each.rotate(batch=3) for each in vaults))) == 40
    assert await opens(Vault(store, SecretKeys([NEW])), values)


def test_stores_are_credential_stores():
    """The stores that keep credentials are known by their methods."""
    assert isinstance(MemoryStore(), CredentialStore)
    assert isinstance(SQLStore("sqlite+aiosqlite://"), CredentialStore)
