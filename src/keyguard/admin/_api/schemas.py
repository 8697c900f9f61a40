"""What the API takes and gives, as JSON Schema (2020-12), which is what OpenAPI 3.1 is written in.

What it takes is checked by these very schemas. What it gives is held to them by the tests.
"""

from typing import Any, Final

from keyguard.admin._desk import LONGEST_NAME, MOST_AT_ONCE
from keyguard.model import AuditKind, KeyOrder, KeyState

__all__ = [
    "ALL_EVENTS_QUERY",
    "ANSWERS",
    "BODIES",
    "DELETION",
    "EVENTS_QUERY",
    "EXPIRING_SOON",
    "KEYS_QUERY",
    "NEW_KEY",
    "NOTHING",
    "ORDERS",
    "PATCH",
    "ROTATION",
    "SIGN_IN",
    "STATES",
    "Json",
]

Json = dict[str, Any]

EXPIRING_SOON: Final = "expiring_soon"
"""A state to look for, beside those that a key can be in: active, with less than a week to go."""

STATES = {state.value.replace(" ", "_"): state for state in KeyState}
ORDERS = {order.value.replace(" ", "_"): order for order in KeyOrder}

LONGEST_GRACE: Final = 366 * 24 * 60 * 60

_NO_NUL: Final = "^[^\\u0000]*$"


def _object(*optional: str, **members: Json) -> Json:
    """Return the schema of an object with these members and no other, of which only some may be left out."""
    required = [name for name in members if name not in optional]
    return {
        "type": "object",
        "properties": members,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _or_null(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


def _said(description: str, schema: Json) -> Json:
    return {**schema, "description": description}


def _list(items: Json, **bounds: int) -> Json:
    return {"type": "array", "items": items, **bounds}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: Final[Json] = {"type": "string"}
_YES_OR_NO: Final[Json] = {"type": "boolean"}
_WHOLE: Final[Json] = {"type": "integer", "minimum": 0}
_TIME: Final[Json] = {"type": "string", "format": "date-time"}
_NAME: Final[Json] = {"type": "string", "maxLength": LONGEST_NAME, "pattern": _NO_NUL}
_SCOPE: Final[Json] = {"type": "string", "maxLength": 200}
_NETWORK: Final[Json] = {"type": "string", "format": "network", "maxLength": 49}
_TAG: Final[Json] = {"type": "string", "maxLength": 200, "examples": ['"4d1f…"']}

# --- what it takes: bodies --------------------------------------------------------------------------------------

NOTHING = _object()

SIGN_IN = _object(
    name=_said("The owner's name.", {"type": "string", "maxLength": 1000}),
    password={"type": "string", "maxLength": 4096},
)

NEW_KEY = _object(
    "name",
    "expires_at",
    "scopes",
    "networks",
    name=_said("For people.", _NAME),
    expires_at=_said(
        "From when on it is not good any more; null for never. Left out: the page's default.", _or_null(_TIME)
    ),
    scopes=_said(
        "What it may do: null, or left out, for all that its owner may; an empty list for nothing.",
        _or_null(_list(_SCOPE, maxItems=MOST_AT_ONCE)),
    ),
    networks=_said(
        "From where it may be used, such as 192.0.2.0/24; empty for anywhere.", _list(_NETWORK, maxItems=MOST_AT_ONCE)
    ),
)

PATCH = {
    **_object("name", "disabled", name=_NAME, disabled=_YES_OR_NO),
    "minProperties": 1,
    "maxProperties": 1,
    "description": "One change at a time, so that it is made as a whole or not at all.",
}

ROTATION = _object(
    "grace_seconds",
    grace_seconds=_said(
        "How long the old key is still good; 0, or left out, for not at all.", {**_WHOLE, "maximum": LONGEST_GRACE}
    ),
)

DELETION = _object(
    keys=_list(_object(id={"type": "string", "maxLength": 60}, etag=_TAG), minItems=1, maxItems=MOST_AT_ONCE)
)

BODIES = {
    "Nothing": NOTHING,
    "SignIn": SIGN_IN,
    "NewKey": NEW_KEY,
    "Patch": PATCH,
    "Rotation": ROTATION,
    "Deletion": DELETION,
}

# --- what it takes: queries -------------------------------------------------------------------------------------


def _parameter(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_OWNER: Final = _parameter(
    "owner", "The id of an owner; superusers may ask for any.", {"type": "string", "maxLength": 1000}
)

KEYS_QUERY = (
    _parameter(
        "q",
        "What stands anywhere in the name (or the owner's), or is the beginning of the id, or of prefix and id. "
        "A whole key is refused: it would stand in logs.",
        {"type": "string", "maxLength": 200, "default": ""},
    ),
    _parameter(
        "state",
        "Only keys in one of these states; may be repeated.",
        _list({"type": "string", "enum": [*STATES, EXPIRING_SOON]}, maxItems=len(STATES) + 1),
    ),
    _OWNER,
    _parameter("sort", "What they are ordered by.", {"type": "string", "enum": list(ORDERS), "default": "created"}),
    _parameter("order", "In which direction.", {"type": "string", "enum": ["asc", "desc"]}),
    _parameter(
        "page", "Which part of the list.", {"type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 1}
    ),
    _parameter(
        "per_page", "How many keys make a part.", {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}
    ),
)

EVENTS_QUERY = (
    _parameter("before", "The id of an event: only older ones.", {"type": "integer", "minimum": 1, "maximum": 10**15}),
    _parameter("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}),
)

ALL_EVENTS_QUERY = (_OWNER, *EVENTS_QUERY)

# --- what it gives ----------------------------------------------------------------------------------------------

_TIME_OR_NULL: Final = _or_null(_TIME)

_KEY_MEMBERS: Final[Json] = {
    "id": _TEXT,
    "name": _TEXT,
    "hint": _said("How people tell their keys apart: no character of the secret is in it.", _TEXT),
    "prefix": _TEXT,
    "state": {"type": "string", "enum": list(STATES)},
    "expiring_soon": _said("Whether it is active, and ends within a week.", _YES_OR_NO),
    "owner": _object(id=_TEXT, name=_TEXT),
    "created_at": _TIME,
    "not_before": _TIME_OR_NULL,
    "expires_at": _TIME_OR_NULL,
    "disabled_at": _TIME_OR_NULL,
    "revoked_at": _TIME_OR_NULL,
    "revoked_reason": _TEXT,
    "rotated_at": _said("When another key took its place: it is in its grace until it expires.", _TIME_OR_NULL),
    "rotated_from": _said("The id of the key whose place it took.", _or_null(_TEXT)),
    "scopes": _said("What it may do; null for all that its owner may.", _or_null(_list(_TEXT))),
    "networks": _list(_TEXT),
    "last_used_at": _TIME_OR_NULL,
    "total_uses": _WHOLE,
    "etag": _said("What a change of it sends as If-Match. Uses do not change it.", _TEXT),
}

_THE_KEY: Final = _said("The key itself, in an answer that is given once. Nobody can read it back later.", _TEXT)

_ERROR: Final = _object(
    "pointer",
    "parameter",
    pointer=_said("Where in the body, as a JSON Pointer (RFC 6901).", _TEXT),
    parameter=_said("Which parameter of the query.", _TEXT),
    detail=_TEXT,
)

_PROBLEM_MEMBERS: Final[Json] = {
    "type": {"type": "string", "const": "about:blank"},
    "title": _TEXT,
    "status": {"type": "integer", "minimum": 400, "maximum": 599},
    "detail": _said("A sentence for people.", _TEXT),
    "code": _said("A word for programs, which stays what it is.", _TEXT),
    "errors": _said("What is wrong with a body or a query, each for itself.", _list(_ERROR)),
}

_EVENT: Final = _object(
    id=_WHOLE,
    at=_TIME,
    kind={"type": "string", "enum": [kind.value for kind in AuditKind]},
    actor=_said("The id of whoever asked for it, or what else they are called; empty where that is not known.", _TEXT),
    key_id=_or_null(_TEXT),
    owner_id=_or_null(_TEXT),
    detail={"type": "object"},
)

_CHOICES: Final = _object(
    scopes=_said("What a key can be restricted to.", _list(_object(name=_TEXT, description=_TEXT))),
    may_grant_all=_said("Whether a key may be left without scopes: it may then do all that its owner may.", _YES_OR_NO),
    lifetimes_seconds=_said("The lives that the page offers.", _list(_WHOLE)),
    default_lifetime_seconds=_said("The life of a key that says nothing of it; null for no end.", _or_null(_WHOLE)),
    max_lifetime_seconds=_said("The longest life that is allowed; null for no bound.", _or_null(_WHOLE)),
)

_SESSION: Final = _object(
    owner=_said("Who is signed in; null for nobody.", _or_null(_object(id=_TEXT, name=_TEXT, is_superuser=_YES_OR_NO))),
    way=_said(
        "How that is known: by a session of the page's own, by the app's sign-in, or because everybody is the same.",
        {"type": ["string", "null"], "enum": ["session", "app", "auto_login", None]},
    ),
    csrf_token=_said("What each change sends as X-CSRF-Token, also the one that signs somebody in.", _TEXT),
    signs_in_here=_said("Whether POST signs somebody in; otherwise the app does that.", _YES_OR_NO),
    choices=_said("What can be chosen for a new key; null for nobody.", _or_null(_CHOICES)),
)

ANSWERS = {
    "Key": _object(**_KEY_MEMBERS),
    "IssuedKey": _object(**_KEY_MEMBERS, key=_THE_KEY),
    "RotatedKey": _object("predecessor", **_KEY_MEMBERS, key=_THE_KEY, predecessor=_ref("Key")),
    "Keys": _object(keys=_list(_ref("Key")), total=_WHOLE, page=_WHOLE, per_page=_WHOLE),
    "Deleted": _object(
        results=_list(_object("key", "problem", id=_TEXT, deleted=_YES_OR_NO, key=_ref("Key"), problem=_ref("Problem")))
    ),
    "Event": _EVENT,
    "Events": _object(events=_list(_ref("Event"))),
    "Owners": _object(owners=_list(_object(id=_TEXT, name=_TEXT, is_active=_YES_OR_NO, is_superuser=_YES_OR_NO))),
    "Session": _SESSION,
    "Document": {"type": "object"},
    "Problem": _object("errors", **_PROBLEM_MEMBERS),
}
