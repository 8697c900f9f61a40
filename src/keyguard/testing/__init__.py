"""For your tests: a clock that stands still, made-up keys, and the suites that hold a store to the ports' promises.

Nothing here needs pytest itself. The suites are classes of coroutines named ``test_…``, which pytest runs when they are
inherited, with pytest-asyncio in auto mode::

    class TestMyStore(KeyStoreContract):
        async def make_store(self, keyring, owners, keys):
            store = MyStore(keyring=keyring)
            ...  # put the owners and keys into it, by whatever way it is filled
            return store

Assertions explain themselves after `pytest.register_assert_rewrite("keyguard.testing")` in your conftest.py.
"""

from keyguard.testing._audit import AuditContract
from keyguard.testing._credentials import CredentialContract
from keyguard.testing._freshness import FreshnessContract
from keyguard.testing._imports import ImportContract
from keyguard.testing._key_store import KeyStoreContract
from keyguard.testing._made_up import NOON as NOON
from keyguard.testing._made_up import FrozenClock, make_digest, make_record
from keyguard.testing._made_up import make_credential as make_credential
from keyguard.testing._made_up import make_event as make_event
from keyguard.testing._made_up import make_session as make_session
from keyguard.testing._owners import AppOwnersContract, OwnerRegistryContract
from keyguard.testing._registry import KeyRegistryContract
from keyguard.testing._sessions import SessionContract
from keyguard.testing._usage import UsageContract

__all__ = [
    "AppOwnersContract",
    "AuditContract",
    "CredentialContract",
    "FreshnessContract",
    "FrozenClock",
    "ImportContract",
    "KeyRegistryContract",
    "KeyStoreContract",
    "OwnerRegistryContract",
    "SessionContract",
    "UsageContract",
    "make_digest",
    "make_record",
]
