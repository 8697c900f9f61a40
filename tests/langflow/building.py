"""Builds Langflow databases of every kind, row by row, on SQLite and on PostgreSQL.

The tables are those of the releases that are named in `RELEASES`, as far as an import reads them, and one column more
that it does not read. The real databases in `databases/` were made by the releases themselves.
"""

import base64
import hashlib
import json
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import asyncpg
from cryptography.fernet import Fernet
from leaks import WATCH

from keyguard.vault import SecretKeys, Vault

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

LONG_SECRET = "kP0cVb6m2Xn8Qz4Rt1Yw7Ls3Hd9Fg5Ja0Ue6Io2Bv8E"
SHORT_SECRET = "a short secret"
PASSWORD = "$2b$04$akexIjjontLgOy6RhEmKnejMSOnekAGydlC5zOQ4dB.sGwPsl62DG"
"""bcrypt's of ``open sesame``, at its lowest cost."""

_OLD_TIME, _NEW_TIME = ("DATETIME", "TIMESTAMP"), ("DATETIME", "TIMESTAMPTZ")
_ID, _TEXT, _FLAG = ("CHAR(32)", "UUID"), ("VARCHAR", "VARCHAR"), ("BOOLEAN", "BOOLEAN")

_USER = {
    "id": _ID,
    "username": _TEXT,
    "password": _TEXT,
    "profile_image": _TEXT,
    "is_active": _FLAG,
    "is_superuser": _FLAG,
    "create_at": _OLD_TIME,
}
_KEY = {
    "name": _TEXT,
    "last_used_at": _OLD_TIME,
    "total_uses": ("INTEGER", "INTEGER"),
    "is_active": _FLAG,
    "id": _ID,
    "created_at": _NEW_TIME,
    "api_key": _TEXT,
    "user_id": _ID,
}
_VARIABLE = {
    "name": _TEXT,
    "value": _TEXT,
    "type": _TEXT,
    "id": _ID,
    "created_at": _NEW_TIME,
    "updated_at": _NEW_TIME,
    "default_fields": ("JSON", "JSON"),
    "user_id": _ID,
}
_BEFORE = {"user": _USER, "apikey": _KEY, "variable": _VARIABLE}
_AFTER = {
    "user": _USER | {"create_at": _NEW_TIME, "retired_at": _NEW_TIME},
    "apikey": _KEY | {"last_used_at": _NEW_TIME, "api_key_hash": _TEXT, "expires_at": _NEW_TIME},
    "variable": _VARIABLE | {"is_environment_managed": _FLAG},
}
RELEASES = {"1.5": _BEFORE, "1.8": _BEFORE, "1.13": _AFTER}


def an_id(name):
    return uuid5(UUID(int=0), name)


def a_key(name):
    """A key as Langflow issues them, the same for the same name; nobody else may show it."""
    text = "sk-" + base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=")
    WATCH.key(text)
    return text


def hash_of(key):
    return hashlib.sha256(key.encode()).hexdigest()


def seal(text, secret, *, old=False):
    """Encrypt as Langflow does: `old` is how it made a key of a short secret up to 1.10.0."""
    if len(secret) >= 32:
        key = secret.encode() + b"=" * (-len(secret) % 4)
    elif old:
        draws = random.Random(secret)
        key = base64.urlsafe_b64encode(bytes([draws.getrandbits(8) for _ in range(32)]))
    else:
        key = base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest())
    return Fernet(key).encrypt(text.encode()).decode()


def a_vault(store):
    return Vault(store, SecretKeys(["the-tests-own-secret-key-kP0cVb6m2Xn8Qz4R"]))


@dataclass
class Langflow:
    """A database that is being written down: rows as they are to be inserted, values as people say them."""

    release: str = "1.13"
    users: list[dict[str, Any]] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=list)
    variables: list[dict[str, Any]] = field(default_factory=list)

    def user(self, name, **more):
        """Add a user, and return its id."""
        row = {"id": an_id(name), "username": name, "password": PASSWORD, "is_active": True, "is_superuser": False}
        self.users.append(row | {"create_at": NOON - 30 * DAY} | more)
        return self.users[-1]["id"]

    def key(self, user, stored, *, name="laptop", **more):
        """Add a key as it is stored, and return its id."""
        row = {
            "id": an_id(f"key {len(self.keys)}"),
            "user_id": user,
            "name": name,
            "api_key": stored,
            "is_active": True,
            "total_uses": 0,
            "created_at": NOON - 20 * DAY,
        }
        self.keys.append(row | more)
        return str(self.keys[-1]["id"])

    def variable(self, user, name, stored, *, kind="Credential", fields=(), **more):
        """Add a variable as it is stored, and return its id."""
        row = {
            "id": an_id(f"variable {len(self.variables)}"),
            "user_id": user,
            "name": name,
            "value": stored,
            "type": kind,
            "default_fields": json.dumps([*fields]),
            "created_at": NOON - 10 * DAY,
            "updated_at": NOON - 5 * DAY,
        }
        self.variables.append(row | more)
        return str(self.variables[-1]["id"])

    @property
    def _tables(self):
        rows = {"user": self.users, "apikey": self.keys, "variable": self.variables}
        return [(name, RELEASES[self.release][name], rows[name]) for name in rows]

    def write_file(self, path):
        """Make a database of SQLite, or write all into the one that is there; return its URL."""
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            for name, columns, rows in self._tables:
                written = ", ".join(f"{column} {types[0]}" for column, types in columns.items())
                connection.execute(f'CREATE TABLE IF NOT EXISTS "{name}" ({written})')
                connection.execute(f'DELETE FROM "{name}"')
                for row in rows:
                    names = [column for column in columns if column in row]
                    places = ", ".join("?" * len(names))
                    values = [_sqlite_value(row[column]) for column in names]
                    connection.execute(f'INSERT INTO "{name}" ({", ".join(names)}) VALUES ({places})', values)
        return f"sqlite:///{path}"

    async def write_server(self, url):
        """Make the tables on PostgreSQL, or write all into those that are there; return the URL as Langflow has it."""
        plain = url.replace("+asyncpg", "")
        connection = await asyncpg.connect(plain)
        try:
            async with connection.transaction():
                for name, columns, rows in self._tables:
                    written = ", ".join(f"{column} {types[1]}" for column, types in columns.items())
                    await connection.execute(f'CREATE TABLE IF NOT EXISTS "{name}" ({written})')
                    await connection.execute(f'DELETE FROM "{name}"')
                    for row in rows:
                        names = [column for column in columns if column in row]
                        places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
                        values = [_postgres_value(row[column], columns[column][1]) for column in names]
                        await connection.execute(
                            f'INSERT INTO "{name}" ({", ".join(names)}) VALUES ({places})', *values
                        )
        finally:
            await connection.close()
        return plain

    async def write(self, place):
        """Write the database where `place` says: a path or a URL of PostgreSQL."""
        return self.write_file(place) if isinstance(place, Path) else await self.write_server(place)


def _sqlite_value(value):
    match value:
        case UUID():
            return value.hex
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        case _:
            return value


def _postgres_value(value, kind):
    if isinstance(value, datetime) and kind == "TIMESTAMP":
        return value.astimezone(UTC).replace(tzinfo=None)
    return value
