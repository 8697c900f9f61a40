"""Makes digests.json from RFC 2104 and `hashlib`, without Keyguard: `python tests/vectors/make_digests.py`."""

import hashlib
import json
from pathlib import Path

PEPPERS = {
    "sixteen bytes": b"sixteen bytes...",
    "as long as a block": bytes(range(64)),
    "longer than a block": b"\xaa" * 131,
    "text": "Pfeffer, gemahlen: ½ Löffel".encode(),
}

SECRETS = ("kg_000000000000_00000000000000000000000000000000000000000001EVFfU", "sk-chosen", "x" * 512, "")

RFC_4231 = (  # Test cases 1, 2 and 6 of that document.
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
)


def hmac_sha256(key, message):
    """RFC 2104 §2, step by step."""
    block = hashlib.sha256(key).digest() if len(key) > 64 else key
    block = block.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


def vectors():
    assert all(hmac_sha256(key, message) == digest for key, message, digest in RFC_4231)
    return {
        "sha256": [
            {"secret": secret, "digest": f"sha256${hashlib.sha256(secret.encode('ascii')).hexdigest()}"}
            for secret in SECRETS
        ],
        "hmac-sha256": [
            {
                "about": about,
                "pepper": pepper.hex(),
                "secret": secret,
                "digest": f"hmac-sha256${hmac_sha256(pepper, secret.encode('ascii'))}",
            }
            for about, pepper in PEPPERS.items()
            for secret in SECRETS
        ],
    }


if __name__ == "__main__":
    Path(__file__).with_name("digests.json").write_text(json.dumps(vectors(), indent=2) + "\n")
