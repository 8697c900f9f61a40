"""The secret keys: what they seal and open, and where they come from."""

import json
import logging
import os
import re
import secrets
import stat
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyguard.errors import CannotOpen, ConfigurationError, WrongSecret

__all__ = ["FILE_VARIABLE", "KEY_VARIABLE", "SecretFile", "SecretKeys"]

KEY_VARIABLE = "KEYGUARD_SECRET_KEY"
"""The environment variable that holds the secret keys, with blanks or line breaks between them."""

FILE_VARIABLE = "KEYGUARD_SECRET_KEY_FILE"
"""The environment variable that names the file with the secret keys."""

MIN_KEY_BYTES = 32
"""The length of 128 bits in hexadecimal digits, the longest form in which people write them."""

MAX_FILE_BYTES = 65_536
"""A longer file holds something else."""

_KEY = re.compile(f"[!-~]{{{MIN_KEY_BYTES},}}")
_SEALED = re.compile(r"v1\.([A-Za-z0-9_-]+={0,2})")

_logger = logging.getLogger("keyguard")


class SecretKeys:
    """Secret keys in order: the first seals, all open.

    Each is at least 32 printable ASCII characters without blanks, and random: nothing here makes guessing slow.
    ``python -c "import secrets; print(secrets.token_urlsafe(32))"`` prints a good one.

    Nothing shows a key: not `repr`, and pickling and copying raise `TypeError`.

    Raises `ConfigurationError` if there is none, if one is not as above, or if the same stands there twice.
    """

    __slots__ = ("_checks", "_fernet")

    def __init__(self, keys: Iterable[str]) -> None:
        given = [keys] if isinstance(keys, str) else list(keys)
        problem = "keys is a list of secret keys, even of one" if isinstance(keys, str) else _problem_of(given)
        del keys  # Error reporters show what the variables of each frame hold.
        if problem is not None:
            del given
            raise ConfigurationError(problem)
        self._fernet = MultiFernet([Fernet(urlsafe_b64encode(_derive(key, "keyguard vault 1", 32))) for key in given])
        self._checks = tuple(_derive(key, "keyguard vault check 1", 16).hex() for key in given)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, file: str | os.PathLike[str] | None = None
    ) -> "SecretKeys | SecretFile":
        """Return the keys in ``KEYGUARD_SECRET_KEY``, else the file that ``KEYGUARD_SECRET_KEY_FILE`` or `file` names.

        `environ` is `os.environ`. Between several keys stand blanks or line breaks. Nothing is read from a file here.

        Raises `ConfigurationError` if a key is not as it should be, if both variables are set, if one is set and empty,
        or if there is neither and no `file`.
        """
        keys, named = environ.get(KEY_VARIABLE), environ.get(FILE_VARIABLE)
        del environ
        problem = None
        if keys is not None and named is not None:
            problem = f"{KEY_VARIABLE} and {FILE_VARIABLE} are both set: unset one of them"
        elif keys is not None and (wrong := _problem_of(keys.split())):
            problem = f"{KEY_VARIABLE}: {wrong}"
        elif named == "":
            problem = f"{FILE_VARIABLE} is set and empty: unset it, or name a file"
        elif keys is None and named is None and file is None:
            problem = f"the vault needs a secret key: set {KEY_VARIABLE} or {FILE_VARIABLE}"
        if problem is not None:
            del keys
            raise ConfigurationError(problem)
        return SecretFile(named or file or "") if keys is None else cls(keys.split())

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "SecretKeys":
        """Return the keys in a file, one a line.

        Raises `ConfigurationError` as `SecretFile.read` does, and if there is no such file. To have it made then, give
        the vault a `SecretFile`.
        """
        file = SecretFile(path)
        keys = file.read()
        if keys is None:
            raise ConfigurationError(f"there is no file {str(file.path)!r} to read a secret key from")
        return keys

    @property
    def checks(self) -> tuple[str, ...]:
        """The check value of each key, in order: 32 hexadecimal digits that say nothing about it."""
        return self._checks

    def seal(self, value: str, *, owner_id: str, name: str, at: datetime) -> str:
        """Return `value` sealed under the first key, for that owner and name. `at` stands in it for anybody to read."""
        content = json.dumps({"owner": owner_id, "name": name, "value": value}, ensure_ascii=False)
        return f"v1.{self._fernet.encrypt_at_time(content.encode(), int(at.timestamp())).decode()}"

    def open(self, sealed: str, *, owner_id: str, name: str) -> str:
        """Return the value that was sealed for that owner and name. Raises `CannotOpen`."""
        content = self._read(sealed)
        if content is not None and content[:2] == (owner_id, name):
            return content[2]
        reason = "it was sealed for another owner or name"
        if content is None:
            reason = "it was changed, or sealed with a secret key that was not given"
        del content
        raise CannotOpen(f"the credential {name!r} of the owner {owner_id!r} does not open: {reason}")

    def reseal(self, sealed: str, *, owner_id: str, name: str) -> str:
        """Return what is sealed there, sealed under the first key, with the time that it has. Raises `CannotOpen`."""
        self.open(sealed, owner_id=owner_id, name=name)
        return f"v1.{self._fernet.rotate(sealed.removeprefix('v1.')).decode()}"

    def _read(self, sealed: str) -> tuple[str, str, str] | None:
        token = _SEALED.fullmatch(sealed)  # Fernet's decoder passes over what is no Base64.
        if token is None:
            return None
        with suppress(InvalidToken, ValueError):  # That JSON has an error in it would be said with the whole of it.
            match json.loads(self._fernet.decrypt(token[1])):
                case {"owner": str(owner_id), "name": str(name), "value": str(value)}:
                    return owner_id, name, value
                case _:
                    pass
        return None

    def __repr__(self) -> str:
        return "<SecretKeys …>"

    def __getstate__(self) -> NoReturn:
        """Refuse: pickle, copy and deepcopy all begin here."""
        raise TypeError("SecretKeys cannot be pickled or copied: it would leave a secret key behind")


class SecretFile:
    """A file with the secret keys, one a line; where it is missing, and nothing is sealed yet, the vault makes one.

    It may be a symbolic link, and what it leads to must be a regular file that others cannot write to. If others can
    read it, the log warns of that: in a container, where secrets are mounted so, it may be as it should be.
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path).absolute()
        """Where it is, also after the process has changed its working directory."""

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r})"

    def read(self) -> SecretKeys | None:
        """Return the keys in it, None if there is no such file.

        Raises `ConfigurationError` if it cannot be read, is no regular file, may be written to by others, or holds
        anything but secret keys.
        """
        try:
            status = self.path.stat()
            problem = _problem_with(status)
            keys = [] if problem else [part.decode("ascii", "replace") for part in self.path.read_bytes().split()]
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise ConfigurationError(f"{self._name} cannot be read: {failure.strerror}") from None
        problem = problem or _problem_of(keys)
        if problem is not None:
            del keys
            raise ConfigurationError(f"{self._name} cannot be used: {problem}")
        if os.name == "posix" and status.st_mode & stat.S_IROTH:
            _logger.warning("%s can be read by every user of this machine: chmod o-r it", self._name)
        return SecretKeys(keys)

    def make(self) -> bool:
        """Generate a key and write it there, unless there is something already; tell whether this call did it.

        The file has mode 0600, folders that are missing are made with 0700, and the log says where it is. Several
        processes may do this at once: one does it, and nobody ever reads a part of a key.

        Raises `ConfigurationError` if it cannot be written.
        """
        try:
            for folder in reversed([folder for folder in self.path.parents if not folder.exists()]):
                with suppress(FileExistsError):  # Another process may be at it.
                    folder.mkdir(mode=0o700)
                    folder.chmod(0o700)  # The umask may have taken even these rights.
            is_made = _write_new(self.path)
        except OSError as failure:
            raise ConfigurationError(f"{self._name} cannot be made: {failure.strerror}") from None
        if is_made:
            _logger.warning("a secret key was generated and written to %s: keep a copy of it", str(self.path))
        return is_made

    def load(self, *, nothing_is_sealed: bool) -> SecretKeys:
        """Return the keys in it; where it is missing, make it first, if nothing is sealed that another key must open.

        Raises `WrongSecret` if it is missing and something is sealed, and `ConfigurationError` as `read` and `make` do.
        """
        keys = self.read()
        if keys is None:
            if not nothing_is_sealed:
                raise WrongSecret(
                    f"the store has sealed credentials, and the secret key that opens them is missing: there is no "
                    f"file {str(self.path)!r}, and {KEY_VARIABLE} was not given. Put it back; nothing was changed"
                )
            self.make()
            keys = self.read()
        if keys is None:
            raise ConfigurationError(f"{self._name} is a symbolic link to a file that is not there")
        return keys

    @property
    def _name(self) -> str:
        return f"the secret key's file {str(self.path)!r}"


def _problem_of(keys: Sequence[object]) -> str | None:
    """Say what is wrong with these secret keys, quoting none."""
    if not keys:
        return "there is no secret key in it"
    if not all(isinstance(key, str) and _KEY.fullmatch(key) for key in keys):
        return f"a secret key is at least {MIN_KEY_BYTES} printable ASCII characters without blanks"
    if len(set(keys)) < len(keys):
        return "the same secret key stands there twice"
    return None


def _problem_with(status: os.stat_result) -> str | None:
    """Say what keeps a file from being one of secret keys."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if os.name == "posix" and status.st_mode & stat.S_IWOTH:
        return "every user of this machine could write another key into it; chmod o-w it, and see whether it is yours"
    if status.st_size > MAX_FILE_BYTES:
        return f"it has more than {MAX_FILE_BYTES} bytes"
    return None


def _derive(key: str, info: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info.encode()).derive(key.encode())


def _write_new(path: Path) -> bool:
    """Write a new key to `path`, durably and whole, unless something is there; tell whether that was done."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        temporary.chmod(0o600)  # Likewise.
        try:
            file.write(f"{secrets.token_urlsafe(32)}\n")
            file.flush()
            os.fsync(file.fileno())
            path.hardlink_to(temporary)  # Which, unlike a rename, takes nobody's place.
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
    with suppress(PermissionError):  # On Windows, where a folder is not opened, and its entries need no flush.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return True
