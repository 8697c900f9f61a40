"""The pages: what is shown, and which address leads to what. What forms change stands in `changes`."""

from dataclasses import replace

from starlette.responses import Response
from starlette.routing import Route

from keyguard.admin._assets import asset_route
from keyguard.admin._desk import MOST_AT_ONCE
from keyguard.admin._doors import form, page
from keyguard.admin._form import Form
from keyguard.admin._pages import changes, feed
from keyguard.admin._pages.listing import PER_PAGE, STATES, Chosen, columns, part
from keyguard.admin._pages.views import delete_page, key_page, list_of, new_page, rotate_page
from keyguard.admin._settings import Settings
from keyguard.admin._shown import Action, actions, key_path
from keyguard.admin._visit import Notice, Visit
from keyguard.errors import NotFound
from keyguard.model import KeyPage, KeyQuery, ListedKey, Owner

__all__ = ["routes"]

_LOOKS_LIKE_A_KEY = (
    "What you typed looks like a key. It was not searched for, because it would stand in the address of the page: "
    "search for a part of the key's name, or for its first characters."
)

_MOST_SUGGESTED = 500
"""So many owners' names are suggested to a superuser who types one."""


def routes(settings: Settings) -> list[Route]:
    """Return the routes of all pages and forms about keys."""
    return [
        page(settings, "/", keys),
        form(settings, "/", search),
        page(settings, "/new", new),
        form(settings, "/new", changes.new),
        page(settings, "/key/{key_id}", key),
        form(settings, "/key/{key_id}/rename", changes.rename),
        form(settings, "/key/{key_id}/disable", changes.disable),
        form(settings, "/key/{key_id}/enable", changes.enable),
        form(settings, "/key/{key_id}/end-grace", changes.end_grace),
        page(settings, "/key/{key_id}/rotate", rotate),
        form(settings, "/key/{key_id}/rotate", changes.rotate),
        page(settings, "/delete", delete),
        form(settings, "/delete", changes.delete),
        page(settings, "/activity", activity),
        form(settings, "/activity", activity_of),
        asset_route(settings.theme),
    ]


# --- the list ---------------------------------------------------------------------------------------------------


async def keys(visit: Visit) -> Response:
    """Show the visitor's keys, or a superuser everyone's."""
    desk, now = visit.desk, visit.settings.clock()
    superuser = desk.visitor.is_superuser
    chosen = Chosen.of(visit.request.query_params, is_superuser=superuser)
    owners = await desk.owners() if superuser else []
    if chosen != _for_address(visit, chosen, owners):
        return _go_to(visit, chosen, owners)
    owner = _owner_called(chosen.owner, owners)
    unknown = bool(chosen.owner) and owner is None
    owner_id = None if owner is None else owner.id
    query = chosen.query(owner_id, now)
    found = KeyPage(keys=(), total=0) if unknown else await _search(visit, query, chosen)
    last = max(-(-found.total // PER_PAGE), 1)
    if chosen.page > last:  # Whoever deletes what is on the last page comes back to it.
        chosen = replace(chosen, page=last)
        found = await _search(visit, query, chosen)
    bare = not found.total and not chosen.is_narrow
    wider = replace(chosen, state="all")
    is_nothing = not (found.total or bare or unknown)
    elsewhere = (await _search(visit, wider.query(owner_id, now), wider)).total if is_nothing else 0
    orders = Chosen.orders(is_superuser=superuser)

    def link(to: Chosen) -> str:
        return visit.url("/", **to.parameters)

    return visit.page(
        "list.html",
        section="keys",
        chosen=chosen,
        keys=found.keys,
        part=part(chosen, len(found.keys), found.total, link),
        columns=columns(chosen, link, is_superuser=superuser),
        states=STATES,
        orders=orders,
        order_word=dict(orders)[chosen.sort],
        owners=[each.name for each in owners[:_MOST_SUGGESTED]],
        unknown_owner=unknown,
        elsewhere=elsewhere,
        link_elsewhere=link(wider),
        is_bare=bare,
        has_revoked=bare and (await desk.search(KeyQuery(), limit=1)).total > 0,
    )


async def search(visit: Visit, sent: Form) -> Response:
    """Go to the list of what is looked for. It is sent as a form, so that a key is kept out of addresses."""
    superuser = visit.desk.visitor.is_superuser
    asked = {name: sent.one(name) for name in ("q", "state", "owner", "sort")}
    chosen = Chosen.of(asked, is_superuser=superuser)
    return _go_to(visit, chosen, await visit.desk.owners() if superuser else [])


def _go_to(visit: Visit, chosen: Chosen, owners: list[Owner]) -> Response:
    told = _for_address(visit, chosen, owners)
    left_out = (chosen.text and not told.text) or (chosen.owner and not told.owner)
    return visit.go("/", Notice(kind="failed", text=_LOOKS_LIKE_A_KEY) if left_out else None, **told.parameters)


def _for_address(visit: Visit, chosen: Chosen, owners: list[Owner]) -> Chosen:
    return chosen.for_address(visit.settings.store.keyring, {word for each in owners for word in (each.id, each.name)})


async def _search(visit: Visit, query: KeyQuery, chosen: Chosen) -> KeyPage:
    return await visit.desk.search(query, offset=(chosen.page - 1) * PER_PAGE, limit=PER_PAGE)


def _owner_called(word: str, owners: list[Owner]) -> Owner | None:
    """Return the owner with that id, or with that name.

    Links name owners by id: nobody must come in between who is called like another one's.
    """
    named = {**{owner.name: owner for owner in owners}, **{owner.id: owner for owner in owners}}
    return named.get(word)


# --- forms and one key ------------------------------------------------------------------------------------------


async def new(visit: Visit) -> Response:
    """Show the form of a new key."""
    return new_page(visit)


async def key(visit: Visit) -> Response:
    """Show all there is to know of a key, and what can be done with it."""
    return await key_page(visit, await visit.desk.look(visit.request.path_params["key_id"]))


async def rotate(visit: Visit) -> Response:
    """Ask how a key is to be rotated."""
    return rotate_page(visit, (await visit.desk.look(visit.request.path_params["key_id"])).key)


async def delete(visit: Visit) -> Response:
    """Ask whether keys are to be deleted, and name them."""
    query = visit.request.query_params
    ids = list(dict.fromkeys(query.getlist("id")))[:MOST_AT_ONCE]
    found = [each for each in [await _deletable(visit, key_id) for key_id in ids] if each is not None]
    if not found:
        text = (
            "Those keys are gone, or were deleted already." if ids else "Select the keys first that are to be deleted."
        )
        return visit.go("/", Notice(kind="failed", text=text), **list_of(visit, query).parameters)
    is_from_key = query.get("from") == "key"
    return delete_page(
        visit, found, len(ids) - len(found), list_of(visit, query), key_path(found[0].key.id) if is_from_key else "/"
    )


async def _deletable(visit: Visit, key_id: str) -> ListedKey | None:
    try:
        found = await visit.desk.look(key_id)
    except NotFound:
        return None
    return found if Action.DELETE in actions(found.key, visit.settings.clock()) else None


# --- activity -----------------------------------------------------------------------------------------


async def activity(visit: Visit) -> Response:
    """Show what was done to an owner and their keys."""
    desk = visit.desk
    superuser = desk.visitor.is_superuser
    owners = await desk.owners() if superuser else []
    word = visit.request.query_params.get("owner", "").strip()
    asked = _owner_called(word, owners) if superuser else None
    owner = await desk.owner(asked.id if asked else word or desk.visitor.owner.id)
    events = await desk.events(owner.id, before=feed.before_of(visit), limit=feed.PER_PAGE + 1)
    return visit.page(
        "activity.html",
        section="activity",
        owner=owner,
        is_mine=owner.id == desk.visitor.owner.id,
        owners=[each.name for each in owners[:_MOST_SUGGESTED]],
        done=await feed.feed(desk, events[: feed.PER_PAGE]),
        part=feed.part(visit, "/activity", events, owner=owner.id if word else None),
    )


async def activity_of(visit: Visit, sent: Form) -> Response:
    """Go to what was done to the owner that somebody has named. Only who is known is named in the address."""
    word = sent.one("owner").strip()
    if not word or not visit.desk.visitor.is_superuser:
        return visit.go("/activity")
    owner = _owner_called(word, await visit.desk.owners())
    if owner is None:
        return visit.go("/activity", Notice(kind="failed", text="No owner is called that: this is your own activity."))
    return visit.go("/activity", owner=owner.id)
