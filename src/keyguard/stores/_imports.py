"""Many owners, keys and credentials at once, in a database."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select

from keyguard.errors import NotFound
from keyguard.model import Credential, KeyRecord, NewOwner, Usage
from keyguard.stores._changes import Change, batches, execute
from keyguard.stores._credentials import Credentials
from keyguard.stores._keys import Keys
from keyguard.stores._own_owners import OwnOwners
from keyguard.stores._owners import Owners
from keyguard.stores._schema import Schema
from keyguard.stores._uses import add_up

__all__ = ["adding_all"]


def adding_all(
    schema: Schema,
    owners: Owners,
    *,
    new_owners: Sequence[NewOwner],
    keys: Sequence[KeyRecord],
    credentials: Sequence[Credential],
    uses: Mapping[str, Usage],
) -> Change[None]:
    """Return what adds all of these. Raises `NotFound` there if an owner is neither there nor among the new ones."""
    adding_owners = OwnOwners(schema, owners).adding(new_owners) if new_owners else None
    key_rows = list(map(Keys(schema, owners).row_of, keys))
    credential_rows = list(map(Credentials(schema, owners).row_of, credentials))
    needed = {row["owner_id"] for row in (*key_rows, *credential_rows)}

    def add(connection: Connection) -> None:
        if adding_owners is not None:
            adding_owners(connection)
        there = {
            row.user_id
            for batch in batches(sorted(needed - {None}))
            for row in connection.execute(select(owners.id.label("user_id")).where(owners.id.in_(batch)))
        }
        if needed - there:
            raise NotFound("there is no owner with one of these ids")
        for table, rows in ((schema.keys, key_rows), (schema.credentials, credential_rows)):
            if rows:
                execute(connection, insert(table), rows)
        add_up(connection, schema, uses)

    return add
