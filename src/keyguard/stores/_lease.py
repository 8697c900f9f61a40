"""For how long a process may trust what it has read before, as a value: no clock, no database.

A worker tells the database, in a row of `keyguard_listener`, that it trusts its memory until a certain time: that is
its lease. It *acknowledges* a revision by writing its number into that row. `keyguard.stores._listener` says why this
is enough for a change to be seen by every worker when the call that made it returns.
"""

import math
from dataclasses import dataclass, replace

__all__ = ["LEASE", "MARGIN", "Lease"]

LEASE = 1.0
"""Seconds. All processes that share a database have the same, because a writer waits for no longer than this."""

MARGIN = 1.0
"""Seconds that a writer waits beyond a lease: by so much may the clocks of two hosts drift apart while it lasts."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a process knows of the revision, and until when it may rely on it.

    The token is a number of this process, and not the revision: it moves whenever something may have changed, so that
    a database that was put back to an older state can never make old entries look fresh.
    """

    seconds: float = LEASE
    until: float = -math.inf
    """On the process's own clock."""
    revision: int | None = None
    """The number that was read last; None if nothing vouches that later ones would be heard of."""
    moves: int = 0
    """How often the token has moved: the token itself."""

    def granted(self, sent: float, revision: int) -> "Lease":
        """Renew it: `revision` was read after the row had been written that was sent to the database at `sent`.

        It is counted from the sending. The answer may have taken any time, in which others saw the row run out.
        """
        return replace(self.read(revision), until=sent + self.seconds)

    def read(self, revision: int) -> "Lease":
        """Take notice of the revision that stands in the database: the token moves if it is another one."""
        return self if revision == self.revision else replace(self, revision=revision, moves=self.moves + 1)

    def stirred(self) -> "Lease":
        """Take notice that something has changed, before it is known what the revision is now."""
        return replace(self, moves=self.moves + 1)

    def ended(self) -> "Lease":
        """Give it up; with the next one the token will have moved, whatever the revision is then."""
        return replace(self, until=-math.inf, revision=None)

    def token(self, now: float) -> int | None:
        """Return the token, while the lease lasts."""
        return self.moves if now < self.until else None
