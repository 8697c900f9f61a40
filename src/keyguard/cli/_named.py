"""Which owner and which key an argument means."""

from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._shown import name_of
from keyguard.model import KeyRecord, Owner
from keyguard.stores.sql import SQLStore

__all__ = ["key_named", "owner_named"]

_BEGINNING = 4
"""From so many characters of an id on a beginning will do, which is what the hint of a key shows."""


async def owner_named(store: SQLStore, text: str) -> Owner:
    """Return the owner with that name or id; ``id:…`` is an id in any case.

    Raises `Failed` if there is none, or if it is the name of one and the id of another.
    """
    if text.startswith("id:"):
        by_name, by_id = None, await store.get_owner(text.removeprefix("id:"))
    else:
        by_name, by_id = await store.find_owner(text), await store.get_owner(text)
    if by_name and by_id and by_name != by_id:
        raise Failed(
            f"{text!r} is the name of one owner and the id of another: say id:{by_name.id} or id:{by_id.id}",
            ExitCode.CONFLICT,
        )
    owner = by_name or by_id
    if owner is None:
        raise Failed(f"there is no owner with the name or id {text!r}", ExitCode.NOT_FOUND)
    return owner


async def key_named(store: SQLStore, text: str) -> KeyRecord:
    """Return the key with that id, or whose prefix and id begin so, if there is only one.

    Raises `Failed` if there is none, or more than one.
    """
    text = text.rstrip("_….")  # As in `kg_3fJ2x0Qm7LpZ_…`, which is where the secret begins.
    if record := await store.get_key(text):
        return record
    found = await store.list_keys(begins=text, limit=3) if text else []
    if not found:
        raise Failed(f"there is no key with the id {text!r}, nor one that begins so", ExitCode.NOT_FOUND)
    first, *others = found
    if others:
        names = ", ".join(map(name_of, found))
        raise Failed(f"{text!r} is the beginning of more than one key, such as {names}: write more of the id")
    if len(text) < len(first.prefix) + _BEGINNING:
        raise Failed(f"{text!r} is too little to name a key: write {_BEGINNING} characters of its id at least")
    return first
