"""API keys for ASGI apps: one middleware that guards, and the calls that issue and revoke.

::

    from starlette.applications import Starlette
    from keyguard import KeyGuard, Policy, lifecycle
    from keyguard.stores.sql import SQLStore

    store = SQLStore("sqlite+aiosqlite:///keys.db")
    app = Starlette(routes=[...])
    app.add_middleware(KeyGuard, store=store, policy=Policy(exempt=["/health"]))

    # Once, before the server starts: await store.create_schema(); ada = await lifecycle.add_owner(store, "ada")
    # A key: (await lifecycle.issue(store, ada, name="laptop")).key.reveal()
"""

from keyguard import lifecycle
from keyguard.access import Access, require
from keyguard.errors import (
    CannotOpen,
    Changed,
    ConfigurationError,
    Conflict,
    InvalidKey,
    KeyguardError,
    NotFound,
    NotSupported,
    Overloaded,
    SchemaMismatch,
    StartRefused,
    StoreUnavailable,
    WrongPepper,
    WrongSecret,
)
from keyguard.hashing import Argon2Hasher
from keyguard.keys import ApiKey
from keyguard.middleware import KeyGuard
from keyguard.model import (
    AnonymousUser,
    AuditEvent,
    AuditKind,
    Auth,
    Event,
    Found,
    KeyRecord,
    KeyState,
    Owner,
    Principal,
    Reason,
    Rule,
    Scopes,
    Source,
)
from keyguard.refusals import Refusal
from keyguard.settings import KeyFormat, Keyring, PathRule, Policy

__all__ = [
    "Access",
    "AnonymousUser",
    "ApiKey",
    "Argon2Hasher",
    "AuditEvent",
    "AuditKind",
    "Auth",
    "CannotOpen",
    "Changed",
    "ConfigurationError",
    "Conflict",
    "Event",
    "Found",
    "InvalidKey",
    "KeyFormat",
    "KeyGuard",
    "KeyRecord",
    "KeyState",
    "KeyguardError",
    "Keyring",
    "NotFound",
    "NotSupported",
    "Overloaded",
    "Owner",
    "PathRule",
    "Policy",
    "Principal",
    "Reason",
    "Refusal",
    "Rule",
    "SchemaMismatch",
    "Scopes",
    "Source",
    "StartRefused",
    "StoreUnavailable",
    "WrongPepper",
    "WrongSecret",
    "lifecycle",
    "require",
]

__version__ = "0.1.0"
