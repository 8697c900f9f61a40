"""What forms ask for: changes of keys. Each answers with what happened, or with what failed and why."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from http import HTTPStatus

from starlette.responses import Response

from keyguard.admin._desk import MOST_AT_ONCE
from keyguard.admin._etags import etag_of
from keyguard.admin._form import Form
from keyguard.admin._pages.choices import GRACES, Filled, name_fault, read
from keyguard.admin._pages.views import (
    Deleted,
    deleted_page,
    key_page,
    list_of,
    made_page,
    new_page,
    once_of,
    rotate_page,
)
from keyguard.admin._problems import problem_of
from keyguard.admin._shown import Action, actions, amount, condition, in_a_sentence, key_path, listed, plain, until
from keyguard.admin._visit import Notice, Visit
from keyguard.errors import Changed, Conflict, KeyguardError
from keyguard.model import KeyRecord

__all__ = ["delete", "disable", "enable", "end_grace", "new", "rename", "rotate"]

_CHANGED = "It has changed since you selected it: look at it again."

_MOST_QUOTED = 3
"""So many names stand in a notice, which is kept in a cookie."""


# --- new keys ---------------------------------------------------------------------------------------------------


async def new(visit: Visit, sent: Form) -> Response:
    """Issue a key, and show it. The same form sent again issues no second one, and shows nothing."""
    desk, now = visit.desk, visit.settings.clock()
    filled = Filled.of(sent)
    wanted = read(filled, visit.settings, desk.scopes_on_offer, may_grant_all=desk.may_grant_all, now=now)
    if wanted.errors:
        return new_page(visit, filled, wanted.errors)
    key_id = once_of(visit, sent.one("once"))
    if key_id is None:
        return new_page(visit, filled, {"name": "The page was open for too long: look at the form, and send it again."})
    try:
        issued = await desk.issue(
            name=wanted.name,
            scopes=wanted.scopes,
            networks=wanted.networks,
            expires_at=wanted.expires_at,
            id=key_id,
        )
    except Conflict:
        return _shown_before(visit, key_id, "The key was created already")
    key = issued.record
    return made_page(visit, issued, f"Created {_called(key)}. {_life(key, visit)}")


def _life(key: KeyRecord, visit: Visit) -> str:
    if key.expires_at is None:
        return "It never expires."
    return f"It expires on {until(key.expires_at, visit.settings.clock())}."


def _shown_before(visit: Visit, key_id: str, heading: str) -> Response:
    """Say that a form was sent twice: the key that came of it was shown, and is not again."""
    return visit.page(
        "message.html",
        HTTPStatus.CONFLICT,
        section="keys",
        heading=heading,
        sentence="It was shown once, and is not shown again. If you did not copy it, delete it and create another one.",
        link=visit.url(key_path(key_id)),
        link_word="Go to the key",
    )


# --- one key ----------------------------------------------------------------------------------------------------


async def rename(visit: Visit, sent: Form) -> Response:
    """Give a key another name."""
    key, name = await _read(visit, sent), sent.one("name")
    if fault := name_fault(name):
        return await key_page(visit, await visit.desk.look(key.id), name=name, errors={"name": fault})
    return await _done(
        visit,
        key,
        Action.RENAME,
        lambda: visit.desk.rename(key.id, name.strip(), expected=key),
        f"Renamed to {in_a_sentence(name, key.hint)}." if plain(name) else "It has no name any more.",
    )


async def disable(visit: Visit, sent: Form) -> Response:
    """Refuse a key for now."""
    key = await _read(visit, sent)
    sentence = f"Disabled {_called(key)}. It is refused until you enable it."
    return await _done(visit, key, Action.DISABLE, lambda: visit.desk.disable(key.id, expected=key), sentence)


async def enable(visit: Visit, sent: Form) -> Response:
    """Let a disabled key in again."""
    key = await _read(visit, sent)
    sentence = f"Enabled {_called(key)}. It works again."
    return await _done(visit, key, Action.ENABLE, lambda: visit.desk.enable(key.id, expected=key), sentence)


async def end_grace(visit: Visit, sent: Form) -> Response:
    """Stop a key now whose place another one has taken."""
    key = await _read(visit, sent)
    sentence = f"Ended the grace of {_called(key)}. It is refused from now on."
    return await _done(visit, key, Action.END_GRACE, lambda: visit.desk.end_grace(key.id, expected=key), sentence)


async def rotate(visit: Visit, sent: Form) -> Response:
    """Issue a key in the place of another, and show it."""
    shown = await visit.desk.look(visit.request.path_params["key_id"])
    key, now = shown.key, visit.settings.clock()
    if key.rotated_at is not None:
        return _shown_before(visit, key.id, "The key was rotated already")
    if sent.one("tag") != etag_of(key):
        return _changed(visit, key)
    chosen = {str(int(grace.total_seconds())): grace for grace in GRACES}.get(sent.one("grace"))
    if chosen is None or Action.ROTATE not in actions(key, now):
        return rotate_page(visit, key, errors={"grace": "Choose when the old key is to stop working."})
    try:
        issued = await visit.desk.rotate(key.id, grace=chosen, expected=key)
    except Changed:
        return _changed(visit, key)
    return made_page(visit, issued, f"Rotated {_called(key)}. {_end(key, chosen, visit)}")


def _end(key: KeyRecord, grace: timedelta, visit: Visit) -> str:
    """Say what becomes of the old key."""
    if not grace:
        return "The old key is refused from now on."
    now = visit.settings.clock()
    end = now + grace if key.expires_at is None else min(now + grace, key.expires_at)
    return f"The old key works until {until(end, now)}; you can end that earlier."


async def _read(visit: Visit, sent: Form) -> KeyRecord:
    """Return the key that a form speaks of. Raises `Changed` if it is not what the form's page has shown."""
    key = (await visit.desk.look(visit.request.path_params["key_id"])).key
    if sent.one("tag") != etag_of(key):
        raise Changed("the key is not as it was")
    return key


async def _done(
    visit: Visit, key: KeyRecord, action: Action, change: Callable[[], Awaitable[object]], sentence: str
) -> Response:
    """Do what was asked for, and say so on the key's page."""
    if action not in actions(key, visit.settings.clock()):
        state = condition(key, visit.settings.clock()).value
        return visit.go(key_path(key.id), Notice(kind="failed", text=f"Nothing was done: the key is {state}."))
    await change()
    return visit.go(key_path(key.id), Notice(text=sentence))


def _changed(visit: Visit, key: KeyRecord) -> Response:
    text = "Nothing was done: the key has changed since you opened that page. This is what it is now."
    return visit.go(key_path(key.id), Notice(kind="failed", text=text))


# --- deleting ---------------------------------------------------------------------------------------------------


async def delete(visit: Visit, sent: Form) -> Response:
    """Delete one key or several; each for itself, so that one that fails keeps no other from it."""
    pairs = list(dict(zip(sent.all("id"), sent.all("tag"), strict=False)).items())
    if not pairs or len(pairs) > MOST_AT_ONCE:
        return visit.go("/", Notice(kind="failed", text=f"Nothing was done: select 1 to {MOST_AT_ONCE} keys."))
    results = [await _deleted(visit, key_id, tag) for key_id, tag in pairs]
    failed = [each for each in results if each.failure]
    done = [each.called for each in results if not each.failure]
    if not failed:
        brought = {name: sent.one(name) for name in ("q", "state", "owner", "sort", "page")}
        told = Notice(text=f"Deleted {_names(done)}. From now on {_refused(len(done))}.")
        return visit.go("/", told, **list_of(visit, brought).parameters)
    sentence = (
        f"{amount(len(failed), 'key')} could not be deleted. {amount(len(done), 'key')} {_was(len(done))} deleted."
    )
    return deleted_page(visit, results, sentence)


async def _deleted(visit: Visit, key_id: str, tag: str) -> Deleted:
    called = "A key"
    try:
        key = (await visit.desk.look(key_id)).key
        called = _told_apart(key)
        if key.revoked_at is not None:
            return Deleted(called=called, failure="It was deleted already.")
        if tag != etag_of(key):
            return Deleted(called=called, failure=_CHANGED)
        await visit.desk.delete(key_id, expected=key)
    except Changed:
        return Deleted(called=called, failure=_CHANGED)
    except KeyguardError as error:
        problem = problem_of(error)
        if problem is None:
            raise
        return Deleted(called=called, failure=problem.detail)
    return Deleted(called=called)


def _called(key: KeyRecord) -> str:
    """Return what a key is called in a sentence, which may end with that: not in the dots of a hint."""
    return in_a_sentence(key.name, f"{key.prefix}{plain(key.id)}")


def _told_apart(key: KeyRecord) -> str:
    """Return what a key is called where several are named, some of which may have one name."""
    return f"{in_a_sentence(key.name, key.hint)} ({key.hint})" if plain(key.name) else key.hint


def _names(called: list[str]) -> str:
    if len(called) <= _MOST_QUOTED:
        return listed(called)
    return f"{', '.join(called[:_MOST_QUOTED])} and {amount(len(called) - _MOST_QUOTED, 'other key')}"


def _refused(count: int) -> str:
    return "it is refused" if count == 1 else "they are refused"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
