"""The API's description, as OpenAPI 3.1.1 has it: made of the operations, with the schemas that bodies are held to."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from keyguard.admin._api.operations import OPERATIONS, Operation
from keyguard.admin._api.schemas import ANSWERS, BODIES, Json
from keyguard.admin._api.shapes import faults

__all__ = ["API_VERSION", "document"]

API_VERSION: Final = "1.0.0"
"""The API's own: the second number grows with what is added, the first with what clients have to be changed for."""

_DESCRIPTION: Final = (
    "Everything here acts for whoever is signed in: by a session of the key page's own, or by the app's sign-in. A key "
    "is no session. Each change sends the session's `csrf_token` as X-CSRF-Token, from a page of the same origin; each "
    "change of a key sends its ETag as If-Match. Errors are problem documents (RFC 9457) with a stable `code`."
)

_PROBLEMS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON, or If-Match no list of entity tags.",
    HTTPStatus.UNAUTHORIZED: "Nobody is signed in, or name and password are not right.",
    HTTPStatus.FORBIDDEN: "Whoever is signed in may not, or the change was not asked for by a page of this origin.",
    HTTPStatus.NOT_FOUND: "There is no such key, or it is another owner's.",
    HTTPStatus.METHOD_NOT_ALLOWED: "That cannot be done with it; Allow says what can.",
    HTTPStatus.CONFLICT: "It is in no state that allows it.",
    HTTPStatus.PRECONDITION_FAILED: "The key is not as it was when it was read.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is said to be anything but JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The body or the query is not what the operation takes; `errors` says where.",
    HTTPStatus.PRECONDITION_REQUIRED: "If-Match is missing.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many attempts have failed; Retry-After says how many seconds to wait.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The store cannot answer now; Retry-After says how many seconds to wait.",
}

_HEADERS: Final[Json] = {
    "ETag": {"description": "What a change of the key sends as If-Match.", "schema": {"type": "string"}},
    "Location": {"description": "Where the new key is.", "schema": {"type": "string"}},
    "Link": {"description": "The parts before and after, as next and prev.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "That a session is asked for.", "schema": {"type": "string"}},
}

_RETRIED: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def document(url: str, cookie: str) -> Json:
    """Return the document of an API that is served at `url`, whose sessions are in a cookie of that name."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Key page", "version": API_VERSION, "description": _DESCRIPTION},
        "servers": [{"url": url}],
        "security": [{"session": []}],
        "paths": paths,
        "components": {
            "schemas": {**BODIES, **ANSWERS},
            "parameters": _PARAMETERS,
            "responses": {status.name: _problem(status, meaning) for status, meaning in _PROBLEMS.items()},
            "headers": _HEADERS,
            "securitySchemes": {"session": {"type": "apiKey", "in": "cookie", "name": cookie}},
        },
    }


def problems_of(operation: Operation) -> list[HTTPStatus]:
    """Return with which statuses an operation may fail."""
    found = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE, *operation.problems}
    found.add(HTTPStatus.UNPROCESSABLE_ENTITY)  # Of a query that is not what it takes, which may be any.
    if operation.of_a_key:
        found.add(HTTPStatus.NOT_FOUND)
    if operation.body is not None:
        found |= {
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        }
    if operation.if_match:
        found |= {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.PRECONDITION_REQUIRED}
    return sorted(found)


_PARAMETERS: Final[Json] = {
    "key_id": {
        "name": "key_id",
        "in": "path",
        "required": True,
        "description": "The id of a key.",
        "schema": {"type": "string"},
    },
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The ETag of what is to be changed, several, or * for whatever it is (RFC 9110 §13.1.1).",
        "schema": {"type": "string"},
    },
    "X-CSRF-Token": {
        "name": "X-CSRF-Token",
        "in": "header",
        "required": True,
        "description": "The session's csrf_token.",
        "schema": {"type": "string"},
    },
}


def _operation(operation: Operation) -> Json:
    named = ["key_id"] if operation.of_a_key else []
    if operation.if_match:
        named.append("If-Match")
    if operation.body is not None:
        named.append("X-CSRF-Token")
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*({"$ref": f"#/components/parameters/{name}"} for name in named), *operation.query],
        "responses": {str(operation.status.value): _success(operation)}
        | {str(status.value): {"$ref": f"#/components/responses/{status.name}"} for status in problems_of(operation)},
    }
    if operation.open_to_all:
        described["security"] = []
    if operation.body is not None:
        described["requestBody"] = {
            "required": any(faults({}, BODIES[operation.body])),
            "content": {"application/json": {"schema": _ref(operation.body)}},
        }
    return described


def _success(operation: Operation) -> Json:
    names = [
        *(["ETag"] if operation.tagged else []),
        *(["Location"] if operation.tagged and operation.status is HTTPStatus.CREATED else []),
        *(["Link"] if operation.query else []),
    ]
    success: Json = {"description": operation.status.phrase}
    if names:
        success["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    if operation.answer is not None:
        success["content"] = {"application/json": {"schema": _ref(operation.answer)}}
    return success


def _problem(status: HTTPStatus, meaning: str) -> Json:
    names = [
        *(["Retry-After"] if status in _RETRIED else []),
        *(["WWW-Authenticate"] if status is HTTPStatus.UNAUTHORIZED else []),
    ]
    return {
        "description": meaning,
        **({"headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names}} if names else {}),
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
