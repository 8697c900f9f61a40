"""What the tests of the life of keys and owners share: keyrings, keys from elsewhere, an owner."""

from datetime import timedelta

from keyguard import lifecycle
from keyguard.settings import KeyFormat, Keyring

A, B = b"the pepper called A", b"the pepper called B"
HOUR = timedelta(hours=1)

_LOWER = "abcdefghijklmnopqrstuvwxyz"
_STRONG_FORM = KeyFormat(prefix="sk-", alphabet=_LOWER, min_length=32, max_length=32, entropy=150)
_WEAK_FORM = KeyFormat(prefix="my-", alphabet=_LOWER, min_length=4, max_length=40)
STRONG, WEAK = "sk-" + "abcdefgh" * 4, "my-secret"
ADOPTING = Keyring(peppers=[A], formats=[_STRONG_FORM, _WEAK_FORM])

WINDOW = "expires_at must lie in the future, and behind not_before"


async def ada(store):
    return await lifecycle.add_owner(store, "ada", id="owner-1")
