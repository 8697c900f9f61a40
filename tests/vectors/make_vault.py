"""Makes vault.json from RFC 5869 and the Fernet specification, without Keyguard: `python tests/vectors/make_vault.py`.

Of the package `cryptography` it takes AES in its barest form, block by block, and neither Fernet nor HKDF.
"""

import base64
import hashlib
import hmac
import json
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEYS = {
    "generated": "zT1vCqVNq9mI3_pVLa7ZqW0dJ8h4Rr2Yc6uS5xBfXkE",
    "the shortest": "0123456789abcdef0123456789abcdef",
    "every character": "".join(map(chr, range(0x21, 0x7F))),
}

VALUES = {
    "plain": ("1", "OPENAI_API_KEY", "sk-proj-0123456789abcdefghijklmn"),
    "one character": ("1", "X", "x"),
    "a whole block": ("7c0a8f1e-6b0d-4c55-9a3e-2f4f0c3b1d11", "TOKEN", "0123456789"),
    "what JSON escapes": ('o"wner\\', "na\tme", 'a "quoted" \\ back\u2028slash\x00 and a line\nbreak'),
    "beyond ASCII": ("Žofie", "clé 🔑", "пароль 密码 🗝"),
}

TIMES = (0, 1_762_171_200, 2**33)

RFC_5869 = (  # Test cases 1 and 3 of that document: key, salt, info, output.
    (
        b"\x0b" * 22,
        bytes(range(13)),
        bytes(range(0xF0, 0xFA)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        b"\x0b" * 22,
        b"",
        b"",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
)

FERNET_SPECIFICATION = {  # generate.json of https://github.com/fernet/spec.
    "token": "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==",
    "now": "1985-10-26T01:20:00-07:00",
    "iv": bytes(range(16)),
    "src": b"hello",
    "secret": "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
}


def hkdf(key, info, length, salt=b""):
    """RFC 5869 §2, step by step."""
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    block, output = b"", b""
    while len(output) < length:
        block = hmac.digest(extracted, block + info + bytes([len(output) // 32 + 1]), "sha256")
        output += block
    return output[:length]


def fernet(key, time, iv, plaintext):
    """The token that the specification describes, of 32 bytes of key: the first half signs, the other encrypts."""
    cipher = Cipher(algorithms.AES(key[16:]), modes.ECB()).encryptor()
    missing = 16 - len(plaintext) % 16
    padded = plaintext + bytes([missing] * missing)
    before, encrypted = iv, b""
    for start in range(0, len(padded), 16):
        before = cipher.update(bytes(a ^ b for a, b in zip(before, padded[start : start + 16], strict=True)))
        encrypted += before
    content = b"\x80" + time.to_bytes(8, "big") + iv + encrypted
    return base64.urlsafe_b64encode(content + hmac.digest(key[:16], content, "sha256")).decode()


def fernet_key(secret_key):
    return hkdf(secret_key.encode("ascii"), b"keyguard vault 1", 32)


def check(secret_key):
    return hkdf(secret_key.encode("ascii"), b"keyguard vault check 1", 16).hex()


def seal(secret_key, owner, name, value, time, iv):
    texts = [json.dumps(text, ensure_ascii=False) for text in (owner, name, value)]
    content = '{{"owner": {}, "name": {}, "value": {}}}'.format(*texts)
    return f"v1.{fernet(fernet_key(secret_key), time, iv, content.encode('utf-8'))}"


def check_the_parts():
    for key, salt, info, output in RFC_5869:
        assert hkdf(key, info, len(output) // 2, salt).hex() == output
    given = FERNET_SPECIFICATION
    time = int(datetime.fromisoformat(given["now"]).timestamp())
    assert fernet(base64.urlsafe_b64decode(given["secret"]), time, given["iv"], given["src"]) == given["token"]


def vectors():
    check_the_parts()
    made = []
    for number, (about_key, key) in enumerate(KEYS.items()):
        for about, (owner, name, value) in VALUES.items():
            time = TIMES[len(made) % len(TIMES)]
            iv = hashlib.sha256(f"{number} {about}".encode()).digest()[:16]
            sealed = seal(key, owner, name, value, time, iv)
            made.append(
                {
                    "about": f"{about_key}, {about}",
                    "secret_key": key,
                    "check": check(key),
                    "owner": owner,
                    "name": name,
                    "value": value,
                    "time": time,
                    "iv": iv.hex(),
                    "sealed": sealed,
                }
            )
    return made


if __name__ == "__main__":
    Path(__file__).with_name("vault.json").write_text(json.dumps(vectors(), indent=2) + "\n")
