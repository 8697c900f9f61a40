"""Put, get, list, remove, resolve, and seal everything again under another key."""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeAlias

from keyguard.clock import utc_now
from keyguard.errors import CannotOpen, ConfigurationError, NotFound, WrongSecret
from keyguard.keys import Plaintext
from keyguard.loops import Places
from keyguard.model import AuditEvent, AuditKind, Credential, Owner, Principal
from keyguard.ports import Clock, CredentialStore
from keyguard.stores._text import is_storable, json_of
from keyguard.vault._secrets import SecretFile, SecretKeys

__all__ = ["MAX_METADATA_BYTES", "MAX_NAME_CHARACTERS", "MAX_VALUE_BYTES", "Resolved", "ValueSource", "Vault"]

MAX_VALUE_BYTES = 65_536
"""64 KiB of UTF-8: ten times what a service account's file or a certificate has."""

MAX_NAME_CHARACTERS = 255
"""With an owner's id, of whatever characters, that is less than PostgreSQL takes into an index (2,704 bytes)."""

MAX_METADATA_BYTES = 8192
"""As JSON, and as for a key."""

MOST_NAMED = 10
"""More than that do not fit into a sentence."""

_HALF_A_PAIR = re.compile(r"[\ud800-\udfff]")

_Who: TypeAlias = Owner | Principal | str
_Place: TypeAlias = tuple[str, str]


class ValueSource(Enum):
    """Where a value was found; of several the first in this order."""

    FLOW = "flow"
    STORED = "stored"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A value, and where it was found."""

    value: str = field(repr=False)
    source: ValueSource


class Vault:
    """Keeps owners' credentials in a store, sealed under secret keys that are not in it.

    It opens by itself at the first call that seals or opens; `open` is for those who want to know at start whether it
    can. Each such method may raise what `open` raises.

    An `owner` is an `Owner`, a `Principal` such as `request.user`, or an id; whether it is active is not asked here. An
    `actor` is who asks for a change: one of these, or what the app calls them; it stands in the audit log.
    """

    def __init__(self, store: CredentialStore, keys: SecretKeys | SecretFile, *, clock: Clock = utc_now) -> None:
        self._store = store
        self._source = keys
        self._clock = clock
        self._keys: SecretKeys | None = None
        self._alone = Places(1)

    async def open(self) -> None:
        """Make sure that the store can be reached, and that every secret key is there that sealed something in it.

        Where a `SecretFile` is missing and nothing is sealed yet, it is made. Nothing else is changed.

        Raises:
            WrongSecret: if something was sealed with a secret key that is not there.
            ConfigurationError: if the file cannot be used.
            StartRefused: if the store and the program do not belong together.
            StoreUnavailable: if the store cannot be reached now.
        """
        async with self._alone:
            await self._open()

    async def put(
        self,
        owner: _Who,
        name: str,
        value: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        actor: _Who | None = None,
    ) -> None:
        """Keep a value, in the place of what the owner has by that name. `metadata` is kept in plain text.

        Raises:
            ConfigurationError: if the name or the value is empty or no text, the name has more than 255 characters, or
                the value more than 64 KiB; or if the metadata is no JSON object, or has more than 8 KiB.
            NotFound: if there is no such owner.
        """
        secret = _hidden(value)
        del value  # Error reporters show what the variables of each frame hold.
        credential = await self._seal(_id_of(owner), name, secret, metadata)
        del secret
        event = self._event(AuditKind.CREDENTIAL_STORED, actor, credential.owner_id, name=name)
        await self._store.put_credential(credential, events=[event])

    async def get(self, owner: _Who, name: str) -> str:
        """Return the value that the owner has by that name.

        Raises:
            NotFound: if there is none.
            CannotOpen: if it was changed, put there for another owner or name, or sealed with a secret key that is not
                there.
        """
        value = await self._get(_id_of(owner), name)
        if value is None:
            raise NotFound("the owner has no credential by that name")  # Not quoted: it may be the value, by mistake.
        return value

    async def remove(self, owner: _Who, name: str, *, actor: _Who | None = None) -> bool:
        """Remove a credential; tell whether there was one. No secret key is needed for it, so that one may be lost."""
        owner_id = _id_of(owner)
        if not is_storable(owner_id) or not is_storable(name):
            return False  # It is not there, and no event could say what was not.
        event = self._event(AuditKind.CREDENTIAL_REMOVED, actor, owner_id, name=name)
        return await self._store.remove_credential(owner_id, name, events=[event])

    async def resolve(
        self, owner: _Who, name: str, *, flow: str | None = None, environ: Mapping[str, str] | None = None
    ) -> Resolved | None:
        """Return what a component is to use: `flow` if it is set there, else what the owner has, else the environment.

        An empty text is not set. `environ` holds what owners may use and nothing else, so seldom all of `os.environ`;
        without it nothing is read from the environment, and variables that begin with ``KEYGUARD_`` are not read at
        all. None if there is no value anywhere.

        Raises `CannotOpen` if what the owner has does not open: another value is not used in its place.
        """
        if flow:
            return Resolved(value=flow, source=ValueSource.FLOW)
        variable = _hidden(_variable(environ or {}, name))
        del environ
        if (stored := await self._get(_id_of(owner), name)) is not None:
            return Resolved(value=stored, source=ValueSource.STORED)
        value = variable.reveal()
        return Resolved(value=value, source=ValueSource.ENVIRONMENT) if value else None

    async def seal(
        self, owner: _Who, name: str, value: str, *, metadata: Mapping[str, Any] | None = None
    ) -> Credential:
        """Return what `put` would store, for a store that takes many at once. Raises `ConfigurationError` as `put`."""
        secret = _hidden(value)
        del value
        return await self._seal(_id_of(owner), name, secret, metadata)

    async def unseal(self, credential: Credential) -> str:
        """Return the value of a credential that was read from a store. Raises `CannotOpen` as `get`."""
        keys = await self._ready()
        return keys.open(credential.sealed, owner_id=credential.owner_id, name=credential.name)

    async def rotate(self, *, batch: int = 500, actor: _Who | None = None) -> int:
        """Seal again, under the first secret key, all that is sealed with another; return how much that was.

        Each batch is a transaction, with one event in the audit log that says how many it held. It may be interrupted
        at any moment and called again, by several at once, and beside others who put values: what is put meanwhile is
        not overwritten, and if it is sealed with another key it is left for the next call. So first let every worker
        seal with the new key, then call this, then leave the other keys out.

        Raises:
            CannotOpen: when all others are done, if some do not open; it names them. They are left as they are: put
                their values again, or remove them.
            ConfigurationError: if `batch` is not a whole number from 1 on.
        """
        if not _is_count(batch):
            raise ConfigurationError(f"batch is how many are sealed in one transaction, from 1 on; not {batch!r}")
        keys = await self._ready()
        resealed, seen, left, known = 0, set[_Place](), list[_Place](), 0
        while True:
            # The store gives any of them, and of those that are left the same again: so it is asked for more than that,
            # and for so many more that it is not asked often even if none of a million opens.
            limit = batch + 2 * known
            found = await self._store.credentials_to_reseal(keys.checks[0], limit=limit)
            fresh = [credential for credential in found if _place(credential) not in seen]
            if not fresh and len(found) < limit:
                break
            known, fresh = len(found) - len(fresh), fresh[:batch]
            pairs = await asyncio.to_thread(_reseal, keys, fresh)
            opened = {_place(credential) for credential, _ in pairs}
            left += [_place(credential) for credential in fresh if _place(credential) not in opened]
            seen |= {_place(credential) for credential in fresh}
            if pairs:
                event = self._event(AuditKind.CREDENTIALS_RESEALED, actor, None, count=len(pairs))
                resealed += await self._store.reseal_credentials(pairs, events=[event])
        if left:
            raise CannotOpen(_sentence_about(left, resealed))
        return resealed

    async def list(self, owner: _Who | None = None) -> list[Credential]:
        """Return the credentials of one owner or of all, by owner and name: sealed, and without a secret key."""
        return await self._store.list_credentials(None if owner is None else _id_of(owner))

    # --- the parts ---

    async def _ready(self) -> SecretKeys:
        return self._keys or await self._open_once()

    async def _open_once(self) -> SecretKeys:
        async with self._alone:  # Whoever was here before may have opened it.
            return self._keys or await self._open()

    async def _open(self) -> SecretKeys:
        # First the store, then the file: who made the file has sealed nothing before.
        sealed_with = await self._store.sealed_with()
        keys = self._source
        if isinstance(keys, SecretFile):
            keys = await asyncio.to_thread(keys.load, nothing_is_sealed=not sealed_with)
        if missing := sealed_with.difference(keys.checks):
            where = f"in {str(self._source.path)!r}" if isinstance(self._source, SecretFile) else "among those given"
            raise WrongSecret(
                f"the store has credentials that were sealed with {len(missing)} secret key(s) not {where}: put the "
                "right key there, beside the others or in their place; nothing was changed"
            )
        self._keys = keys
        return keys

    async def _get(self, owner_id: str, name: str) -> str | None:
        keys = await self._ready()
        credential = await self._store.get_credential(owner_id, name)
        return None if credential is None else keys.open(credential.sealed, owner_id=owner_id, name=name)

    async def _seal(
        self, owner_id: str, name: str, secret: Plaintext, metadata: Mapping[str, Any] | None
    ) -> Credential:
        if not is_storable(owner_id):  # What cannot be encoded would be shown with all that is to be sealed.
            raise NotFound("there is no owner with that id")
        problem = _problem_of(name, secret.reveal())
        if problem is not None:
            raise ConfigurationError(problem)
        metadata_json = json_of(metadata or {})
        if len(metadata_json) > MAX_METADATA_BYTES:
            raise ConfigurationError(f"a credential's metadata has at most {MAX_METADATA_BYTES} bytes as JSON")
        keys = await self._ready()
        now = self._clock()
        return Credential(
            owner_id=owner_id,
            name=name,
            sealed=keys.seal(secret.reveal(), owner_id=owner_id, name=name, at=now),
            sealed_with=keys.checks[0],
            created_at=now,
            updated_at=now,
            metadata_json=metadata_json,
        )

    def _event(self, kind: AuditKind, actor: _Who | None, owner_id: str | None, **detail: object) -> AuditEvent:
        who = "" if actor is None else _id_of(actor)
        return AuditEvent(at=self._clock(), kind=kind, actor=who, owner_id=owner_id, detail=detail)


def _id_of(who: _Who) -> str:
    found: object = getattr(who, "id", who)
    if not isinstance(found, str):  # An `AnonymousUser` has none; a store would take that for all owners.
        raise ConfigurationError("a credential belongs to somebody who has an id")
    return found


def _is_count(number: object) -> bool:
    return isinstance(number, int) and number > 0


def _place(credential: Credential) -> _Place:
    return credential.owner_id, credential.name


def _hidden(value: object) -> Plaintext:
    """Return a value that does not show itself; what is no text is as good as an empty one."""
    return Plaintext(value if isinstance(value, str) else "", is_strong=False)


def _problem_of(name: object, value: str) -> str | None:
    """Say why a value cannot be kept by that name, quoting neither."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS or not is_storable(name):
        return f"a credential's name is a text of 1 to {MAX_NAME_CHARACTERS} characters that a store can hold"
    if not value or _HALF_A_PAIR.search(value):
        return "a credential's value is a text that is not empty and has no half of a surrogate pair"
    if len(value.encode()) > MAX_VALUE_BYTES:
        return f"a credential's value has at most {MAX_VALUE_BYTES} bytes in UTF-8"
    return None


def _reseal(keys: SecretKeys, credentials: Sequence[Credential]) -> Sequence[tuple[Credential, Credential]]:
    """Return each that opens beside itself as it is to be."""
    pairs = list[tuple[Credential, Credential]]()
    for credential in credentials:
        with suppress(CannotOpen):
            sealed = keys.reseal(credential.sealed, owner_id=credential.owner_id, name=credential.name)
            pairs.append((credential, replace(credential, sealed=sealed, sealed_with=keys.checks[0])))
    return pairs


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return what the environment has by that name, if that is neither odd nor ours."""
    return "" if name.upper().startswith("KEYGUARD_") or not is_storable(name) else environ.get(name, "")


def _sentence_about(left: Collection[_Place], resealed: int) -> str:
    names = [f"{name!r} of the owner {owner_id!r}" for owner_id, name in sorted(left)]
    named = ", ".join(names[:MOST_NAMED]) + (" and others" if len(names) > MOST_NAMED else "")
    return f"{resealed} were sealed again, and {len(names)} were left as they are because they do not open: {named}"
