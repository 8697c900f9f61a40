"""Who may pass, said a second time: an if-and-only-if list over all cases, written before `keyguard.policy`.

A case is one way in which a request can meet the policy. `EVERY` holds all of them, and each group of requests that the
manual speaks of is a set of cases. The outcomes at the end are made from these sets alone, each by a statement that is
true by itself: nothing here is tried in an order, and nothing is imported from the package.
"""

from itertools import product
from typing import NamedTuple


class Key(NamedTuple):
    """A genuine key: the store knows it. `dated` ones have a beginning and an end, `bound` ones have networks."""

    standing: str
    dated: bool
    bound: bool


class Case(NamedTuple):
    """One request under one policy."""

    path: str
    credential: str | Key
    known: bool
    """Whether the app's own sign-in knows the caller."""
    auto_login: str
    skip_auth: bool
    auto_user: str
    time: str
    """Where in the window of a dated key the request falls."""
    address: str
    """Where the request comes from, seen from a bound key's networks."""


PATHS = ("exempt", "optional", "required")
STANDINGS = ("good", "revoked", "disabled", "owner inactive")
KEYS = tuple(Key(*traits) for traits in product(STANDINGS, (False, True), (False, True)))
CREDENTIALS = ("nothing", "foreign token", "ambiguous", "malformed", "unknown", *KEYS)
AUTO_LOGINS = ("off", "with key", "without key")
AUTO_USERS = ("missing", "inactive", "active", "superuser")
TIMES = ("before", "inside", "after")
ADDRESSES = ("inside", "outside", "not known")

EVERY = frozenset(
    Case(*values)
    for values in product(PATHS, CREDENTIALS, (False, True), AUTO_LOGINS, (False, True), AUTO_USERS, TIMES, ADDRESSES)
)


def those(**wanted):
    """The cases whose named fields have these values."""
    return frozenset(case for case in EVERY if all(getattr(case, name) == value for name, value in wanted.items()))


def key_with(**wanted):
    """The cases of a genuine key with these traits."""
    keys = {key for key in KEYS if all(getattr(key, name) == value for name, value in wanted.items())}
    return frozenset(case for case in EVERY if case.credential in keys)


# --- groups of requests -----------------------------------------------------------------------------------------

OPTIONAL = those(path="optional")
REQUIRED = those(path="required")
GUARDED = OPTIONAL | REQUIRED

NOTHING = those(credential="nothing")
FOREIGN_TOKEN = those(credential="foreign token")
AMBIGUOUS = those(credential="ambiguous")
GENUINE = key_with()

GOOD_KEY = (
    key_with(standing="good")
    & (key_with(dated=False) | those(time="inside"))
    & (key_with(bound=False) | those(address="inside"))
)
BAD_KEY = those(credential="malformed") | those(credential="unknown") | (GENUINE - GOOD_KEY)

SIGNED_IN = (NOTHING | FOREIGN_TOKEN) & those(known=True)
"""Without a key, and known to the app's own sign-in."""

EXCUSED = (those(skip_auth=True) - GOOD_KEY - SIGNED_IN) | (NOTHING & those(auto_login="without key") - SIGNED_IN)
"""Those whom a mode of the policy makes the auto-login user, if that user can act."""

AUTO_USER_CAN_ACT = those(auto_user="active") | those(auto_user="superuser")

# --- who passes, as whom, and who does not ----------------------------------------------------------------------

AS_OWNER = GUARDED & GOOD_KEY
"""A request acts as a key's owner if and only if it brings that key, good, to a path that is not exempt."""

AS_IDENTIFIED = GUARDED & SIGNED_IN
"""It acts as the app's own user if and only if the app's sign-in knows the caller and no key came along."""

AS_AUTO_USER = GUARDED & EXCUSED & AUTO_USER_CAN_ACT
"""It acts as the auto-login user if and only if a mode excuses it and that user exists and is active."""

ANONYMOUS = those(path="exempt") | ((OPTIONAL & NOTHING) - SIGNED_IN - EXCUSED)
"""It passes as nobody if and only if the path is exempt, or optional and nothing speaks for or against the caller."""

REFUSED_400 = (GUARDED & AMBIGUOUS) - EXCUSED
"""It is ambiguous if and only if more than one key may be meant and no mode makes that of no account."""

REFUSED_401 = GUARDED & (
    ((BAD_KEY | FOREIGN_TOKEN) - SIGNED_IN - EXCUSED)
    | ((REQUIRED & NOTHING) - SIGNED_IN - EXCUSED)
    | (EXCUSED - AUTO_USER_CAN_ACT)
)
"""It is not authenticated if and only if its key is bad, or a key is missing, or the auto-login user cannot act."""

OUTCOMES = {
    "owner": AS_OWNER,
    "identified": AS_IDENTIFIED,
    "auto-login user": AS_AUTO_USER,
    "anonymous": ANONYMOUS,
    "400": REFUSED_400,
    "401": REFUSED_401,
}
OUTCOME_OF = {case: name for name, cases in OUTCOMES.items() for case in cases}
