"""Revoked means revoked: no answer of any worker process is one that no order of events explains.

Short in the normal suite; `KEYGUARD_HISTORIES` in the environment is how many operations the long session asks for.
"""

import os
import sys

from histories.driver import make_history

from keyguard.stores._lease import LEASE

OPERATIONS = int(os.environ.get("KEYGUARD_HISTORIES", "3000"))
IS_LONG = "KEYGUARD_HISTORIES" in os.environ
SHORT = {"workers": 2, "changers": 1, "changes": 100}
LONG = {"workers": 3, "changers": 4, "paces": (0.0, 1.0) * 5, "seed": os.urandom(4).hex()}
"""At full speed there are nearly as many changes as uses; with rests between them more is remembered."""
SIZE = LONG if IS_LONG else SHORT


def judge(outcome, capsys, lease=None):
    """Demand that the history is explained, and that it was worth being judged."""
    bad, sharpness = outcome.bad(lease), outcome.sharpness(lease)
    if IS_LONG:
        with capsys.disabled():
            sys.stdout.write(f"\n{outcome.summary()}  of 100 wrong answers {sharpness:.0f} would have been reported\n")
    assert not bad, f"{len(bad)} answers that nothing explains, first:\n{bad[0]}"
    assert outcome.operations >= OPERATIONS
    assert outcome.unavailable <= outcome.operations / 100
    assert len(outcome.pids) == SIZE["workers"]
    assert outcome.hit_rate > (20 if IS_LONG else 5)
    assert outcome.counted("reads") < 0.95 * len(outcome.history.uses)
    assert sharpness > 50
    assert len(outcome.crossed) >= 5, "hardly a key was refused by one process that another had let pass"


async def test_sqlite(tmp_path, capsys):
    """Several processes over one file: all their answers, and all changes, fit into one order, without tolerance."""
    outcome = await make_history(f"sqlite+aiosqlite:///{tmp_path}/keys.db", tmp_path, operations=OPERATIONS, **SIZE)
    judge(outcome, capsys)


async def test_postgresql(postgres_url, tmp_path, capsys):
    """On PostgreSQL library calls are exact as well; what is changed in SQL is seen within the lease."""
    outcome = await make_history(postgres_url, tmp_path, operations=OPERATIONS, **SIZE)
    judge(outcome, capsys, lease=int(LEASE * 1e9))
