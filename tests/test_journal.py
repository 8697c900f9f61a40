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
from keyguard.testing import NOON, make_record

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
    Journal().record(refused(Reason.DISABLED, key=KEY))
    assert lines() == ["refused: the key is disabled ('GET /flows', key kg_3fJ2…)"]


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
    passed = Allowed(rule=Rule.SKIP_AUTH, principal=ADA, noted=Reason.EXPIRED, noted_key=KEY)
    Journal().record(event(passed))
    assert lines() == [
        "let pass by SKIP_AUTH: the key has expired ('GET /flows')",
        "let pass by SKIP_AUTH: the key has expired ('GET /flows', key kg_3fJ2…)",
    ]


def fields_of(record):
    return {name: value for name, value in vars(record).items() if name.startswith("keyguard_")}


def test_a_line_has_its_facts_beside_it(caplog):
    """The record carries reason, rule, ids, address and sources as fields, for those who search logs."""
    where = {"address": IPv4Address("192.0.2.1"), "sources": (Source.HEADER, Source.QUERY)}
    Journal().record(refused(Reason.DISABLED, key=KEY, **where))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("keyguard", "WARNING")
    assert fields_of(record) == {
        "keyguard_event": "refused",
        "keyguard_reason": "DISABLED",
        "keyguard_rule": "BAD_KEY",
        "keyguard_key_id": "3fJ2x0Qm7LpZ",
        "keyguard_owner_id": "owner-1",
        "keyguard_revoked_at": None,
        "keyguard_revoked_reason": None,
        "keyguard_revoked_by_rotation": None,
        "keyguard_address": "192.0.2.1",
        "keyguard_sources": ["header", "query"],
    }


def test_facts_that_are_not_known(caplog):
    """Where there is no genuine key, no address and no source, the fields say so."""
    Journal().record(refused(Reason.MISSING, rule=Rule.NO_KEY))
    (record,) = caplog.records
    assert fields_of(record) == {
        "keyguard_event": "refused",
        "keyguard_reason": "MISSING",
        "keyguard_rule": "NO_KEY",
        "keyguard_key_id": None,
        "keyguard_owner_id": None,
        "keyguard_revoked_at": None,
        "keyguard_revoked_reason": None,
        "keyguard_revoked_by_rotation": None,
        "keyguard_address": None,
        "keyguard_sources": [],
    }


def turned_away(journal, kind="sign_in_failed", *, asked="POST /keys/sign-in", owner_id=None, address=None):
    journal.turned_away(kind, "name or password is not right", asked, owner_id=owner_id, address=address)


def test_whom_the_key_page_turns_away_is_one_line(lines, caplog):
    """It says what was asked for, whose account it was about and from where, and carries the same as fields."""
    turned_away(Journal(), owner_id="owner-1", address=IPv4Address("192.0.2.1"))
    turned_away(Journal())
    line = "the key page: name or password is not right ('POST /keys/sign-in'"
    assert lines() == [f"{line}, owner 'owner-1', from 192.0.2.1)", f"{line})"]
    known, unknown = map(fields_of, caplog.records)
    assert known == {
        "keyguard_event": "sign_in_failed",
        "keyguard_owner_id": "owner-1",
        "keyguard_address": "192.0.2.1",
    }
    assert unknown == {"keyguard_event": "sign_in_failed", "keyguard_owner_id": None, "keyguard_address": None}


def test_no_flood_of_one_kind_drowns_another(lines):
    """Who is turned away for one reason uses up no line of those who are for another, nor of what is out of order."""
    journal = Journal(burst=2, clock=Seconds())
    for _ in range(5):
        turned_away(journal, "sign_in_throttled")
    turned_away(journal, "sign_in_failed")
    turned_away(journal, "forbidden")
    journal.trouble("the store is not available", StoreUnavailable("x"))
    assert len(lines()) == 5


def test_no_path_and_no_owner_begins_a_line(lines):
    """What a caller or another program has put into them is written as escapes, and no key is in it."""
    turned_away(Journal(), asked=f"POST /x\r\n/{SECRET}", owner_id="\u2028\n")
    (line,) = lines()
    assert line.isprintable()
    assert SECRET not in line


def test_what_was_let_pass_is_told_apart(caplog):
    """A bad key that SKIP_AUTH lets pass is an event of its own kind."""
    Journal().record(event(Allowed(rule=Rule.SKIP_AUTH, principal=ADA, noted=Reason.UNKNOWN)))
    assert fields_of(caplog.records[0])["keyguard_event"] == "let_pass"


# --- a revoked key ----------------------------------------------------------------------------------------------


def revoked(key_id="3fJ2x0Qm7LpZ", reason="leaked", **changes):
    return make_record(key_id, "owner-1", revoked_at=NOON, revoked_reason=reason, **changes)


def presented(key=None, **fields):
    """A request with a revoked key."""
    return refused(Reason.REVOKED, key=key or revoked(), **fields)


def test_a_revoked_key_has_a_line_of_its_own(lines):
    """The line says first that a revoked key was presented, then what came of it, which key, and when and why."""
    Journal().record(presented())
    Journal().record(presented(revoked(reason="")))
    assert lines() == [
        "a revoked key was presented: refused ('GET /flows', key kg_3fJ2…, revoked 2026-03-01 12:00:00 UTC: 'leaked')",
        "a revoked key was presented: refused ('GET /flows', key kg_3fJ2…, revoked 2026-03-01 12:00:00 UTC)",
    ]


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        (
            Allowed(rule=Rule.SKIP_AUTH, principal=ADA, noted=Reason.REVOKED, noted_key=revoked()),
            "let pass by SKIP_AUTH",
        ),
        (Refused(rule=Rule.SKIP_AUTH, reason=Reason.NO_AUTO_LOGIN_USER, key=revoked()), "refused"),
    ],
    ids=["let pass", "no auto-login user"],
)
def test_a_revoked_key_is_told_whatever_came_of_it(lines, caplog, decision, outcome):
    """The event is the same where SKIP_AUTH lets the request pass, or would if it could."""
    asked = event(decision)
    assert asked.revoked_key == revoked()
    Journal().record(asked)
    assert lines()[0].startswith(f"a revoked key was presented: {outcome} ('GET /flows', key kg_3fJ2…, revoked 2026")
    assert fields_of(caplog.records[0])["keyguard_event"] == "revoked_key_presented"


@pytest.mark.parametrize(
    ("reason", "rotated_at", "by_rotation"),
    [("leaked", None, False), ("leaked", NOON, False), ("rotated", NOON, True), ("rotated", None, False)],
)
def test_an_alarm_needs_no_text(caplog, reason, rotated_at, by_rotation):
    """The fields say which key of whom it was, and when and why it was revoked; and if that was by a rotation."""
    Journal().record(presented(revoked(reason=reason, rotated_at=rotated_at)))
    assert fields_of(caplog.records[0]) == {
        "keyguard_event": "revoked_key_presented",
        "keyguard_reason": "REVOKED",
        "keyguard_rule": "BAD_KEY",
        "keyguard_key_id": "3fJ2x0Qm7LpZ",
        "keyguard_owner_id": "owner-1",
        "keyguard_revoked_at": "2026-03-01T12:00:00.123456+00:00",
        "keyguard_revoked_reason": reason,
        "keyguard_revoked_by_rotation": by_rotation,
        "keyguard_address": None,
        "keyguard_sources": [],
    }


@pytest.mark.parametrize(
    "decision",
    [
        Refused(rule=Rule.BAD_KEY, reason=Reason.UNKNOWN),
        Refused(rule=Rule.BAD_KEY, reason=Reason.DISABLED, key=KEY),
        Refused(rule=Rule.REQUIRE, reason=Reason.SCOPE_MISSING, key=KEY),
        Allowed(rule=Rule.KEY, principal=ADA, key=KEY),
        Allowed(rule=Rule.SKIP_AUTH, principal=ADA, noted=Reason.EXPIRED, noted_key=KEY),
        Anonymous(rule=Rule.OPTIONAL),
    ],
    ids=lambda decision: f"{decision.rule.name} {getattr(decision, 'reason', '')}",
)
def test_no_other_request_brings_a_revoked_key(decision):
    """An observer sees a revoked key in no other event."""
    assert event(decision).revoked_key is None


def test_no_flood_drowns_a_revoked_key(lines):
    """Its line has an allowance of its own: others do not use that up, and it uses up nobody else's."""
    journal = Journal(burst=3, clock=Seconds())
    for _ in range(100):
        journal.record(refused())
        journal.trouble("the store is not available", StoreUnavailable("x"))
    journal.record(presented())
    assert len(lines()) == 4
    assert lines()[-1].startswith("a revoked key was presented")
    assert lines()[-1].endswith("'leaked')")
    other = Journal(burst=3, clock=Seconds())
    for number in range(100):
        other.record(presented(revoked(str(number))))
    other.record(refused())
    assert [line.partition(" (")[0] for line in lines()[4:]] == [
        *["a revoked key was presented: refused"] * 3,
        "refused: no such key",
    ]


def test_a_flood_of_one_revoked_key_is_a_line_in_ten_seconds(lines):
    """Of one key there is a line at once, and another after ten seconds, with how often it came in between."""
    clock = Seconds()
    journal = Journal(clock=clock)
    for _ in range(500):
        journal.record(presented())
    clock.now += 9.9
    journal.record(presented())
    assert len(lines()) == 1
    clock.now += 0.1
    journal.record(presented())
    assert len(lines()) == 2
    assert lines()[1].endswith("'leaked'); 500 times more since its line before")
    clock.now += 10
    journal.record(presented())
    assert lines()[2].endswith("'leaked')")


def test_one_revoked_key_does_not_drown_another(lines):
    """Each key has its line, also in the middle of another one's flood."""
    journal = Journal(burst=2, clock=Seconds())
    for number in range(100):
        journal.record(presented(revoked("other" if number == 50 else "flood")))
    assert ["key kg_floo…" in line for line in lines()] == [True, False]


def test_many_revoked_keys_are_limited_together(lines):
    """Who has many revoked keys, and uses them in turn, gets so many lines a second, and the rest is counted."""
    clock = Seconds()
    journal = Journal(burst=2, clock=clock)
    for number in range(5):
        journal.record(presented(revoked(f"{number}xxx")))
    clock.now += 1
    journal.record(presented(revoked("4xxx")))
    assert len(lines()) == 3
    assert "key kg_4xxx…" in lines()[2]
    assert lines()[2].endswith("; 3 lines were left out")


def test_what_is_remembered_of_revoked_keys_is_bounded(lines):
    """Of a thousand keys it is known when they had their line; the one that had it longest ago is forgotten first."""
    clock = Seconds()
    journal = Journal(burst=10_000, clock=clock)
    for number in (*range(1000), 1000, 1, 0):
        journal.record(presented(revoked(f"key {number}")))
    assert len(lines()) == 1002  # That of key 0 twice.
    assert len(journal._turns._taken) == 1000


def test_why_a_key_was_revoked_is_one_line_without_keys(lines, caplog):
    """The reason that a person gave is shortened, and neither begins a line nor holds a key."""
    Journal().record(presented(revoked(reason=f"it was {SECRET} in\n\x1b[2J " + "ab " * 200)))
    (line,) = lines()
    assert SECRET not in line + fields_of(caplog.records[0])["keyguard_revoked_reason"]
    assert line.isprintable()
    assert "'it was \\u2026 in\\n\\x1b[2J ab ab" in line
    assert len(line) < 500


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
