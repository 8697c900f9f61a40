"""What can be broken on purpose: each is a function that breaks one thing in a worker's store or guard.

Where a fault shows only if something comes in between, there is a pause in which it can; that pause alone is a mutant
too, and breaks nothing: its name begins with "slow".
"""

import asyncio
import os
import sqlite3
import time

from keyguard.stores import _listener
from keyguard.stores._lease import Lease
from keyguard.stores._listener import Listener
from keyguard.stores._triggers import REVISION_QUERY

__all__ = ["MUTANTS"]

PAUSE = float(os.environ.get("PAUSE", "nan"))

MUTANTS = {}


def mutant(break_it):
    MUTANTS[break_it.__name__] = break_it
    return break_it


# --- the cache ------------------------------------------------------------------------------------------------------


@mutant
def trusts_for_a_while(store, guard):
    """Answers by what was read up to a fifth of a second ago, as caches with a time to live do."""
    find, known = store.find, {}

    async def finding(lookups):
        read_at, found = known.get(tuple(lookups), (0, None))
        if found is None or time.monotonic() - read_at > 0.2:
            now = time.monotonic()
            found = await find(lookups)
            known[tuple(lookups)] = now, found
        return found

    store.find = finding


@mutant
def slow_reads(store, guard):
    """Rests between the reading of a row and what is made of it."""
    find = store.find

    async def finding(lookups):
        found = await find(lookups)
        await asyncio.sleep(PAUSE)
        return found

    store.find = finding


@mutant
def token_after_row(store, guard):
    """Takes the token when the row has been read already."""
    slow_reads(store, guard)
    reader = guard._authenticator._reader

    async def finding(flight, lookups, deadline):
        flight.begin(None, time.monotonic())
        found = await reader._ask(lambda: store.find(lookups), deadline)
        flight.token = store.token()
        return found

    reader._find = finding


@mutant
def joins_any_read(store, guard):
    """Shares a read that has begun, whatever has been changed since."""
    slow_reads(store, guard)
    guard._authenticator._reader._flights._can_be_joined = lambda flight: bool(flight.passengers)


def _without_token_now_and_then(store):
    """Vouch for nothing in every other tenth of a second."""
    token = store.token
    store.token = lambda: token() if int(time.monotonic() * 10) % 2 else None


@mutant
def slow_tokens(store, guard):
    """Vouches for nothing at times."""
    _without_token_now_and_then(store)
    _retie(store, guard)


@mutant
def stale_without_token(store, guard):
    """Likewise; and what was read before is used all the same where nothing vouches for it."""
    slow_tokens(store, guard)
    cache = guard._authenticator._cache
    get = cache.get

    def getting(name):
        return get(name) or (cache._entries.get(name) if store.token() is None else None)

    cache.get = getting


def _retie(store, guard):
    """Have everybody ask the token that the store has now."""
    authenticator = guard._authenticator
    authenticator._cache._token = authenticator._reader._token = authenticator._reader._flights._token = store.token


# --- SQLite ---------------------------------------------------------------------------------------------------------


def _when_open(store, then):
    """Do something whenever the store has been opened."""
    open_it = store._voucher.open

    async def opening(missing):
        await open_it(missing)
        then(store._voucher)

    store._voucher.open = opening


@mutant
def token_in_a_transaction(store, guard):
    """Reads the revision in a transaction that stays open, which goes on seeing what was there at its beginning."""
    _when_open(store, lambda voucher: voucher._connection.execute("BEGIN"))


@mutant
def token_by_an_open_statement(store, guard):
    """Does not fetch another answer on the same connection to its end."""

    def leave_open(voucher):
        voucher.left_open = voucher._connection.execute("SELECT id FROM keyguard_keys UNION ALL VALUES (1), (2)")
        voucher.left_open.fetchone()

    _when_open(store, leave_open)


@mutant
def row_in_an_older_transaction(store, guard):
    """Takes the token before it reads the row, but in a transaction that has begun before."""
    path = store._database.engine.url.database
    reader = guard._authenticator._reader

    async def finding(flight, lookups, deadline):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT n FROM keyguard_revision").fetchall()
            await asyncio.sleep(PAUSE)
            flight.begin(store.token(), time.monotonic())
            there, store._reader._connection = store._reader._connection, connection
            try:
                return store._reader.find(lookups)
            finally:
                store._reader._connection = there
        finally:
            connection.close()

    reader._find = finding


@mutant
def does_not_look_for_triggers(store, guard):
    """Takes it for granted that they are all there."""
    store._voucher._triggers.__class__.missing = lambda triggers, fetch: []


@mutant
def does_not_look_at_the_file(store, guard):
    """Takes it for granted that the file is still the one that is open."""
    store._database.file.__class__.is_another = lambda file: False


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


@mutant
def hears_nothing(store, guard):
    """Loses each notification of a change."""
    notified = Listener._notified

    def hear_only_of_itself(listener, connection, process, channel, payload):
        if not payload.isdecimal():
            notified(listener, connection, process, channel, payload)

    Listener._notified = hear_only_of_itself


@mutant
def acknowledges_first(store, guard):
    """Tells the writers that it knows of a change, and only then moves its token."""

    async def reading(listener, connection):
        row = await connection.fetchrow(REVISION_QUERY)
        await connection.execute("UPDATE keyguard_listener SET revision = $2 WHERE id = $1", listener.id, row["n"])
        await asyncio.sleep(PAUSE)
        listener.lease = listener.lease.read(row["n"])

    Listener._notified = lambda listener, *_: (listener._stirred.set(), listener._hears.set())
    Listener._read = reading


def _answers_late(from_the_answer):
    async def renewing(listener, connection):
        sent = listener._clock()
        await connection.execute(_listener._RENEW, listener.id, listener.lease.seconds)
        row = await connection.fetchrow(listener._look)
        await asyncio.sleep(PAUSE)  # As if the process, or the host, had stood still.
        listener.lease = listener.lease.granted(listener._clock() if from_the_answer else sent, row["n"])
        await listener._acknowledge(connection)
        return sent

    return renewing


@mutant
def slow_renewals(store, guard):
    """Hears nothing, and gets the answers to its renewals late."""
    hears_nothing(store, guard)
    Listener._renew = _answers_late(from_the_answer=False)


@mutant
def lease_from_the_answer(store, guard):
    """Likewise; and a lease lasts from the answer on, not from the sending."""
    hears_nothing(store, guard)
    Listener._renew = _answers_late(from_the_answer=True)


@mutant
def lease_without_end(store, guard):
    """Hears nothing, and trusts what it has read until it reads again."""
    hears_nothing(store, guard)
    Lease.token = lambda lease, now: lease.moves if lease.revision is not None else None


@mutant
def does_not_look_for_triggers_there(store, guard):
    """Takes it for granted that all triggers are there and enabled, on PostgreSQL."""
    store._voucher._triggers.__class__.all_there = "true"
