"""The list of keys as its address says it: what is looked for, in which order, and which part of it."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from keyguard.admin._searched import for_address
from keyguard.admin._shown import SOON, Condition, amount
from keyguard.model import KeyOrder, KeyQuery, KeyState
from keyguard.settings import Keyring

__all__ = ["ORDERS", "PER_PAGE", "STATES", "Chosen", "Column", "Part", "columns", "part"]

PER_PAGE = 25
_LONGEST_TEXT = 200
_MOST_PAGES = 100_000
_PAGE = re.compile(r"[1-9][0-9]{0,8}")

Direction = Literal["ascending", "descending", ""]

STATES = (
    ("", "All but revoked"),
    (Condition.ACTIVE.slug, "Active"),
    (Condition.EXPIRING_SOON.slug, "Expiring soon"),
    (Condition.GRACE.slug, "In grace"),
    (Condition.NOT_YET_VALID.slug, "Not yet valid"),
    (Condition.DISABLED.slug, "Disabled"),
    (Condition.EXPIRED.slug, "Expired"),
    (Condition.REVOKED.slug, "Revoked"),
    ("all", "All"),
)
"""What can be chosen of states. Revoked keys are those that were deleted: who deletes one wants it out of sight."""

ORDERS = (
    ("-created", "Newest first"),
    ("created", "Oldest first"),
    ("name", "Name, A to Z"),
    ("-name", "Name, Z to A"),
    ("-last-used", "Last used first"),
    ("last-used", "Longest unused first"),
    ("-uses", "Most used first"),
    ("uses", "Least used first"),
    ("expires", "First to expire first"),
    ("-expires", "Last to expire first"),
)
_BY_OWNER = (("owner", "Owner, A to Z"), ("-owner", "Owner, Z to A"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What an address asks for; whatever makes no sense in it is as if it was not there."""

    text: str = ""
    state: str = ""
    owner: str = ""
    sort: str = "-created"
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str], *, is_superuser: bool) -> "Chosen":
        """Read an address's query."""
        state, sort, page = query.get("state", ""), query.get("sort", ""), query.get("page", "")
        return cls(
            text=query.get("q", "").strip()[:_LONGEST_TEXT].removesuffix("…"),  # As hints end, which people copy.
            state=state if state in dict(STATES) else "",
            owner=query.get("owner", "").strip()[:_LONGEST_TEXT] if is_superuser else "",
            sort=sort if sort in dict(cls.orders(is_superuser=is_superuser)) else "-created",
            page=min(int(page), _MOST_PAGES) if _PAGE.fullmatch(page) else 1,
        )

    @staticmethod
    def orders(*, is_superuser: bool) -> tuple[tuple[str, str], ...]:
        """Return the orders that can be chosen, each with what it is called."""
        return ORDERS + _BY_OWNER if is_superuser else ORDERS

    @property
    def is_narrow(self) -> bool:
        """Tell whether not all is shown that would be at first."""
        return bool(self.text or self.state or self.owner)

    @property
    def parameters(self) -> dict[str, str | None]:
        """Return what stands in the address: nothing of what goes without saying."""
        return {
            "q": self.text or None,
            "state": self.state or None,
            "owner": self.owner or None,
            "sort": None if self.sort == "-created" else self.sort,
            "page": None if self.page == 1 else str(self.page),
        }

    def for_address(self, keyring: Keyring, owners: Collection[str]) -> "Chosen":
        """Return what of it an address may hold: no key, and nothing that looks like one but the name of an owner."""
        owner = self.owner if self.owner in owners else for_address(self.owner, keyring)
        return replace(self, text=for_address(self.text, keyring) or "", owner=owner or "")

    def query(self, owner_id: str | None, now: datetime) -> KeyQuery:
        """Return what a store is asked for."""
        soon = now + SOON
        match self.state:
            case "":
                states = frozenset(KeyState) - {KeyState.REVOKED}
            case "all":
                states = frozenset[KeyState]()
            case Condition.EXPIRING_SOON.slug:
                states = frozenset({KeyState.ACTIVE})
            case slug:
                states = frozenset(state for state in KeyState if Condition(state.value).slug == slug)
        return KeyQuery(
            owner_id=owner_id,
            text=self.text,
            states=states,
            expires_from=soon if self.state == Condition.ACTIVE.slug else None,
            expires_before=soon if self.state == Condition.EXPIRING_SOON.slug else None,
            order=KeyOrder(self.sort.removeprefix("-").replace("-", " ")),
            descending=self.sort.startswith("-"),
        )


# --- the head of the table --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's head: what it is called, and where it leads to have the list in its order."""

    label: str
    css: str = ""
    href: str = ""
    direction: Direction = ""


def columns(chosen: Chosen, link: Callable[[Chosen], str], *, is_superuser: bool) -> list[Column]:
    """Return the columns, in their order; each one's link turns the order round if the list is in it already."""

    def sorted_by(label: str, name: str, css: str = "") -> Column:
        is_it = chosen.sort.removeprefix("-") == name.removeprefix("-")
        turned = chosen.sort.removeprefix("-") if chosen.sort.startswith("-") else f"-{chosen.sort}"
        direction: Direction = "descending" if chosen.sort.startswith("-") else "ascending"
        return Column(
            label=label,
            css=css,
            href=link(replace(chosen, sort=turned if is_it else name, page=1)),
            direction=direction if is_it else "",
        )

    return [
        sorted_by("Key", "name", "named"),
        Column(label="State"),
        *([sorted_by("Owner", "owner")] if is_superuser else []),
        Column(label="Access"),
        sorted_by("Created", "-created"),
        sorted_by("Last used", "-last-used"),
        sorted_by("Uses", "-uses", "number"),
        sorted_by("Expires", "expires"),
    ]


# --- parts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which part of something long is shown, and the links to its neighbours, each empty where there is none."""

    words: str = ""
    place: str = ""
    before: str = ""
    before_word: str = "Previous"
    behind: str = ""
    behind_word: str = "Next"


def part(chosen: Chosen, shown: int, total: int, link: Callable[[Chosen], str]) -> Part:
    """Return which part of a list of keys is shown."""
    first = (chosen.page - 1) * PER_PAGE + 1
    pages = -(-total // PER_PAGE)
    last = first + shown - 1
    place = f"{first:,}" if first == last else f"{first:,}\u2013{last:,}"
    return Part(
        words=amount(total, "key") if pages <= 1 else f"{place} of {amount(total, 'key')}",
        place=f"Page {chosen.page:,} of {pages:,}" if pages > 1 else "",
        before=link(replace(chosen, page=chosen.page - 1)) if chosen.page > 1 else "",
        behind=link(replace(chosen, page=chosen.page + 1)) if chosen.page < pages else "",
    )
