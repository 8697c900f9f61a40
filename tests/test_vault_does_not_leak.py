"""No value and no secret key of a vault shows in what Keyguard writes, raises or keeps; and `leaks` would notice it."""

import asyncio
import base64
import logging
import runpy
import secrets
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from leaks import WATCH
from vaults import ADA, BOB, NEW, OLD, opened

from keyguard.errors import CannotOpen, ConfigurationError, NotFound, StoreUnavailable, WrongSecret
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON
from keyguard.vault import SecretFile, SecretKeys, Vault

ORACLE = runpy.run_path(str(Path(__file__).parent / "vectors" / "make_vault.py"))

VALUE = "sk-proj-Zt4Wc8Hy2Nq6Jf0Rb"
BAD_KEY = "Gk3Vx7Lp1Qs5Md9T"


@pytest.fixture(autouse=True)
def _watch():
    """What is refused at once never comes to be a key or a value, and is watched all the same."""
    for text in (VALUE, BAD_KEY):
        WATCH.key(text)


@pytest.fixture
async def store():
    async with opened(None) as store:
        yield store


@pytest.fixture
def vault(store):
    return Vault(store, SecretKeys([OLD]))


# --- what is planted is found -------------------------------------------------------------------------------------


async def put(text):
    async with opened(None) as store:
        await Vault(store, SecretKeys([OLD])).put(ADA, "TOKEN", text)


async def seal(text):
    await Vault(MemoryStore(), SecretKeys([OLD])).seal(ADA, "TOKEN", text)


async def open_(text):
    """Read what another process has sealed."""
    SecretKeys([OLD]).open(ORACLE["seal"](OLD, "1", "TOKEN", text, 0, bytes(16)), owner_id="1", name="TOKEN")


async def give_a_secret_key(text):
    SecretKeys([text])


async def give_one_that_is_refused(text):
    with pytest.raises(ConfigurationError):
        SecretKeys(text)


def in_a_log(text, tmp_path):
    logging.getLogger("keyguard").debug("sealing %s", text)


def in_a_parameter(text, tmp_path):
    logging.getLogger("aiosqlite").debug("executing %s", ("INSERT INTO keyguard_credentials VALUES (?)", [text]))


def in_an_exception(text, tmp_path):
    WATCH.see_exception(CannotOpen(f"{text} does not open"))


def in_a_variable(text, tmp_path):
    namespace = {"__name__": "keyguard.planted"}
    exec("def put(value):\n    raise RuntimeError('the store failed')", namespace)
    with pytest.raises(RuntimeError) as caught:
        namespace["put"](text)
    WATCH.see_exception(caught.value)


def in_a_repr(text, tmp_path):
    WATCH.see("repr", repr({"value": text}))


def in_a_database(text, tmp_path):
    folder = tmp_path / "planted"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "keys.db")) as connection:
        connection.execute("CREATE TABLE credentials (value)")
        connection.execute("INSERT INTO credentials VALUES (?)", [text])
        connection.commit()
    WATCH.see_databases(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("learn", [put, seal, open_, give_a_secret_key, give_one_that_is_refused])
@pytest.mark.parametrize("plant", [in_a_log, in_a_parameter, in_an_exception, in_a_variable, in_a_repr, in_a_database])
async def test_a_planted_one_is_found(learn, plant, tmp_path):
    """Whatever becomes a value or a secret key is known from then on, and each channel gives it away."""
    text = f"canary{secrets.token_hex(20)}"
    await learn(text)
    assert WATCH.knows(text)
    with WATCH.provoked() as leaks:
        plant(text, tmp_path)
    assert leaks


# --- what is raised ----------------------------------------------------------------------------------------------


class Broken(MemoryStore):
    """Finds no place on its disk."""

    async def put_credential(self, credential, *, events=()):
        raise StoreUnavailable("the disk is full")


async def put_for_nobody(vault, store, tmp_path):
    await vault.put("3", "TOKEN", VALUE)


async def put_for_half_a_pair(vault, store, tmp_path):
    await vault.put("\ud800", "TOKEN", VALUE)


async def put_for_no_id(vault, store, tmp_path):
    await vault.put(None, "TOKEN", VALUE)


async def put_without_a_name(vault, store, tmp_path):
    await vault.put(ADA, "", VALUE)


async def put_too_much(vault, store, tmp_path):
    await vault.put(ADA, "TOKEN", VALUE * 4000)


async def put_half_a_pair(vault, store, tmp_path):
    await vault.put(ADA, "TOKEN", f"{VALUE}\ud83d")


async def put_bytes(vault, store, tmp_path):
    await vault.put(ADA, "TOKEN", VALUE.encode())


async def put_odd_metadata(vault, store, tmp_path):
    await vault.put(ADA, "TOKEN", VALUE, metadata={"a": {1}})


async def put_for_an_odd_actor(vault, store, tmp_path):
    await vault.put(ADA, "TOKEN", VALUE, actor="\0")


async def put_into_a_broken_store(vault, store, tmp_path):
    await Vault(Broken(), SecretKeys([OLD])).put(ADA, "TOKEN", VALUE)


async def put_where_nothing_answers(vault, store, tmp_path):
    await Vault(SQLStore(f"sqlite+aiosqlite:///{tmp_path}/no/keys.db"), SecretKeys([OLD])).put(ADA, "TOKEN", VALUE)


async def put_under_a_wrong_key(vault, store, tmp_path):
    await vault.put(ADA, "TOKEN", VALUE)
    await Vault(store, SecretKeys([NEW])).put(ADA, "TOKEN", VALUE)


async def seal_for_no_id(vault, store, tmp_path):
    await vault.seal(None, "TOKEN", VALUE)


async def seal_too_much(vault, store, tmp_path):
    await vault.seal(ADA, "TOKEN", VALUE * 4000)


async def get_a_copy(vault, store, tmp_path):
    await vault.put(ADA, "TOKEN", VALUE)
    await store.put_credential(replace(await store.get_credential("1", "TOKEN"), owner_id="2"))
    await vault.get(BOB, "TOKEN")


async def get_what_is_no_json(vault, store, tmp_path):
    content = f'{{"owner": "1", "name": "TOKEN", "value": "{VALUE}"'.encode()
    sealed = Fernet(base64.urlsafe_b64encode(ORACLE["fernet_key"](OLD))).encrypt(content).decode()
    await vault.put(ADA, "TOKEN", "x")
    await store.put_credential(replace(await store.get_credential("1", "TOKEN"), sealed=f"v1.{sealed}"))
    await vault.get(ADA, "TOKEN")


async def rotate_a_copy(vault, store, tmp_path):
    await vault.put(ADA, "TOKEN", VALUE)
    await store.put_credential(replace(await store.get_credential("1", "TOKEN"), owner_id="2"))
    await Vault(store, SecretKeys([NEW, OLD])).rotate()


async def resolve_for_no_id(vault, store, tmp_path):
    await vault.resolve(None, "TOKEN", environ={"TOKEN": VALUE})


async def give_a_short_key(vault, store, tmp_path):
    SecretKeys([BAD_KEY])


async def give_a_single_key(vault, store, tmp_path):
    SecretKeys(OLD)


async def give_a_key_twice(vault, store, tmp_path):
    SecretKeys([OLD, OLD])


async def give_a_short_key_by_the_environment(vault, store, tmp_path):
    SecretKeys.from_environment({"KEYGUARD_SECRET_KEY": BAD_KEY})


async def give_key_and_file_by_the_environment(vault, store, tmp_path):
    SecretKeys.from_environment({"KEYGUARD_SECRET_KEY": OLD, "KEYGUARD_SECRET_KEY_FILE": "/x"})


async def give_a_file_of_a_short_key(vault, store, tmp_path):
    (tmp_path / "secret.key").write_text(f"{OLD}\n{BAD_KEY}\n")
    await Vault(store, SecretFile(tmp_path / "secret.key")).open()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (put_for_nobody, NotFound),
        (put_for_half_a_pair, NotFound),
        (put_for_no_id, ConfigurationError),
        (put_without_a_name, ConfigurationError),
        (put_too_much, ConfigurationError),
        (put_half_a_pair, ConfigurationError),
        (put_bytes, ConfigurationError),
        (put_odd_metadata, ConfigurationError),
        (put_for_an_odd_actor, ConfigurationError),
        (put_into_a_broken_store, StoreUnavailable),
        (put_where_nothing_answers, StoreUnavailable),
        (put_under_a_wrong_key, WrongSecret),
        (seal_for_no_id, ConfigurationError),
        (seal_too_much, ConfigurationError),
        (get_a_copy, CannotOpen),
        (get_what_is_no_json, CannotOpen),
        (rotate_a_copy, CannotOpen),
        (resolve_for_no_id, ConfigurationError),
        (give_a_short_key, ConfigurationError),
        (give_a_single_key, ConfigurationError),
        (give_a_key_twice, ConfigurationError),
        (give_a_short_key_by_the_environment, ConfigurationError),
        (give_key_and_file_by_the_environment, ConfigurationError),
        (give_a_file_of_a_short_key, ConfigurationError),
    ],
)
async def test_no_exception_shows_one(call, expected, vault, store, tmp_path):
    """What a call raises has no value and no key: not in its text, and not in the variables of our frames."""
    with WATCH.provoked() as leaks:
        with pytest.raises(expected) as caught:
            await call(vault, store, tmp_path)
        WATCH.see_exception(caught.value)
    assert leaks == []


async def test_a_value_in_place_of_its_name_is_not_quoted(vault):
    """Whoever confuses the two, or asks for a value by itself, reads nothing of it in the error."""
    with WATCH.provoked() as leaks:
        for call in (vault.put(ADA, VALUE * 20, "TOKEN"), vault.get(ADA, VALUE)):
            with pytest.raises((ConfigurationError, NotFound)) as caught:
                await call
            WATCH.see("text of the error", f"{caught.value} {caught.value!r}")
    assert leaks == []


# --- what is shown and kept ---------------------------------------------------------------------------------------


async def test_no_repr_shows_one(vault, store, tmp_path):
    """No object of the vault shows a value or a key, however it is made into text."""
    (tmp_path / "secret.key").write_text(OLD)
    await vault.put(ADA, "TOKEN", VALUE)
    things = [
        *(vault, store, SecretKeys([OLD, NEW]), SecretFile(tmp_path / "secret.key"), await vault.seal(ADA, "T", VALUE)),
        *(await vault.resolve(ADA, "TOKEN"), *await vault.list(), *await store.list_events()),
    ]
    with WATCH.provoked() as leaks:
        for thing in things:
            WATCH.see(f"repr of {type(thing).__name__}", f"{thing!r} {thing!s} {thing}")
    assert leaks == []


async def test_no_frame_keeps_one_while_the_store_is_busy(vault):
    """While the store writes, the frames that wait for it hold no value, and the vault keeps none, nor a key's text."""
    reached, going_on = asyncio.Event(), asyncio.Event()

    class Busy(MemoryStore):
        async def put_credential(self, credential, *, events=()):
            reached.set()
            await going_on.wait()

    store = Busy()
    await store.add_owner(ADA, created_at=NOON)
    keeper = Vault(store, SecretKeys([OLD]))
    task = asyncio.create_task(keeper.put(ADA, "TOKEN", VALUE))
    await reached.wait()
    frames, coroutine = [], task.get_coro()
    while hasattr(coroutine, "cr_frame"):
        frames.append(coroutine.cr_frame)
        coroutine = coroutine.cr_await
    with WATCH.provoked() as leaks:
        assert WATCH.see_frames(frames, but=[reached, going_on]) == ["put"]
        WATCH.see_all("what the vault keeps", keeper, but=[reached, going_on])
    going_on.set()
    await task
    assert leaks == []


async def live(vault, both):
    """Everything that can happen to a value."""
    await vault.put(ADA, "TOKEN", VALUE, metadata={"about": "it"})
    await vault.put(ADA, "TOKEN", f"{VALUE}, another")
    await vault.put(BOB, "TOKEN", VALUE)
    await vault.get(ADA, "TOKEN")
    await vault.resolve(ADA, "TOKEN", flow=VALUE, environ={"TOKEN": VALUE})
    await both.rotate()
    await both.remove(BOB, "TOKEN")


async def test_no_value_is_in_the_database_file(tmp_path):
    """A value's whole life leaves nothing of it, nor of a key, in SQLite's files, open or closed."""
    url = f"sqlite+aiosqlite:///{tmp_path}/keys.db"
    with WATCH.provoked() as leaks:
        async with opened(url) as store:
            await live(Vault(store, SecretKeys([OLD])), Vault(store, SecretKeys([NEW, OLD])))
            WATCH.see_databases(tmp_path)
        WATCH.see_databases(tmp_path)
    assert leaks == []


async def test_no_value_is_in_postgresql(postgres, database):
    """Nor is anything of it in PostgreSQL's tables, or in the server's log of every statement and parameter."""
    postgres.psql(f"ALTER DATABASE {database} SET log_statement = 'all'")
    with WATCH.provoked() as leaks:
        async with opened(postgres.url(database)) as store:
            await live(Vault(store, SecretKeys([OLD])), Vault(store, SecretKeys([NEW, OLD])))
            rows = postgres.psql("SELECT * FROM keyguard_credentials; SELECT * FROM keyguard_events", database)
        log = postgres.log.read_text("utf-8", "replace")
        WATCH.see("rows", rows)
        WATCH.see("the server's log", log)
    assert "TOKEN" in rows
    assert "keyguard_credentials" in log
    assert leaks == []
