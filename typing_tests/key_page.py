"""The key page as an app mounts it, and what an app with a page of its own calls instead."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from datetime import UTC, datetime, timedelta
from typing import assert_type

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import Scope

from keyguard import KeyGuard, KeyRecord, Owner, Policy, Principal, lifecycle
from keyguard.admin import KeyAdmin, Theme, with_key_page
from keyguard.model import KeyOrder, KeyPage, KeyQuery, KeyState, ListedKey, Session, SessionFound, Usage
from keyguard.ports import KeyRegistry, SessionStore, SignInStore
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.stores.static import StaticStore
from keyguard.testing import FrozenClock
from keyguard.throttle import Throttle

store = SQLStore("sqlite+aiosqlite:///keys.db")


async def identify(scope: Scope) -> Principal | None:
    name = scope["session"].get("user")
    return Principal(id=name, name=name) if name else None


# --- the page ---------------------------------------------------------------------------------------------------

app = Starlette()
app.mount("/keys", KeyAdmin(store))
app.add_middleware(KeyGuard, store=store, policy=with_key_page(Policy(exempt=["/health"]), "/keys"))
assert_type(with_key_page(Policy(), "/keys"), Policy)

page = KeyAdmin(
    MemoryStore(),
    identify=identify,
    sign_in_url="/login",
    policy=Policy(),
    scopes=["flows:read", "flows:run"],
    lifetimes=[timedelta(days=7), timedelta(days=90)],
    default_lifetime=None,
    session_lifetime=timedelta(hours=1),
    url="https://api.example.com",
    sample_path="/flows",
    origins=["https://app.example.com"],
    trusted_hops=1,
    secure_cookies=True,
    title="Keys of Example",
    links=[("Flows", "/flows")],
    theme=Theme(accent="#0f766e", dark_accent="#5eead4"),
    clock=FrozenClock(),
)
KeyAdmin(store, scopes={"flows:read": "See flows and their runs"}, identify=lambda scope: None)


async def stop() -> None:
    await page.aclose()


KeyAdmin(StaticStore({}))  # type: ignore[arg-type]  # Nothing can be issued in it.
KeyAdmin(store, default_lifetime=90)  # type: ignore[arg-type]  # Days, hours or seconds?
KeyAdmin(store, links="/flows")  # type: ignore[arg-type]  # Each is a label and a path.
KeyAdmin(store, theme="dark")  # type: ignore[arg-type]  # It is dark for those whose system asks for it.
KeyAdmin(store.keyring)  # type: ignore[arg-type]  # The store has the keyring.


# --- sessions ---------------------------------------------------------------------------------------------------

throttle = Throttle(limit=5, per=timedelta(minutes=1), size=1000)


async def sign_in(request: Request, name: str, password: str) -> str | None:
    seconds = throttle.attempt(f"owner {name}", "address 192.0.2.1")
    assert_type(seconds, float)
    if seconds:
        return None
    signed_in = await lifecycle.sign_in(store, name, password, lifetime=timedelta(days=1))
    assert_type(signed_in, lifecycle.SignedIn | None)
    if signed_in is None:
        return None
    throttle.succeeded(f"owner {name}", "address 192.0.2.1")
    assert_type(signed_in.session, Session)
    assert_type(signed_in.owner, Owner)
    return signed_in.token


async def look_up(store: SessionStore, token: str) -> Owner | None:
    found = await lifecycle.find_session(store, token)
    assert_type(found, SessionFound | None)
    return None if found is None else found.owner


async def end(store: SignInStore, owner: Owner) -> None:
    assert_type(await lifecycle.start_session(store, owner, actor="sso"), lifecycle.SignedIn)
    assert_type(await lifecycle.sign_out(store, "…"), bool)
    assert_type(await lifecycle.end_sessions(store, owner, actor=Principal(id="1", name="root")), int)


async def end_in(registry: KeyRegistry, memory: MemoryStore) -> None:
    await lifecycle.end_sessions(memory, "owner-1")
    await lifecycle.end_sessions(registry, "owner-1")  # type: ignore[arg-type]  # It need not keep sessions.


# --- searches, and changes of what was read ---------------------------------------------------------------------


async def search(store: KeyRegistry, owner: Owner) -> list[KeyRecord]:
    query = KeyQuery(
        owner_id=owner.id,
        text="laptop",
        states=frozenset({KeyState.ACTIVE, KeyState.GRACE}),
        expires_before=datetime.now(UTC) + timedelta(days=7),
        order=KeyOrder.LAST_USED,
        descending=True,
    )
    found = await lifecycle.search_keys(store, query, offset=25, limit=25)
    assert_type(found, KeyPage)
    assert_type(found.total, int)
    assert_type(found.keys, tuple[ListedKey, ...])
    assert_type(found.keys[0].usage, Usage)
    return [listed.key for listed in found.keys]


async def change(store: KeyRegistry, key: KeyRecord) -> None:
    await lifecycle.rename(store, key.id, "laptop", expected=key)
    assert_type(await lifecycle.revoke(store, key.id, expected=key), bool)
    assert_type(await lifecycle.rotate(store, key.id, expected=key), lifecycle.Issued)
    await lifecycle.rename(store, key.id, "laptop", expected="v1")  # type: ignore[arg-type]  # The key as it was read.
