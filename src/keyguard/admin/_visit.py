"""One request to the page: who comes, what they bring, and how it is answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keyguard.address import client_address
from keyguard.admin._answers import html
from keyguard.admin._assets import assets_of
from keyguard.admin._cookies import SAFE, Cookies, path_of
from keyguard.admin._csrf import Seal, comes_from_here
from keyguard.admin._desk import Desk
from keyguard.admin._in_front import access_in_front
from keyguard.admin._problems import Problem
from keyguard.admin._settings import Settings
from keyguard.admin._visitor import Visitor, Way, who_visits
from keyguard.journal import Journal, TurnedAway
from keyguard.model import IPAddress

__all__ = ["Notice", "Visit", "not_signed_in"]

_JOURNAL = Journal()
_NOTICE_SECONDS = timedelta(seconds=60)
_LONGEST_NOTICE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What the next page says: what happened, or what failed."""

    text: str
    kind: Literal["done", "failed"] = "done"


class Visit:
    """A request, and all that an endpoint of the page needs.

    An endpoint is called only if somebody visits (unless its door is `open_to_all`) and, where it changes something,
    when it is known that a page of ours has asked for it.
    """

    def __init__(self, settings: Settings, request: Request) -> None:
        self.settings = settings
        self.request = request
        self.cookies = Cookies(request, secure=settings.secure_cookies)
        self.visitor: Visitor | None = None
        """Who visits; None for nobody."""
        self._root = path_of(request.scope.get("root_path") or "")

    async def arrive(self) -> None:
        """Find out who visits. Raises what `who_visits` does."""
        await self.settings.opening.open()
        self.visitor = await who_visits(self.settings, self.request.scope, self.cookies.session)

    async def stays(self) -> bool:
        """Tell whether the visitor's session goes on; look at them as they are now.

        For when a body has been read: who sends one may take hours over it, and be signed out or have less rights then.
        Whom the app knows was known when it was asked. Raises what `who_visits` does.
        """
        if not self._is_by_session():
            return True
        await self.arrive()
        if not self._is_by_session():
            self.visitor = None
        return self._is_by_session()

    def _is_by_session(self) -> bool:
        visitor = self.visitor
        return visitor is not None and visitor.way is Way.SESSION

    # --- who ---

    @property
    def desk(self) -> Desk:
        """All that the visitor may see and do. Raises `Problem` (401) if nobody visits."""
        if self.visitor is None:
            raise not_signed_in()
        return Desk(self.settings, self.visitor)

    @property
    def address(self) -> IPAddress | None:
        """Where the request comes from."""
        scope, hops = self.request.scope, self.settings.trusted_hops
        access = access_in_front(scope)
        if hops is None and access is not None:
            return access.address
        return client_address(scope.get("client"), self.request.headers.raw, trusted_hops=hops or 0)

    def note(self, kind: TurnedAway, what: str, *, owner_id: str | None) -> None:
        """Write into the log that somebody was turned away."""
        asked = f"{self.request.method} {self.request.scope['path']}"
        _JOURNAL.turned_away(kind, what, asked, owner_id=owner_id, address=self.address)

    # --- what was signed, and who has asked ---

    @property
    def seal(self) -> Seal:
        """What signs for this visitor in this browser."""
        visitor = self.visitor
        secret = self.cookies.session if self._is_by_session() else None
        return Seal(
            secret or self.cookies.browser,
            "nobody" if visitor is None else f"{visitor.way.value} {visitor.owner.id}",
            self.settings.clock,
        )

    @property
    def csrf_token(self) -> str:
        """What a form, or the header `X-CSRF-Token`, has to bring."""
        return self.seal.sign("change", "change")

    def check_change(self, token: str | None) -> None:
        """Make sure that a page of ours, in this visitor's browser, has asked for a change.

        Raises `Problem` (403) if `token` is not one that was made for this visitor, or the request comes from a page of
        another site.
        """
        if not comes_from_here(self.request, self.settings.trusted_origins):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "foreign_origin",
                "The request was not made by this page, as far as your browser says. Nothing was done.",
            )
        if token is None or self.seal.read("change", token) != "change":
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "csrf_token",
                "The page was open for too long, or you have signed in anew since: load it again. Nothing was done.",
            )

    # --- answers ---

    def url(self, path: str, **query: object) -> str:
        """Return the address of one of the page's own paths, such as ``/new``, as a link has it.

        What is percent-encoded in `path` stays so, such as the id of a key (`key_path`). A `query` value that is None
        is left out, one that is a list stands there once for each of its members.
        """
        given = {name: value for name, value in query.items() if value is not None}
        written = quote(path, safe=f"{SAFE}%", errors="replace")
        return f"{self._root}{written}" + (f"?{urlencode(given, doseq=True, errors='replace')}" if given else "")

    @property
    def here(self) -> str:
        """The path that was asked for, as `url` takes it, with its query."""
        scope = self.request.scope
        query = scope.get("query_string", b"").decode("latin-1")
        # `KeyAdmin` has put the one before the other.
        path = quote(scope["path"].removeprefix(scope.get("root_path") or ""), safe="/", errors="replace")
        return f"{path}?{query}" if query else path

    def page(
        self,
        template: str,
        status: HTTPStatus = HTTPStatus.OK,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Response:
        """Return a page made from a template, which has `more` and what every template has.

        That is `brand` (the page's title), `links` (back into the app), `visitor` (None for nobody), `can_sign_out`,
        `csrf_token`, `url` (this visit's), `asset` (the address of a file of ours), `section` (which of those in the
        bar it belongs to), `now`, and `notice`: a `Notice` that is shown this once, or None.
        """
        everywhere = {
            "brand": self.settings.title,
            "links": self.settings.way_out,
            "visitor": self.visitor,
            "can_sign_out": self.visitor is not None and self.visitor.way is Way.SESSION,
            "csrf_token": self.csrf_token,
            "url": self.url,
            "asset": self._asset,
            "section": "",
            "now": self.settings.clock(),
            "notice": self._take_notice(),
        }
        return html(template, status, {**everywhere, **more}, headers=headers)

    def go(self, path: str, notice: Notice | None = None, **query: object) -> Response:
        """Send the browser to one of the page's own paths, where `notice` is shown."""
        if notice is not None:
            said = [notice.kind, notice.text[:_LONGEST_NOTICE]]
            self.cookies.keep("notice", self.seal.sign("notice", said), _NOTICE_SECONDS)
        return RedirectResponse(self.url(path, **query), status_code=HTTPStatus.SEE_OTHER)

    def go_back(self, place: str) -> Response:
        """Send the browser to a `place` that `way_back` has returned: a path of the page's own with its query."""
        return RedirectResponse(f"{self._root}{place}", status_code=HTTPStatus.SEE_OTHER)

    def _asset(self, name: str) -> str:
        return self.url(f"/assets/{name}", v=assets_of(self.settings.theme)[name].version)

    def _take_notice(self) -> Notice | None:
        brought = self.cookies.brought("notice")
        if brought is None:
            return None
        self.cookies.drop("notice")
        said = self.seal.read("notice", brought, within=_NOTICE_SECONDS)
        return None if said is None else Notice(kind=said[0], text=said[1])


def not_signed_in() -> Problem:
    """Return what nobody is told where there is no form to be sent to."""
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "not_signed_in",
        "You are not signed in.",
        headers={"www-authenticate": 'Session realm="keys"'},
    )
