"""Third parties' credentials that the app keeps for its owners, sealed under keys that stand beside the database.

::

    vault = Vault(store, SecretFile("/var/lib/shop/secret.key"))
    await vault.put(owner, "OPENAI_API_KEY", value)
    value = await vault.get(owner, "OPENAI_API_KEY")

A sealed text is ``v1.`` and a Fernet token (AES-128-CBC with HMAC-SHA-256, https://github.com/fernet/spec) over a JSON
object of `owner`, `name` and `value`: a row that is copied to another owner or name does not open there. The token's
time is when the value was put; sealing it again under another key keeps that.

Fernet's key is made from the secret key by HKDF-SHA-256 (RFC 5869) without a salt, with ``keyguard vault 1`` as the
info. With ``keyguard vault check 1`` it gives 16 bytes that stand in each row as 32 hexadecimal digits, and say which
secret key sealed it.

Another form begins with another mark. What it does not know it leaves alone: so a mark is never used twice, and whoever
adds one goes on opening the old ones.
"""

from keyguard.vault._secrets import FILE_VARIABLE, KEY_VARIABLE, SecretFile, SecretKeys
from keyguard.vault._vault import (
    MAX_METADATA_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_VALUE_BYTES,
    Resolved,
    ValueSource,
    Vault,
)

__all__ = [
    "FILE_VARIABLE",
    "KEY_VARIABLE",
    "MAX_METADATA_BYTES",
    "MAX_NAME_CHARACTERS",
    "MAX_VALUE_BYTES",
    "Resolved",
    "SecretFile",
    "SecretKeys",
    "ValueSource",
    "Vault",
]
