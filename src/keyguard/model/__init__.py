"""The nouns: what a key, an owner, a request's facts and a decision are.

Frozen values of the standard library, without clock, randomness or I/O. They are read in the order in which a
request meets them: a `Requirement` (what the path asks), `Facts` (what is known of the caller), a decision
(`Allowed`, `Anonymous` or `Refused`), and what the app then finds in its scope (`Principal`, `Auth`). What stands in a
store is apart from that, in `_stored`.
"""

from keyguard.model._callers import ALL_SCOPES, AnonymousUser, Auth, Principal, Scopes, check_scope
from keyguard.model._callers import RESERVED_SCOPES as RESERVED_SCOPES
from keyguard.model._requests import (
    Allowed,
    Anonymous,
    Decision,
    Event,
    Facts,
    Need,
    Presented,
    Reason,
    Refused,
    Requirement,
    Rule,
    Source,
    Verdict,
    revoked_key,
)
from keyguard.model._stored import (
    AuditEvent,
    AuditKind,
    Credential,
    Found,
    IPAddress,
    IPNetwork,
    KeyOrder,
    KeyPage,
    KeyQuery,
    KeyRecord,
    KeyState,
    ListedKey,
    NewOwner,
    Owner,
    OwnerPage,
    Session,
    SessionFound,
    Usage,
)

__all__ = [
    "ALL_SCOPES",
    "Allowed",
    "Anonymous",
    "AnonymousUser",
    "AuditEvent",
    "AuditKind",
    "Auth",
    "Credential",
    "Decision",
    "Event",
    "Facts",
    "Found",
    "IPAddress",
    "IPNetwork",
    "KeyOrder",
    "KeyPage",
    "KeyQuery",
    "KeyRecord",
    "KeyState",
    "ListedKey",
    "Need",
    "NewOwner",
    "Owner",
    "OwnerPage",
    "Presented",
    "Principal",
    "Reason",
    "Refused",
    "Requirement",
    "Rule",
    "Scopes",
    "Session",
    "SessionFound",
    "Source",
    "Usage",
    "Verdict",
    "check_scope",
    "revoked_key",
]
