"""Keyguard in FastAPI: dependencies for endpoints, and the security schemes of the OpenAPI document.

::

    app.add_middleware(KeyGuard, store=store)
    guarded = KeySecurity()

    @app.get("/flows")
    async def flows(user: Annotated[Principal, guarded("flows:read")]) -> list[str]: ...

`KeyGuard` guards all routes, with these dependencies or without. They give an endpoint its caller, let it ask for more
than being let in, and tell the docs page where a key goes, so that its *Authorize* button works. They read what
KeyGuard has put into the scope, never the request: the key is out of it by then.

The docs page is guarded as well; ``Policy(exempt=["/docs", "/openapi.json"])`` opens it to everybody.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends
from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from keyguard.access import NotPermitted, access_of, need_of, refusal_of
from keyguard.errors import ConfigurationError
from keyguard.model import AnonymousUser, Principal

__all__ = ["KeySecurity"]

_IN_ONE_PLACE = "Give the key in one place only: a request with two is refused."
"""What the docs page says beside each field of *Authorize*: it sends all that are filled in."""


class _Documented(SecurityBase):
    """A security scheme that is only written into the OpenAPI document."""

    def __init__(self, scheme_name: str, model: APIKey | HTTPBearer) -> None:
        self.scheme_name = scheme_name
        self.model = model

    async def __call__(self) -> None:
        """Do nothing: the guard has judged the request."""


async def _undocumented() -> None:
    """Stand where a source of keys that is off would be documented."""


class KeySecurity:
    """Where keys go, for the OpenAPI document, and what endpoints depend on.

    Args:
        header: the header field, as KeyGuard was told; None if it looks into none.
        query: the query parameter, likewise.
        bearer: whether KeyGuard looks into ``Authorization: Bearer``.

    Raises:
        ConfigurationError: if all three are off.
    """

    def __init__(
        self, *, header: str | None = "x-api-key", query: str | None = "x-api-key", bearer: bool = False
    ) -> None:
        if header is None and query is None and not bearer:
            raise ConfigurationError("name the header, the query parameter or bearer=True, as KeyGuard was told")
        in_header = _api_key("ApiKeyHeader", APIKeyIn.header, header)
        in_query = _api_key("ApiKeyQuery", APIKeyIn.query, query)
        as_bearer = _Documented("ApiKeyBearer", HTTPBearer(description=_IN_ONE_PLACE)) if bearer else _undocumented

        async def document(
            _header: Annotated[None, Depends(in_header)],
            _query: Annotated[None, Depends(in_query)],
            _bearer: Annotated[None, Depends(as_bearer)],
        ) -> None:
            """Write the schemes into the operations that depend on this."""

        self._document = document

    @property
    def documented(self) -> Any:
        """A dependency that only documents: ``FastAPI(dependencies=[security.documented])`` for all routes."""
        return Depends(self._document)

    @property
    def caller(self) -> Any:
        """A dependency whose value is the caller: a `Principal`, or an `AnonymousUser` on exempt and optional paths."""

        async def caller(
            connection: HTTPConnection, _document: Annotated[None, Depends(self._document)]
        ) -> Principal | AnonymousUser:
            access_of(connection.scope)
            user: Principal | AnonymousUser = connection.scope["user"]
            return user

        return Depends(caller)

    def __call__(self, *scopes: str, superuser: bool = False, key: bool = False) -> Any:
        """Return a dependency whose value is the caller, who has all that is asked for: see `keyguard.require`.

        A caller who has not is answered as KeyGuard answers: 401 or 403, through its `on_refused`.

        Raises:
            ConfigurationError: if a scope is not a name as `keyguard.model.check_scope` says.
        """
        need = need_of(scopes, superuser=superuser, key=key)

        async def permitted(
            connection: HTTPConnection, _document: Annotated[None, Depends(self._document)]
        ) -> Principal:
            answer = refusal_of(need, connection.scope)
            if answer is not None:
                raise NotPermitted(access_of(connection.scope), answer)
            user: Principal = connection.scope["user"]
            return user

        return Depends(permitted)


def _api_key(scheme_name: str, place: APIKeyIn, name: str | None) -> Callable[..., Any]:
    if name is None:
        return _undocumented
    model = APIKey.model_validate({"in": place, "name": name, "description": _IN_ONE_PLACE})
    return _Documented(scheme_name, model)
