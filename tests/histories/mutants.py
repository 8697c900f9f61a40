"""What can be broken on purpose: each is a function that breaks one thing in a worker's store or guard."""

import time

__all__ = ["MUTANTS"]


def trust_for_a_while(store, guard):
    """Answer by what was read up to 20 ms ago, as caches with a time to live do."""
    find, known = store.find, {}

    async def finding(lookups):
        read_at, found = known.get(tuple(lookups), (0, None))
        if found is None or time.monotonic() - read_at > 0.02:
            now = time.monotonic()
            found = await find(lookups)
            known[tuple(lookups)] = now, found
        return found

    store.find = finding


MUTANTS = {mutant.__name__: mutant for mutant in [trust_for_a_while]}
