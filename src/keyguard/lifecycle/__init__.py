"""The life of keys and owners: functions over a store, shared by everything that administers.

Each returns when its change is durable; a request that reaches KeyGuard after that sees it. `clock` and `entropy`
(which returns so many random bytes) are there for tests and vectors.

Every function may raise `StoreUnavailable`, and `StartRefused` if the store does not belong to this program.
"""

from keyguard.lifecycle._keys import (
    Issued,
    adopt,
    disable,
    enable,
    get,
    issue,
    list_keys,
    mint,
    rename,
    revoke,
    usage,
    usages,
)
from keyguard.lifecycle._owners import activate, add_owner, deactivate, set_superuser
from keyguard.lifecycle._passwords import set_password, verify_password
from keyguard.lifecycle._rotation import rotate

__all__ = [
    "Issued",
    "activate",
    "add_owner",
    "adopt",
    "deactivate",
    "disable",
    "enable",
    "get",
    "issue",
    "list_keys",
    "mint",
    "rename",
    "revoke",
    "rotate",
    "set_password",
    "set_superuser",
    "usage",
    "usages",
    "verify_password",
]
