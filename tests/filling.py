"""How the suites' stores are made and filled, whatever database they are on."""

from uuid import UUID

from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, Uuid, insert

from keyguard.model import Owner
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.testing import NOON

KINDS = {
    "integers": (Integer(), int, ("7", "12")),
    "uuids": (Uuid(), UUID, ("3f2b8f0e-8a53-4ad1-9d0c-0c6f5f0a2b11", "0d5f7a52-52c7-4d0b-b6f1-7a3c2f1e9d44")),
    "texts": (Text(), str, ("owner-1", "owner-2")),
}
"""What an app's own users may be numbered with: the column's type, Python's, and two ids as the suites want them."""


def with_owners(owners, keys):
    """Return the owners, and with them those that the keys need and the store is not to keep; and the ids of these."""
    absent = {key.owner_id for key in keys} - {owner.id for owner in owners}
    return [*owners, *(Owner(id=owner_id, name=owner_id) for owner_id in absent)], absent


async def fill(store, owners, keys):
    """Put owners and keys into a store; return the ids of the owners that it must have for that and is not to keep."""
    everybody, absent = with_owners(owners, keys)
    for owner in everybody:
        await store.add_owner(owner, created_at=NOON)
    for key in keys:
        await store.add_key(key)
    return absent


async def store_on_users(url, keyring, owners, keys, kind):
    """Return a store whose owners live in an app's own table, whose names are not easy."""
    column_type, in_python, _ = KINDS[kind]
    users = Table(
        "app users",
        MetaData(),
        Column("user", column_type, primary_key=True),
        Column("login", Text),
        Column("enabled", Boolean),
        Column("root", Boolean),
    )
    table = UserTable(users, id="user", name="login", active="enabled", superuser="root")
    store = SQLStore(url, keyring=keyring, users=table)
    everybody, absent = with_owners(owners, keys)
    rows = [
        {"user": in_python(owner.id), "login": owner.name, "enabled": owner.is_active, "root": owner.is_superuser}
        for owner in everybody
    ]

    def change(connection):
        users.create(connection)
        if rows:
            connection.execute(insert(users), rows)

    await store.change_schema(change)
    await store.create_schema()
    for key in keys:
        await store.add_key(key)
    for owner_id in absent:
        gone = users.delete().where(users.c.user == in_python(owner_id))
        await store.change_schema(lambda connection, gone=gone: connection.execute(gone))
    await store.close()
    return store


def suite_over(suite, kind):
    """Return a suite that holds a `MemoryStore`, or a subclass that breaks a promise, to the ports."""

    class Suite(suite):
        async def make_store(self, keyring, owners, keys):
            store = kind(keyring=keyring)
            known = {owner.id for owner in owners}
            for owner in [*owners, *(Owner(id=key.owner_id, name=key.owner_id) for key in keys)]:
                if owner.id not in store._owners:
                    store._owners[owner.id], store._passwords[owner.id] = owner, None
            for key in keys:
                await store.add_key(key)
            store._owners = {owner_id: owner for owner_id, owner in store._owners.items() if owner_id in known}
            return store

    return Suite()
