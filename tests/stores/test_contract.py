"""Every store keeps the promises of the ports: one suite, from `keyguard.testing`, over all of them."""

from keyguard.model import Owner
from keyguard.stores.memory import MemoryStore
from keyguard.stores.static import StaticStore
from keyguard.testing import NOON, KeyStoreContract, OwnerRegistryContract


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


class TestStaticStore(KeyStoreContract):
    owner_ids = ("ada", "bob")

    # What a file of good keys cannot say.
    test_a_key_is_found_whole = None
    test_the_verifier_does_not_find_a_key = None
    test_disabled_and_revoked_keys_are_found = None
    test_keys_of_inactive_owners_are_found = None
    test_a_key_without_its_owner_is_not_found = None

    async def make_store(self, keyring, owners, keys):
        by_id = {owner.id: owner for owner in owners}
        return StaticStore(
            {
                key.id: {
                    "digest": key.lookup,
                    "owner": by_id[key.owner_id].name,
                    "superuser": by_id[key.owner_id].is_superuser,
                    "scopes": key.scopes,
                    "expires_at": key.expires_at,
                    "not_before": key.not_before,
                }
                for key in keys
            },
            keyring=keyring,
        )
