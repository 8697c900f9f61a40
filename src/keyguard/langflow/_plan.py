"""The two steps of an import: what would be done, and doing it, all at once."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import URL

from keyguard.clock import utc_now
from keyguard.errors import Conflict
from keyguard.langflow._judge import JudgedVariable
from keyguard.langflow._report import Report
from keyguard.langflow._rows import Source
from keyguard.langflow._secret import LangflowSecret
from keyguard.langflow._source import read
from keyguard.langflow._taking import Taking
from keyguard.lifecycle._arguments import Actor, actor_of
from keyguard.lifecycle._audit import born
from keyguard.model import AuditEvent, AuditKind, Credential
from keyguard.ports import Clock, ImportStore
from keyguard.vault import Vault

__all__ = ["Plan", "carry_out", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an import would do. `source` and `secret` are kept for `carry_out`, and shown by nothing."""

    expected: Report
    source: Source = field(repr=False)
    secret: LangflowSecret | None = field(repr=False)


async def plan(
    source: str | URL,
    store: ImportStore,
    *,
    secret: str | None = None,
    vault: Vault | None = None,
    clock: Clock = utc_now,
) -> Plan:
    """Read a Langflow database, and say what `carry_out` would take over from it. Nothing is written anywhere.

    Args:
        source: the URL of Langflow's database: a file of SQLite or PostgreSQL, of whatever driver.
        store: where users and keys would go.
        secret: Langflow's secret key, as it stands in ``LANGFLOW_SECRET_KEY`` or in the file ``secret_key``. Without it
            what is encrypted stays closed.
        vault: where variables would go. Without it they are left out.
        clock: the time that tells which keys have expired.

    Raises:
        ConfigurationError: if `source` is no such URL, or `secret` cannot be Langflow's.
        SchemaMismatch: if `source` leads to no Langflow database.
        WrongSecret: if the vault's secret key is not the one that sealed what is in it.
        StoreUnavailable: if one of the two databases cannot be read now.
    """
    opener = None if secret is None else LangflowSecret(secret)
    del secret  # Error reporters show what the variables of each frame hold.
    content = await read(source)
    taking = await Taking.prepare(content, opener, store, vault, clock())
    return Plan(expected=taking.report(), source=content, secret=opener)


async def carry_out(
    plan: Plan, store: ImportStore, *, vault: Vault | None = None, actor: Actor | None = None, clock: Clock = utc_now
) -> Report:
    """Take over what a plan found, in one transaction with its audit events; return what was done.

    The store is looked at anew: what has come into it since the plan was made is left as it is. With nothing new
    nothing is written, so that a second time changes nothing.

    Raises:
        Conflict: if the store is changed at this very moment, so that something is taken; nothing is written then.
        WrongSecret: if the vault's secret key is not the one that sealed what is in it.
        StoreUnavailable: if the store cannot be reached now.
    """
    now, who = clock(), actor_of(actor)
    taking = await Taking.prepare(plan.source, plan.secret, store, vault, now)
    if taking.is_empty:
        return taking.report()
    credentials = [] if vault is None else [await _sealed(vault, *each, now) for each in taking.variables]
    try:
        await store.add_all(
            owners=taking.owners,
            keys=taking.keys,
            credentials=credentials,
            uses=taking.uses,
            events=list(_events(taking, now, who)),
        )
    except Conflict:
        raise Conflict(
            "somebody changed the store at this moment, so that an id, a name or a key is taken: nothing was taken "
            "over; begin again"
        ) from None
    return taking.report()


async def _sealed(vault: Vault, owner_id: str, variable: JudgedVariable, now: datetime) -> Credential:
    row = variable.row
    sealed = await vault.seal(owner_id, row.name, variable.value, metadata=variable.metadata)
    created_at = row.created_at or now
    return replace(sealed, created_at=created_at, updated_at=max(created_at, row.updated_at or created_at))


def _events(taking: Taking, now: datetime, actor: str) -> Iterator[AuditEvent]:
    origin = {"from": "langflow"}
    for new in taking.owners:
        detail: dict[str, object] = {
            **origin,
            "name": new.owner.name,
            "is_active": new.owner.is_active,
            "is_superuser": new.owner.is_superuser,
            "has_password": new.password is not None,
        }
        yield AuditEvent(at=now, kind=AuditKind.OWNER_IMPORTED, actor=actor, owner_id=new.owner.id, detail=detail)
    for key in taking.keys:
        taken = born(AuditKind.KEY_IMPORTED, key, actor)
        yield replace(taken, at=now, owner_id=key.owner_id, detail={**origin, **taken.detail})
    for owner_id, variable in taking.variables:
        detail = {**origin, "name": variable.row.name}
        yield AuditEvent(at=now, kind=AuditKind.CREDENTIAL_IMPORTED, actor=actor, owner_id=owner_id, detail=detail)
