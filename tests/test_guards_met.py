"""Which guards a request meets, with Starlette itself as the referee."""

import pytest
from asgi import http_scope, send_scope
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from keyguard import KeyGuard, Policy, lifecycle
from keyguard.routes import guards_met
from keyguard.stores.memory import MemoryStore

SEEN = []
STORE = MemoryStore()


class Noting(KeyGuard):
    """A guard that notes how each request arrives at it."""

    async def __call__(self, scope, receive, send):
        SEEN.append((self.root_path, scope["path"], scope.get("root_path")))
        await super().__call__(scope, receive, send)


def guard(name):
    """A middleware whose declared root is its name; everything passes it, so that all further in are met, too."""
    policy = Policy(skip_auth=True, auto_login_user="auto")
    return Middleware(Noting, store=STORE, policy=policy, root_path=f"/{name}")


async def endpoint(request):
    return PlainTextResponse("there")


def nested():
    inner = Starlette(routes=[Route("/flows", endpoint)], middleware=[guard("inner"), guard("innermost")])
    api = FastAPI(middleware=[guard("api")])
    api.add_route("/users", endpoint)
    routes = [Mount("/inner", inner), Mount("/api", api), Mount("/open", routes=[Route("/x", endpoint)])]
    return Starlette(routes=[*routes, Mount("/", routes=[Route("/{rest:path}", endpoint)], middleware=[guard("rest")])])


def around():
    return guard("outer").cls(nested(), **guard("outer").kwargs)


@pytest.mark.parametrize("make", [nested, around])
@pytest.mark.parametrize("path", ["/inner/flows", "/inner/none", "/api/users", "/open/x", "/open/none", "/", "/else"])
@pytest.mark.parametrize("root_path", ["", "/served"])
async def test_the_guards_met_are_those_that_a_request_meets(make, path, root_path):
    """The same guards are named, in the same order, and each with path and root as a request arrives there."""
    if await STORE.find_owner("auto") is None:
        await lifecycle.add_owner(STORE, "auto")
    app = make()
    SEEN.clear()
    scope = http_scope(root_path + path, root_path=root_path)
    met = guards_met(app, scope)
    assert scope == http_scope(root_path + path, root_path=root_path)
    await send_scope(app, scope)
    assert [(each.root_path, seen["path"], seen["root_path"]) for each, seen in met] == SEEN


class Wrong(Convertor):
    regex = "[^/]+"

    def convert(self, value):
        raise ValueError

    def to_string(self, value):
        return value


def test_a_path_that_a_convertor_does_not_take():
    """Where a convertor raises, and the request is answered with 500, the guards before it are met."""
    register_url_convertor("wrong", Wrong())
    app = Starlette(routes=[Mount("/{x:wrong}", nested())], middleware=[guard("outer")])
    met = guards_met(app, http_scope("/x/inner/flows"))
    assert [each.root_path for each, _ in met] == ["/outer"]


def test_a_guard_that_cannot_be_set_up_is_met():
    """A guard with a mistake in its arguments stands as None: nothing passes it."""
    app = Starlette(routes=[Route("/flows", endpoint)])
    app.add_middleware(KeyGuard, store=None)
    assert [each for each, _ in guards_met(app, http_scope("/flows"))] == [None]


def test_an_app_stands_in_its_scope():
    """As in a request, a Starlette app stands in the scope as `app`, where an app's own sign-in may look for it."""
    app = nested()
    assert [seen["app"] for _, seen in guards_met(app, http_scope("/api/users"))] == [app]
    assert ["app" in seen for _, seen in guards_met(around(), http_scope("/open/x"))] == [False]
