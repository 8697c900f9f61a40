"""Keys that are written down: minted for a StaticStore, with nothing stored."""

import pytest

from keyguard import Argon2Hasher, ConfigurationError, Keyring, lifecycle
from keyguard.hashing import Digests
from keyguard.stores.static import StaticStore


async def test_a_minted_key_is_good_where_its_digest_is_written_down():
    """A minted key passes a StaticStore that holds its digest, under the same keyring."""
    for keyring in (Keyring(), Keyring(peppers=["x" * 16], prefix="lf_live")):
        key, digest = lifecycle.mint(keyring)
        store = StaticStore({"ci": digest}, keyring=keyring)
        found = await store.find(Digests(keyring).lookups(key))
        assert found is not None
        assert found.key.name == "ci"
        assert key.prefix == keyring.prefix


def test_minting_needs_a_fast_digest():
    """A keyring that hashes every key slowly cannot mint: what is written down is found by a fast digest."""
    with pytest.raises(ConfigurationError, match="without hasher"):
        lifecycle.mint(Keyring(peppers=["x" * 16], hasher=Argon2Hasher()))
