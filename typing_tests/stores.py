"""A store of one's own is taken for one by what it has; nothing is inherited."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Sequence

from starlette.applications import Starlette

from keyguard import Found, KeyGuard, KeyRecord, Keyring, Owner
from keyguard.ports import KeyRegistry, KeyStore
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.stores.static import StaticStore
from keyguard.testing import KeyStoreContract, OwnerRegistryContract


class Almost:
    concurrency = 1

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self.is_open = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def find(self, lookups: Sequence[str]) -> Found | None: ...

    async def find_owner(self, name: str) -> Owner | None: ...


class OwnStore(Almost):
    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:
        return False


class Blocking(OwnStore):
    def find(self, lookups: Sequence[str]) -> Found | None: ...  # type: ignore[override]  # A check waits for its answer.


stores: list[KeyStore] = [
    OwnStore(Keyring()),
    MemoryStore(),
    SQLStore("sqlite+aiosqlite:///keys.db"),
    StaticStore("keys.toml"),
]
registries: list[KeyRegistry] = [MemoryStore(), SQLStore("sqlite+aiosqlite:///keys.db")]

app = Starlette()
app.add_middleware(KeyGuard, store=OwnStore(Keyring()))
app.add_middleware(KeyGuard, store=Almost(Keyring()))  # type: ignore[arg-type]  # It has no `upgrade`.
app.add_middleware(KeyGuard, store=OwnStore)  # type: ignore[arg-type]  # The class, not a store.


class TestOwnStore(KeyStoreContract):
    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> KeyStore:
        return OwnStore(keyring)


class TestMemoryStore(OwnerRegistryContract):
    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> MemoryStore:
        return MemoryStore(keyring=keyring)
