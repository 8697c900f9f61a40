"""Looking for keys in memory: which, in what order, and how many there are."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, assert_never

from keyguard.model import KeyOrder, KeyPage, KeyQuery, ListedKey
from keyguard.stores._text import folded, is_storable

__all__ = ["page_of"]


def page_of(listed: Iterable[ListedKey], query: KeyQuery, *, at: datetime, offset: int, limit: int) -> KeyPage:
    """Return those of the keys that fit, in their order, as far as they are on the page."""
    fitting = [each for each in listed if _fits(each, query, at)]
    fitting.sort(key=lambda each: (each.key.created_at, each.key.id), reverse=True)
    by = _ordered_by(query.order)
    known = [each for each in fitting if by(each) is not None]
    known.sort(key=by, reverse=query.descending)  # Those that are the same stay as they stand.
    ordered = [*known, *(each for each in fitting if by(each) is None)]
    return KeyPage(keys=tuple(ordered[offset : offset + limit]), total=len(ordered))


def _fits(each: ListedKey, query: KeyQuery, at: datetime) -> bool:
    key = each.key
    return (
        query.owner_id in {None, key.owner_id}
        and _is_about(each, query)
        and (not query.states or key.state(at) in query.states)
        and (query.expires_from is None or key.expires_at is None or key.expires_at >= query.expires_from)
        and (query.expires_before is None or (key.expires_at is not None and key.expires_at < query.expires_before))
    )


def _is_about(each: ListedKey, query: KeyQuery) -> bool:
    if not is_storable(query.text):
        return False
    names = [each.key.name] if query.owner_id is not None else [each.key.name, each.owner.name]
    shown = each.key.id, f"{each.key.prefix}{each.key.id}"
    return any(folded(query.text) in folded(name) for name in names) or any(
        whole.startswith(query.text) for whole in shown
    )


def _ordered_by(order: KeyOrder) -> Callable[[ListedKey], Any]:
    match order:
        case KeyOrder.CREATED:
            return lambda each: each.key.created_at
        case KeyOrder.NAME:
            return lambda each: folded(each.key.name)
        case KeyOrder.OWNER:
            return lambda each: folded(each.owner.name)
        case KeyOrder.EXPIRES:
            return lambda each: each.key.expires_at
        case KeyOrder.LAST_USED:
            return lambda each: each.usage.last_used_at
        case KeyOrder.USES:
            return lambda each: each.usage.total
        case _:
            assert_never(order)
