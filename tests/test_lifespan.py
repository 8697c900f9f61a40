"""The lifespan of an app between our own first and last step, whatever the app makes of lifespans."""

import asyncio

import pytest

from keyguard.errors import SchemaMismatch, StoreUnavailable
from keyguard.lifespan import run_lifespan

SCOPE = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}


class Server:
    """Both ends of a lifespan: gives the messages in their order, and writes down what happens."""

    def __init__(self, *, enter=None, leave=None):
        self.happened = []
        self._problems = {"enter": enter, "leave": leave}
        self.waits = asyncio.Event()
        self._messages = [STARTUP, SHUTDOWN]

    async def receive(self):
        self.happened.append("receive")
        if not self._messages:
            self.waits.set()
            await asyncio.Event().wait()
        return self._messages.pop(0)

    async def send(self, message):
        self.happened.append(message["type"] + (f": {message['message']}" if "message" in message else ""))

    async def _step(self, name):
        self.happened.append(name)
        if self._problems[name] is not None:
            raise self._problems[name]

    async def run(self, app):
        steps = {"enter": lambda: self._step("enter"), "leave": lambda: self._step("leave")}
        await run_lifespan(app, SCOPE, self.receive, self.send, **steps)
        return self.happened


async def takes_part(scope, receive, send):
    """An app as most are."""
    assert scope is SCOPE
    assert await receive() == STARTUP
    await send({"type": "lifespan.startup.complete"})
    assert await receive() == SHUTDOWN
    await send({"type": "lifespan.shutdown.complete"})


async def refuses(scope, receive, send):
    """An app that has no lifespan and says so at once, as Django does."""
    raise ValueError("only http")


async def returns(scope, receive, send):
    """An app that ignores what it does not know."""


async def fails_to_start(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no table"})


async def fails_to_start_and_raises(scope, receive, send):
    """As Starlette does."""
    await fails_to_start(scope, receive, send)
    raise LookupError("no table")


async def fails_to_stop(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "still busy"})


async def raises_before_it_has_started(scope, receive, send):
    await receive()
    raise LookupError("half way")


async def raises_while_it_runs(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    raise LookupError("in the middle")


async def ends_early(scope, receive, send):
    """An app that starts and forgets to wait for the end."""
    await receive()
    await send({"type": "lifespan.startup.complete"})


STARTED = ["receive", "enter", "lifespan.startup.complete"]


async def test_an_app_that_takes_part():
    """We enter before the app starts, and leave after it has ended and before the server is told so."""
    happened = await Server().run(takes_part)
    assert happened == [*STARTED, "receive", "leave", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("app", [refuses, returns])
async def test_an_app_without_a_lifespan_is_answered_for(app):
    """For an app that refuses or ignores lifespans we start and stop alone; its exception goes no further."""
    assert await Server().run(app) == [*STARTED, "receive", "leave", "lifespan.shutdown.complete"]


async def test_an_app_that_fails_to_start():
    """When the app cannot start we leave, and the server is told in the app's words."""
    assert await Server().run(fails_to_start) == [
        "receive",
        "enter",
        "leave",
        "lifespan.startup.failed: no table",
    ]


async def test_an_app_that_fails_to_start_and_raises():
    """Where the app then raises as well, that comes through, and we have left once."""
    server = Server()
    with pytest.raises(LookupError, match="no table"):
        await server.run(fails_to_start_and_raises)
    assert server.happened == ["receive", "enter", "leave", "lifespan.startup.failed: no table"]


async def test_an_app_that_fails_to_stop():
    """When the app cannot stop we leave all the same, before the server is told."""
    assert await Server().run(fails_to_stop) == [
        *STARTED,
        "receive",
        "leave",
        "lifespan.shutdown.failed: still busy",
    ]


@pytest.mark.parametrize(
    ("app", "sentence", "happened"),
    [
        (raises_before_it_has_started, "half way", ["receive", "enter", "leave"]),
        (raises_while_it_runs, "in the middle", [*STARTED, "leave"]),
    ],
)
async def test_an_app_that_raises(app, sentence, happened):
    """What an app that takes part raises comes through, once we have left."""
    server = Server()
    with pytest.raises(LookupError, match=sentence):
        await server.run(app)
    assert server.happened == happened


async def test_an_app_that_ends_early():
    """When an app that takes part is done we leave, without waiting for anything."""
    assert await Server().run(ends_early) == [*STARTED, "leave"]


@pytest.mark.parametrize("kind", [SchemaMismatch, StoreUnavailable])
async def test_a_start_that_is_refused(caplog, kind):
    """When we cannot enter, the app is not started, and server and log are told why, in one sentence."""
    ran = []

    async def app(scope, receive, send):
        ran.append(scope)

    server = Server(enter=kind("the tables are missing"))
    with pytest.raises(kind):
        await server.run(app)
    assert server.happened == ["receive", "enter", "lifespan.startup.failed: the tables are missing"]
    assert [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "keyguard"] == [
        ("CRITICAL", "the tables are missing")
    ]
    assert caplog.records[-1].exc_info is None
    assert ran == []


async def test_a_start_that_fails_unexpectedly(caplog):
    """Whatever else is raised when we enter fails the start too, by its kind alone; the log has the trace."""
    problem = OSError("postgres://user:password@host")
    server = Server(enter=problem)
    with pytest.raises(OSError, match="password"):
        await server.run(takes_part)
    assert server.happened == ["receive", "enter", "lifespan.startup.failed: start-up failed: OSError"]
    assert caplog.records[-1].getMessage() == "start-up failed: OSError"
    assert caplog.records[-1].exc_info[1] is problem


@pytest.mark.parametrize("app", [takes_part, returns])
async def test_leaving_that_fails(app):
    """When we cannot leave, that comes through, and is not tried again."""
    server = Server(leave=OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        await server.run(app)
    assert server.happened == [*STARTED, "receive", "leave"]


@pytest.mark.parametrize("app", [takes_part, returns])
async def test_a_server_that_cancels(app):
    """When the server cancels the lifespan instead of ending it, we leave."""
    server = Server()
    server._messages = [STARTUP]
    task = asyncio.ensure_future(server.run(app))
    await server.waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.happened == [*STARTED, "receive", "leave"]
