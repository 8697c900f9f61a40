"""What is typed into a search may be a whole key: no address, and no log that has it, must hold one."""

import re

from keyguard.journal import loggable_path
from keyguard.settings import Keyring

__all__ = ["for_address", "holds_key"]

_LONGER_THAN_NAMES = 16
"""Of a form without a prefix, such as keys that people choose, whatever is shorter may be a word of a name."""


def for_address(text: str, keyring: Keyring) -> str | None:
    """Return a text as an address may hold it: None if it may not, because it looks like a key.

    Of a key of Keyguard's own form, or a part of one, prefix and id are left, by which it is found.
    """
    own = _own(text, keyring)
    if own is not None:
        return own[1]
    return None if holds_key(text, keyring) or loggable_path(text) != text else text


def holds_key(text: str, keyring: Keyring) -> bool:
    """Tell whether a key that `keyring` accepts stands in a text, or of Keyguard's own form the beginning of one."""
    return _own(text, keyring) is not None or any(_is_foreign(word, keyring) for word in text.split())


def _is_foreign(word: str, keyring: Keyring) -> bool:
    return any(form.matches(word) and (form.prefix or len(word) >= _LONGER_THAN_NAMES) for form in keyring.formats)


def _own(text: str, keyring: Keyring) -> re.Match[str] | None:
    """Find prefix and id of a key of Keyguard's own form, with the underscore behind which its secret begins."""
    return re.search(rf"({re.escape(keyring.prefix)}_[0-9A-Za-z]{{12}})_", text)
