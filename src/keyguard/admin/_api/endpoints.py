"""The JSON API: each operation of the table in a few lines over the desk, which decides who may do what."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import Route

from keyguard.admin._answers import problem_json
from keyguard.admin._api.as_json import choices_json, event_json, key_json, owner_json, visitor_json
from keyguard.admin._api.asked import keys_asked_for, new_key
from keyguard.admin._api.bodies import read_json
from keyguard.admin._api.openapi import document
from keyguard.admin._api.operations import OPERATIONS, Operation
from keyguard.admin._api.parameters import read_parameters
from keyguard.admin._api.schemas import BODIES
from keyguard.admin._doors import api
from keyguard.admin._entrance import Entrance
from keyguard.admin._etags import changed, etag_of, read_if_match
from keyguard.admin._problems import Problem, problem_of
from keyguard.admin._settings import Settings
from keyguard.admin._visit import Visit, not_signed_in
from keyguard.admin._visitor import Way
from keyguard.errors import Changed, KeyguardError
from keyguard.lifecycle import Issued
from keyguard.model import AuditEvent, KeyRecord, ListedKey, Usage

__all__ = ["routes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What was asked, when all of it that does not depend on the operation has been read and found to be right."""

    visit: Visit
    entrance: Entrance
    query: Mapping[str, Any]
    key_id: str
    expected: KeyRecord | None
    """What the key is to be if it is to be changed; None for whatever it is."""
    body: Mapping[str, Any] = field(repr=False)
    """It may hold a password."""


def routes(settings: Settings, entrance: Entrance) -> list[Route]:
    """Return the routes of the API: one for each operation."""
    return [
        api(
            settings,
            f"/api{operation.path}",
            partial(_run, operation, entrance),
            operation.method,
            name=operation.name,
            open_to_all=operation.open_to_all,
        )
        for operation in OPERATIONS
    ]


async def _run(operation: Operation, entrance: Entrance, visit: Visit) -> Response:
    """Read what is asked, the preconditions before the body (RFC 9110 §13.2.1), and do it."""
    request = visit.request
    query = read_parameters(request, operation.query)
    key_id = request.path_params["key_id"] if operation.of_a_key else ""
    expected = None
    if operation.if_match:
        listed = await visit.desk.look(key_id)
        expected = read_if_match(request.headers.getlist("if-match"), listed.key)
    # What is read of a body stands in no variable of its own: error reporters show those, and it may hold a password.
    call = _Call(
        visit=visit,
        entrance=entrance,
        query=query,
        key_id=key_id,
        expected=expected,
        body={} if operation.body is None else await read_json(request, BODIES[operation.body]),
    )
    if operation.body is not None and not await visit.stays():
        raise not_signed_in()
    try:
        return await _ENDPOINTS[operation.name](call)
    except Changed:
        raise changed() from None


# --- who calls --------------------------------------------------------------------------------------------------


async def _get_document(call: _Call) -> Response:
    return _answer(document(call.visit.url("/api"), call.visit.cookies.name_of("session")))


async def _get_session(call: _Call, status: HTTPStatus = HTTPStatus.OK) -> Response:
    visit, visitor = call.visit, call.visit.visitor
    known = {"owner": None, "way": None} if visitor is None else visitor_json(visitor)
    choices = None if visitor is None else choices_json(visit.settings, visit.desk)
    signs_in_here = visit.settings.has_form
    told = {**known, "csrf_token": visit.csrf_token, "signs_in_here": signs_in_here, "choices": choices}
    return _answer(told, status)


async def _sign_in(call: _Call) -> Response:
    await call.entrance.sign_in(call.visit, call.body["name"], call.body["password"])
    return await _get_session(call, HTTPStatus.CREATED)


async def _sign_out(call: _Call) -> Response:
    if call.visit.desk.visitor.way is not Way.SESSION:
        raise Problem(HTTPStatus.CONFLICT, "no_session_here", "You have not signed in here, but to the app.")
    await call.entrance.sign_out(call.visit)
    return Response(status_code=HTTPStatus.NO_CONTENT)


# --- keys -------------------------------------------------------------------------------------------------------


async def _list_keys(call: _Call) -> Response:
    desk, query = call.visit.desk, call.query
    if "owner" in query:
        await desk.owner(query["owner"])
    settings = call.visit.settings
    now = settings.clock()
    wanted = keys_asked_for(query, settings.store.keyring, now)
    page, per_page = query["page"], query["per_page"]
    found = await desk.search(wanted, offset=(page - 1) * per_page, limit=per_page)
    links: dict[str, Mapping[str, Any]] = {}
    if page * per_page < found.total:
        links["next"] = {**query, "page": page + 1}
    if page > 1:
        links["prev"] = {**query, "page": page - 1}
    keys = [key_json(listed, now) for listed in found.keys]
    told = {"keys": keys, "total": found.total, "page": page, "per_page": per_page}
    return _answer(told, headers=_link(call.visit, "/api/keys", links))


async def _issue_key(call: _Call) -> Response:
    visit = call.visit
    issued = await visit.desk.issue(**new_key(call.body, visit))
    return _new_key_answer(visit, ListedKey(key=issued.record, owner=visit.desk.visitor.owner, usage=_UNUSED), issued)


async def _get_key(call: _Call) -> Response:
    return await _key_answer(call)


async def _change_key(call: _Call) -> Response:
    desk, body = call.visit.desk, call.body
    if "name" in body:
        await desk.rename(call.key_id, body["name"], expected=call.expected)
    elif body["disabled"]:
        await desk.disable(call.key_id, expected=call.expected)
    else:
        await desk.enable(call.key_id, expected=call.expected)
    return await _key_answer(call)


async def _delete_key(call: _Call) -> Response:
    await call.visit.desk.delete(call.key_id, expected=call.expected)
    return await _key_answer(call)


async def _rotate_key(call: _Call) -> Response:
    visit = call.visit
    grace = timedelta(seconds=call.body.get("grace_seconds", 0))
    old = await visit.desk.look(call.key_id)
    issued = await visit.desk.rotate(call.key_id, grace=grace, expected=call.expected)
    new = ListedKey(key=issued.record, owner=old.owner, usage=_UNUSED)
    try:
        ended = await visit.desk.look(call.key_id)
    except KeyguardError:  # The new key is there: whoever asked for it must be told its text.
        return _new_key_answer(visit, new, issued)
    return _new_key_answer(visit, new, issued, predecessor=key_json(ended, visit.settings.clock()))


async def _end_grace(call: _Call) -> Response:
    await call.visit.desk.end_grace(call.key_id, expected=call.expected)
    return await _key_answer(call)


async def _delete_keys(call: _Call) -> Response:
    return _answer({"results": [await _deleted(call.visit, **each) for each in call.body["keys"]]})


async def _deleted(visit: Visit, *, id: str, etag: str) -> dict[str, Any]:  # noqa: A002 As the body calls it.
    """Delete one of several keys, and tell what became of it: what was done to those before it stays done."""
    try:
        key = await _delete_as_read(visit, id, etag)
    except Exception as error:
        problem = changed() if isinstance(error, Changed) else problem_of(error)
        if problem is None:
            raise
        return {"id": id, "deleted": False, "problem": problem_json(problem)}
    return {"id": id, "deleted": True, "key": key_json(key, visit.settings.clock())}


async def _delete_as_read(visit: Visit, key_id: str, etag: str) -> ListedKey:
    listed = await visit.desk.look(key_id)
    if etag != etag_of(listed.key):
        raise changed()
    await visit.desk.delete(key_id, expected=listed.key)
    return await visit.desk.look(key_id)


# --- what was done, and to whom ---------------------------------------------------------------------------------


async def _list_key_events(call: _Call) -> Response:
    found = await call.visit.desk.key_events(call.key_id, before=call.query.get("before"), limit=call.query["limit"])
    return _events_answer(call, f"/api/keys/{quote(call.key_id, safe='')}/events", found)


async def _list_events(call: _Call) -> Response:
    query = call.query
    found = await call.visit.desk.events(query.get("owner"), before=query.get("before"), limit=query["limit"])
    return _events_answer(call, "/api/events", found)


async def _list_owners(call: _Call) -> Response:
    return _answer({"owners": [owner_json(owner) for owner in await call.visit.desk.owners()]})


# --- answers ----------------------------------------------------------------------------------------------------

_UNUSED = Usage(total=0)


def _answer(
    told: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK, *, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(json.dumps(told), status, headers=headers, media_type="application/json")


async def _key_answer(call: _Call) -> Response:
    """Show a key as it is now."""
    listed = await call.visit.desk.look(call.key_id)
    return _answer(key_json(listed, call.visit.settings.clock()), headers={"etag": etag_of(listed.key)})


def _new_key_answer(visit: Visit, listed: ListedKey, issued: Issued, **more: Any) -> Response:
    """Show a new key, and its text this once."""
    told = {**key_json(listed, visit.settings.clock()), "key": issued.key.reveal(), **more}
    headers = {"etag": etag_of(issued.record), "location": visit.url(f"/api/keys/{issued.record.id}")}
    return _answer(told, HTTPStatus.CREATED, headers=headers)


def _events_answer(call: _Call, path: str, found: Sequence[AuditEvent]) -> Response:
    links = {"next": {**call.query, "before": found[-1].id}} if len(found) == call.query["limit"] else {}
    told = {"events": [event_json(event) for event in found]}
    return _answer(told, headers=_link(call.visit, path, links))


def _link(visit: Visit, path: str, links: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the Link field (RFC 8288) of a list's other parts; none if there are none."""
    written = [f'<{visit.url(path, **query)}>; rel="{relation}"' for relation, query in links.items()]
    return {"link": ", ".join(written)} if written else {}


_ENDPOINTS: Mapping[str, Callable[[_Call], Awaitable[Response]]] = {
    "get_document": _get_document,
    "get_session": _get_session,
    "sign_in": _sign_in,
    "sign_out": _sign_out,
    "list_keys": _list_keys,
    "issue_key": _issue_key,
    "delete_keys": _delete_keys,
    "get_key": _get_key,
    "change_key": _change_key,
    "delete_key": _delete_key,
    "rotate_key": _rotate_key,
    "end_grace": _end_grace,
    "list_key_events": _list_key_events,
    "list_events": _list_events,
    "list_owners": _list_owners,
}
