"""What an import finds and does, row by row: never with the text of a key, a value or a password."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Item", "Kind", "Note", "Outcome", "Report"]


class Kind(Enum):
    """Which of Langflow's tables a row stands in."""

    USER = "users"
    KEY = "keys"
    VARIABLE = "variables"


class Outcome(Enum):
    """What becomes of a row. Each has one."""

    NEW = "new: taken over"
    PRESENT = "there already"
    DIFFERENT = "there already, and different by now: left as it is"
    REMOVED = "taken over before and removed since: not brought back"
    LEFT_OUT = "left out"


class Note(Enum):
    """What there is to say of a row. It may have several, and those of `LEFT_OUT_FOR` say why it is left out."""

    UNREADABLE = "without a name, or with an id, a time or a text that cannot be read"
    DUPLICATE = "the same as another row, which is taken in its place"
    ORPHAN = "of a user that does not exist"
    OWNER_LEFT_OUT = "of a user that is not taken over, or not there any more"

    INACTIVE_USER = "inactive: taken over as such"
    SUPERUSER = "superuser"
    BCRYPT = "with a bcrypt password, which is good for signing in"
    OTHER_SCHEME = "with a password of another scheme: taken over without it"
    NO_SIGN_IN = "without a password"
    NAME_TAKEN = "with a name that another owner has: taken over by another name"
    ID_TAKEN = "with the id of an owner who did not come from Langflow"
    NOT_IN_APP_TABLE = "not in the app's own user table, which is the app's to fill"

    PLAINTEXT_KEY = "in plain text, as up to Langflow 1.7"
    DECRYPTED_KEY = "encrypted, and opened with the secret"
    HASH_ONLY = "not opened, and taken over by its hash alone"
    UNDECRYPTABLE = "encrypted, and not opened: the secret is missing or another one, or the text was changed"
    UNKNOWN_FORM = "of no form that Langflow's keys have"
    EMPTY = "empty"
    CONTRADICTING_HASH = "with a hash that is another key's"
    SHARED = "of several users at once, so that it does not say whose it is"
    INACTIVE_KEY = (
        "inactive: taken over disabled, though it worked before Langflow 1.10, which was the first to refuse it"
    )
    INACTIVE_OWNER = (
        "of an inactive user: refused until the owner is activated, though it ran flows before Langflow 1.10"
    )
    EXPIRED = "expired: taken over with its expiry"
    OUTLIVES_KEYRING = "that ends later than the keyring lets new keys live, or never: taken over as it is"

    CREDENTIAL = "of the type Credential"
    GENERIC = "of the type Generic"
    OTHER_TYPE = "of another type"
    DECRYPTED_VALUE = "a value that is encrypted, and opened with the secret"
    PLAIN_VALUE = "a value in plain text, as from Langflow 1.8 on where the type is not Credential"
    PLAIN_CREDENTIAL = "a credential in plain text, as Langflow leaves it when a type is changed"
    LANGFLOW_SETTING = "a setting of Langflow's own"
    TOO_LONG = "with a name or a value that is too long to be kept"
    NO_VAULT = "without a vault to put it in"


LEFT_OUT_FOR = frozenset(
    {
        Note.UNREADABLE,
        Note.DUPLICATE,
        Note.ORPHAN,
        Note.OWNER_LEFT_OUT,
        Note.ID_TAKEN,
        Note.NOT_IN_APP_TABLE,
        Note.UNDECRYPTABLE,
        Note.UNKNOWN_FORM,
        Note.EMPTY,
        Note.CONTRADICTING_HASH,
        Note.SHARED,
        Note.LANGFLOW_SETTING,
        Note.TOO_LONG,
        Note.NO_VAULT,
    }
)
"""The notes for which a row is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A row of Langflow's, and what becomes of it.

    `id` is its id, with dashes; empty where that cannot be read. `differs` names what is different in Keyguard.
    """

    kind: Kind
    id: str
    outcome: Outcome
    notes: tuple[Note, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What becomes of each row, or, in a `Plan`, what would become of it; and what somebody has to see to."""

    items: tuple[Item, ...] = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def changes(self) -> int:
        """How many rows are new: with 0 nothing is written at all."""
        return sum(item.outcome is Outcome.NEW for item in self.items)

    def rows(self, kind: Kind) -> int:
        """Return how many rows there are of a kind."""
        return sum(item.kind is kind for item in self.items)

    def outcomes(self, kind: Kind) -> Mapping[Outcome, int]:
        """Return how many rows of a kind there are by what becomes of them, in the order of `Outcome`."""
        counts = Counter(item.outcome for item in self.items if item.kind is kind)
        return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}

    def notes(self, kind: Kind, outcome: Outcome | None = None) -> Mapping[Note, int]:
        """Return how many rows of a kind, or of one outcome of it, there are with each note, in the order of `Note`."""
        items = [item for item in self.items if item.kind is kind and outcome in {None, item.outcome}]
        counts = Counter(note for item in items for note in item.notes)
        return {note: counts[note] for note in Note if counts[note]}

    def lines(self) -> Iterator[str]:
        """Go through how many rows there are of each kind, what becomes of them and why, in lines for people."""
        for kind in Kind:
            yield f"{kind.value}: {self.rows(kind)}"
            for outcome, count in self.outcomes(kind).items():
                yield f"  {count} {outcome.value}"
                for note, noted in self.notes(kind, outcome).items():
                    if outcome is not Outcome.LEFT_OUT or note in LEFT_OUT_FOR:
                        yield f"    {noted} {note.value}"
