"""`KeyAdmin`: the key page as an ASGI app."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from http import HTTPStatus

from starlette.requests import Request
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from keyguard.admin import _api, _pages, _sign_in
from keyguard.admin._answers import guarded_send
from keyguard.admin._doors import answer_instead
from keyguard.admin._entrance import Entrance
from keyguard.admin._problems import Problem
from keyguard.admin._settings import Settings, Theme
from keyguard.answers import POLICY_VIOLATION
from keyguard.clock import utc_now
from keyguard.errors import StoreUnavailable
from keyguard.journal import logger
from keyguard.lifespan import run_lifespan
from keyguard.middleware import Identify
from keyguard.ports import Clock, KeyRegistry
from keyguard.settings import Policy

__all__ = ["KeyAdmin"]

_LIFETIMES = tuple(timedelta(days=days) for days in (7, 30, 60, 90))


class KeyAdmin:
    """The key page, an ASGI app to be mounted: ``app.mount("/keys", KeyAdmin(store))``.

    Its routes stand in `routes`. Behind a `KeyGuard` its paths are opened by `with_key_page`, and the page goes by its
    own session, or by whom the guard's `identify` knows. A key is no session: whoever brings one is nobody here.

    Args:
        store: where keys and owners are, and who has signed in. It is opened at the first need.
        identify: the app's own sign-in, as `KeyGuard` takes it: ``async (scope) -> Principal | None`` (or not async),
            in the place of the page's own form. The principal's `id` is that of an owner in the store.
        sign_in_url: where people sign in to the app: a path or a URL that nobody is sent to. It takes the place of the
            page's own form; without `identify`, whom the guard in front knows is who visits.
        policy: whose `auto_login` and `skip_auth` the page goes by; without it, that of the guard in front.
        scopes: what keys can be restricted to: names, or a mapping from each name to what it allows, in words.
        lifetimes: what can be chosen as the life of a key. What is longer than the keyring's `max_lifetime` is left
            out.
        default_lifetime: which of them is chosen already; None for no end, where the keyring allows that.
        session_lifetime: after how long people have to sign in again, at most 365 days.
        url: the app's own URL, for the samples that a new key is shown with; without it, that of the request.
        sample_path: the path of the app's that the samples ask for.
        origins: from which other origins forms may come, such as ``https://example.com``: for a proxy that changes the
            header `Host`.
        trusted_hops: how many proxies of ours append to `X-Forwarded-For`; 0 trusts no header. None is what the guard
            in front goes by, and 0 where there is none.
        secure_cookies: whether cookies are for HTTPS alone; without it, if the request came by that.
        title: what the page is called.
        links: the way back into the app, in the bar before the page's own entries: ``[("Flows", "/flows")]``. Each is a
            label of at most 40 characters, and a path or URL as a browser asks for it.
        theme: its colours.
        clock: the time that it goes by.

    Raises:
        ConfigurationError: if an argument cannot be right; also where people are to sign in with the page's own form,
            and the store keeps no sessions or has its owners in the app's own table.
    """

    def __init__(
        self,
        store: KeyRegistry,
        *,
        identify: Identify | None = None,
        sign_in_url: str | None = None,
        policy: Policy | None = None,
        scopes: Iterable[str] | Mapping[str, str] = (),
        lifetimes: Iterable[timedelta] = _LIFETIMES,
        default_lifetime: timedelta | None = timedelta(days=90),
        session_lifetime: timedelta = timedelta(hours=12),
        url: str | None = None,
        sample_path: str = "/",
        origins: Iterable[str] = (),
        trusted_hops: int | None = None,
        secure_cookies: bool | None = None,
        title: str = "API keys",
        links: Iterable[tuple[str, str]] = (),
        theme: Theme = Theme(),  # noqa: B008 A frozen value.
        clock: Clock = utc_now,
    ) -> None:
        self.settings: Settings = Settings(
            store=store,
            identify=identify,
            sign_in_url=sign_in_url,
            policy=policy,
            scopes=scopes,
            lifetimes=lifetimes,
            default_lifetime=default_lifetime,
            session_lifetime=session_lifetime,
            url=url,
            sample_path=sample_path,
            origins=origins,
            trusted_hops=trusted_hops,
            secure_cookies=secure_cookies,
            title=title,
            links=links,
            theme=theme,
            clock=clock,
        )
        entrance = Entrance(self.settings)
        self.routes: list[Route] = [
            *_sign_in.routes(self.settings, entrance),
            *_pages.routes(self.settings),
            *_api.routes(self.settings, entrance),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; served alone, take part in the lifespan."""
        match scope["type"]:
            case "http":
                await self._answer(scope, receive, guarded_send(scope, send))
            case "lifespan":
                await run_lifespan(_nothing, scope, receive, send, enter=self._start, leave=self.aclose)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            case _:
                pass

    async def aclose(self) -> None:
        """Close the store, if it was opened here. Only where no lifespan reaches the page, and nobody else does it."""
        await self.settings.opening.close()

    async def _start(self) -> None:
        try:
            await self.settings.opening.open()
        except StoreUnavailable as problem:
            logger.warning("the store cannot be reached; the key page answers 503 until it can: %s", problem)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path_below_mount(scope)
        scope = {**scope, "path": f"{scope.get('root_path') or ''}{path}"}
        allowed: set[str] = set()
        for route in self.routes:
            match, more = route.matches(scope)
            if match is Match.FULL:
                await route.app({**scope, **more}, receive, send)
                return
            if match is Match.PARTIAL:
                allowed |= route.methods or set()
        instead = answer_instead(self.settings, path, _no_such(allowed))
        response = await instead(Request(scope, receive))
        await response(scope, receive, send)


def _path_below_mount(scope: Scope) -> str:
    """Return which of the page's own paths is asked for.

    A request's path begins with the `root_path` or, where the server or ``FastAPI(root_path=)`` leaves its part of it
    out, with what the mounts have added. Some frameworks put a slash at the end of what is below a mount.
    """
    root, path = scope.get("root_path") or "", scope["path"]
    for beginning in (root, root.removeprefix(scope.get("app_root_path") or "")):
        if path.startswith(f"{beginning}/") or path == beginning:
            path = path.removeprefix(beginning)
            break
    return path.rstrip("/") or "/"


def _no_such(allowed: set[str]) -> Problem:
    if not allowed:
        return Problem(HTTPStatus.NOT_FOUND, "no_page", "There is nothing at this address.")
    return Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "method",
        "This cannot be done at this address.",
        headers={"allow": ", ".join(sorted(allowed))},
    )


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Take no part in a lifespan."""
