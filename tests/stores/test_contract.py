"""Every store keeps the promises of the ports: one suite, from `keyguard.testing`, over all of them."""

from keyguard.model import Owner
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON, OwnerRegistryContract


class TestMemoryStore(OwnerRegistryContract):
    async def make_store(self, keyring, owners, keys):
        store = MemoryStore(keyring=keyring)
        absent = {key.owner_id for key in keys} - {owner.id for owner in owners}
        for owner in [*owners, *(Owner(id=owner_id, name=owner_id) for owner_id in absent)]:
            await store.add_owner(owner, created_at=NOON)
        for key in keys:
            await store.add_key(key)
        for owner_id in absent:
            del store._owners[owner_id]
        return store
