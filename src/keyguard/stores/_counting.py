"""Uses counted in memory, for the stores that live there."""

from collections.abc import Collection, Mapping

from keyguard.model import Usage
from keyguard.stores._text import is_storable

__all__ = ["CountsInMemory"]


class CountsInMemory:
    """The part of a store that makes it a `keyguard.ports.UsageStore`: what it counts ends with the process."""

    def __init__(self) -> None:
        super().__init__()
        self._uses: dict[str, Usage] = {}
        self._recorded: dict[str, int] = {}

    async def record_uses(self, uses: Mapping[str, Usage], *, worker: str, sequence: int) -> None:
        """Add `uses` to what is known, unless this batch was added before."""
        if sequence <= self._recorded.get(worker, 0):
            return
        self._recorded[worker] = sequence
        self._add_up(uses)

    def _add_up(self, uses: Mapping[str, Usage]) -> None:
        for key_id, use in uses.items():
            if is_storable(key_id):
                self._uses[key_id] = _sum(self._uses.get(key_id, Usage(total=0)), use)

    async def get_uses(self, key_ids: Collection[str]) -> Mapping[str, Usage]:
        """Return what is known of the uses of these keys."""
        return {key_id: self._uses[key_id] for key_id in key_ids if key_id in self._uses}


def _sum(known: Usage, new: Usage) -> Usage:
    last = known
    if new.last_used_at is not None and (known.last_used_at is None or known.last_used_at < new.last_used_at):
        last = new
    address = last.last_used_address
    return Usage(
        total=known.total + new.total,
        last_used_at=last.last_used_at,
        last_used_address=address if address is None or is_storable(address) else None,
    )
