"""What changes of one key come to, one after the other: said a second time, apart from `keyguard.lifecycle`.

A `World` is a key, the key that took its place, and the trail of what was done to the two. Each change is a statement
of one sentence or two: when it is answered how, and what of the world is another one then. Two changes at once are
right if the world that they leave, and both answers, are those of one of the two orders: `orders` gives both.

All happens at one moment, NOW. What "ended long ago" ended so long before it that a purge takes it.
"""

from dataclasses import dataclass, replace

NOT_FOUND, CONFLICT, DONE = "not found", "conflict", "done"


@dataclass(frozen=True)
class Key:
    """What can be another one. `end` is None, "its own", "long ago" or "the grace's"."""

    name: str = "old name"
    is_disabled: bool = False
    revoked: str | None = None
    """The reason that it was revoked for."""
    was_revoked_long_ago: bool = False
    end: str | None = None
    is_replaced: bool = False


@dataclass(frozen=True)
class World:
    key: Key | None = Key()
    """None when it is gone."""
    successor: Key | None = None
    trail: tuple[str, ...] = ()

    def after(self, *done, **changes):
        """The world in which something was done to the key, and stands in the trail."""
        return replace(self, key=replace(self.key, **changes), trail=(*self.trail, *done))


def rename(world):
    """A key that is there gets the name, which changes nothing if it has it."""
    if world.key is None:
        return NOT_FOUND, world
    return DONE, world if world.key.name == "new name" else world.after("key.renamed", name="new name")


def disable(world):
    """A key that is there is disabled afterwards, by whoever found it otherwise."""
    if world.key is None:
        return NOT_FOUND, world
    return (False, world) if world.key.is_disabled else (True, world.after("key.disabled", is_disabled=True))


def enable(world):
    """A key that is there is not disabled afterwards, thanks to whoever found it so."""
    if world.key is None:
        return NOT_FOUND, world
    return (True, world.after("key.enabled", is_disabled=False)) if world.key.is_disabled else (False, world)


def revoke(world):
    """A key is revoked once, for the reason of whoever came first."""
    if world.key is None:
        return NOT_FOUND, world
    return (False, world) if world.key.revoked else (True, world.after("key.revoked", revoked="leaked"))


def _rotate(world, **ending):
    """A key that has not ended gets a successor, if it has none, which is like it and ends when it would have."""
    if world.key is None:
        return NOT_FOUND, world
    if world.key.is_replaced or world.key.revoked or world.key.end == "long ago":
        return CONFLICT, world
    ended = world.after("key.rotated", "key.issued", is_replaced=True, **ending)
    return DONE, replace(ended, successor=world.key)


def rotate(world):
    """Without a grace the old key is revoked."""
    return _rotate(world, revoked="rotated")


def rotate_with_grace(world):
    """With a grace the old key ends with that."""
    return _rotate(world, end="the grace's")


def rotate_if_unchanged(world):
    """Whoever has read the key as it was at first rotates it, if nothing was done to it since."""
    return rotate(world) if world.key is None or not world.trail else (CONFLICT, world)


def end_grace(world):
    """A key that was replaced is revoked for that, unless it was revoked already; no other key is in a grace."""
    if world.key is None:
        return NOT_FOUND, world
    if not world.key.is_replaced:
        return CONFLICT, world
    return (False, world) if world.key.revoked else (True, world.after("key.grace_ended", revoked="rotated"))


def end_grace_if_unchanged(world):
    """Whoever has read the key as it was at first ends its grace, if nothing was done to it since."""
    return end_grace(world) if world.key is None or not world.trail else (CONFLICT, world)


def purge(world):
    """A key that ended long ago is gone, and counted once."""
    key = world.key
    if key is None or not (key.was_revoked_long_ago or key.end == "long ago"):
        return 0, world
    return 1, replace(world, key=None, trail=(*world.trail, "key.purged"))


CHANGES = {
    change.__name__: change
    for change in (
        rename,
        disable,
        enable,
        revoke,
        rotate,
        rotate_with_grace,
        rotate_if_unchanged,
        end_grace,
        end_grace_if_unchanged,
        purge,
    )
}

BEGINNINGS = {
    "good": Key(),
    "disabled": Key(is_disabled=True),
    "with an end": Key(end="its own"),
    "in its grace": Key(is_replaced=True, end="the grace's"),
    "revoked": Key(revoked="earlier"),
    "revoked long ago": Key(revoked="earlier", was_revoked_long_ago=True),
    "expired long ago": Key(end="long ago"),
}


def orders(beginning, one, other):
    """What may come of two changes at once: both answers and the world, for each of the two orders."""
    begun = World(key=BEGINNINGS[beginning])
    first, between = CHANGES[one](begun)
    second, after = CHANGES[other](between)
    yield first, second, after
    second, between = CHANGES[other](begun)
    first, after = CHANGES[one](between)
    yield first, second, after
