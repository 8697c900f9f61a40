"""Makes keys.json from the words of the key format alone, without Keyguard: `python tests/vectors/make_keys.py`."""

import hashlib
import json
import zlib
from pathlib import Path

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

ENTROPY = {
    "all bits clear": bytes(48),
    "all bits set": b"\xff" * 48,
    "counting": bytes(range(48)),
    "the id is the largest": (62**12 - 1).to_bytes(16, "big") + bytes(32),
    "the id comes round to zero": (62**12).to_bytes(16, "big") + bytes(32),
    "only the last bit of the id": bytes(15) + b"\x01" + bytes(32),
    "only the last bit of the secret": bytes(47) + b"\x01",
    **{f"SHA-384 of {word!r}": hashlib.sha384(word.encode()).digest() for word in ("one", "two", "three")},
}


def base62(number, width):
    """Choose each digit from the left: the largest that still fits."""
    text = ""
    for place in range(width - 1, -1, -1):
        digit = max(d for d in range(62) if d * 62**place <= number)
        number -= digit * 62**place
        text += DIGITS[digit]
    assert number == 0
    return text


def vector(about, prefix, entropy):
    head = entropy[:16].hex()
    key_id = base62(int(head, 16) % 62**12, 12)
    secret = base62(int(entropy[16:].hex(), 16), 43)
    checksum = base62(zlib.crc32(f"{prefix}_{key_id}_{secret}".encode("ascii")), 6)
    return {
        "about": about,
        "prefix": prefix,
        "entropy": entropy.hex(),
        "id": key_id,
        "secret": secret,
        "checksum": checksum,
        "key": f"{prefix}_{key_id}_{secret}{checksum}",
    }


def vectors():
    return [
        vector(about, prefix, entropy)
        for prefix in ("kg", "lf_live", "a", "0123456789_bcdef")
        for about, entropy in ENTROPY.items()
    ]


if __name__ == "__main__":
    Path(__file__).with_name("keys.json").write_text(json.dumps(vectors(), indent=2) + "\n")
