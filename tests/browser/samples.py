"""Owners and keys in every state, the same ones each time: what the pages are looked at with, and photographed."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from keyguard import KeyRecord, Owner, lifecycle
from keyguard.model import Usage

PASSWORD = "correct horse battery staple"

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Samples:
    """Whom and what there is: a person with keys in every state, one without any, one for new keys, and a superuser."""

    ada: Owner
    newcomer: Owner
    maker: Owner
    root: Owner
    keys: dict[str, KeyRecord]
    """By what each of them is an example of; Ada's, where it is not said."""


class Counted:
    """Randomness that is the same each time, as `lifecycle` asks for it."""

    def __init__(self, seed):
        self._seed = seed
        self._calls = 0

    def __call__(self, size):
        self._calls += 1
        return hashlib.shake_256(f"{self._seed} {self._calls}".encode()).digest(size)


async def fill(store, now, *, suffix=""):
    """Put them into a store, as if they had come to be before `now`. Their names end in `suffix`."""
    entropy = Counted(f"samples{suffix}")

    def ago(span):
        return lambda: now - span

    async def person(name, span, **more):
        return await lifecycle.add_owner(
            store, name + suffix, password=PASSWORD, clock=ago(span), entropy=entropy, **more
        )

    root = await person("root", 500 * _DAY, is_superuser=True)
    ada = await person("ada", 400 * _DAY)
    bob = await person("bob", 90 * _DAY)
    maker = await person("mia", 70 * _DAY)
    newcomer = await person("noor", 5 * _HOUR)

    keys = {}

    async def key(which, name, span, owner=ada, **more):
        issued = await lifecycle.issue(store, owner, name=name, actor=owner, clock=ago(span), entropy=entropy, **more)
        keys[which] = issued.record

    # In the order in which it happened, which is the one that the audit log keeps.
    await key("disabled", "Old laptop", 200 * _DAY)
    await key("grace", "Website", 120 * _DAY, expires_at=now + 60 * _DAY)
    await key("expiring soon", "Nightly report", 87 * _DAY, expires_at=now + 3 * _DAY)
    await key("revoked", "Leaked in a log", 60 * _DAY)
    await lifecycle.revoke(store, keys["revoked"].id, reason="leaked", actor=ada, clock=ago(59 * _DAY))
    await key("active", "CI pipeline", 40 * _DAY, scopes=["flows:read", "flows:run"])
    await key("expired", "Trial", 35 * _DAY, expires_at=now - 5 * _DAY)
    await lifecycle.disable(store, keys["disabled"].id, actor=ada, clock=ago(30 * _DAY))
    await key("bob's", "Importer", 30 * _DAY, bob, expires_at=now + 60 * _DAY)
    networks = ["192.0.2.0/24", "2001:db8::/48"]
    await key("restricted", "Office", 12 * _DAY, networks=networks, expires_at=now + 78 * _DAY)
    await lifecycle.rename(store, keys["active"].id, "CI pipeline, main branch", actor=ada, clock=ago(10 * _DAY))
    await key("bob's other", "Telephone", 3 * _DAY, bob)
    await key("not yet valid", "For the launch", 2 * _DAY, not_before=now + 9 * _DAY)
    await lifecycle.rotate(store, keys["grace"].id, grace=_DAY, actor=ada, clock=ago(20 * _HOUR), entropy=entropy)
    await key("unnamed", "", 6 * _HOUR)
    used = {
        "active": Usage(total=18_204, last_used_at=now - timedelta(minutes=4), last_used_address="203.0.113.7"),
        "expiring soon": Usage(total=86, last_used_at=now - 9 * _HOUR, last_used_address="203.0.113.20"),
        "restricted": Usage(total=412, last_used_at=now - 2 * _DAY, last_used_address="2001:db8::17"),
        "disabled": Usage(total=977, last_used_at=now - 31 * _DAY, last_used_address="198.51.100.4"),
        "grace": Usage(total=52_118, last_used_at=now - timedelta(minutes=35), last_used_address="198.51.100.80"),
        "expired": Usage(total=3, last_used_at=now - 6 * _DAY, last_used_address="198.51.100.4"),
    }
    await store.record_uses(
        {keys[which].id: usage for which, usage in used.items()}, worker=f"samples{suffix}", sequence=1
    )
    return Samples(ada, newcomer, maker, root, keys)
