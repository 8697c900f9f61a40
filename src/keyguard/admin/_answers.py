"""How the page answers: templates, problem documents, and the header fields that every answer has."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import Message, Scope, Send

from keyguard.admin._in_front import access_in_front
from keyguard.admin._problems import Problem
from keyguard.admin._templates import ENVIRONMENT

__all__ = ["guarded_send", "html", "problem_document", "problem_json"]

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "content-security-policy": _CONTENT_SECURITY_POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # With less, browsers would send forms with the origin `null`.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def html(
    template: str, status: HTTPStatus, context: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a page."""
    # What people have written may hold a lone surrogate, which no encoding takes.
    text = ENVIRONMENT.get_template(template).render(context)
    return HTMLResponse(text.encode(errors="replace"), status, headers=headers)


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return the members of a problem document (RFC 9457)."""
    return {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": problem.detail,
        "code": problem.code,
        **({"errors": problem.errors} if problem.errors else {}),
    }


def problem_document(problem: Problem) -> Response:
    """Return a problem document as an answer."""
    return Response(
        json.dumps(problem_json(problem)),
        problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


def guarded_send(scope: Scope, send: Send) -> Send:
    """Give every answer the header fields that keep it safe, where it has none of that name.

    The answer to HEAD has no body, whatever the server does with one.
    """
    access = access_in_front(scope)
    key_in_address = access is not None and access.query_was_used
    is_head = scope["method"] == "HEAD"

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if key_in_address:
                headers["referrer-policy"] = "no-referrer"
        elif is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return sending
