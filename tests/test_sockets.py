"""An open WebSocket whose key is no longer good is closed: at the next message, or at the latest after some seconds."""

import asyncio
from datetime import timedelta

import pytest
from asgi import connect, get, websocket_scope
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from keyguard import KeyGuard, PathRule, Policy, Principal, StoreUnavailable, lifecycle
from keyguard.access import NotPermitted, access_of, require
from keyguard.sockets import ConnectionRevoked, OpenSocket
from keyguard.stores.memory import MemoryStore
from keyguard.testing import FrozenClock

CONNECT = {"type": "websocket.connect"}
ACCEPT = {"type": "websocket.accept"}
GONE = {"type": "websocket.disconnect", "code": 1001}
REVOKED = {"type": "websocket.disconnect", "code": 1008, "reason": ""}
CLOSED = {"type": "websocket.close", "code": 1008, "reason": ""}
TRY_AGAIN = {"type": "websocket.close", "code": 1013, "reason": ""}


def says(text):
    """A message, as the client sends it and as the app sends it back."""
    return {"type": "websocket.receive", "text": text}


def told(text):
    return {"type": "websocket.send", "text": text}


async def settle():
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


class Wire:
    """What a server is to an app: the client's messages, and what was sent to the client."""

    def __init__(self):
        self._incoming = asyncio.Queue()
        self.sent = []
        self.problem = None

    async def receive(self):
        message = await self._incoming.get()
        await asyncio.sleep(0)
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message):
        await asyncio.sleep(0)
        if self.problem is not None:
            raise self.problem
        self.sent.append(message)

    async def bring(self, *messages):
        for message in messages:
            self._incoming.put_nowait(message)
        await settle()


class Frozen:
    """A sleep that ends when it is told to; it keeps for how many seconds it was asked."""

    def __init__(self):
        self.seconds = []
        self._asleep = []

    async def __call__(self, seconds):
        self.seconds.append(seconds)
        ended = asyncio.get_running_loop().create_future()
        self._asleep.append(ended)
        await ended

    async def pass_(self):
        """The seconds pass."""
        for ended in self._asleep:
            if not ended.done():
                ended.set_result(None)
        await settle()

    @property
    def is_watched(self):
        """Whether somebody still waits for the seconds to pass."""
        return any(not ended.done() for ended in self._asleep)


class Echo:
    """An app that sends back what it receives, and keeps all."""

    def __init__(self):
        self.received = []

    async def __call__(self, scope, receive, send):
        while True:
            message = await receive()
            self.received.append(message)
            match message["type"]:
                case "websocket.connect":
                    await send(ACCEPT)
                case "websocket.disconnect":
                    return
                case _:
                    await send(told(message["text"]))


class Held:
    """An app that does what the test tells it to."""

    async def __call__(self, scope, receive, send):
        self.receive, self.send = receive, send
        self.end = asyncio.get_running_loop().create_future()
        await self.end


class Opened:
    """An open connection, over a key that is good until the test says something else."""

    def __init__(self, app=None):
        self.wire, self.sleep, self.app = Wire(), Frozen(), app or Echo()
        self.answer, self.asked = True, 0
        self.socket = OpenSocket(
            self.wire.receive, self.wire.send, still_valid=self._still_valid, recheck=15, sleep=self.sleep
        )

    async def _still_valid(self):
        self.asked += 1
        answer = self.answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return False
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def begin(self, *messages):
        """Run the app until it has done what it can."""
        self.running = asyncio.create_task(self.socket.run(self.app, {"type": "websocket"}))
        await self.wire.bring(*messages)
        return self

    @property
    def sent(self):
        return self.wire.sent

    @property
    def is_over(self):
        """Whether the app has ended, with nothing left running."""
        return self.running.done() and not self.sleep.is_watched


# --- a good key -------------------------------------------------------------------------------------------------


async def test_a_good_key_is_never_disturbed():
    """While the key is good every message goes through as it is, and nothing is sent that the app does not send."""
    opened = await Opened().begin(CONNECT, says("one"))
    for number in range(3):
        await opened.sleep.pass_()
        await opened.wire.bring(says(str(number)))
    await opened.wire.bring(GONE)
    assert opened.app.received == [CONNECT, says("one"), says("0"), says("1"), says("2"), GONE]
    assert opened.sent == [ACCEPT, told("one"), told("0"), told("1"), told("2")]
    assert opened.is_over
    opened.running.result()


async def test_it_is_asked_with_each_message_and_each_time():
    """Whether the key is good is asked with each message, but not with the handshake, and each time that passes."""
    opened = await Opened().begin(CONNECT)
    assert opened.asked == 0
    await opened.wire.bring(says("one"))
    assert opened.asked == 1
    await opened.wire.bring(says("two"), says("three"))
    assert opened.asked == 3
    await opened.sleep.pass_()
    await opened.sleep.pass_()
    assert opened.asked == 5
    assert opened.sleep.seconds == [15, 15, 15]
    await opened.wire.bring(GONE)
    assert opened.asked == 5


async def test_an_app_that_gives_up_waiting_loses_no_message():
    """A message that comes while nobody waits, or while its key is asked for, is there for the next who does."""
    opened = await Opened(Held()).begin()
    waiting = asyncio.create_task(opened.app.receive())
    await settle()
    waiting.cancel()
    await opened.wire.bring(says("one"))
    opened.answer = asyncio.Event()  # It takes long to find out whether the key is good.
    waiting = asyncio.create_task(opened.app.receive())
    await settle()
    assert opened.asked == 1
    waiting.cancel()
    await settle()
    opened.answer = True
    assert await opened.app.receive() == says("one")
    for turns in range(10):
        waiting = asyncio.create_task(opened.app.receive())
        bringing = asyncio.create_task(opened.wire.bring(says(str(turns))))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await bringing
        assert says(str(turns)) == (await opened.app.receive() if waiting.cancelled() else waiting.result())
    opened.app.end.set_result(None)
    await settle()
    assert opened.is_over


async def test_two_parts_of_an_app_that_wait_have_one_message_each():
    """Of several who wait for messages at the same time each has one of its own, as without a guard."""
    opened = await Opened(Held()).begin()
    waiting = [asyncio.create_task(opened.app.receive()) for _ in range(3)]
    await opened.wire.bring(says("one"), says("two"))
    assert [task.result() for task in waiting if task.done()] == [says("one"), says("two")]
    await opened.wire.bring(GONE)
    assert [task.result() for task in waiting][-1] == GONE
    opened.app.end.set_result(None)
    await settle()
    assert opened.is_over


async def test_what_the_server_raises_reaches_the_app():
    """An exception of the server's, of receiving or of sending, is the app's to hear."""
    opened = await Opened(Held()).begin()
    await opened.wire.bring(RuntimeError("not connected"))
    with pytest.raises(RuntimeError, match="not connected"):
        await opened.app.receive()
    opened.wire.problem = OSError("broken pipe")
    with pytest.raises(OSError, match="broken pipe"):
        await opened.app.send(told("one"))
    opened.app.end.set_result(None)
    await settle()
    assert opened.is_over


# --- a key that is no longer good -------------------------------------------------------------------------------

OUTCOMES = pytest.mark.parametrize(
    ("answer", "closed", "disconnected"),
    [(False, CLOSED, REVOKED), (StoreUnavailable("down"), TRY_AGAIN, {**REVOKED, "code": 1013})],
    ids=["revoked", "store down"],
)


@OUTCOMES
async def test_the_next_message_closes_it(answer, closed, disconnected):
    """A message that comes with a key that is no longer good never reaches the app: it is told that all is over."""
    opened = await Opened().begin(CONNECT, says("one"))
    opened.answer = answer
    await opened.wire.bring(says("two"))
    assert opened.app.received == [CONNECT, says("one"), disconnected]
    assert opened.sent == [ACCEPT, told("one"), closed]
    assert opened.is_over


@OUTCOMES
async def test_time_closes_it_while_the_app_waits(answer, closed, disconnected):
    """Without any message it is closed when the seconds have passed, and the app, which waits for one, is told."""
    opened = await Opened().begin(CONNECT)
    opened.answer = answer
    await settle()
    assert opened.sent == [ACCEPT]
    await opened.sleep.pass_()
    assert opened.app.received == [CONNECT, disconnected]
    assert opened.sent == [ACCEPT, closed]
    assert opened.is_over


@OUTCOMES
async def test_time_closes_it_while_the_app_only_sends(answer, closed, disconnected):
    """An app that only sends hears of it by an `OSError` when it next does, and nothing of that goes out."""
    opened = await Opened(Held()).begin()
    await opened.app.send(ACCEPT)
    opened.answer = answer
    await opened.app.send(told("one"))
    await opened.sleep.pass_()
    assert opened.sent == [ACCEPT, told("one"), closed]
    for message in (told("two"), {"type": "websocket.close"}):
        with pytest.raises(ConnectionRevoked) as caught:
            await opened.app.send(message)
        assert isinstance(caught.value, OSError)
    for _ in range(2):
        assert await opened.app.receive() == disconnected
    assert opened.sent == [ACCEPT, told("one"), closed]
    opened.app.end.set_result(None)
    await settle()
    assert opened.is_over
    opened.running.result()


async def test_it_is_closed_once():
    """Where a message comes while the time has passed, both find the key bad, and one close is sent."""
    opened = await Opened().begin(CONNECT)
    opened.answer = go_on = asyncio.Event()
    await opened.sleep.pass_()
    await opened.wire.bring(says("one"))
    assert opened.asked == 2
    go_on.set()
    await settle()
    assert opened.app.received == [CONNECT, REVOKED]
    assert opened.sent == [ACCEPT, CLOSED]
    assert opened.is_over


async def test_a_check_that_is_overtaken_hands_nothing_on():
    """Where time closes a connection while a message's own check still goes on, the message does not reach the app."""
    opened = await Opened().begin(CONNECT)
    go_on = asyncio.Event()

    async def still_valid():
        opened.socket._still_valid = opened._still_valid
        await go_on.wait()
        return True  # As it was when this check began.

    opened.socket._still_valid = still_valid
    await opened.wire.bring(says("one"))
    opened.answer = False
    await opened.sleep.pass_()
    assert opened.sent == [ACCEPT, CLOSED]
    go_on.set()
    await settle()
    assert opened.app.received == [CONNECT, REVOKED]
    assert opened.is_over


async def test_the_close_is_sent_to_its_end():
    """An app that ends at once, because it was told to, does not cut off the close that is on its way."""
    opened = await Opened().begin(CONNECT)
    on_its_way, go_on, send = asyncio.Event(), asyncio.Event(), opened.socket._send

    async def slowly(message):
        on_its_way.set()
        await go_on.wait()
        await send(message)

    opened.socket._send = slowly
    opened.answer = False
    await opened.sleep.pass_()
    assert on_its_way.is_set()
    assert opened.app.received[-1] == REVOKED
    assert not opened.running.done()
    go_on.set()
    await settle()
    assert opened.sent == [ACCEPT, CLOSED]
    assert opened.is_over


async def test_before_it_is_accepted():
    """A key that is revoked before the app has accepted closes the handshake, and the app can accept no more."""
    opened = await Opened(Held()).begin(CONNECT)
    assert await opened.app.receive() == CONNECT
    opened.answer = False
    await opened.sleep.pass_()
    assert opened.sent == [CLOSED]
    with pytest.raises(ConnectionRevoked):
        await opened.app.send(ACCEPT)
    assert await opened.app.receive() == REVOKED
    opened.app.end.set_result(None)
    await settle()
    assert opened.is_over


async def test_what_an_app_lets_out_of_it_is_no_error():
    """An app that does not expect the `ConnectionRevoked` of its sending ends, and no server writes a stack trace."""

    async def ticker(scope, receive, send):
        await send(ACCEPT)
        while True:
            await go_on.wait()
            go_on.clear()
            await send(told("tick"))

    go_on = asyncio.Event()
    opened = await Opened(ticker).begin()
    go_on.set()
    await settle()
    opened.answer = False
    await opened.sleep.pass_()
    go_on.set()
    await settle()
    assert opened.sent == [ACCEPT, told("tick"), CLOSED]
    assert opened.is_over
    opened.running.result()


@pytest.mark.parametrize("by", ["time", "message"])
async def test_a_client_that_cannot_be_told(by):
    """Where the close cannot be sent, because the client has gone, the app is told all the same."""
    opened = await Opened().begin(CONNECT)
    opened.answer, opened.wire.problem = False, OSError("broken pipe")
    if by == "time":
        await opened.sleep.pass_()
    else:
        await opened.wire.bring(says("one"))
    assert opened.app.received == [CONNECT, REVOKED]
    assert opened.is_over
    opened.running.result()


@pytest.mark.parametrize("by", ["time", "message"])
async def test_a_check_that_fails_closes_it(caplog, by):
    """Where checking the key raises whatever nobody expected, the connection is closed for now, and the log says so."""
    opened = await Opened().begin(CONNECT)
    opened.answer = ZeroDivisionError()
    if by == "time":
        await opened.sleep.pass_()
    else:
        await opened.wire.bring(says("one"))
    assert opened.app.received == [CONNECT, {**REVOKED, "code": 1013}]
    assert opened.sent == [ACCEPT, TRY_AGAIN]
    assert opened.is_over
    (record,) = caplog.records
    assert record.getMessage() == "the key of an open WebSocket could not be checked; the connection is closed"
    assert record.exc_info[0] is ZeroDivisionError


# --- when it is over anyway -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [{"type": "websocket.close", "code": 1000}, {"type": "websocket.http.response.start"}])
async def test_what_the_app_has_closed_is_left_alone(end):
    """After the app's own close, or its own denial, nothing more is asked or sent, whatever becomes of the key."""
    opened = await Opened(Held()).begin()
    await opened.app.send(end)
    opened.answer = False
    await opened.sleep.pass_()
    await opened.wire.bring(says("late"), GONE)
    assert await opened.app.receive() == says("late")
    assert await opened.app.receive() == GONE
    assert (opened.sent, opened.asked) == ([end], 0)
    opened.app.end.set_result(None)
    await settle()
    assert opened.is_over


async def test_what_the_app_closes_meanwhile_is_not_closed_again():
    """Where the app closes while its key is found to be bad, there is one close: the app's."""
    opened = await Opened(Held()).begin()
    opened.answer = go_on = asyncio.Event()
    await opened.sleep.pass_()
    await opened.app.send({"type": "websocket.close", "code": 1000})
    go_on.set()
    await settle()
    assert opened.sent == [{"type": "websocket.close", "code": 1000}]
    opened.app.end.set_result(None)
    await settle()
    assert opened.is_over


async def test_a_client_that_has_gone_is_not_asked_about():
    """After the client's disconnect the key does not matter any more."""
    opened = await Opened(Held()).begin(GONE)
    assert await opened.app.receive() == GONE
    opened.answer = False
    await opened.sleep.pass_()
    assert (opened.sent, opened.asked) == ([], 0)
    opened.app.end.set_result(None)
    await settle()
    assert opened.is_over


@pytest.mark.parametrize("while_asked", [False, True])
async def test_when_the_app_ends_so_does_the_watch(while_asked):
    """When the app returns nothing goes on, be it that the seconds are waited for or that the key is asked about."""
    opened = await Opened(Held()).begin()
    opened.answer = asyncio.Event()
    if while_asked:
        await opened.sleep.pass_()
    waiting = asyncio.create_task(opened.app.receive())
    await settle()
    opened.app.end.set_result(None)
    await settle()
    assert opened.running.done()
    assert await waiting == REVOKED  # Whoever still waits is told that there is nothing more to come.
    assert opened.sent == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_the_app_raises_goes_through():
    """An app's exception is the server's to hear, and ends the watch."""
    opened = await Opened(Held()).begin()
    opened.app.end.set_exception(ValueError("of the app"))
    await settle()
    with pytest.raises(ValueError, match="of the app"):
        opened.running.result()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_server_that_stops_ends_everything():
    """A connection that is cancelled leaves nothing running."""
    opened = await Opened().begin(CONNECT)
    opened.running.cancel()
    await settle()
    assert opened.running.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- through KeyGuard -------------------------------------------------------------------------------------------


class FallibleStore(MemoryStore):
    """A `MemoryStore` that counts its reads, and that can be down; it vouches for nothing then."""

    def __init__(self):
        super().__init__()
        self.is_down, self.reads = False, 0

    def token(self):
        return None if self.is_down else super().token()

    async def find(self, lookups):
        self.reads += 1
        if self.is_down:
            raise StoreUnavailable("down")
        return await super().find(lookups)


@pytest.fixture
async def store():
    store = FallibleStore()
    await lifecycle.add_owner(store, "ada", id="1", is_superuser=True)
    return store


@pytest.fixture
async def issued(store):
    return await lifecycle.issue(store, "1")


class Session:
    """One WebSocket through a guarded app."""

    def __init__(self, app, key=None, path="/", **more):
        headers = [] if key is None else [("x-api-key", key.key.reveal())]
        self.wire = Wire()
        self.scope = websocket_scope(path, headers=headers, **more)
        self.running = asyncio.create_task(app(self.scope, self.wire.receive, self.wire.send))

    async def begin(self):
        await self.wire.bring(CONNECT)
        assert self.wire.sent[0]["type"] == "websocket.accept"
        self.wire.sent.clear()
        return self

    async def ends(self):
        async with asyncio.timeout(10):
            await self.running
        return self.wire.sent


OFTEN = 1e-6
"""Seconds: each turn of the loop is later."""

BAD = {
    "revoked": lambda store, key: lifecycle.revoke(store, key.record.id),
    "disabled": lambda store, key: lifecycle.disable(store, key.record.id),
    "owner inactive": lambda store, key: lifecycle.deactivate(store, "1"),
    "superuser rights taken": lambda store, key: lifecycle.set_superuser(store, "1", superuser=False),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
async def test_a_message_after_a_change_never_reaches_the_app(store, issued, change):
    """Once a key was revoked, or has lost a right, the next message closes the connection with 1008."""
    app = Echo()
    session = await Session(KeyGuard(app, store=store), issued).begin()
    await session.wire.bring(says("one"))
    assert store.reads == 1  # The message was vouched for.
    await change(store, issued)
    await session.wire.bring(says("two"))
    assert await session.ends() == [told("one"), CLOSED]
    assert app.received == [CONNECT, says("one"), REVOKED]


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
async def test_without_a_message_a_change_closes_it_in_time(store, issued, change):
    """Where nothing is received, a connection whose key was revoked is closed when it is checked again."""
    app = Echo()
    session = await Session(KeyGuard(app, store=store, recheck=OFTEN), issued).begin()
    await change(store, issued)
    assert await session.ends() == [CLOSED]
    assert app.received == [CONNECT, REVOKED]


async def test_the_seconds_are_kept(store, issued):
    """Before its time a connection without messages is not checked again: by default for 15 seconds."""
    session = await Session(KeyGuard(Echo(), store=store), issued).begin()
    await lifecycle.revoke(store, issued.record.id)
    await settle()
    assert session.wire.sent == []
    await session.wire.bring(GONE)
    assert await session.ends() == []


async def test_a_key_that_expires_closes_it(store):
    """A key whose time is over while the connection is open closes it, though nobody has changed anything."""
    clock = FrozenClock()
    key = await lifecycle.issue(store, "1", expires_at=clock.now + timedelta(hours=1), clock=clock)
    session = await Session(KeyGuard(Echo(), store=store, clock=clock), key).begin()
    await session.wire.bring(says("one"))
    clock.advance(timedelta(hours=1))
    await session.wire.bring(says("two"))
    assert await session.ends() == [told("one"), CLOSED]


async def test_a_store_that_is_down_closes_it_for_now(store, issued):
    """Where nobody can tell whether the key is good, the client is told to come again: 1013."""
    session = await Session(KeyGuard(Echo(), store=store), issued).begin()
    store.is_down = True
    await session.wire.bring(says("one"))
    assert await session.ends() == [TRY_AGAIN]


async def test_a_key_without_trouble_costs_no_read(store, issued):
    """While nothing has changed, checking again asks no store."""
    session = await Session(KeyGuard(Echo(), store=store, recheck=OFTEN), issued).begin()
    for number in range(20):
        await session.wire.bring(says(str(number)))
    assert len(session.wire.sent) == 20
    assert store.reads == 1
    await session.wire.bring(GONE)
    await session.ends()


async def nobody(scope):
    return None


async def grace(scope):
    return Principal(id="9", name="grace")


@pytest.mark.parametrize(
    ("options", "with_key"),
    [
        ({"policy": Policy(exempt=[PathRule(path="/open", websocket=True)])}, True),
        ({"policy": Policy(optional=[PathRule(path="/open", websocket=True)])}, False),
        ({"policy": Policy(skip_auth=True, auto_login_user="ada")}, False),
        ({"policy": Policy(auto_login=True, auto_login_needs_key=False, auto_login_user="ada")}, False),
        ({"identify": grace}, False),
    ],
    ids=["exempt", "optional without a key", "skip_auth", "auto_login", "identify"],
)
async def test_who_was_let_in_without_a_key_is_not_checked_again(store, issued, options, with_key):
    """A connection that no key has let in stays open, whatever becomes of keys, owners and the store."""
    guard = KeyGuard(Echo(), store=store, recheck=OFTEN, **options)
    session = await Session(guard, issued if with_key else None, "/open").begin()
    access = session.scope["keyguard"]
    assert access.known is None
    assert asyncio.all_tasks() == {asyncio.current_task(), session.running}  # Nobody watches it.
    await lifecycle.revoke(store, issued.record.id)
    await lifecycle.deactivate(store, "1")
    store.is_down = True
    assert await access.still_valid()
    await session.wire.bring(says("one"))
    await session.wire.bring(GONE)
    assert await session.ends() == [told("one")]


async def test_an_optional_path_with_a_key_is_checked_again(store, issued):
    """Where a key is optional, one that was given is checked again like any."""
    guard = KeyGuard(Echo(), store=store, policy=Policy(optional=[PathRule(path="/open", websocket=True)]))
    session = await Session(guard, issued, "/open").begin()
    await lifecycle.revoke(store, issued.record.id)
    await session.wire.bring(says("one"))
    assert await session.ends() == [CLOSED]


async def test_below_another_guard_a_key_is_checked_again(store, issued):
    """With a guard in front of another, over one store, one close is sent, and the inner knows the key as well."""
    inner = KeyGuard(Echo(), store=store, recheck=OFTEN)
    session = await Session(KeyGuard(inner, store=store, recheck=OFTEN), issued).begin()
    assert await session.scope["keyguard"].still_valid()
    await lifecycle.revoke(store, issued.record.id)
    assert await session.ends() == [CLOSED]
    assert not await session.scope["keyguard"].still_valid()


async def test_below_another_guard_an_exempt_path_knows_no_key(store, issued):
    """Where the inner of two guards exempts a path, nobody is let in by a key there, and none is checked again."""
    inner = KeyGuard(Echo(), store=store, recheck=OFTEN, policy=Policy(exempt=[PathRule(path="/open", websocket=True)]))
    session = await Session(KeyGuard(inner, store=store), issued, "/open").begin()
    assert session.scope["keyguard"].key_id is None
    assert await session.scope["keyguard"].still_valid()
    await lifecycle.revoke(store, issued.record.id)
    assert await session.scope["keyguard"].still_valid()
    await session.wire.bring(GONE)
    await session.ends()


async def test_below_another_guard_a_key_that_was_passed_over_there_is_checked_again(store):
    """Where the inner of two guards lets in by a key that the outer did not take, from another address say, it ends."""
    key = await lifecycle.issue(store, "1", networks=["203.0.113.0/24"])
    inner = KeyGuard(Echo(), store=store, trusted_hops=1)
    outer = KeyGuard(inner, store=store, policy=Policy(skip_auth=True, auto_login_user="ada"))
    session = Session(outer, key)
    session.scope["headers"].append((b"x-forwarded-for", b"203.0.113.9"))
    access = (await session.begin()).scope["keyguard"]
    assert await access.still_valid()
    assert access.known.verdict.key.id == access.key_id == key.record.id
    await lifecycle.revoke(store, key.record.id)
    assert not await access.still_valid()
    await session.wire.bring(says("one"))
    assert await session.ends() == [CLOSED]


async def test_an_answer_in_its_place_goes_through(store, issued):
    """An app that gives up a connection because a right is missing is answered for, as without the recheck."""

    async def refusing(scope, receive, send):
        access = access_of(scope)
        raise NotPermitted(access, require("flows:read")(Echo()))

    limited = await lifecycle.issue(store, "1", scopes=[])
    answer = await connect(KeyGuard(refusing, store=store), headers=[("x-api-key", limited.key.reveal())])
    assert answer.status == 403


@pytest.mark.parametrize("by", ["guard", "app", "denial"])
async def test_what_is_closed_is_not_closed_again_in_its_place(store, issued, by):
    """An app that gives up a connection which is closed already has nothing sent in its place."""
    go_on = asyncio.Event()
    ends = {"app": [{"type": "websocket.close"}], "denial": [{"type": "websocket.http.response.start"}], "guard": []}[
        by
    ]

    async def gives_up(scope, receive, send):
        for message in ends or [ACCEPT]:
            await send(message)
        await go_on.wait()
        raise NotPermitted(access_of(scope), require("flows:read")(Echo()))

    session = Session(KeyGuard(gives_up, store=store, recheck=OFTEN), issued)
    await settle()
    if by == "guard":
        await lifecycle.revoke(store, issued.record.id)
        await settle()
    sent = [*session.wire.sent]
    assert sent == (ends or [ACCEPT, CLOSED])
    go_on.set()
    assert await session.ends() == sent


# --- what frameworks make of it ---------------------------------------------------------------------------------


async def test_starlette_takes_it_for_a_client_that_has_gone(store, issued):
    """In a Starlette endpoint receiving and sending raise `WebSocketDisconnect`, as when a client has gone."""
    codes, go_on = {}, asyncio.Event()

    async def receives(websocket):
        await websocket.accept()
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as problem:
            codes["receives"] = problem.code

    async def sends(websocket):
        await websocket.accept()
        await go_on.wait()
        try:
            await websocket.send_text("late")
        except WebSocketDisconnect as problem:
            codes["sends"] = problem.code

    app = Starlette(routes=[WebSocketRoute("/receives", receives), WebSocketRoute("/sends", sends)])
    guard = KeyGuard(app, store=store, recheck=OFTEN)
    sessions = [await Session(guard, issued, path).begin() for path in ("/receives", "/sends")]
    await lifecycle.revoke(store, issued.record.id)
    assert await sessions[0].ends() == [CLOSED]
    await settle()
    assert sessions[1].wire.sent == [CLOSED]
    go_on.set()
    assert await sessions[1].ends() == [CLOSED]
    assert codes == {"receives": 1008, "sends": 1006}


# --- answers that take long -------------------------------------------------------------------------------------


class Streaming:
    """An app that asks, with each piece that it sends, whether its key is still good."""

    def __init__(self, between):
        self.between, self.answers = between, []

    async def __call__(self, scope, receive, send):
        for change in [*self.between, None]:
            try:
                self.answers.append(await scope["keyguard"].still_valid())
            except StoreUnavailable:
                self.answers.append("nobody can tell")
            if change is not None:
                await change()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"app"})


async def test_a_stream_can_ask_whether_its_key_is_still_good(store, issued):
    """`still_valid` tells a long answer to a request whether it would be let in now, without cutting it off."""

    async def down():
        store.is_down = True

    async def up():
        store.is_down = False

    async def none():
        pass

    app = Streaming([none, down, up, lambda: lifecycle.revoke(store, issued.record.id)])
    answer = await get(KeyGuard(app, store=store), headers=[("x-api-key", issued.key.reveal())])
    assert app.answers == [True, True, "nobody can tell", True, False]
    assert answer.status == 200


async def test_without_a_key_a_stream_is_valid_always(store, issued):
    """Who was let in without a key would be let in again, for all that this can tell."""
    app = Streaming([lambda: lifecycle.deactivate(store, "1"), lambda: lifecycle.revoke(store, issued.record.id)])
    guard = KeyGuard(app, store=store, policy=Policy(optional=["/page"]))
    assert (await get(guard, "/page")).status == 200
    assert app.answers == [True, True, True]
