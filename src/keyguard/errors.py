"""Every exception that Keyguard raises.

::

    KeyguardError                  never raised itself; catch it to catch all of them
    ├── ConfigurationError         an argument cannot be right (also a ValueError)
    ├── InvalidKey                 a text is not a key (also a ValueError)
    ├── CannotOpen                 a sealed credential does not open: it was changed, or belongs elsewhere
    ├── NotFound                   no key or owner has that id or name (also a LookupError)
    ├── Conflict                   that id or name is taken, or a key's state does not allow it
    │   └── Changed                a key is not as it was when the caller read it
    ├── NotSupported               this store cannot do that
    ├── StartRefused               the store and the program do not belong together
    │   ├── SchemaMismatch         the tables are missing, or of another version
    │   ├── WrongPepper            the keys were made under a pepper that was not given
    │   └── WrongSecret            the vault was sealed with a secret key that was not given
    └── StoreUnavailable           the store cannot answer now: 503, never a pass
        └── Overloaded             too many wait already: 503 at once

A request that is refused is none of these: it is a value, `keyguard.model.Refused`.
"""


class KeyguardError(Exception):
    """The base of all exceptions here; never raised itself."""


class ConfigurationError(KeyguardError, ValueError):
    """An argument cannot be right; the message says what is allowed."""


class InvalidKey(KeyguardError, ValueError):
    """A text is not a key. The message never quotes the text."""


class CannotOpen(KeyguardError):
    """A sealed credential does not open: it was changed, or was copied from another owner or name."""


class NotFound(KeyguardError, LookupError):
    """No key or owner has that id or name."""


class Conflict(KeyguardError):
    """An owner or key with that id or name exists already, or a key is in a state that does not allow it."""


class Changed(Conflict):
    """A key is not as it was when the caller read it: somebody was faster, and nothing was done."""


class NotSupported(KeyguardError):
    """This store cannot do that; the message says where it is done instead."""


class StartRefused(KeyguardError):
    """The store was reached, and it does not belong to this program; nothing was changed."""


class SchemaMismatch(StartRefused):
    """The store's tables are missing, or of another version than this library's."""


class WrongPepper(StartRefused):
    """The store's keys were made under a pepper that is not among those given."""


class WrongSecret(StartRefused):
    """The vault's credentials were sealed with a secret key that is not among those given."""


class StoreUnavailable(KeyguardError):
    """The store cannot answer now. A request gets 503 with `Retry-After`, never a pass."""


class Overloaded(StoreUnavailable):
    """Too many checks wait already, so this one is turned away at once rather than late."""
