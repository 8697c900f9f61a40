"""The life of keys and owners: functions over a store, shared by everything that administers.

Each returns when its change is durable; a request that reaches KeyGuard after that sees it. What was changed stands in
the audit log, written in the same transaction, with the time and with `actor`, who is an `Owner`, a `Principal` such as
`request.user`, or whatever text names whoever asked. Where a function tells whether it did what it was asked for, no
means that it was so already, and leaves no event. `clock` and `entropy` (which returns so many random bytes) are there
for tests and vectors.

Every function may raise `StoreUnavailable`, and `StartRefused` if the store does not belong to this program.
"""

from keyguard.lifecycle._audit import events
from keyguard.lifecycle._issuing import Issued, adopt, issue, mint
from keyguard.lifecycle._keys import (
    disable,
    enable,
    find,
    get,
    list_keys,
    purge,
    rename,
    revoke,
    search_keys,
    usage,
    usages,
)
from keyguard.lifecycle._owners import (
    activate,
    add_owner,
    deactivate,
    list_owners,
    remove_owner,
    rename_owner,
    set_superuser,
)
from keyguard.lifecycle._passwords import set_password, verify_password
from keyguard.lifecycle._rotation import end_grace, rotate
from keyguard.lifecycle._sessions import SignedIn, end_sessions, find_session, sign_in, sign_out, start_session

__all__ = [
    "Issued",
    "SignedIn",
    "activate",
    "add_owner",
    "adopt",
    "deactivate",
    "disable",
    "enable",
    "end_grace",
    "end_sessions",
    "events",
    "find",
    "find_session",
    "get",
    "issue",
    "list_keys",
    "list_owners",
    "mint",
    "purge",
    "remove_owner",
    "rename",
    "rename_owner",
    "revoke",
    "rotate",
    "search_keys",
    "set_password",
    "set_superuser",
    "sign_in",
    "sign_out",
    "start_session",
    "usage",
    "usages",
    "verify_password",
]
