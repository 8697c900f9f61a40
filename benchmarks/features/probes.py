"""What is found out by running: each probe looks at one subject and returns the cell of its row."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.features.subjects import SOURCES, Subject
from benchmarks.features.wire import Answer, Socket, ask

__all__ = ["Probe", "check_itself"]

Probe = Callable[[Subject], Awaitable[str]]

WRONG = "x" * 60
LIKE_HEALTH = ("/health/", "/health/x", "/healthy", "/Health", "//health", "/x/health")
"""Paths that resemble an exempt `/health`."""


def _fields(subject: Subject, source: str, key: str) -> list[tuple[str, str]]:
    match source:
        case "header":
            return [(subject.header, key)]
        case "bearer":
            return [("authorization", f"Bearer {key}")]
        case _:
            return []


async def _send(subject: Subject, source: str, key: str, *, cached: bool = False) -> Answer | None:
    app = subject.app(source=source, cached=cached)
    if app is None:
        return None
    query = f"{subject.parameter}={key}" if source == "query" else ""
    return await ask(app, fields=_fields(subject, source, key), query=query)


async def check_itself(subject: Subject) -> None:
    """Raise if the subject is not set up so that keys let in, and nothing else does."""
    key = await subject.issue()
    app = subject.app()
    assert app is not None
    assert (await ask(app, fields=_fields(subject, "header", key))).is_let_in, subject.name
    for fields in ([], [(subject.header, WRONG)]):
        assert not (await ask(app, fields=fields)).is_let_in, subject.name


async def sources(subject: Subject) -> str:
    """Present a good key in each place, with the library set up for that place."""
    key = await subject.issue()
    answers = {source: await _send(subject, source, key) for source in SOURCES}
    return ", ".join(source for source, answer in answers.items() if answer is not None and answer.is_let_in)


async def two_keys(subject: Subject) -> str:
    """Present a good and a wrong key in one header, in both orders, and one in the header and one in the query."""
    key, app = await subject.issue(), subject.app()
    assert app is not None
    good, wrong = (subject.header, key), (subject.header, WRONG)
    answers = [await ask(app, fields=[good, wrong]), await ask(app, fields=[wrong, good])]
    if await _is_read_from(subject, "query", key):
        answers.append(await ask(app, fields=[good], query=f"{subject.parameter}={WRONG}"))
        answers.append(await ask(app, fields=[wrong], query=f"{subject.parameter}={key}"))
    match [answer.is_let_in for answer in answers]:
        case [False, False] | [False, False, False, False]:
            return f"refused, {answers[0].status}"
        case [True, False] | [True, False, True, False]:
            return "the first counts"
        case [False, True] | [False, True, True, False]:
            return "the last counts"
        case [_, _, True, True]:
            return "header and query: either will do"
        case other:
            return f"let in: {other}"


async def _is_read_from(subject: Subject, source: str, key: str) -> bool:
    answer = await _send(subject, source, key)
    return answer is not None and answer.is_let_in


async def access_log(subject: Subject) -> str:
    """Present a good key in the query, and look at the query afterwards in the scope that the server logs."""
    key = await subject.issue()
    answer = await _send(subject, "query", key)
    if answer is None or not answer.is_let_in:
        return "no keys in the query"
    found = "stands in it" if key.encode() in answer.query else "is taken out first"
    return f"{found}; off by default" if subject.query_is_off else found


async def websocket(subject: Subject) -> str:
    """Open a WebSocket without a key and with a good one, to a route that is guarded as the others are."""
    app, key = subject.app(), await subject.issue()
    assert app is not None
    accepted = []
    for fields in ([], _fields(subject, "header", key)):
        socket = Socket(app, fields=fields)
        accepted.append(await socket.is_accepted())
        await socket.close()
    match accepted:
        case [False, True]:
            return "guarded"
        case [False, False]:
            return "refused, with a good key too"
        case _:
            return "**open to anybody**" + " behind its middleware" * subject.is_middleware


async def open_websocket(subject: Subject) -> str:
    """Open a WebSocket with a good key, revoke that in another process, and send a message."""
    if await websocket(subject) != "guarded":
        return "no guarded WebSockets"
    app, key = subject.app(), await subject.issue()
    assert app is not None
    socket = Socket(app, fields=_fields(subject, "header", key))
    assert await socket.is_accepted()
    assert await socket.is_answered()
    await elsewhere("revoke", subject, key)
    is_answered = await socket.is_answered()
    await socket.close()
    return "stays open" if is_answered else "closed at its next message"


async def elsewhere(what: str, subject: Subject, key: str) -> str:
    """Do something in another process, and return what that says."""
    command = [sys.executable, "-m", "benchmarks.features", what, subject.name, str(subject.folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = await asyncio.to_thread(
        subprocess.run, command, check=True, input=key, stdout=subprocess.PIPE, text=True, env=environment
    )
    return done.stdout.strip()


async def revoked_elsewhere(subject: Subject) -> str:
    """Let a key in, revoke it in another process, and present it again at once; with its cache, where it has one."""
    found = await _revoked(subject, cached=False)
    if subject.cache is None:
        return found
    return f"{found}, without its cache; with it, {await _revoked(subject, cached=True)}"


async def _revoked(subject: Subject, *, cached: bool) -> str:
    app, key = subject.app(cached=cached), await subject.issue()
    assert app is not None
    fields = _fields(subject, "header", key)
    for _ in range(2):
        assert (await ask(app, fields=fields)).is_let_in
    await elsewhere("revoke", subject, key)
    revoked = time.monotonic()
    if not (await ask(app, fields=fields)).is_let_in:
        return "the next request"
    if await subject.is_active(key):
        return "**not at all**: its next use switches it on again"
    if subject.cache is None or subject.cache > 30:  # noqa: PLR2004 Nobody waits for longer.
        return "not before a restart"
    while (await ask(app, fields=fields)).is_let_in:
        assert time.monotonic() - revoked < 2 * subject.cache
        await asyncio.sleep(0.1)
    return f"up to {subject.cache:.0f} s later"


async def at_rest(subject: Subject) -> str:
    """Issue a key and look for it, and for the last twenty characters of it, in whatever is stored."""
    key = await subject.issue()
    await _send(subject, "header", key)
    if any(key in value for value in os.environ.values()):
        return "plain text, in the environment"
    # Not here: whoever closes a file that SQLite has open in the same process takes SQLite's locks away.
    return await elsewhere("find", subject, key)


def found_in(folder: Path, key: str) -> str:
    """Say whether a key, or the last twenty characters of it, stands in a folder's files."""
    wanted = (key.encode(), key[-20:].encode())
    stored = [file.read_bytes() for file in folder.iterdir() if file.suffix != ".txt"]
    assert stored
    return "plain text" if any(text in there for there in stored for text in wanted) else "a digest"


async def expiry(subject: Subject) -> str:
    """Issue a key that ends in a second, and present it before and after."""
    if not subject.revokes:
        return "no"
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    key = await subject.issue(expires_at=end)
    before = await _send(subject, "header", key)
    await asyncio.sleep(max(0, (end - datetime.now(UTC)).total_seconds()) + 1.1)
    after = await _send(subject, "header", key)
    assert before is not None
    assert after is not None
    return "yes" if before.is_let_in and not after.is_let_in else "no"


async def exempt(subject: Subject) -> str:
    """Exempt `/health`, and ask without a key for paths that resemble it."""
    if not subject.is_middleware:
        return "what has no guard of its own"
    app = subject.app()
    assert app is not None
    assert (await ask(app, "/health")).is_let_in
    open_too = [f"`{path}`" for path in LIKE_HEALTH if (await ask(app, path)).is_let_in]
    return f"{', '.join(open_too)} too" if open_too else "that path alone"
