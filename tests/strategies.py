"""Hypothesis strategies for Keyguard's nouns and settings, shared by the tests."""

import re
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network

from hypothesis import strategies as st

from keyguard.model import (
    ALL_SCOPES,
    Facts,
    Found,
    KeyRecord,
    Need,
    Owner,
    Presented,
    Principal,
    Reason,
    Requirement,
    Verdict,
)
from keyguard.settings import DEFAULT_METHODS, KeyFormat, Keyring, PathRule, Policy

# --- texts, times, places ---------------------------------------------------------------------------------------

names = st.text(min_size=1, max_size=12)
ids = st.text(alphabet=string.ascii_letters + string.digits, min_size=12, max_size=12)

moments = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  (Hypothesis wants naive bounds and adds the zone itself.)
moments_or_none = st.none() | moments
MICROSECOND = timedelta(microseconds=1)

ipv4_addresses = st.ip_addresses(v=4)
ipv6_addresses = st.ip_addresses(v=6)


def mapped(address: IPv4Address) -> IPv6Address:
    """The IPv6 address that an IPv4 one is written as on a socket that speaks both."""
    return IPv6Address(0xFFFF_0000_0000 | int(address))


addresses = ipv4_addresses | ipv6_addresses | ipv4_addresses.map(mapped)


@st.composite
def networks(draw, around=addresses):
    """A network of any size; every address that `around` gives has one."""
    address = draw(around)
    return ip_network((address, draw(st.integers(0, address.max_prefixlen))), strict=False)


# --- scopes -----------------------------------------------------------------------------------------------------

_LETTERS = string.ascii_lowercase + string.digits + "_.-"
_first_words = st.text(alphabet=_LETTERS, min_size=1, max_size=6)
_few_letters = st.text(alphabet="ab*", min_size=1, max_size=5)
_patterns = st.text(alphabet=_LETTERS + "*", min_size=1, max_size=6)

scope_names = st.lists(_first_words, min_size=1, max_size=4).map(":".join)
"""What an endpoint asks for: a name without wildcards. `authenticated` and `superuser` may be among them."""

scopes = st.just("*") | st.tuples(_first_words, st.lists(_patterns, max_size=3)).map(
    lambda words: ":".join([words[0], *words[1]])
)
"""What a key may be given, wildcards included."""

alike_scopes = st.lists(_few_letters, min_size=1, max_size=3).map(lambda words: ":".join(["a", *words]))
alike_names = st.lists(st.text(alphabet="ab", min_size=1, max_size=5), min_size=1, max_size=3).map(
    lambda words: ":".join(["a", *words])
)
"""Made of few letters, so that one often matches the other."""

scope_sets = st.frozensets(scopes | st.sampled_from(["*", "authenticated", "superuser"]), max_size=4) | st.just(
    ALL_SCOPES
)

# --- keys and their owners --------------------------------------------------------------------------------------

owners = st.builds(Owner, id=ids, name=names, is_active=st.booleans(), is_superuser=st.booleans())

key_records = st.builds(
    KeyRecord,
    id=ids,
    owner_id=ids,
    prefix=st.sampled_from(["kg_", "lf_live_", "sk-"]),
    name=st.just("") | names,
    lookup=ids.map("sha256:{}".format),
    verifier=ids.map("sha256:{}".format),
    scopes=scope_sets,
    networks=st.lists(networks(), max_size=2).map(tuple),
    created_at=moments,
    not_before=moments_or_none,
    expires_at=moments_or_none,
    disabled_at=moments_or_none,
    revoked_at=moments_or_none,
    revoked_reason=st.sampled_from(["", "lost", "rotated"]),
)

found = st.builds(lambda key, owner: Found(key=replace(key, owner_id=owner.id), owner=owner), key_records, owners)
"""A key with the owner that it belongs to."""

# --- what a request is judged by --------------------------------------------------------------------------------

requirements = st.sampled_from(Requirement)
principals = st.builds(Principal, id=ids, name=names, is_superuser=st.booleans(), scopes=scope_sets)
verdicts = st.builds(
    Verdict,
    key=key_records,
    principal=principals,
    standing=st.sampled_from([None, Reason.REVOKED, Reason.DISABLED, Reason.OWNER_INACTIVE]),
)
facts = st.builds(
    Facts,
    credential=st.sampled_from(Presented) | verdicts,
    address=st.none() | addresses,
    identified=st.none() | principals,
    auto_login_user=st.none() | owners,
)
needs = st.builds(Need, scopes=st.lists(scope_names, max_size=3).map(tuple), superuser=st.booleans(), key=st.booleans())

# --- settings ---------------------------------------------------------------------------------------------------

_segments = st.text(alphabet=string.ascii_letters + string.digits + "._~!$&'()+,=:@-", min_size=1, max_size=8).filter(
    lambda segment: segment not in {".", ".."}
)
paths = st.lists(_segments, min_size=1, max_size=4).map(lambda segments: "/" + "/".join(segments))
"""Canonical paths without a trailing slash."""

entries = st.tuples(paths, st.sampled_from(["", "/", "/*"])).map("".join)
"""What `Policy.exempt` and `Policy.optional` take."""

path_rules = st.builds(
    PathRule,
    path=entries,
    methods=st.frozensets(st.sampled_from(sorted(DEFAULT_METHODS)), min_size=1),
    websocket=st.booleans(),
)

MODES = (
    {},
    {"auto_login": True},
    {"auto_login": True, "auto_login_needs_key": False},
    {"skip_auth": True},
    {"skip_auth": True, "auto_login": True},
    {"skip_auth": True, "auto_login": True, "auto_login_needs_key": False},
)
"""Every combination of the policy's switches that its constructor accepts."""


@st.composite
def policies(draw):
    """Any policy that its constructor accepts."""
    mode = draw(st.sampled_from(MODES))
    listed = draw(st.lists(entries, max_size=4, unique=True))
    split = draw(st.integers(0, len(listed)))
    user = draw(names if mode else st.none() | names)
    return Policy(exempt=listed[:split], optional=listed[split:], auto_login_user=user, **mode)


PRINTABLE = [chr(code) for code in range(0x21, 0x7F)]
key_formats = st.builds(
    KeyFormat,
    prefix=st.sampled_from(["", "sk-", "xoxb-"]),
    alphabet=st.lists(st.sampled_from(PRINTABLE), min_size=1, unique=True)
    .map("".join)
    .filter(lambda letters: not re.search("[A-Za-z0-9]-[A-Za-z0-9]", letters)),
    min_length=st.integers(1, 40),
    max_length=st.integers(40, 500),
    entropy=st.integers(0, 300),
)
keyrings = st.builds(
    Keyring,
    prefix=st.from_regex(r"[a-z0-9]([a-z0-9_]{0,14}[a-z0-9])?", fullmatch=True),
    peppers=st.lists(st.binary(min_size=16, max_size=40), min_size=1, max_size=3, unique=True),
    formats=st.lists(key_formats, max_size=2),
    max_lifetime=st.none() | st.timedeltas(min_value=MICROSECOND, max_value=timedelta(days=36_525)),
)
