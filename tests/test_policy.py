"""Who may pass: a table for people, the full product for the machine, the laws."""

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import EVERY, OUTCOME_OF, PATHS, Case, Key
from strategies import (
    MICROSECOND,
    addresses,
    facts,
    found,
    ipv4_addresses,
    mapped,
    moments,
    needs,
    networks,
    owners,
    principals,
    verdicts,
)

from keyguard.model import (
    ALL_SCOPES,
    Allowed,
    Anonymous,
    Auth,
    Facts,
    KeyRecord,
    Need,
    Owner,
    Presented,
    Principal,
    Reason,
    Refused,
    Requirement,
    Rule,
    revoked_key,
)
from keyguard.policy import decide, judge, lacking
from keyguard.settings import Policy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)
LATER = NOW + timedelta(days=1)

ADA = Owner(id="1", name="ada")
SAM = Principal(id="2", name="sam", scopes=frozenset({"flows:read"}))
"""Whom the app's own sign-in knows."""

NETWORKS = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
HERE, ELSEWHERE = ip_address("192.0.2.7"), ip_address("198.51.100.7")


def key(**changes):
    record = KeyRecord(id="abc", owner_id="1", prefix="kg_", lookup="l", verifier="v", created_at=EARLIER)
    return replace(record, **changes)


# --- the table for people ---------------------------------------------------------------------------------------

MODES = {
    "off": Policy(),
    "new": Policy(auto_login=True, auto_login_user="root"),
    "old": Policy(auto_login=True, auto_login_needs_key=False, auto_login_user="root"),
    "skip": Policy(skip_auth=True, auto_login_user="root"),
    "skip new": Policy(skip_auth=True, auto_login=True, auto_login_user="root"),
    "skip old": Policy(skip_auth=True, auto_login=True, auto_login_needs_key=False, auto_login_user="root"),
}
"""AUTO_LOGIN off, as since Langflow 1.5 (`new`) and as before (`old`), each without and with SKIP_AUTH."""

BROUGHT = {
    "no key": Presented.NOTHING,
    "good": judge(key(), ADA),
    "bad": Presented.UNKNOWN,
    "malformed": Presented.MALFORMED,
    "two keys": Presented.AMBIGUOUS,
    "a token": Presented.FOREIGN_TOKEN,
    "revoked": judge(key(revoked_at=EARLIER), ADA),
    "disabled": judge(key(disabled_at=EARLIER), ADA),
    "of a locked owner": judge(key(), replace(ADA, is_active=False)),
    "too early": judge(key(not_before=LATER), ADA),
    "expired": judge(key(expires_at=EARLIER), ADA),
    "from elsewhere": judge(key(networks=(ip_network("198.51.100.0/24"),)), ADA),
    "from here": judge(key(networks=NETWORKS), ADA),
}

AUTO_USERS = {
    "missing": None,
    "inactive": Owner(id="9", name="root", is_active=False, is_superuser=True),
    "active": Owner(id="9", name="root"),
    "superuser": Owner(id="9", name="root", is_superuser=True),
}

ADA_ACTS = Principal(id="1", name="ada")
ROOT_ACTS = Principal(id="9", name="root")
WHO = {"ada": ADA_ACTS, "root": ROOT_ACTS, "superuser root": replace(ROOT_ACTS, is_superuser=True), "sam": SAM}


@dataclass(frozen=True)
class Row:
    """One line of the table: what is given, and what is decided."""

    mode: str
    path: str
    brought: str
    known: bool
    user: str
    decision: Allowed | Anonymous | Refused

    def __str__(self):
        who = ", known to the app" if self.known else ""
        return f"{self.mode}, {self.path}, {self.brought}{who}, user {self.user}"


def allow(mode, path, brought, by, who, *, noted=None, known=False, user="active"):
    """A request that passes, as somebody or as nobody."""
    if who == "nobody":
        return Row(mode, path, brought, known, user, Anonymous(rule=by))
    record = getattr(BROUGHT[brought], "key", None)
    used, unused = (record, None) if by is Rule.KEY else (None, record)
    passes = Allowed(rule=by, principal=WHO[who], key=used, noted=noted, noted_key=unused)
    return Row(mode, path, brought, known, user, passes)


def deny(mode, path, brought, by, reason, *, known=False, user="active"):
    """A request that is refused. The record of a genuine key that is bad is told to the log."""
    record = getattr(BROUGHT[brought], "key", None)
    return Row(mode, path, brought, known, user, Refused(rule=by, reason=reason, key=record))


MODES_BY_KEYS = [
    # "Most API requests require a Langflow API key."
    deny("off", "required", "no key", Rule.NO_KEY, Reason.MISSING),
    allow("off", "required", "good", Rule.KEY, "ada"),
    deny("off", "required", "bad", Rule.BAD_KEY, Reason.UNKNOWN),
    allow("off", "optional", "no key", Rule.OPTIONAL, "nobody"),
    allow("off", "optional", "good", Rule.KEY, "ada"),
    deny("off", "optional", "bad", Rule.BAD_KEY, Reason.UNKNOWN),
    allow("off", "exempt", "no key", Rule.EXEMPT, "nobody"),
    allow("off", "exempt", "good", Rule.EXEMPT, "nobody"),
    allow("off", "exempt", "bad", Rule.EXEMPT, "nobody"),
    # "... even when AUTO_LOGIN is true. The only exceptions are the MCP endpoints", which are exempt paths.
    deny("new", "required", "no key", Rule.NO_KEY, Reason.MISSING),
    allow("new", "required", "good", Rule.KEY, "ada"),
    deny("new", "required", "bad", Rule.BAD_KEY, Reason.UNKNOWN),
    allow("new", "optional", "no key", Rule.OPTIONAL, "nobody"),
    allow("new", "optional", "good", Rule.KEY, "ada"),
    deny("new", "optional", "bad", Rule.BAD_KEY, Reason.UNKNOWN),
    allow("new", "exempt", "no key", Rule.EXEMPT, "nobody"),
    allow("new", "exempt", "good", Rule.EXEMPT, "nobody"),
    allow("new", "exempt", "bad", Rule.EXEMPT, "nobody"),
    # "If you are running a Langflow version earlier than 1.5, ... API requests can be made without a Langflow API key."
    allow("old", "required", "no key", Rule.AUTO_LOGIN, "root"),
    allow("old", "required", "good", Rule.KEY, "ada"),
    deny("old", "required", "bad", Rule.BAD_KEY, Reason.UNKNOWN),
    allow("old", "optional", "no key", Rule.AUTO_LOGIN, "root"),
    allow("old", "optional", "good", Rule.KEY, "ada"),
    deny("old", "optional", "bad", Rule.BAD_KEY, Reason.UNKNOWN),
    allow("old", "exempt", "no key", Rule.EXEMPT, "nobody"),
    allow("old", "exempt", "good", Rule.EXEMPT, "nobody"),
    allow("old", "exempt", "bad", Rule.EXEMPT, "nobody"),
    # "Authentication will be skipped entirely, and API requests will not require a Langflow API key ..."
    allow("skip", "required", "no key", Rule.SKIP_AUTH, "root"),
    allow("skip", "required", "good", Rule.KEY, "ada"),
    allow("skip", "required", "bad", Rule.SKIP_AUTH, "root", noted=Reason.UNKNOWN),
    allow("skip", "optional", "no key", Rule.SKIP_AUTH, "root"),
    allow("skip", "optional", "good", Rule.KEY, "ada"),
    allow("skip", "optional", "bad", Rule.SKIP_AUTH, "root", noted=Reason.UNKNOWN),
    allow("skip", "exempt", "no key", Rule.EXEMPT, "nobody"),
    allow("skip", "exempt", "good", Rule.EXEMPT, "nobody"),
    allow("skip", "exempt", "bad", Rule.EXEMPT, "nobody"),
    # "... regardless of the AUTO_LOGIN setting."
    allow("skip new", "required", "no key", Rule.SKIP_AUTH, "root"),
    allow("skip new", "required", "good", Rule.KEY, "ada"),
    allow("skip new", "required", "bad", Rule.SKIP_AUTH, "root", noted=Reason.UNKNOWN),
    allow("skip new", "optional", "no key", Rule.SKIP_AUTH, "root"),
    allow("skip new", "optional", "good", Rule.KEY, "ada"),
    allow("skip new", "optional", "bad", Rule.SKIP_AUTH, "root", noted=Reason.UNKNOWN),
    allow("skip new", "exempt", "no key", Rule.EXEMPT, "nobody"),
    allow("skip new", "exempt", "good", Rule.EXEMPT, "nobody"),
    allow("skip new", "exempt", "bad", Rule.EXEMPT, "nobody"),
    allow("skip old", "required", "no key", Rule.SKIP_AUTH, "root"),
    allow("skip old", "required", "good", Rule.KEY, "ada"),
    allow("skip old", "required", "bad", Rule.SKIP_AUTH, "root", noted=Reason.UNKNOWN),
    allow("skip old", "optional", "no key", Rule.SKIP_AUTH, "root"),
    allow("skip old", "optional", "good", Rule.KEY, "ada"),
    allow("skip old", "optional", "bad", Rule.SKIP_AUTH, "root", noted=Reason.UNKNOWN),
    allow("skip old", "exempt", "no key", Rule.EXEMPT, "nobody"),
    allow("skip old", "exempt", "good", Rule.EXEMPT, "nobody"),
    allow("skip old", "exempt", "bad", Rule.EXEMPT, "nobody"),
]

WHAT_MAY_BE_WRONG_WITH_A_KEY = [
    deny("off", "required", "malformed", Rule.BAD_KEY, Reason.MALFORMED),
    # "This immediately invalidates the key and prevents it from being used again."
    deny("off", "required", "revoked", Rule.BAD_KEY, Reason.REVOKED),
    deny("off", "required", "disabled", Rule.BAD_KEY, Reason.DISABLED),
    deny("off", "required", "of a locked owner", Rule.BAD_KEY, Reason.OWNER_INACTIVE),
    deny("off", "required", "too early", Rule.BAD_KEY, Reason.NOT_YET_VALID),
    deny("off", "required", "expired", Rule.BAD_KEY, Reason.EXPIRED),
    deny("off", "required", "from elsewhere", Rule.BAD_KEY, Reason.ADDRESS_NOT_ALLOWED),
    allow("off", "required", "from here", Rule.KEY, "ada"),
    deny("off", "required", "two keys", Rule.AMBIGUOUS, Reason.AMBIGUOUS),
    # An optional path is optional for those who bring nothing.
    deny("off", "optional", "malformed", Rule.BAD_KEY, Reason.MALFORMED),
    deny("off", "optional", "revoked", Rule.BAD_KEY, Reason.REVOKED),
    deny("off", "optional", "expired", Rule.BAD_KEY, Reason.EXPIRED),
    deny("off", "optional", "two keys", Rule.AMBIGUOUS, Reason.AMBIGUOUS),
    # AUTO_LOGIN of old excuses a missing key, and no wrong one.
    deny("old", "required", "malformed", Rule.BAD_KEY, Reason.MALFORMED),
    deny("old", "required", "revoked", Rule.BAD_KEY, Reason.REVOKED),
    deny("old", "optional", "expired", Rule.BAD_KEY, Reason.EXPIRED),
    deny("old", "required", "two keys", Rule.AMBIGUOUS, Reason.AMBIGUOUS),
    # SKIP_AUTH excuses everything, and notes what.
    allow("skip", "required", "malformed", Rule.SKIP_AUTH, "root", noted=Reason.MALFORMED),
    allow("skip", "required", "revoked", Rule.SKIP_AUTH, "root", noted=Reason.REVOKED),
    allow("skip", "required", "disabled", Rule.SKIP_AUTH, "root", noted=Reason.DISABLED),
    allow("skip", "required", "of a locked owner", Rule.SKIP_AUTH, "root", noted=Reason.OWNER_INACTIVE),
    allow("skip", "required", "too early", Rule.SKIP_AUTH, "root", noted=Reason.NOT_YET_VALID),
    allow("skip", "required", "expired", Rule.SKIP_AUTH, "root", noted=Reason.EXPIRED),
    allow("skip", "required", "from elsewhere", Rule.SKIP_AUTH, "root", noted=Reason.ADDRESS_NOT_ALLOWED),
    allow("skip", "optional", "two keys", Rule.SKIP_AUTH, "root", noted=Reason.AMBIGUOUS),
    allow("skip old", "required", "two keys", Rule.SKIP_AUTH, "root", noted=Reason.AMBIGUOUS),
    # An exempt path looks at nothing.
    allow("off", "exempt", "revoked", Rule.EXEMPT, "nobody"),
    allow("off", "exempt", "two keys", Rule.EXEMPT, "nobody"),
]

THE_APPS_OWN_SIGN_IN = [
    allow("off", "required", "no key", Rule.IDENTIFIED, "sam", known=True),
    allow("off", "optional", "no key", Rule.IDENTIFIED, "sam", known=True),
    allow("off", "exempt", "no key", Rule.EXEMPT, "nobody", known=True),
    # A person is more than a mode.
    allow("new", "required", "no key", Rule.IDENTIFIED, "sam", known=True),
    allow("old", "required", "no key", Rule.IDENTIFIED, "sam", known=True),
    allow("skip", "required", "no key", Rule.IDENTIFIED, "sam", known=True),
    allow("skip", "required", "no key", Rule.IDENTIFIED, "sam", known=True, user="missing"),
    # A key is more than a person, a bad one too: it was brought for a reason.
    allow("off", "required", "good", Rule.KEY, "ada", known=True),
    deny("off", "required", "bad", Rule.BAD_KEY, Reason.UNKNOWN, known=True),
    deny("off", "optional", "expired", Rule.BAD_KEY, Reason.EXPIRED, known=True),
    deny("off", "required", "two keys", Rule.AMBIGUOUS, Reason.AMBIGUOUS, known=True),
    allow("skip", "required", "bad", Rule.SKIP_AUTH, "root", noted=Reason.UNKNOWN, known=True),
    # A bearer token that is no key of ours is the app's, or nobody's.
    allow("off", "required", "a token", Rule.IDENTIFIED, "sam", known=True),
    allow("skip", "required", "a token", Rule.IDENTIFIED, "sam", known=True),
    deny("off", "required", "a token", Rule.BAD_KEY, Reason.UNKNOWN_TOKEN),
    deny("off", "optional", "a token", Rule.BAD_KEY, Reason.UNKNOWN_TOKEN),
    deny("new", "required", "a token", Rule.BAD_KEY, Reason.UNKNOWN_TOKEN),
    deny("old", "required", "a token", Rule.BAD_KEY, Reason.UNKNOWN_TOKEN),
    deny("old", "optional", "a token", Rule.BAD_KEY, Reason.UNKNOWN_TOKEN),
    allow("skip", "required", "a token", Rule.SKIP_AUTH, "root", noted=Reason.UNKNOWN_TOKEN),
    allow("off", "exempt", "a token", Rule.EXEMPT, "nobody"),
]

THE_AUTO_LOGIN_USER = [
    # A superuser if the record says so.
    allow("old", "required", "no key", Rule.AUTO_LOGIN, "superuser root", user="superuser"),
    allow("skip", "required", "no key", Rule.SKIP_AUTH, "superuser root", user="superuser"),
    # It must exist and be active, when it is used.
    deny("old", "required", "no key", Rule.AUTO_LOGIN, Reason.NO_AUTO_LOGIN_USER, user="missing"),
    deny("old", "required", "no key", Rule.AUTO_LOGIN, Reason.AUTO_LOGIN_USER_INACTIVE, user="inactive"),
    deny("old", "optional", "no key", Rule.AUTO_LOGIN, Reason.NO_AUTO_LOGIN_USER, user="missing"),
    deny("skip", "required", "no key", Rule.SKIP_AUTH, Reason.NO_AUTO_LOGIN_USER, user="missing"),
    deny("skip", "required", "no key", Rule.SKIP_AUTH, Reason.AUTO_LOGIN_USER_INACTIVE, user="inactive"),
    deny("skip", "optional", "bad", Rule.SKIP_AUTH, Reason.NO_AUTO_LOGIN_USER, user="missing"),
    deny("skip", "required", "revoked", Rule.SKIP_AUTH, Reason.AUTO_LOGIN_USER_INACTIVE, user="inactive"),
    deny("skip", "required", "two keys", Rule.SKIP_AUTH, Reason.NO_AUTO_LOGIN_USER, user="missing"),
    deny("skip old", "required", "no key", Rule.SKIP_AUTH, Reason.NO_AUTO_LOGIN_USER, user="missing"),
    # Where it is not used, it does not matter.
    allow("skip", "required", "good", Rule.KEY, "ada", user="missing"),
    allow("old", "required", "good", Rule.KEY, "ada", user="inactive"),
    deny("old", "required", "bad", Rule.BAD_KEY, Reason.UNKNOWN, user="missing"),
    allow("skip", "exempt", "no key", Rule.EXEMPT, "nobody", user="missing"),
    deny("new", "required", "no key", Rule.NO_KEY, Reason.MISSING, user="superuser"),
    allow("new", "optional", "no key", Rule.OPTIONAL, "nobody", user="missing"),
    deny("off", "required", "no key", Rule.NO_KEY, Reason.MISSING, user="superuser"),
]

ROWS = [*MODES_BY_KEYS, *WHAT_MAY_BE_WRONG_WITH_A_KEY, *THE_APPS_OWN_SIGN_IN, *THE_AUTO_LOGIN_USER]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_table_for_people(row):
    """A request under that mode, to such a path, with what it brought, is decided as the row says."""
    known = Facts(
        credential=BROUGHT[row.brought],
        address=HERE,
        identified=SAM if row.known else None,
        auto_login_user=AUTO_USERS[row.user],
    )
    assert decide(Requirement(row.path), known, MODES[row.mode], NOW) == row.decision


def test_the_table_has_every_mode_with_every_kind_of_key_on_every_kind_of_path():
    """AUTO_LOGIN old and new and SKIP_AUTH, with no key, a good and a bad one, stand in the table without a gap."""
    rows = [(row.mode, row.path, row.brought) for row in MODES_BY_KEYS]
    assert len(rows) == len(set(rows)) == 6 * 3 * 3
    assert {mode for mode, _, _ in rows} == set(MODES)


# --- the full product for the machine ---------------------------------------------------------------------------

STANDINGS = {
    "good": ({}, ADA),
    "revoked": ({"revoked_at": EARLIER}, ADA),
    "disabled": ({"disabled_at": EARLIER}, ADA),
    "owner inactive": ({}, replace(ADA, is_active=False)),
}
SWITCHES = {
    "off": {},
    "with key": {"auto_login": True},
    "without key": {"auto_login": True, "auto_login_needs_key": False},
}
TIMES = {"before": EARLIER - MICROSECOND, "inside": EARLIER, "after": LATER}
PLACES = {"inside": HERE, "outside": ELSEWHERE, "not known": None}


@cache
def credential_of(brought):
    """What the policy is told of a credential of the oracle."""
    if not isinstance(brought, Key):
        return Presented(brought)
    changes, owner = STANDINGS[brought.standing]
    window = {"not_before": EARLIER, "expires_at": LATER} if brought.dated else {}
    return judge(key(**changes, **window, networks=NETWORKS if brought.bound else ()), owner)


@cache
def policy_of(auto_login, skip_auth):
    """The policy with these switches."""
    return Policy(**SWITCHES[auto_login], skip_auth=skip_auth, auto_login_user="root")


@cache
def decisions():
    """What is decided in every case."""
    return {
        case: decide(
            Requirement(case.path),
            Facts(
                credential=credential_of(case.credential),
                address=PLACES[case.address],
                identified=SAM if case.known else None,
                auto_login_user=AUTO_USERS[case.auto_user],
            ),
            policy_of(case.auto_login, case.skip_auth),
            TIMES[case.time],
        )
        for case in EVERY
    }


def outcome(case: Case, decision):
    """What a decision comes to, in the words of the oracle."""
    match decision:
        case Anonymous():
            return "anonymous"
        case Refused(reason=Reason.AMBIGUOUS):
            return "400"
        case Refused():
            return "401"
    root = WHO["superuser root" if case.auto_user == "superuser" else "root"]
    names = {ADA_ACTS: "owner", SAM: "identified", root: "auto-login user"}
    return names.get(decision.principal, f"nobody that was meant: {decision.principal}")


def test_every_case_is_decided_as_the_oracle_says():
    """In every combination of what is finite, exactly those pass who may, as exactly whom they may."""
    said = {case: outcome(case, decision) for case, decision in decisions().items()}
    wrong = {case: (said[case], OUTCOME_OF[case]) for case in EVERY if said[case] != OUTCOME_OF[case]}
    assert len(said) == len(EVERY)
    assert not wrong, f"{len(wrong)} cases, such as (said, meant): {dict(list(wrong.items())[:3])}"


def test_the_product_has_all_that_is_finite():
    """Every kind of path, and everything that a request can bring, is a case."""
    assert {Requirement(path) for path in PATHS} == set(Requirement)
    assert {credential_of(case.credential) for case in EVERY} >= set(Presented)


def test_a_decision_names_the_key_that_it_is_about():
    """A genuine key is named where a request passes by it, where it is refused, and where it passes in spite of it."""
    for case, decision in decisions().items():
        if decision.rule is Rule.EXEMPT:
            continue
        name = "noted_key" if isinstance(decision, Allowed) and decision.rule is Rule.SKIP_AUTH else "key"
        record = credential_of(case.credential).key if isinstance(case.credential, Key) else None
        other = {"key", "noted_key"} - {name}
        assert getattr(decision, name, None) == record, case
        assert not [each for each in other if getattr(decision, each, None) is not None], case


def test_a_revoked_key_is_told_whatever_comes_of_it():
    """Of every request that brought a revoked key to a path that is not exempt the key is told, and of no other."""
    for case, decision in decisions().items():
        is_revoked = (
            case.path != "exempt" and isinstance(case.credential, Key) and case.credential.standing == "revoked"
        )
        assert revoked_key(decision) == (credential_of(case.credential).key if is_revoked else None), case


def test_only_skip_auth_notes_what_came_along():
    """What was wrong is noted where a request passes in spite of it, which is under SKIP_AUTH; and only there."""
    for case, decision in decisions().items():
        if isinstance(decision, Allowed):
            in_spite = decision.rule is Rule.SKIP_AUTH and case.credential != "nothing"
            assert (decision.noted is not None) == in_spite, case


GIVEN_BY_LACKING = {Reason.MISSING, Reason.KEY_REQUIRED, Reason.SUPERUSER_REQUIRED, Reason.SCOPE_MISSING}
GIVEN_BY_NEITHER = {Reason.UNAVAILABLE}
"""Nothing could be asked: that is found out before a decision, where the store is read."""


def test_every_reason_and_every_rule_occurs():
    """No reason is there for nothing: each is given by `decide` or by `lacking`, and each rule decides something."""
    refused = {decision.reason for decision in decisions().values() if isinstance(decision, Refused)}
    lacked = {reason for _, _, reason in LACKING if reason is not None}
    assert lacked == GIVEN_BY_LACKING
    assert refused | lacked == set(Reason) - GIVEN_BY_NEITHER
    assert refused & lacked == {Reason.MISSING}
    assert {decision.rule for decision in decisions().values()} == set(Rule) - {Rule.OUTAGE, Rule.REQUIRE}


# --- a genuine key ----------------------------------------------------------------------------------------------


@given(found)
def test_a_verdict_has_the_first_standing_reason(found):
    """A key is revoked before it is disabled, and disabled before its owner is inactive."""
    key, owner = found.key, found.owner
    standing = [
        *([Reason.REVOKED] if key.revoked_at else []),
        *([Reason.DISABLED] if key.disabled_at else []),
        *([] if owner.is_active else [Reason.OWNER_INACTIVE]),
        None,
    ]
    verdict = judge(key, owner)
    assert verdict.standing is standing[0]
    assert verdict.key == key


@pytest.mark.parametrize("revoked", [None, LATER], ids=["kept", "revoked"])
@pytest.mark.parametrize("disabled", [None, LATER], ids=["enabled", "disabled"])
@pytest.mark.parametrize("active", [True, False], ids=["active", "inactive"])
def test_standing_reasons_are_told_in_order(revoked, disabled, active):
    """Of several standing reasons the first is told, whenever the change is dated: it was made."""
    verdict = judge(key(revoked_at=revoked, disabled_at=disabled), replace(ADA, is_active=active))
    told = {(False, False, True): None, (False, False, False): Reason.OWNER_INACTIVE}
    expected = told.get((bool(revoked), bool(disabled), active), Reason.REVOKED if revoked else Reason.DISABLED)
    assert verdict.standing is expected


@given(found)
def test_a_key_acts_as_its_owner(found):
    """A key acts as its owner, with its own scopes but the reserved ones; as a superuser only with `*` among them."""
    key, owner = found.key, found.owner
    principal = judge(key, owner).principal
    assert (principal.id, principal.name) == (owner.id, owner.name)
    assert principal.scopes == key.scopes - {"authenticated", "superuser"}
    assert principal.is_superuser == (owner.is_superuser and "*" in key.scopes)


@pytest.mark.parametrize("superuser", [True, False])
@pytest.mark.parametrize(
    "scopes",
    [{"*"}, {"*", "flows:read"}, {"flows:*"}, {"superuser"}, {"*", "superuser"}, set()],
    ids=lambda scopes: " ".join(sorted(scopes)) or "none",
)
def test_no_scope_but_the_star_makes_a_superuser(superuser, scopes):
    """A key with named scopes is no superuser's key, whoever made it, and a row that says `superuser` lies."""
    principal = judge(key(scopes=frozenset(scopes)), replace(ADA, is_superuser=superuser)).principal
    assert principal.is_superuser == (superuser and "*" in scopes)
    assert ("superuser" in Auth.of(principal).scopes) == principal.is_superuser


def within(network, address):
    """Whether a network contains an address, counted out."""
    first, last = int(network.network_address), int(network.broadcast_address)
    return network.version == address.version and first <= int(address) <= last


def plain(address):
    """The IPv4 address that an IPv6 one stands for, or the address itself."""
    return getattr(address, "ipv4_mapped", None) or address


def defects(verdict, address, now):
    """What may be wrong with a genuine key, in the order in which it is told."""
    record = verdict.key
    if verdict.standing:
        yield verdict.standing
    if record.not_before and now < record.not_before:
        yield Reason.NOT_YET_VALID
    if record.expires_at and now >= record.expires_at:
        yield Reason.EXPIRED
    if record.networks and not (address and any(within(network, plain(address)) for network in record.networks)):
        yield Reason.ADDRESS_NOT_ALLOWED


guarded = st.sampled_from([Requirement.OPTIONAL, Requirement.REQUIRED])


@given(st.data(), verdicts, guarded, st.sampled_from(list(MODES.values())))
def test_a_genuine_key_is_refused_with_its_first_defect(data, verdict, requirement, policy):
    """Whatever its times, networks and standing: it passes if nothing is wrong, else the first thing wrong is told."""
    edges = [moment for moment in (verdict.key.not_before, verdict.key.expires_at) if moment]
    now = data.draw(st.sampled_from([edge + step * MICROSECOND for edge in edges for step in (-1, 0, 1)] or [NOW]))
    inside = [network.network_address for network in verdict.key.networks]
    address = data.draw(st.none() | addresses | st.sampled_from(inside or [None]))
    decision = decide(requirement, Facts(credential=verdict, address=address), policy, now)
    wrong = next(defects(verdict, address, now), None)
    if wrong is None:
        assert decision == Allowed(rule=Rule.KEY, principal=verdict.principal, key=verdict.key)
    elif policy.skip_auth:
        assert decision == Refused(rule=Rule.SKIP_AUTH, reason=Reason.NO_AUTO_LOGIN_USER, key=verdict.key)
    else:
        assert decision == Refused(rule=Rule.BAD_KEY, reason=wrong, key=verdict.key)


def reason_at(now, **changes):
    """Why a key with these changes is refused at that time from `HERE`, or None."""
    decision = decide(Requirement.REQUIRED, Facts(credential=judge(key(**changes), ADA), address=HERE), Policy(), now)
    return getattr(decision, "reason", None)


@given(moments)
def test_a_window_is_exact_to_the_microsecond(moment):
    """A key is valid from `not_before` on and expired from `expires_at` on: then, and not a microsecond off."""
    assert reason_at(moment - MICROSECOND, not_before=moment) is Reason.NOT_YET_VALID
    assert reason_at(moment, not_before=moment) is None
    assert reason_at(moment - MICROSECOND, expires_at=moment) is None
    assert reason_at(moment, expires_at=moment) is Reason.EXPIRED


@given(moments, moments)
def test_a_window_without_an_inside_is_never_open(one, other):
    """A key that expires when, or before, it becomes valid never passes."""
    opens, closes = max(one, other), min(one, other)
    for now in (closes - MICROSECOND, closes, opens - MICROSECOND, opens, opens + MICROSECOND):
        assert reason_at(now, not_before=opens, expires_at=closes) in {Reason.NOT_YET_VALID, Reason.EXPIRED}


def test_what_is_wrong_for_good_is_told_before_what_passes():
    """Of all that is wrong at once the order is: standing, not yet valid, expired, address."""
    all_wrong = {"not_before": LATER, "expires_at": EARLIER, "networks": (ip_network("198.51.100.0/24"),)}
    assert reason_at(NOW, revoked_at=NOW, **all_wrong) is Reason.REVOKED
    assert reason_at(NOW, **all_wrong) is Reason.NOT_YET_VALID
    assert reason_at(NOW, **{**all_wrong, "not_before": None}) is Reason.EXPIRED
    assert reason_at(NOW, networks=all_wrong["networks"]) is Reason.ADDRESS_NOT_ALLOWED


def passes_from(address, *allowed):
    """Whether a key that is bound to these networks passes from that address."""
    verdict = judge(key(networks=allowed), ADA)
    return isinstance(decide(Requirement.REQUIRED, Facts(credential=verdict, address=address), Policy(), NOW), Allowed)


@pytest.mark.parametrize(
    ("address", "network", "passes"),
    [
        ("192.0.2.0", "192.0.2.0/24", True),
        ("192.0.2.255", "192.0.2.0/24", True),
        ("192.0.3.0", "192.0.2.0/24", False),
        ("192.0.2.7", "192.0.2.7/32", True),
        ("192.0.2.8", "192.0.2.7/32", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db9::1", "2001:db8::/32", False),
        ("::ffff:192.0.2.7", "192.0.2.0/24", True),
        ("::ffff:192.0.3.7", "192.0.2.0/24", False),
        ("::ffff:192.0.2.7", "::/0", False),
        ("::192.0.2.7", "192.0.2.0/24", False),
        ("192.0.2.7", "::/0", False),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("fe80::1%eth0", "fe80::/10", True),
    ],
)
def test_a_key_may_be_bound_to_networks(address, network, passes):
    """A bound key passes from its networks; an IPv4 address in IPv6 clothes is the IPv4 address."""
    assert passes_from(ip_address(address), ip_network(network)) is passes


@given(addresses, st.lists(networks(), min_size=1, max_size=3))
def test_networks_contain_what_lies_between_their_ends(address, allowed):
    """An address is allowed if and only if one of the networks contains it."""
    assert passes_from(address, *allowed) == any(within(network, plain(address)) for network in allowed)


@given(ipv4_addresses, st.lists(networks(ipv4_addresses), max_size=2), st.data())
def test_a_mapped_address_is_its_ipv4_address(address, others, data):
    """A socket that speaks both families makes no difference to where a request comes from."""
    around = data.draw(networks(st.just(address)))
    assert passes_from(mapped(address), *others, around)
    assert passes_from(mapped(address), *others) == passes_from(address, *others)


def test_an_unknown_address_is_in_no_network():
    """Where the address is not known, a bound key does not pass, and a free one does."""
    assert not passes_from(None, ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert passes_from(None)


# --- the laws ---------------------------------------------------------------------------------------------------


class Untouchable:
    """Breaks as soon as anything of it is looked at."""

    def __getattribute__(self, name):
        raise AssertionError(f"{name} was looked at")


def test_an_exempt_request_depends_on_nothing():
    """On an exempt path neither the facts nor the policy's modes are looked at."""
    assert decide(Requirement.EXEMPT, Untouchable(), Untouchable(), Untouchable()) == Anonymous(rule=Rule.EXEMPT)


situations = st.tuples(guarded, facts, st.sampled_from(list(MODES.values())), moments)
"""What `decide` is asked on a path that is not exempt."""


@given(verdicts, situations)
def test_a_good_key_passes_in_every_mode_as_its_owner(verdict, situation):
    """What a good key comes to depends on no mode, no path, no sign-in and no auto-login user."""
    path, known, policy, now = situation
    free = replace(verdict.key, not_before=None, expires_at=None, networks=())
    good = replace(known, credential=replace(verdict, key=free, standing=None))
    assert decide(path, good, policy, now) == Allowed(rule=Rule.KEY, principal=verdict.principal, key=free)


@given(situations)
def test_only_skip_auth_lets_a_bad_key_in(situation):
    """Whoever brings something and passes, by neither a good key nor the app's sign-in, passes by SKIP_AUTH."""
    _, known, policy, _ = situation
    decision = decide(*situation)
    if known.credential is not Presented.NOTHING and decision.rule not in {Rule.KEY, Rule.IDENTIFIED}:
        assert isinstance(decision, Refused) or (policy.skip_auth and decision.rule is Rule.SKIP_AUTH)
        assert isinstance(decision, Refused) or decision.noted


@given(situations)
def test_nobody_becomes_more_than_their_record(situation):
    """Who passes is whom the key, the app or the auto-login user's record says, a superuser only if that says so."""
    _, known, _, _ = situation
    decision = decide(*situation)
    if isinstance(decision, Allowed):
        record = {
            Rule.KEY: getattr(known.credential, "principal", None),
            Rule.IDENTIFIED: known.identified,
            Rule.SKIP_AUTH: known.auto_login_user,
            Rule.AUTO_LOGIN: known.auto_login_user,
        }[decision.rule]
        assert (decision.principal.id, decision.principal.name) == (record.id, record.name)
        assert decision.principal.is_superuser == record.is_superuser
        assert decision.principal.scopes == getattr(record, "scopes", ALL_SCOPES)


@given(situations, st.none() | principals, st.none() | owners)
def test_what_was_not_asked_does_not_matter(situation, identified, auto_login_user):
    """The sign-in counts only where no key was presented, and the auto-login user only in a mode that uses it."""
    path, known, policy, now = situation
    decision = decide(*situation)
    if known.credential not in {Presented.NOTHING, Presented.FOREIGN_TOKEN}:
        assert decide(path, replace(known, identified=identified), policy, now) == decision
    if not policy.excuses_keyless:
        assert decide(path, replace(known, auto_login_user=auto_login_user), policy, now) == decision


@given(situations)
def test_the_same_is_decided_the_same(situation):
    """Equal inputs have equal decisions, whatever was decided between, and there is always one."""
    decision = decide(*situation)
    assert isinstance(decision, Allowed | Anonymous | Refused)
    decide(Requirement.OPTIONAL, Facts(), Policy(), NOW)
    assert decide(*copy.deepcopy(situation)) == decision


# --- what an endpoint asks beyond ---------------------------------------------------------------------------------

READER = Principal(id="1", name="ada", scopes=frozenset({"flows:*", "users:read"}))
SUPER = Principal(id="9", name="root", is_superuser=True)
BY_KEY = Allowed(rule=Rule.KEY, principal=READER, key=key())
BY_SIGN_IN = Allowed(rule=Rule.IDENTIFIED, principal=READER)
BY_SKIP_AUTH = Allowed(rule=Rule.SKIP_AUTH, principal=SUPER, noted=Reason.REVOKED)
BY_AUTO_LOGIN = Allowed(rule=Rule.AUTO_LOGIN, principal=SUPER)
POWERLESS = Allowed(rule=Rule.KEY, principal=replace(READER, scopes=frozenset()), key=key())

LACKING = [
    # Nobody has no right, not even an empty one.
    (Anonymous(rule=Rule.OPTIONAL), Need(), Reason.MISSING),
    (Anonymous(rule=Rule.EXEMPT), Need(), Reason.MISSING),
    (Anonymous(rule=Rule.OPTIONAL), Need(scopes=("flows:read",)), Reason.MISSING),
    (Anonymous(rule=Rule.OPTIONAL), Need(superuser=True, key=True), Reason.MISSING),
    # Who is somebody needs no more, where no more is asked.
    (BY_KEY, Need(), None),
    (BY_SIGN_IN, Need(), None),
    (POWERLESS, Need(), None),
    # A key is what the app's own sign-in is not, and what the modes stand in for.
    (BY_KEY, Need(key=True), None),
    (BY_SIGN_IN, Need(key=True), Reason.KEY_REQUIRED),
    (BY_SKIP_AUTH, Need(key=True), None),
    (BY_AUTO_LOGIN, Need(key=True), None),
    # Superuser rights.
    (BY_KEY, Need(superuser=True), Reason.SUPERUSER_REQUIRED),
    (BY_SKIP_AUTH, Need(superuser=True), None),
    (BY_AUTO_LOGIN, Need(superuser=True), None),
    (replace(BY_SIGN_IN, principal=SUPER), Need(superuser=True), None),
    # Scopes: all that are asked for, by pattern.
    (BY_KEY, Need(scopes=("flows:read",)), None),
    (BY_KEY, Need(scopes=("flows:read", "users:read", "authenticated")), None),
    (BY_KEY, Need(scopes=("flows:read", "users:write")), Reason.SCOPE_MISSING),
    (BY_KEY, Need(scopes=("users:write", "flows:read")), Reason.SCOPE_MISSING),
    (BY_KEY, Need(scopes=("superuser",)), Reason.SCOPE_MISSING),
    (BY_SKIP_AUTH, Need(scopes=("superuser", "whatever:it:is")), None),
    (BY_SIGN_IN, Need(scopes=("users:write",)), Reason.SCOPE_MISSING),
    (POWERLESS, Need(scopes=("authenticated",)), None),
    (POWERLESS, Need(scopes=("flows:read",)), Reason.SCOPE_MISSING),
    # The order in which they are told: key, superuser, scope.
    (BY_SIGN_IN, Need(key=True, superuser=True, scopes=("users:write",)), Reason.KEY_REQUIRED),
    (BY_SIGN_IN, Need(key=True, scopes=("flows:read",)), Reason.KEY_REQUIRED),
    (BY_KEY, Need(key=True, superuser=True, scopes=("users:write",)), Reason.SUPERUSER_REQUIRED),
    (BY_KEY, Need(key=True, scopes=("users:write",)), Reason.SCOPE_MISSING),
]


@pytest.mark.parametrize(("decision", "need", "reason"), LACKING, ids=range(len(LACKING)))
def test_what_an_endpoint_may_miss(decision, need, reason):
    """A right that an endpoint asks for, and that a caller who passed does not have, is named."""
    assert lacking(need, decision) is reason


passed = st.builds(
    Allowed,
    rule=st.sampled_from([Rule.KEY, Rule.IDENTIFIED, Rule.SKIP_AUTH, Rule.AUTO_LOGIN]),
    principal=principals,
)


@given(needs, passed)
def test_nothing_is_lacking_if_and_only_if_all_is_there(need, decision):
    """An endpoint runs if and only if the key, the superuser rights and each scope that it asks for are there."""
    rights = Auth.of(decision.principal).scopes
    all_there = (
        not (need.key and decision.rule is Rule.IDENTIFIED)
        and need.superuser <= decision.principal.is_superuser
        and all(scope in rights for scope in need.scopes)
    )
    assert (lacking(need, decision) is None) == all_there


@given(needs, st.sampled_from(Rule))
def test_nobody_lacks_a_key_first(need, rule):
    """Who passed as nobody is asked for a key, whatever else is asked for."""
    assert lacking(need, Anonymous(rule=rule)) is Reason.MISSING
