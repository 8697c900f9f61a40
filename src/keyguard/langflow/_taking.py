"""A Langflow database set against a store: what becomes of each row, and what is new."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from uuid import UUID

from keyguard.errors import CannotOpen
from keyguard.keys import recognise
from keyguard.langflow._judge import (
    LANGFLOW_KEYS,
    Judged,
    JudgedKey,
    JudgedUser,
    JudgedVariable,
    is_left_out,
    judge,
)
from keyguard.langflow._report import Item, Kind, Note, Outcome, Report
from keyguard.langflow._rows import Source
from keyguard.langflow._secret import LangflowSecret
from keyguard.model import AuditEvent, AuditKind, Credential, KeyRecord, NewOwner, Owner, Usage
from keyguard.ports import ImportStore
from keyguard.settings import Keyring
from keyguard.stores.sql import SQLStore
from keyguard.vault import Vault

__all__ = ["Taking"]

# --- what the store has -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """What is in the store, and what was taken over into it at some time before."""

    takes_owners: bool
    owners: Mapping[str, Owner]
    """By their ids as Langflow's rows spell them here: in the app's own table they may stand without dashes."""
    keys: Mapping[str, KeyRecord]
    by_lookup: Mapping[str, KeyRecord]
    credentials: Mapping[tuple[str, str], Credential]
    taken_before: frozenset[tuple[object, ...]]
    """What the audit log says, which stays when a key is purged: what was removed since is not to come to life."""

    @classmethod
    async def look(cls, store: ImportStore) -> "There":
        keys = await store.list_keys()
        return cls(
            takes_owners=not (isinstance(store, SQLStore) and store.users is not None),
            owners={_canonical(owner.id): owner for owner in await store.list_owners()},
            keys={key.id: key for key in keys},
            by_lookup={key.lookup: key for key in keys},
            credentials={(each.owner_id, each.name): each for each in await store.list_credentials()},
            taken_before=frozenset(map(_subject, await store.list_events(kinds=_IMPORTED))),
        )


_IMPORTED = frozenset({AuditKind.OWNER_IMPORTED, AuditKind.KEY_IMPORTED, AuditKind.CREDENTIAL_IMPORTED})


def _subject(event: AuditEvent) -> tuple[object, ...]:
    """Return what an event is about."""
    match event.kind:
        case AuditKind.KEY_IMPORTED:
            return event.kind, event.key_id
        case AuditKind.CREDENTIAL_IMPORTED:
            return event.kind, event.owner_id, event.detail.get("name")
        case _:
            return event.kind, event.owner_id


def _canonical(owner_id: str) -> str:
    try:
        return str(UUID(owner_id))
    except ValueError:
        return owner_id


# --- what is new ------------------------------------------------------------------------------------------------


class Taking:
    """What is taken over into a store, and what becomes of each row."""

    def __init__(self, there: There, vault: Vault | None, now: datetime) -> None:
        self.owners: list[NewOwner] = []
        self.keys: list[KeyRecord] = []
        self.uses: dict[str, Usage] = {}
        self.variables: list[tuple[str, JudgedVariable]] = []
        """With the ids of their owners."""
        self._there = there
        self._vault = vault
        self._now = now
        self._items: list[Item] = []
        self._warnings: list[str] = []
        self._owner_ids: dict[str, str] = {}
        """What the owner is called in the store, by the id of Langflow's user."""
        self._names = {owner.name for owner in there.owners.values()}

    @classmethod
    async def prepare(
        cls, source: Source, secret: LangflowSecret | None, store: ImportStore, vault: Vault | None, now: datetime
    ) -> "Taking":
        """Judge all rows and set them against what the store has."""
        judged = judge(source, secret, store.keyring, now)
        taking = cls(await There.look(store), vault, now)
        for user in judged.users:
            taking.take_user(user)
        for key in judged.keys:
            taking.take_key(key)
        for variable in judged.variables:
            await taking.take_variable(variable)
        for kind, rows in ((Kind.USER, source.users), (Kind.KEY, source.keys), (Kind.VARIABLE, source.variables)):
            unreadable = Item(kind=kind, id="", outcome=Outcome.LEFT_OUT, notes=(Note.UNREADABLE,))
            taking._items += [unreadable] * rows.unreadable
        taking._warnings += _warnings(judged, secret, store.keyring)
        return taking

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing new."""
        return not (self.owners or self.keys or self.variables)

    def report(self) -> Report:
        """Return what becomes of each row."""
        return Report(items=tuple(self._items), warnings=tuple(self._warnings))

    def take_user(self, user: JudgedUser) -> None:
        """Take a user over, if it is new; by another name, if its own is taken."""
        row, notes = user.row, list(user.notes)
        owner = self._there.owners.get(row.id)
        was_taken = (AuditKind.OWNER_IMPORTED, row.id) in self._there.taken_before
        if is_left_out(user):
            self._note(Kind.USER, row.id, Outcome.LEFT_OUT, notes)
        elif owner is not None and self._there.takes_owners and not was_taken:
            self._note(Kind.USER, row.id, Outcome.LEFT_OUT, [*notes, Note.ID_TAKEN])
        elif owner is not None:
            self._owner_ids[row.id] = owner.id
            is_same = {
                "name": not self._there.takes_owners or owner.name in islice(_names(user), _NAMES),
                "active": owner.is_active == row.is_active,
                "superuser": owner.is_superuser == row.is_superuser,
            }
            self._note_present(Kind.USER, row.id, notes, is_same)
        elif not self._there.takes_owners:
            self._note(Kind.USER, row.id, Outcome.LEFT_OUT, [*notes, Note.NOT_IN_APP_TABLE])
        elif was_taken:
            self._note(Kind.USER, row.id, Outcome.REMOVED, notes)
        else:
            name = next(name for name in _names(user) if name not in self._names)
            if name != row.name:
                notes.append(Note.NAME_TAKEN)
                self._warnings.append(f"the name of the user {row.name!r} is taken: the user is taken over as {name!r}")
            new = Owner(id=row.id, name=name, is_active=row.is_active, is_superuser=row.is_superuser)
            self.owners.append(NewOwner(owner=new, created_at=row.created_at or self._now, password=user.password))
            self._names.add(name)
            self._owner_ids[row.id] = row.id
            self._note(Kind.USER, row.id, Outcome.NEW, notes)

    def take_key(self, key: JudgedKey) -> None:
        """Take a key over, if it is new: as it is, but for an inactive one, which is disabled."""
        row, owner_id = key.row, self._owner_ids.get(key.row.user_id)
        there = next(filter(None, map(self._there.by_lookup.get, key.lookups)), self._there.keys.get(row.id))
        if is_left_out(key):
            self._note(Kind.KEY, row.id, Outcome.LEFT_OUT, key.notes)
        elif owner_id is None:
            self._note(Kind.KEY, row.id, Outcome.LEFT_OUT, [*key.notes, Note.OWNER_LEFT_OUT])
        elif there is not None:
            # One that is known by its hash alone cannot be compared with a digest under a pepper.
            is_comparable = Note.HASH_ONLY not in key.notes or there.lookup.startswith("sha256$")
            is_same = {
                "key": not is_comparable or there.lookup in key.lookups,
                "owner": there.owner_id == owner_id,
                "name": there.name == row.name,
                "expiry": there.expires_at == row.expires_at,
                "state": row.is_active == (there.disabled_at is None and there.revoked_at is None),
            }
            self._note_present(Kind.KEY, row.id, key.notes, is_same)
        elif (AuditKind.KEY_IMPORTED, row.id) in self._there.taken_before:
            self._note(Kind.KEY, row.id, Outcome.REMOVED, key.notes)
        else:
            self.keys.append(
                KeyRecord(
                    id=row.id,
                    owner_id=owner_id,
                    prefix=LANGFLOW_KEYS.prefix,
                    name=row.name,
                    lookup=key.lookups[0],
                    verifier=key.lookups[0],
                    created_at=row.created_at or self._now,
                    expires_at=row.expires_at,
                    disabled_at=None if row.is_active else self._now,
                )
            )
            if row.total_uses or row.last_used_at is not None:
                self.uses[row.id] = Usage(total=row.total_uses, last_used_at=row.last_used_at)
            self._note(Kind.KEY, row.id, Outcome.NEW, key.notes)

    async def take_variable(self, variable: JudgedVariable) -> None:
        """Take a variable over, if it is new and there is a vault."""
        row, owner_id = variable.row, self._owner_ids.get(variable.row.user_id)
        there = None if owner_id is None else self._there.credentials.get((owner_id, row.name))
        if is_left_out(variable):
            self._note(Kind.VARIABLE, row.id, Outcome.LEFT_OUT, variable.notes)
        elif owner_id is None:
            self._note(Kind.VARIABLE, row.id, Outcome.LEFT_OUT, [*variable.notes, Note.OWNER_LEFT_OUT])
        elif self._vault is None:
            self._note(Kind.VARIABLE, row.id, Outcome.LEFT_OUT, [*variable.notes, Note.NO_VAULT])
        elif there is not None:
            is_same = {
                "value": await _opens_as(self._vault, there, variable.value),
                "metadata": there.metadata == variable.metadata,
            }
            self._note_present(Kind.VARIABLE, row.id, variable.notes, is_same)
        elif (AuditKind.CREDENTIAL_IMPORTED, owner_id, row.name) in self._there.taken_before:
            self._note(Kind.VARIABLE, row.id, Outcome.REMOVED, variable.notes)
        else:
            self.variables.append((owner_id, variable))
            self._note(Kind.VARIABLE, row.id, Outcome.NEW, variable.notes)

    def _note_present(self, kind: Kind, row_id: str, notes: Sequence[Note], is_same: Mapping[str, bool]) -> None:
        differs = tuple(what for what, same in is_same.items() if not same)
        self._note(kind, row_id, Outcome.DIFFERENT if differs else Outcome.PRESENT, notes, differs)

    def _note(
        self, kind: Kind, row_id: str, outcome: Outcome, notes: Sequence[Note], differs: tuple[str, ...] = ()
    ) -> None:
        self._items.append(Item(kind=kind, id=row_id, outcome=outcome, notes=tuple(notes), differs=differs))


_NAMES = 4
"""How many names there are for a user before they are numbered: nobody but an attacker comes so far."""


def _names(user: JudgedUser) -> Iterator[str]:
    """Go through the names by which a user may be taken over, the first of them that is free; they never end."""
    row = user.row
    yield from (row.name, f"{row.name} (langflow)", f"{row.name} (langflow {row.id})", row.id)
    yield from (f"{row.id} ({number})" for number in count(2))


async def _opens_as(vault: Vault, credential: Credential, value: str) -> bool:
    try:
        return await vault.unseal(credential) == value
    except CannotOpen:
        return False


# --- what somebody has to see to --------------------------------------------------------------------------------

_SAMPLE = f"{LANGFLOW_KEYS.prefix}{'A' * LANGFLOW_KEYS.min_length}".encode()


def _warnings(judged: Judged, secret: LangflowSecret | None, keyring: Keyring) -> Iterator[str]:
    accepted = recognise(_SAMPLE, keyring)
    if accepted is None or not accepted.is_strong:
        yield (
            "the store's keyring does not take Langflow's keys: give it Keyring(formats=[LANGFLOW_KEYS]), before any "
            "wider format, or the keys are there and refused"
        )
    closed = sum(note in {Note.UNDECRYPTABLE, Note.HASH_ONLY} for note in judged.notes)
    if closed and secret is None:
        yield f"{closed} rows are encrypted, and no secret was given to open them"
    elif closed and not {Note.DECRYPTED_KEY, Note.DECRYPTED_VALUE}.intersection(judged.notes):
        yield f"the secret opened none of the {closed} rows that are encrypted: it is that of another Langflow"
