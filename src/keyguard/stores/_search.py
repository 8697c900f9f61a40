"""Looking for keys and owners in a database: which, in what order, and how many there are."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    cast,
    false,
    func,
    or_,
    select,
    true,
)

from keyguard.model import KeyOrder, KeyPage, KeyQuery, ListedKey, OwnerPage
from keyguard.stores._changes import bounded
from keyguard.stores._keys import Keys
from keyguard.stores._owners import Owners, owner_of
from keyguard.stores._rows import record_of
from keyguard.stores._schema import Schema
from keyguard.stores._text import folded, is_storable
from keyguard.stores._uses import usage_of

__all__ = ["Search", "owners_in", "page_in"]


class Search:
    """The keys of one store, each with its owner and its uses, as people look through them.

    Whatever kind of database it is, and whatever collation a column has, texts are compared by their code points, with
    A to Z in lower case.
    """

    def __init__(self, schema: Schema, owners: Owners, keys: Keys, backend: str) -> None:
        table, self._uses = schema.keys, schema.uses
        self._keys = keys
        self._owners = owners
        self._is_postgresql = backend == "postgresql"
        self._stored: dict[str, ColumnElement[Any]] = {
            **dict(table.c.items()),
            **{column.name: column for column in owners.columns},
        }
        self._counted: dict[str, ColumnElement[Any]] = {
            "total": func.coalesce(self._uses.c.total, 0).label("total"),
            "last_used_at": self._uses.c.last_used_at,
            "last_used_address": self._uses.c.last_used_address,
        }
        self._owned = table.join(owners.table, table.c.owner_id == owners.id)

    def page(self, query: KeyQuery, *, at: datetime, offset: int, limit: int) -> Select[Any]:
        """Select one page of the keys that fit, and in each row how many there are: in one, if the page is empty."""
        conditions = list(self._conditions(query, at))
        found = select(func.count().label("found")).select_from(self._owned).where(*conditions).subquery("found")
        # Uses are looked up for the keys of the page alone, unless it takes those of all to know which keys they are.
        takes_uses = query.order in {KeyOrder.LAST_USED, KeyOrder.USES}
        keys = self._owned.outerjoin(self._uses, self._uses.c.key_id == self._stored["id"])
        page = (
            select(*self._stored.values())
            .select_from(keys if takes_uses else self._owned)
            .where(*conditions)
            .order_by(*self._order(query, self._stored | self._counted))
            .offset(bounded(offset))
            .limit(bounded(limit))
            .subquery("page")
        )
        listed = found.outerjoin(page, true()).outerjoin(self._uses, self._uses.c.key_id == page.c.id)
        return (
            select(*[found.c.found, *page.c, *self._counted.values()])
            .select_from(listed)
            .order_by(*self._order(query, dict(page.c.items()) | self._counted))  # A join keeps no order.
        )

    def owners(self, *, offset: int, limit: int) -> Select[Any]:
        """Select one page of the owners, by name, and in each row how many there are: in one, if the page is empty."""
        found = select(func.count().label("found")).select_from(self._owners.table).subquery("found")
        name, id_ = self._text(self._stored["user_name"]), self._text(self._stored["user_id"])
        page = self._owners.every.order_by(name, id_).offset(bounded(offset)).limit(bounded(limit)).subquery("page")
        listed = found.outerjoin(page, true())
        in_order = self._text(page.c.user_name), self._text(page.c.user_id)  # A join keeps no order.
        return select(found.c.found, *page.c).select_from(listed).order_by(*in_order)

    def _conditions(self, query: KeyQuery, at: datetime) -> Iterator[ColumnElement[bool]]:
        columns = self._stored
        if query.owner_id is not None:
            yield self._owners.is_whose(columns["owner_id"], query.owner_id)
        if query.text:
            yield or_(*self._mentions(query)) if is_storable(query.text) else false()
        if query.states:
            yield or_(*(and_(*self._keys.is_in(state, at)) for state in query.states))
        expires_at = columns["expires_at"]
        if query.expires_from is not None:
            yield or_(expires_at.is_(None), expires_at >= query.expires_from)
        if query.expires_before is not None:
            yield expires_at < query.expires_before

    def _mentions(self, query: KeyQuery) -> Iterator[ColumnElement[bool]]:
        """Return the conditions on one of which a key is what the text is about."""
        # Not LIKE, which has characters of its own, and on SQLite takes no long pattern.
        within = func.strpos if self._is_postgresql else func.instr
        columns, text = self._stored, query.text
        yield within(self._folded(columns["name"]), folded(text)) > 0
        if query.owner_id is None:
            name, sought = self._folded(columns["user_name"]), folded(text)
            if self._owners.names_are_uuids:  # They are texts in some databases, with hyphens or without.
                name, sought = func.replace(name, "-", ""), sought.replace("-", "")
            yield within(name, sought) > 0
        for whole in (columns["id"], columns["prefix"] + columns["id"]):
            yield func.substr(whole, 1, len(text)) == text

    def _order(self, query: KeyQuery, columns: Mapping[str, ColumnElement[Any]]) -> Iterator[ColumnElement[Any]]:
        """Return what the columns are ordered by; the newest come first where nothing else decides."""
        match query.order:
            case KeyOrder.CREATED:
                by = columns["created_at"]
            case KeyOrder.NAME:
                by = self._folded(columns["name"])
            case KeyOrder.OWNER:
                by = self._folded(columns["user_name"])
            case KeyOrder.EXPIRES:
                by = columns["expires_at"]
            case KeyOrder.LAST_USED:
                by = columns["last_used_at"]
            case KeyOrder.USES:
                by = columns["total"]
            case _:
                assert_never(query.order)
        if query.order in {KeyOrder.EXPIRES, KeyOrder.LAST_USED}:
            yield by.is_(None)  # Databases do not agree on where NULL stands.
        yield by.desc() if query.descending else by.asc()
        if query.order is not KeyOrder.CREATED:
            yield columns["created_at"].desc()
        yield columns["id"].desc()

    def _folded(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """Return a column's text as `folded` makes it."""
        return func.lower(self._text(column))

    def _text(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """Return a column's text, to be compared by its code points.

        The names of the app's own users may be of any type, or NULL.
        """
        text: ColumnElement[str] = func.coalesce(cast(column, Text), "")
        return text.collate("C") if self._is_postgresql else text


def owners_in(rows: Sequence[Row[Any]]) -> OwnerPage:
    """Return the page of owners that the rows hold, of which there always is one."""
    return OwnerPage(owners=tuple(owner_of(row) for row in rows if row.user_id is not None), total=rows[0].found)


def page_in(rows: Sequence[Row[Any]]) -> KeyPage:
    """Return the page that the rows hold, of which there always is one."""
    keys = tuple(
        ListedKey(key=record_of(row), owner=owner_of(row), usage=usage_of(row)) for row in rows if row.id is not None
    )
    return KeyPage(keys=keys, total=rows[0].found)
