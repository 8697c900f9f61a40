"""What the API can do: one table, of which both its routes and its OpenAPI document are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus

from keyguard.admin._api.schemas import ALL_EVENTS_QUERY, EVENTS_QUERY, KEYS_QUERY, Json

__all__ = ["OPERATIONS", "Operation"]

_GET, _POST, _PATCH, _DELETE = HTTPMethod.GET, HTTPMethod.POST, HTTPMethod.PATCH, HTTPMethod.DELETE


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be asked of the API."""

    name: str
    """How generated clients call it: OpenAPI's `operationId`."""
    method: HTTPMethod
    path: str
    summary: str
    query: Sequence[Json] = ()
    body: str | None = None
    """Which of `BODIES` it takes; None where nothing is changed."""
    answer: str | None
    """Which of `ANSWERS` it gives; None for none."""
    status: HTTPStatus = HTTPStatus.OK
    tagged: bool = False
    """Whether the answer has the ETag of the key that it shows."""
    if_match: bool = False
    """Whether it asks for the ETag of what it changes."""
    open_to_all: bool = False
    """Whether nobody has to be signed in."""
    problems: Sequence[HTTPStatus] = ()
    """What may go wrong beside what may with every operation of its kind."""

    @property
    def of_a_key(self) -> bool:
        """Tell whether it is asked for of one key."""
        return "{key_id}" in self.path


OPERATIONS = (
    Operation(
        name="get_document",
        method=_GET,
        path="/openapi.json",
        summary="Describe this API.",
        answer="Document",
    ),
    Operation(
        name="get_session",
        method=_GET,
        path="/session",
        summary="Tell who calls, if anybody, what each change has to send as X-CSRF-Token, and what may be chosen.",
        answer="Session",
        open_to_all=True,
    ),
    Operation(
        name="sign_in",
        method=_POST,
        path="/session",
        summary="Sign in with an owner's name and password: a new session, in a cookie.",
        body="SignIn",
        answer="Session",
        status=HTTPStatus.CREATED,
        open_to_all=True,
        problems=[HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS],
    ),
    Operation(
        name="sign_out",
        method=_DELETE,
        path="/session",
        summary="End the session, on every worker.",
        body="Nothing",
        answer=None,
        status=HTTPStatus.NO_CONTENT,
        problems=[HTTPStatus.CONFLICT],
    ),
    Operation(
        name="list_keys",
        method=_GET,
        path="/keys",
        summary="List keys: one's own, or as a superuser everyone's.",
        query=KEYS_QUERY,
        answer="Keys",
        problems=[HTTPStatus.NOT_FOUND],
    ),
    Operation(
        name="issue_key",
        method=_POST,
        path="/keys",
        summary="Issue a key to whoever calls. Its text is in this answer, and in no other.",
        body="NewKey",
        answer="IssuedKey",
        status=HTTPStatus.CREATED,
        tagged=True,
    ),
    Operation(
        name="delete_keys",
        method=_POST,
        path="/keys/delete",
        summary="Delete several keys, each if it is as its tag says; tell of each what became of it.",
        body="Deletion",
        answer="Deleted",
    ),
    Operation(
        name="get_key",
        method=_GET,
        path="/keys/{key_id}",
        summary="Show a key.",
        answer="Key",
        tagged=True,
    ),
    Operation(
        name="change_key",
        method=_PATCH,
        path="/keys/{key_id}",
        summary="Rename a key, disable it, or enable it again.",
        body="Patch",
        answer="Key",
        tagged=True,
        if_match=True,
        problems=[HTTPStatus.CONFLICT],
    ),
    Operation(
        name="delete_key",
        method=_DELETE,
        path="/keys/{key_id}",
        summary="Delete a key: it is refused from now on, and is listed as revoked.",
        body="Nothing",
        answer="Key",
        tagged=True,
        if_match=True,
    ),
    Operation(
        name="rotate_key",
        method=_POST,
        path="/keys/{key_id}/rotate",
        summary="Issue a new key in the place of an old one. Its text is in this answer, and in no other.",
        body="Rotation",
        answer="RotatedKey",
        status=HTTPStatus.CREATED,
        tagged=True,
        if_match=True,
        problems=[HTTPStatus.CONFLICT],
    ),
    Operation(
        name="end_grace",
        method=_POST,
        path="/keys/{key_id}/end-grace",
        summary="Refuse a key that was rotated from now on, before its grace has run out.",
        body="Nothing",
        answer="Key",
        tagged=True,
        if_match=True,
        problems=[HTTPStatus.CONFLICT],
    ),
    Operation(
        name="list_key_events",
        method=_GET,
        path="/keys/{key_id}/events",
        summary="Tell what was done to a key, the newest first.",
        query=EVENTS_QUERY,
        answer="Events",
    ),
    Operation(
        name="list_events",
        method=_GET,
        path="/events",
        summary="Tell what was done to an owner and their keys, the newest first.",
        query=ALL_EVENTS_QUERY,
        answer="Events",
        problems=[HTTPStatus.NOT_FOUND],
    ),
    Operation(
        name="list_owners",
        method=_GET,
        path="/owners",
        summary="List the owners, by name: for superusers.",
        answer="Owners",
    ),
)
