"""Owners in memory, with their passwords and sealed credentials."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from keyguard.errors import Conflict
from keyguard.model import AuditEvent, Credential, Owner, OwnerPage
from keyguard.stores._noting import check_events
from keyguard.stores._sessions_in_memory import SessionsInMemory
from keyguard.stores._text import check_storable

__all__ = ["OwnersInMemory"]


class OwnersInMemory(SessionsInMemory):
    """The part of a store that keeps owners, and credentials as `keyguard.ports.CredentialStore` says."""

    def __init__(self) -> None:
        super().__init__()
        self._credentials: dict[tuple[str, str], Credential] = {}
        self._changes: int = 0

    async def find_owner(self, name: str) -> Owner | None:
        """Return the owner called `name`."""
        return next((owner for owner in self._owners.values() if owner.name == name), None)

    async def add_owner(
        self,
        owner: Owner,
        *,
        created_at: datetime,  # noqa: ARG002 Nothing in the port reads it.
        password: str | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> None:
        """Add an owner. Raises `Conflict` if the id or the name is taken."""
        check_storable([owner.id, owner.name, password])
        check_events(events)
        if any(owner.id == other.id or owner.name == other.name for other in self._owners.values()):
            raise Conflict("there is an owner with that id or name already")
        self._owners[owner.id] = owner
        self._passwords[owner.id] = password
        self._note(events)

    async def get_owner(self, owner_id: str) -> Owner | None:
        """Return the owner with that id."""
        return self._owners.get(owner_id)

    async def list_owners(self) -> list[Owner]:
        """Return all owners, by name."""
        return sorted(self._owners.values(), key=attrgetter("name"))

    async def page_owners(self, *, offset: int = 0, limit: int) -> OwnerPage:
        """Return the owners, by name: at most `limit` of them, behind the first `offset`."""
        owners = await self.list_owners()
        return OwnerPage(owners=tuple(owners[offset : offset + limit]), total=len(owners))

    async def rename_owner(self, owner_id: str, name: str, *, event: AuditEvent) -> bool:
        """Give an owner another name; tell whether it had another one. Raises `Conflict` if the name is taken."""
        owner = self._owner(owner_id)
        check_storable([name])
        if any(name == other.name and other.id != owner_id for other in self._owners.values()):
            raise Conflict("there is an owner with that name already")
        told = replace(event, detail={**event.detail, "old_name": owner.name})
        return self._change_owner(replace(owner, name=name), [told])

    async def set_owner_active(self, owner_id: str, *, active: bool, events: Sequence[AuditEvent] = ()) -> bool:
        """Activate or deactivate an owner, whose sessions then end; tell whether this call did it."""
        has_changed = self._change_owner(replace(self._owner(owner_id), is_active=active), events)
        if has_changed:
            self._end_all(owner_id)
        return has_changed

    async def set_owner_superuser(self, owner_id: str, *, superuser: bool, events: Sequence[AuditEvent] = ()) -> bool:
        """Give or take superuser rights; tell whether this call did it."""
        return self._change_owner(replace(self._owner(owner_id), is_superuser=superuser), events)

    async def get_password(self, owner_id: str) -> str | None:
        """Return the owner's password verifier."""
        return self._passwords.get(owner_id)

    async def set_password(self, owner_id: str, password: str | None, *, events: Sequence[AuditEvent] = ()) -> None:
        """Replace the owner's password verifier; None takes it away. If it was another one the sessions end."""
        owner = self._owner(owner_id)
        check_storable([password])
        check_events(events)
        if password != self._passwords[owner.id]:
            self._passwords[owner.id] = password
            self._end_all(owner.id)
            self._note(events)

    async def upgrade_password(self, owner_id: str, *, password: str, new_password: str) -> bool:
        """Replace the owner's password verifier, if it still is `password`; tell whether that was done."""
        check_storable([new_password])
        if self._passwords[self._owner(owner_id).id] != password:
            return False
        self._passwords[owner_id] = new_password
        return True

    async def put_credential(self, credential: Credential, *, events: Sequence[AuditEvent] = ()) -> None:
        """Keep a credential, in the place of the one that the owner has by that name; its `created_at` then stays."""
        _check_credential(credential)
        check_events(events)
        place = (self._owner(credential.owner_id).id, credential.name)
        there = self._credentials.get(place, credential)
        self._credentials[place] = replace(credential, created_at=there.created_at)
        self._note(events)

    async def get_credential(self, owner_id: str, name: str) -> Credential | None:
        """Return the credential that an owner has by that name."""
        return self._credentials.get((owner_id, name))

    async def list_credentials(self, owner_id: str | None = None) -> list[Credential]:
        """Return the credentials of one owner or of all, by owner and name."""
        credentials = [each for each in self._credentials.values() if owner_id in {None, each.owner_id}]
        return sorted(credentials, key=attrgetter("owner_id", "name"))

    async def remove_credential(self, owner_id: str, name: str, *, events: Sequence[AuditEvent] = ()) -> bool:
        """Remove a credential; tell whether there was one."""
        check_events(events)
        if self._credentials.pop((owner_id, name), None) is None:
            return False
        self._note(events)
        return True

    async def sealed_with(self) -> frozenset[str]:
        """Return the check values of all secret keys that a credential here is sealed with."""
        return frozenset(each.sealed_with for each in self._credentials.values())

    async def credentials_to_reseal(self, sealed_with: str, *, limit: int) -> list[Credential]:
        """Return some credentials, `limit` at most, that are sealed with another secret key than that one."""
        return [each for each in self._credentials.values() if each.sealed_with != sealed_with][:limit]

    async def reseal_credentials(
        self, resealed: Sequence[tuple[Credential, Credential]], *, events: Sequence[AuditEvent] = ()
    ) -> int:
        """Replace what is `sealed` in the first of each pair by that of the second; return how many were replaced."""
        for _, new in resealed:
            _check_credential(new)
        check_events(events)
        done = 0
        for old, new in resealed:
            place = (old.owner_id, old.name)
            there = self._credentials.get(place)
            if there is not None and there.sealed == old.sealed:
                self._credentials[place] = replace(there, sealed=new.sealed, sealed_with=new.sealed_with)
                done += 1
        if done:
            self._note(events)
        return done

    def _add_credential(self, credential: Credential) -> None:
        _check_credential(credential)
        place = (self._owner(credential.owner_id).id, credential.name)
        if place in self._credentials:
            raise Conflict("there is a credential of that owner and name already")
        self._credentials[place] = credential

    def _change_owner(self, owner: Owner, events: Sequence[AuditEvent]) -> bool:
        check_events(events)
        if owner == self._owners[owner.id]:
            return False
        self._owners[owner.id] = owner
        self._note(events)
        self._changes += 1  # Afterwards: who has the new token has read nothing that is older.
        return True


def _check_credential(credential: Credential) -> None:
    check_storable([credential.name, credential.sealed, credential.sealed_with, credential.metadata_json])
