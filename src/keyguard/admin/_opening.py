"""The store, opened when it is first needed."""

from keyguard.loops import Places
from keyguard.ports import KeyStore

__all__ = ["Opening"]


class Opening:
    """Opens a store that nobody has opened yet, and closes what was opened here."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._alone = Places(1)
        self._opened_here = False

    async def open(self) -> None:
        """Make sure that the store is open. Raises what its `open` does."""
        if self._store.is_open:
            return
        async with self._alone:
            if not self._store.is_open:
                await self._store.open()
                self._opened_here = True

    async def close(self) -> None:
        """Close the store, if it was opened here."""
        async with self._alone:
            if self._opened_here:
                self._opened_here = False
                await self._store.close()
