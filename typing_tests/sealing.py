"""Keeping owners' credentials in a vault."""

import os
from typing import assert_type

from starlette.requests import Request

from keyguard import Owner
from keyguard.model import Credential
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.vault import Resolved, SecretFile, SecretKeys, ValueSource, Vault

store = SQLStore("sqlite+aiosqlite:///keys.db")

in_a_file = Vault(store, SecretFile("secret.key"))
from_the_environment = Vault(store, SecretKeys.from_environment(os.environ, file="secret.key"))
given = Vault(MemoryStore(), SecretKeys(["new", "old"]))


async def for_a_user(request: Request, owner: Owner) -> None:
    await in_a_file.open()
    await in_a_file.put(owner, "TOKEN", "value", metadata={"about": ["it"]}, actor=request.user)
    assert_type(await in_a_file.get("1", "TOKEN"), str)
    assert_type(await in_a_file.list(owner), list[Credential])
    assert_type(await in_a_file.remove(owner, "TOKEN", actor="cli:root"), bool)
    assert_type(await in_a_file.rotate(batch=100), int)


async def for_a_component(owner: Owner) -> str:
    resolved = await given.resolve(owner, "TOKEN", flow=None, environ=os.environ)
    assert_type(resolved, Resolved | None)
    if resolved is None:
        return ""
    assert_type(resolved.source, ValueSource)
    return resolved.value


async def by_hand() -> None:
    credential = await from_the_environment.seal("1", "TOKEN", "value")
    assert_type(credential, Credential)
    assert_type(await from_the_environment.unseal(credential), str)
    assert_type(SecretFile("secret.key").read(), SecretKeys | None)
    assert_type(SecretKeys.from_file("secret.key").checks, tuple[str, ...])
