"""What a visitor may see and do: the one place where that is decided.

Everything is by the visitor's own id, or a superuser's right. No endpoint asks the store by itself. Of a key that is
another owner's nothing is to be learnt: it is `NotFound`, as one that does not exist.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus

from keyguard import lifecycle
from keyguard.admin._problems import Problem
from keyguard.admin._settings import Settings
from keyguard.admin._visitor import Visitor
from keyguard.errors import ConfigurationError, NotFound
from keyguard.lifecycle import Issued
from keyguard.model import (
    AuditEvent,
    AuditKind,
    IPNetwork,
    KeyPage,
    KeyQuery,
    KeyRecord,
    ListedKey,
    Owner,
    Scopes,
    Usage,
)
from keyguard.ports import UsageStore

__all__ = ["LONGEST_NAME", "MOST_AT_ONCE", "Desk"]

LONGEST_NAME = 200
"""Characters that a key's name may have, on its page and through the API."""

MOST_AT_ONCE = 100
"""So many networks or scopes may be given to a key, and so many keys be deleted together."""


class Desk:
    """Sees and changes keys for a visitor. Every method may raise `StoreUnavailable`.

    With `expected`, a change is made only if the key is as that record says, and `Changed` is raised if it is not.
    """

    def __init__(self, settings: Settings, visitor: Visitor) -> None:
        self._settings = settings
        self._store = settings.store
        self._clock = settings.clock
        self.visitor = visitor

    # --- seeing ---

    async def search(self, query: KeyQuery, *, offset: int = 0, limit: int = 50) -> KeyPage:
        """Return the visitor's own keys that fit `query`, at most `limit` of them, behind the first `offset`.

        A superuser's query speaks of everyone's keys, unless its `owner_id` names one owner; any other visitor's speaks
        of their own, whatever it says.
        """
        if not self.visitor.is_superuser:
            query = replace(query, owner_id=self.visitor.owner.id)
        return await lifecycle.search_keys(self._store, query, offset=offset, limit=limit, clock=self._clock)

    async def look(self, key_id: str) -> ListedKey:
        """Return a key, with its owner and how it was used. Raises `NotFound`."""
        record = await self._key(key_id)
        owner = await self._store.get_owner(record.owner_id)
        if owner is None:  # Somebody has deleted it in the meantime.
            raise NotFound("no key has that id")
        usage = await lifecycle.usage(self._store, key_id) if isinstance(self._store, UsageStore) else Usage(total=0)
        return ListedKey(key=record, owner=owner, usage=usage)

    async def key_events(
        self,
        key_id: str,
        *,
        kinds: Collection[AuditKind] | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[AuditEvent]:
        """Return what was done to a key, of some kinds or all, the newest first, before the event with the id `before`.

        Raises `NotFound`, and `ConfigurationError` if `limit` is not 1 or more.
        """
        record = await self._key(key_id)
        return await lifecycle.events(self._store, key=record, kinds=kinds, before=before, limit=limit)

    async def events(
        self, owner_id: str | None = None, *, before: int | None = None, limit: int = 50
    ) -> list[AuditEvent]:
        """Return what was done to an owner and their keys, the newest first; without `owner_id`, to the visitor.

        Raises `Problem` (404) if it is another owner's, and the visitor no superuser.
        """
        owner = await self.owner(owner_id or self.visitor.owner.id)
        return await lifecycle.events(self._store, owner=owner, before=before, limit=limit)

    async def names_of_actors(self, events: Iterable[AuditEvent]) -> dict[str, str]:
        """Return what those are called who have done all that, by `actor`; whoever is no owner is not in it.

        Who sees what was done to their keys also sees by whom.
        """
        found = [
            await self._store.get_owner(actor) for actor in sorted({event.actor for event in events if event.actor})
        ]
        return {owner.id: owner.name for owner in found if owner is not None}

    async def keys_of(self, ids: Iterable[str]) -> dict[str, KeyRecord]:
        """Return keys by id; those that are gone, or another owner's, are not in it."""
        found = [await self._store.get_key(key_id) for key_id in sorted(set(ids))]
        return {key.id: key for key in found if key is not None and self._may_see(key)}

    async def owner(self, owner_id: str) -> Owner:
        """Return the visitor, or for a superuser any owner. Raises `Problem` (404) for any other."""
        if owner_id == self.visitor.owner.id:
            return self.visitor.owner
        found = await self._store.get_owner(owner_id) if self.visitor.is_superuser else None
        if found is None:
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", "There is no such owner here.")
        return found

    async def owners(self) -> list[Owner]:
        """Return all owners, by name. Raises `Problem` (403) if the visitor is no superuser."""
        if not self.visitor.is_superuser:
            raise Problem(HTTPStatus.FORBIDDEN, "superuser_required", "Superuser rights are required here.")
        return await self._store.list_owners()

    # --- new keys ---

    @property
    def scopes_on_offer(self) -> Mapping[str, str]:
        """The scopes that a key of the visitor's can be restricted to, and what each allows, in words."""
        mine = Scopes(self.visitor.scopes)
        return {name: words for name, words in self._settings.scopes_on_offer.items() if name in mine}

    @property
    def may_grant_all(self) -> bool:
        """Tell whether the visitor may issue a key that has all rights of its owner.

        Not one whom the app knows without a superuser's rights, where the store has them as a superuser: the key would.
        """
        is_less = self.visitor.owner.is_superuser and not self.visitor.is_superuser
        return "*" in self.visitor.scopes and not is_less

    async def issue(
        self,
        *,
        name: str = "",
        scopes: Iterable[str] | None = None,
        networks: Iterable[IPNetwork | str] = (),
        expires_at: datetime | None = None,
        id: str | None = None,  # noqa: A002 The word that `lifecycle.issue` uses.
    ) -> Issued:
        """Issue a key to the visitor; a superuser's, too, is their own.

        `scopes` None is all that the owner may do. With `id`, a second call issues no second key.

        Raises `ConfigurationError` if a value is not as `lifecycle.issue` says or a scope is not on offer, and
        `Conflict` if the id is taken.
        """
        chosen = None if scopes is None else list(scopes)
        for each in chosen or ():
            if each not in self.scopes_on_offer:
                raise ConfigurationError("a scope is one of those on offer")
        self._check_rights(["*"] if chosen is None else chosen)
        return await lifecycle.issue(
            self._store,
            self.visitor.owner,
            name=name,
            scopes=chosen,
            networks=networks,
            expires_at=expires_at,
            id=id,
            actor=self.visitor.owner,
            clock=self._clock,
        )

    async def rotate(
        self, key_id: str, *, grace: timedelta = timedelta(0), expected: KeyRecord | None = None
    ) -> Issued:
        """Issue a key in the place of another, which is good for `grace` longer.

        Raises `NotFound`, `Conflict` if the key is in no state to be rotated, and `ConfigurationError` if the grace is
        negative or has no end.
        """
        record = await self._key(key_id)
        self._check_rights(record.scopes)
        return await lifecycle.rotate(
            self._store, key_id, grace=grace, expected=expected, actor=self.visitor.owner, clock=self._clock
        )

    # --- changes ---

    async def rename(self, key_id: str, name: str, *, expected: KeyRecord | None = None) -> None:
        """Give a key another name. Raises `NotFound`, and `ConfigurationError` if it is no text that can be kept."""
        await self._key(key_id)
        await lifecycle.rename(
            self._store, key_id, name, expected=expected, actor=self.visitor.owner, clock=self._clock
        )

    async def disable(self, key_id: str, *, expected: KeyRecord | None = None) -> bool:
        """Refuse a key until it is enabled again; tell whether this call did it. Raises `NotFound`."""
        await self._key(key_id)
        return await lifecycle.disable(
            self._store, key_id, expected=expected, actor=self.visitor.owner, clock=self._clock
        )

    async def enable(self, key_id: str, *, expected: KeyRecord | None = None) -> bool:
        """Accept a disabled key again; tell whether this call did it. Raises `NotFound`."""
        record = await self._key(key_id)
        self._check_rights(record.scopes)
        return await lifecycle.enable(
            self._store, key_id, expected=expected, actor=self.visitor.owner, clock=self._clock
        )

    async def end_grace(self, key_id: str, *, expected: KeyRecord | None = None) -> bool:
        """End the grace of a key that was rotated; tell whether this call did it.

        Raises `NotFound`, and `Conflict` if it was not rotated.
        """
        await self._key(key_id)
        return await lifecycle.end_grace(
            self._store, key_id, expected=expected, actor=self.visitor.owner, clock=self._clock
        )

    async def delete(self, key_id: str, *, expected: KeyRecord | None = None) -> bool:
        """Refuse a key for good (`lifecycle.revoke`); tell whether this call did it. Raises `NotFound`.

        It stays to be seen, as revoked, until whoever runs the app purges it.
        """
        await self._key(key_id)
        return await lifecycle.revoke(
            self._store, key_id, reason="deleted", expected=expected, actor=self.visitor.owner, clock=self._clock
        )

    # --- the rule ---

    async def _key(self, key_id: str) -> KeyRecord:
        """Return a key that is the visitor's, or that a superuser asks for. Raises `NotFound` for any other."""
        record = await self._store.get_key(key_id)
        if record is None or not self._may_see(record):
            raise NotFound("no key has that id")
        return record

    def _may_see(self, record: KeyRecord) -> bool:
        return self.visitor.is_superuser or record.owner_id == self.visitor.owner.id

    def _check_rights(self, scopes: Collection[str]) -> None:
        """Make sure that no key comes out of here that may do more than the visitor."""
        mine = Scopes(self.visitor.scopes)
        if not all(scope in mine for scope in scopes) or ("*" in scopes and not self.may_grant_all):
            raise Problem(
                HTTPStatus.FORBIDDEN, "insufficient_scope", "The key would have rights that you do not have yourself."
            )
