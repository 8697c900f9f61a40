"""Small guarded apps that differ in how they start: `CASE` in the environment says which one this process is."""

import asyncio
import logging
import os
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from keyguard import KeyGuard, Keyring, Policy
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore

PEPPER = "a pepper of more than sixteen bytes"
OTHER_PEPPER = "another one, of which nobody has heard"
POLICY = Policy(exempt=["/health"])

WRONG = {
    # KeyGuard's arguments, and the sentence that start-up ends with.
    "nothing": ({}, "KeyGuard.__init__() missing 1 required keyword-only argument: 'store'"),
    "unknown keyword": ({"stor": 1}, "KeyGuard.__init__() got an unexpected keyword argument 'stor'"),
    "no store": (
        {"store": None},
        "store is a store of keys, such as SQLStore(...) or MemoryStore(), with all members of",
    ),
    "a class for a store": ({"store": MemoryStore}, "store is a store of keys"),
    "no policy": ({"policy": ["/health"]}, "policy is a keyguard.Policy; not list"),
    "a bad header": ({"header": "x api key"}, "header is the name of a header, such as 'x-api-key', or None"),
    "a header of bytes": ({"header": b"x-api-key"}, "header is the name of a header"),
    "authorization": (
        {"header": "Authorization"},
        "header cannot be 'authorization': bearer=True reads keys from there",
    ),
    "a bad query": ({"query": "a&b"}, "query is the name of a query parameter"),
    "no place": ({"header": None, "query": None}, "keys are looked for in at least one of header, query and bearer"),
    "a text for a switch": ({"bearer": "false"}, "bearer is True or False; not 'false'"),
    "a root with a slash": ({"root_path": "/api/"}, "root_path is empty, or begins with one slash"),
    "no truth": ({"root_in_path": 1}, "root_in_path is True or False; not 1"),
    "no hook": ({"identify": "ada"}, "identify is a function, or None; not str"),
    "no answer": ({"on_refused": 403}, "on_refused is a function, or None; not int"),
    "no stripping": ({"strip": None}, "strip is True or False; not None"),
    "fewer than no hops": ({"trusted_hops": -1}, "trusted_hops is the number of proxies, 0 or more; not -1"),
}


def sql_store():
    return SQLStore(os.environ["DATABASE"], keyring=Keyring(peppers=os.environ.get("PEPPERS", "").split("|")[:-1]))


def open_health(request):
    return PlainTextResponse(f"health of {os.getpid()}")


def who(request):
    return PlainTextResponse(f"{request.user.name} of {os.getpid()}")


ROUTES = [Route("/health", open_health), Route("/who", who)]


@asynccontextmanager
async def says_that_it_lives(app):
    logging.getLogger("app").warning("the app's own lifespan has begun")
    yield
    logging.getLogger("app").warning("the app's own lifespan has ended")


def wrong(name):
    app = Starlette(routes=ROUTES, lifespan=says_that_it_lives)
    arguments = {} if name in {"nothing", "unknown keyword"} else {"store": MemoryStore(), "policy": POLICY}
    app.add_middleware(KeyGuard, **(arguments | WRONG[name][0]))
    return app


def guarded():
    app = Starlette(routes=ROUTES, lifespan=says_that_it_lives)
    app.add_middleware(KeyGuard, store=sql_store(), policy=POLICY)
    return app


def mounted():
    """Below another app: no lifespan reaches the guard."""
    guard = KeyGuard(Starlette(routes=ROUTES), store=sql_store(), policy=POLICY, root_path="/below")
    return Starlette(routes=[Mount("/below", guard)])


async def echo(websocket):
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(f"{await websocket.receive_text()} of {os.getpid()}")
    except WebSocketDisconnect as gone:
        logging.getLogger("app").warning("echo ends with %s", gone.code)


async def ticks(scope, receive, send):
    """A plain ASGI app that sends, and never looks whether anything has come."""
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "text": f"tick of {os.getpid()}"})
        await asyncio.sleep(0.01)


def sockets():
    routes = [*ROUTES, WebSocketRoute("/echo", echo), Mount("/ticks", ticks)]
    app = Starlette(routes=routes, lifespan=says_that_it_lives)
    app.add_middleware(KeyGuard, store=sql_store(), policy=POLICY, recheck=float(os.environ["RECHECK"]))
    return app


def chosen(case):
    return {"guarded": guarded, "mounted": mounted, "sockets": sockets}.get(case, lambda: wrong(case))()


app = chosen(os.environ["CASE"]) if "CASE" in os.environ else None  # None in the tests, which read the table.
