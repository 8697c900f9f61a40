"""The manual's figures on scaling are formulas: a real server's counts hold them."""

from dataclasses import replace

import pytest
from benchmarks import scaling
from benchmarks.scaling import Load, polls_within, simulate
from benchmarks.servers import Missing

from keyguard.stores.sql import SQLStore


@pytest.fixture(scope="module")
def counting_server(postgres):  # Where there is no PostgreSQL, the shared one says so.
    try:
        with scaling.counting_server() as server:
            yield server
    except RuntimeError as problem:
        if "pg_stat_statements" not in str(problem):
            raise
        pytest.skip("pg_stat_statements is not installed")


async def test_the_formulas_hold_on_a_real_server(counting_server):
    """Of two hosts with eight workers each the server counts what the formulas say, within a tenth."""
    counted = await simulate(counting_server, Load(hosts=2, workers_each=8), seconds=3, changes=5)
    assert [verdict for verdict in counted.verdicts() if not verdict.is_met] == []
    assert len(counted.took) == 5


async def test_a_wrong_formula_is_noticed(counting_server):
    """What was counted of one worker does not pass for the load of two."""
    counted = await simulate(counting_server, Load(hosts=1, workers_each=1), seconds=1, changes=2)
    as_of_two = replace(counted, load=Load(hosts=1, workers_each=2))
    missed = {verdict.what for verdict in as_of_two.verdicts() if not verdict.is_met}
    assert missed == {f"1 x 2: {name}" for name, *_ in as_of_two.checks()}


async def test_the_benchmark_shows_what_was_counted(counting_server):
    """Each load has its row, with the formulas' figures in brackets."""
    section = await scaling.measure(counting_server, [Load(hosts=1, workers_each=1)], seconds=1, changes=1)
    assert [len(row) for row in section.rows] == [len(section.columns)]
    assert section.rows[0][0] == "1 x 1"
    assert section.rows[0][-3] == "6 (6)"


def test_a_server_that_cannot_count_is_left_out(monkeypatch):
    """Without pg_stat_statements it is said why nothing is counted."""

    def failing(**more):
        raise RuntimeError('could not access file "pg_stat_statements"')

    monkeypatch.setattr(scaling, "postgres_server", failing)
    with pytest.raises(Missing, match="pg_stat_statements"):
        scaling.section()


def test_the_formula_of_connections_is_the_pools():
    """A store has as many connections as the formula says."""
    pool = SQLStore("postgresql+asyncpg://somewhere/keys")._database.engine.pool
    assert Load(hosts=1, workers_each=1).pooled == pool.size()


@pytest.mark.parametrize(("seconds", "polls"), [(0, 2), (0.002, 3), (0.063, 7), (2, 46), (60, 46)])
def test_a_writer_asks_seldom(seconds, polls):
    """A writer asks after 1, 2, 4 … and then each 50 milliseconds, for two seconds at the most."""
    assert polls_within(seconds) <= polls
