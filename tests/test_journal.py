"""The log: one line for a refusal, not too many, and nothing in it that a caller could have put there."""

import logging
import time
from datetime import UTC
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyguard.clock import utc_now
from keyguard.errors import StoreUnavailable
from keyguard.journal import Journal, loggable_path
from keyguard.keys import from_entropy
from keyguard.model import Allowed, Anonymous, Event, Principal, Reason, Refused, Rule, Source
from keyguard.testing import make_record

ADA = Principal(id="owner-1", name="ada")
KEY = make_record("3fJ2x0Qm7LpZ", "owner-1")
SECRET = from_entropy("kg", bytes(range(48))).reveal()


class Seconds:
    """A clock of seconds that stands still until it is told to go on."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def refused(reason=Reason.UNKNOWN, *, rule=Rule.BAD_KEY, key=None, **fields):
    return event(Refused(rule=rule, reason=reason, key=key), **fields)


def event(decision, **fields):
    given = {"type": "http", "method": "GET", "path": "/flows", "address": None, "sources": ()} | fields
    return Event(decision=decision, **given)


@pytest.fixture
def lines(caplog):
    """What has been logged, as text."""
    caplog.set_level(logging.DEBUG, logger="keyguard")
    return lambda: [record.getMessage() for record in caplog.records]


# --- what is written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.UNAVAILABLE])
def test_a_refusal_is_one_line(lines, reason):
    """Each refusal writes one line, which says precisely why."""
    Journal().record(refused(reason))
    assert lines() == [f"refused: {reason.value} ('GET /flows')"]


def test_a_refusal_names_the_key_that_was_genuine(lines):
    """Where a key was refused that exists, the line shows prefix and the beginning of its id."""
    Journal().record(refused(Reason.REVOKED, key=KEY))
    assert lines() == ["refused: the key was revoked ('GET /flows', key kg_3fJ2…)"]


def test_a_websocket_has_no_method(lines):
    """A refused WebSocket is named as one."""
    Journal().record(refused(type="websocket", method=None))
    assert lines() == ["refused: no such key ('websocket /flows')"]


def test_an_outage_is_not_written_twice(lines):
    """A refusal because the store could not answer writes nothing: what was the matter has its own line."""
    journal = Journal()
    journal.trouble("the store is not available", StoreUnavailable("the database is locked"))
    journal.record(refused(Reason.UNAVAILABLE, rule=Rule.OUTAGE))
    assert lines() == ["the store is not available: the database is locked"]


@pytest.mark.parametrize(
    "decision",
    [
        Allowed(rule=Rule.KEY, principal=ADA, key=KEY),
        Allowed(rule=Rule.SKIP_AUTH, principal=ADA),
        Anonymous(rule=Rule.EXEMPT),
        Anonymous(rule=Rule.OPTIONAL),
    ],
)
def test_who_passes_is_not_written(lines, decision):
    """A request that passes, with nothing wrong about it, writes nothing."""
    Journal().record(event(decision))
    assert lines() == []


def test_a_bad_key_that_passes_is_written(lines):
    """A bad key that SKIP_AUTH lets pass writes what was wrong with it."""
    Journal().record(event(Allowed(rule=Rule.SKIP_AUTH, principal=ADA, noted=Reason.EXPIRED)))
    assert lines() == ["let pass by SKIP_AUTH: the key has expired ('GET /flows')"]


def test_a_line_has_its_facts_beside_it(caplog):
    """The record carries reason, rule, ids, address and sources as fields, for those who search logs."""
    where = {"address": IPv4Address("192.0.2.1"), "sources": (Source.HEADER, Source.QUERY)}
    Journal().record(refused(Reason.REVOKED, key=KEY, **where))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("keyguard", "WARNING")
    assert {name: value for name, value in vars(record).items() if name.startswith("keyguard_")} == {
        "keyguard_reason": "REVOKED",
        "keyguard_rule": "BAD_KEY",
        "keyguard_key_id": "3fJ2x0Qm7LpZ",
        "keyguard_owner_id": "owner-1",
        "keyguard_address": "192.0.2.1",
        "keyguard_sources": ["header", "query"],
    }


def test_facts_that_are_not_known(caplog):
    """Where there is no genuine key, no address and no source, the fields say so."""
    Journal().record(refused(Reason.MISSING, rule=Rule.NO_KEY))
    (record,) = caplog.records
    assert [vars(record)[f"keyguard_{name}"] for name in ("key_id", "owner_id", "address", "sources")] == [
        None,
        None,
        None,
        [],
    ]


# --- trouble ----------------------------------------------------------------------------------------------------


def test_an_expected_trouble_says_what_it_is(caplog, lines):
    """A store that says that it is not available is quoted, without a stack trace."""
    Journal().trouble("the store is not available", StoreUnavailable("no such host"))
    assert lines() == ["the store is not available: no such host"]
    assert caplog.records[0].levelname == "ERROR"
    assert caplog.records[0].exc_info is None


def test_an_unexpected_trouble_has_its_trace(caplog, lines):
    """Of an exception that nobody expected the line has the kind, and the trace is beside it."""
    problem = ValueError("whatever")
    Journal().trouble("identify failed", problem, unexpected=True)
    assert lines() == ["identify failed: ValueError"]
    assert caplog.records[0].exc_info[1] is problem


# --- not too many -----------------------------------------------------------------------------------------------


def test_lines_are_limited_and_counted(lines):
    """Of a flood some lines a second are written; the next line says how many were left out, once."""
    clock = Seconds()
    journal = Journal(burst=2, clock=clock)
    for _ in range(5):
        journal.record(refused())
    assert len(lines()) == 2
    clock.now += 0.5
    journal.record(refused())
    assert lines()[2:] == ["refused: no such key ('GET /flows'); 3 lines were left out"]
    journal.record(refused())
    clock.now += 3600
    for _ in range(3):
        journal.record(refused())
    assert lines()[3:] == [
        "refused: no such key ('GET /flows'); 1 lines were left out",
        "refused: no such key ('GET /flows')",
    ]


def test_troubles_share_the_limit(lines):
    """A store that fails each request does not flood the log, and its line says what was left out before it."""
    clock = Seconds()
    journal = Journal(burst=1, clock=clock)
    journal.record(refused())
    journal.trouble("the store is not available", StoreUnavailable("x"))
    clock.now += 1
    journal.trouble("the store is not available", StoreUnavailable("x"))
    assert lines()[1:] == ["the store is not available: x; 1 lines were left out"]


def test_silence_costs_nothing(lines):
    """What writes no line takes nothing from those that do."""
    journal = Journal(burst=1, clock=Seconds())
    for _ in range(3):
        journal.record(event(Anonymous(rule=Rule.EXEMPT)))
        journal.record(refused(Reason.UNAVAILABLE))
    journal.record(refused())
    assert lines() == ["refused: no such key ('GET /flows')"]


def test_by_default_twenty_at_once(lines):
    """Without other arguments twenty lines may come at once, and twenty a second after that."""
    clock = Seconds()
    journal = Journal(clock=clock)
    for _ in range(50):
        journal.record(refused())
    assert len(lines()) == 20
    clock.now += 1
    for _ in range(50):
        journal.record(refused())
    assert len(lines()) == 40


# --- nothing of the caller's ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["path", "method"])
def test_a_key_in_the_request_line_is_left_out(lines, field):
    """A key that a client put into the path, or into the method, is not in the line."""
    Journal().record(refused(**{field: f"/x/{SECRET}/y"}))
    (line,) = lines()
    assert SECRET not in line
    assert "/x/\\u2026/y" in line


@pytest.mark.parametrize("field", ["path", "method"])
def test_no_caller_can_begin_a_line(lines, field):
    """Line ends, escape sequences and characters that change the direction of text are written as escapes."""
    Journal().record(refused(**{field: "/x\r\nrefused: \x1b[2J\x85\u2028\u202e\ud800"}))
    (line,) = lines()
    assert line.isprintable()
    assert "\\r\\nrefused: \\x1b[2J\\x85\\u2028\\u202e\\ud800" in line


@given(path=st.text(), method=st.none() | st.text(max_size=300))
def test_a_line_is_printable_and_short(path, method):
    """Whatever a request holds, its line is one line of bounded length."""
    written = []
    handler = logging.Handler()
    handler.emit = lambda record: written.append(record.getMessage())
    logging.getLogger("keyguard").addHandler(handler)
    try:
        Journal().record(refused(path=loggable_path(path), method=method))
    finally:
        logging.getLogger("keyguard").removeHandler(handler)
    (line,) = written
    assert line.isprintable()
    assert len(line) < 2100  # 200 characters, each as an escape of 10 at most.


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/flows", "/api/v1/flows"),
        (f"/{SECRET}", "/…"),
        (f"/x-api-key={SECRET}&y", "/x-api-key=…&y"),
        (f"/é{SECRET}é", "/é…é"),
        ("/" + "a" * 39, "/" + "a" * 39),
        ("/" + "a" * 40, "/…"),
        ("/" + "ab/" * 100, "/" + ("ab/" * 100)[:199]),
        ("/" + "ab/" * 60 + SECRET, "/" + "ab/" * 60 + "…"),
        ("/" + "ab/" * 66 + SECRET, "/" + "ab/" * 66 + "…"),
        ("", ""),
    ],
)
def test_how_a_path_is_logged(path, expected):
    """A path is cut to 200 characters after any run of 40 that could be a key was left out, not before."""
    assert loggable_path(path) == expected[:200]


def test_the_clock_of_whoever_has_no_other():
    """The clock on the wall gives the time of day, in UTC."""
    now = utc_now()
    assert now.tzinfo is UTC
    assert abs(now.timestamp() - time.time()) < 60
