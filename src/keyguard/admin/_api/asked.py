"""What a client asks for, made of values whose form has been checked: which keys, and which new key."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from keyguard.admin._api.schemas import EXPIRING_SOON, ORDERS, STATES
from keyguard.admin._api.shapes import moment_of
from keyguard.admin._problems import Problem
from keyguard.admin._searched import holds_key
from keyguard.admin._shown import SOON
from keyguard.admin._visit import Visit
from keyguard.model import KeyOrder, KeyQuery, KeyState
from keyguard.settings import Keyring

__all__ = ["keys_asked_for", "new_key"]

_UPWARDS = {KeyOrder.NAME, KeyOrder.OWNER, KeyOrder.EXPIRES}
"""What is listed from A to Z, and what ends first, where nothing else is said; of all else the newest, or most."""


def keys_asked_for(query: Mapping[str, Any], keyring: Keyring, now: datetime) -> KeyQuery:
    """Return what keys a query asks for.

    Raises `Problem` (422) if a whole key is looked for, or if those that expire soon are not all of it.
    """
    if holds_key(query["q"], keyring):
        detail = "must not hold a key, because addresses are written to logs: its prefix and id find it"
        raise _invalid("invalid_parameters", {"parameter": "q", "detail": detail})
    names = frozenset(query.get("state", ()))
    soon = EXPIRING_SOON in names
    if soon and len(names) > 1:
        detail = f"{EXPIRING_SOON} must be the only one"
        raise _invalid("invalid_parameters", {"parameter": "state", "detail": detail})
    order = ORDERS[query["sort"]]
    return KeyQuery(
        owner_id=query.get("owner"),
        text=query["q"],
        states=frozenset({KeyState.ACTIVE}) if soon else frozenset(STATES[name] for name in names),
        expires_before=now + SOON if soon else None,
        order=order,
        descending=query["order"] == "desc" if "order" in query else order not in _UPWARDS,
    )


def new_key(body: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    """Return what `Desk.issue` is given for a new key; its text may be shown this once.

    Raises `Problem` (422) if it could not be issued so.
    """
    now = visit.settings.clock()
    expires_at = _end(body, visit, now)
    wrong = list(_faults(body, visit, expires_at, now))
    if wrong:
        raise _invalid("invalid_body", *wrong)
    return {
        "name": body.get("name", ""),
        "scopes": body.get("scopes"),
        "networks": body.get("networks", ()),
        "expires_at": expires_at,
    }


def _end(body: Mapping[str, Any], visit: Visit, now: datetime) -> datetime | None:
    """Return when the key is to end: what was said, or else what the page would have chosen."""
    if "expires_at" in body:
        said = body["expires_at"]
        return None if said is None else moment_of(said)
    lifetime = visit.settings.lifetime_by_default
    return None if lifetime is None else now + lifetime


def _faults(body: Mapping[str, Any], visit: Visit, end: datetime | None, now: datetime) -> Iterator[dict[str, str]]:
    longest = visit.settings.store.keyring.max_lifetime
    if end is not None and end <= now:
        yield {"pointer": "/expires_at", "detail": "must lie in the future"}
    if longest is not None and (end is None or end > now + longest):
        yield {"pointer": "/expires_at", "detail": f"must be at most {longest} from now"}
    for place, scope in enumerate(body.get("scopes") or ()):
        if scope not in visit.desk.scopes_on_offer:
            yield {
                "pointer": f"/scopes/{place}",
                "detail": "must be one of the scopes on offer, which the session names",
            }


def _invalid(code: str, *wrong: Mapping[str, str]) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, code, "It is not what this operation takes.", errors=wrong)
