"""The app that the browser meets: the key page, and endpoints that the keys are for.

From the environment: `DATABASE`, the URL of its store; `ROOT`, the prefix that a proxy takes off; `BELOW`, one that it
is mounted at in another app; `NOW`, a time at which its clock stands still; `URL`, where the page says that the app is.
"""

import os
from datetime import datetime

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from keyguard import KeyGuard, Policy
from keyguard.admin import KeyAdmin, with_key_page
from keyguard.clock import utc_now
from keyguard.stores.sql import SQLStore

SCOPES = {
    "flows:read": "See flows and what they did",
    "flows:run": "Run flows",
    "files:write": "Upload and replace files",
}
LINKS = [("Flows", "/health"), ("Global variables", "/health?variables")]


def work(request):
    """Answer which process answered, and for whom."""
    return JSONResponse({"pid": os.getpid(), "as": request.user.name})


def made(environment):
    store = SQLStore(environment["DATABASE"])
    clock = utc_now
    if "NOW" in environment:
        now = datetime.fromisoformat(environment["NOW"])
        clock = lambda: now  # noqa: E731 A clock that stands still.
    admin = KeyAdmin(store, scopes=SCOPES, url=environment.get("URL"), sample_path="/work", links=LINKS, clock=clock)
    app = Starlette(routes=[Route("/work", work), Route("/health", work), Mount("/keys", admin)])
    policy = with_key_page(Policy(exempt=["/health"]), "/keys")
    root, below = environment.get("ROOT", ""), environment.get("BELOW", "")
    guarded = KeyGuard(app, store=store, policy=policy, root_path=root or below)
    return Starlette(routes=[Mount(below, guarded)]) if below else guarded


app = made(os.environ) if "DATABASE" in os.environ else None  # None in the tests, which read SCOPES.
