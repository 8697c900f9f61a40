"""Pages that both links and forms lead to: each is made here, of what it shows."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from keyguard.admin._desk import LONGEST_NAME
from keyguard.admin._etags import etag_of
from keyguard.admin._in_front import guard_in_front
from keyguard.admin._pages import feed
from keyguard.admin._pages.choices import Filled, days, graces, lifetimes
from keyguard.admin._pages.listing import Chosen
from keyguard.admin._pages.samples import address_of, samples, sources_of
from keyguard.admin._pages.told import PLAIN_REASONS
from keyguard.admin._problems import Problem
from keyguard.admin._shown import (
    Action,
    Condition,
    actions,
    condition,
    key_path,
    length,
    longer,
    relative,
    scope_words,
    until,
)
from keyguard.admin._visit import Visit
from keyguard.keys import ID_ENTROPY_BYTES, id_from_entropy
from keyguard.lifecycle import Issued
from keyguard.model import KeyRecord, ListedKey

__all__ = [
    "Deleted",
    "delete_page",
    "deleted_page",
    "key_page",
    "list_of",
    "made_page",
    "new_page",
    "once_of",
    "rotate_page",
]

_PURPOSE = "new key"


# --- new keys ---------------------------------------------------------------------------------------------------


def new_page(visit: Visit, filled: Filled | None = None, errors: Mapping[str, str] | None = None) -> Response:
    """Return the form of a new key: as it was filled in, with what is wrong of it; else as it is at first."""
    settings, desk, now = visit.settings, visit.desk, visit.settings.clock()
    if not desk.may_grant_all and not desk.scopes_on_offer:
        raise Problem(
            HTTPStatus.FORBIDDEN, "insufficient_scope", "You have no rights here that a key of yours could have."
        )
    if filled is None:
        default = settings.lifetime_by_default
        filled = Filled(lifetime="none" if default is None else str(int(default.total_seconds())))
    longest, span = settings.store.keyring.max_lifetime, days(settings, now)
    return visit.page(
        "new.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK,
        section="keys",
        filled=filled,
        errors=errors or {},
        once=visit.seal.sign(_PURPOSE, id_from_entropy(secrets.token_bytes(ID_ENTROPY_BYTES))),
        longest_name=LONGEST_NAME,
        longest=length(longest) if longest else "",
        lifetimes=lifetimes(settings, now),
        first_day=span[0].isoformat() if span else "",
        last_day=span[1].isoformat() if span else "",
        scopes_on_offer=desk.scopes_on_offer,
        may_grant_all=desk.may_grant_all,
    )


def once_of(visit: Visit, text: str) -> str | None:
    """Return the id that a form of a new key was made for, so that it makes one key; None if it is no such form's."""
    found = visit.seal.read(_PURPOSE, text)
    return found if isinstance(found, str) else None


def made_page(visit: Visit, issued: Issued, done: str) -> Response:
    """Return the page that shows a new key, this once."""
    key, text = issued.record, issued.key.reveal()
    address = address_of(visit.settings.url or _address(visit.request), visit.settings.sample_path)
    masked = f"{key.prefix}{key.id}_{'•' * 8}"
    return visit.page(
        "made.html",
        section="keys",
        key=key,
        text=text,
        masked=masked,
        done=done,
        samples=samples(text, f"{key.prefix}{key.id[:4]}…", address, sources_of(visit.request.scope)),
    )


def _address(request: Request) -> str:
    """Return the address of the app that the keys are for, as this request has reached it.

    It is the one that the guard in front protects, which may itself be mounted somewhere; without a guard, the whole.
    """
    guard, scope = guard_in_front(request.scope), request.scope
    root = scope.get("app_root_path", scope.get("root_path", "")) if guard is None else guard.root_path
    return f"{request.url.scheme}://{request.url.netloc}{root}"


# --- one key ----------------------------------------------------------------------------------------------------


async def key_page(
    visit: Visit, shown: ListedKey, *, name: str | None = None, errors: Mapping[str, str] | None = None
) -> Response:
    """Return the page of a key; with `name`, what somebody would call it, and what is wrong with that."""
    desk, key, now = visit.desk, shown.key, visit.settings.clock()
    events = await desk.key_events(key.id, before=feed.before_of(visit), limit=feed.PER_PAGE + 1)
    successor = await feed.successor_of(desk, key)
    relatives = await desk.keys_of({key.rotated_from or "", successor} - {""})
    return visit.page(
        "key.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK,
        section="keys",
        key=key,
        owner=shown.owner,
        usage=shown.usage,
        is_mine=shown.owner.id == desk.visitor.owner.id,
        meaning=_meaning(shown, visit),
        scope_words=scope_words(key.scopes, visit.settings.scopes_on_offer),
        reason="" if key.revoked_reason in PLAIN_REASONS else key.revoked_reason,
        predecessor=relatives.get(key.rotated_from or ""),
        successor_id=successor,
        successor=relatives.get(successor),
        possible={action.value for action in actions(key, now)},
        tag=etag_of(key),
        filled_name=key.name if name is None else name,
        errors=errors or {},
        longest_name=LONGEST_NAME,
        done=await feed.feed(desk, events[: feed.PER_PAGE]),
        part=feed.part(visit, key_path(key.id), events),
    )


def _meaning(shown: ListedKey, visit: Visit) -> str:
    """Say what a key's state means for whoever uses it."""
    key, now = shown.key, visit.settings.clock()
    if not shown.owner.is_active and key.revoked_at is None:
        return "Refused, because its owner is inactive."
    end = key.expires_at or now
    says = {
        Condition.ACTIVE: "It works.",
        Condition.EXPIRING_SOON: f"It works, and stops working {relative(end, now)}.",
        Condition.GRACE: f"Another key has taken its place. It works until {until(end, now)}.",
        Condition.NOT_YET_VALID: f"It is refused until {longer(key.not_before or now)}.",
        Condition.DISABLED: "It is refused until somebody enables it again.",
        Condition.EXPIRED: "It has expired, and is refused for good.",
        Condition.REVOKED: "It was deleted, and is refused for good.",
    }
    return (
        "Another key has taken its place. It is refused for good."
        if key.revoked_by_rotation
        else says[condition(key, now)]
    )


def rotate_page(visit: Visit, key: KeyRecord, *, grace: str = "0", errors: Mapping[str, str] | None = None) -> Response:
    """Return the form that asks how long the old key is to work on."""
    now = visit.settings.clock()
    if Action.ROTATE not in actions(key, now):
        raise Problem(
            HTTPStatus.CONFLICT, "conflict", f"This key is not to be rotated any more: it is {_state(key, visit)}."
        )
    return visit.page(
        "rotate.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK,
        section="keys",
        key=key,
        tag=etag_of(key),
        graces=graces(key, now),
        grace=grace,
        errors=errors or {},
    )


def _state(key: KeyRecord, visit: Visit) -> str:
    return "rotated already" if key.rotated_at else condition(key, visit.settings.clock()).value


# --- deleting ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What became of one key that was to be deleted."""

    called: str
    failure: str = ""
    """Why it was not; empty if it was."""


def delete_page(visit: Visit, found: Sequence[ListedKey], missing: int, chosen: Chosen, back: str) -> Response:
    """Return the page that asks whether these keys are to be deleted; `missing` others could not be.

    Whoever does not want to goes to the path `back`; whoever has done it to the list as it was `chosen`.
    """
    mine = visit.desk.visitor.owner.id
    return visit.page(
        "delete.html",
        section="keys",
        keys=[{"key": each.key, "owner": each.owner, "usage": each.usage, "tag": etag_of(each.key)} for each in found],
        mine=mine,
        missing=missing,
        chosen=chosen,
        back=visit.url(back, **(chosen.parameters if back == "/" else {})),
    )


def list_of(visit: Visit, brought: Mapping[str, str]) -> Chosen:
    """Return the list that somebody comes from, as the query of an address or the fields of a form say it."""
    chosen = Chosen.of(brought, is_superuser=visit.desk.visitor.is_superuser)
    return chosen.for_address(visit.settings.store.keyring, ())


def deleted_page(visit: Visit, results: Sequence[Deleted], sentence: str) -> Response:
    """Return the page that says of each key whether it was deleted, and why not."""
    return visit.page("deleted.html", HTTPStatus.CONFLICT, section="keys", results=results, sentence=sentence)
