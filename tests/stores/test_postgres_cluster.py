"""The server that the tests start can be stopped, frozen and asked, and where there is none a test says so."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

TESTS = Path(__file__).parent.parent


async def test_a_test_has_a_database_of_its_own(postgres, database):
    """A fresh database answers, and psql and the driver see the same one."""
    connection = await asyncpg.connect(postgres.url(database, "postgresql"))
    await connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    await connection.close()
    assert postgres.psql("SELECT x FROM t", database) == "7"
    assert postgres.psql("SELECT to_regclass('t')") == ""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_stopped_server_comes_back(postgres, database, how):
    """Stopped or crashed, the server refuses connections; started again it has its data, on the same port."""
    postgres.psql("CREATE TABLE t AS SELECT 7 AS x", database)
    postgres.stop(how)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncpg.connect(postgres.url(database, "postgresql"))
    postgres.start()
    assert postgres.psql("SELECT x FROM t", database) == "7"


async def test_a_frozen_server_answers_nobody(postgres, database):
    """Of a frozen server neither an old connection nor a new one gets an answer; afterwards all goes on."""
    url = postgres.url(database, "postgresql")
    connection = await asyncpg.connect(url)
    with postgres.frozen():
        with pytest.raises(TimeoutError):
            await connection.fetchval("SELECT 1", timeout=0.1)
        with pytest.raises(TimeoutError):
            await asyncpg.connect(url, timeout=0.1)
    connection.terminate()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_a_frozen_backend_is_alone(postgres, database):
    """Of a frozen backend only its own connection waits; what it was asked is answered when it goes on."""
    connection = await asyncpg.connect(postgres.url(database, "postgresql"))
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    assert postgres.backends(database, "%pg_backend_pid%") == [pid]
    postgres.pause(pid)
    assert postgres.psql("SELECT 1", database) == "1"
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.1)
    postgres.resume(pid)
    assert await connection.fetchval("SELECT 2") == 2
    await connection.close()


@pytest.mark.parametrize(("required", "outcome"), [("1", "1 error"), ("0", "1 skipped")])
def test_without_postgresql_a_test_is_skipped_or_fails(tmp_path, required, outcome):
    """Where PostgreSQL is missing its tests are skipped with the reason, and fail where it is required."""
    (tmp_path / "conftest.py").write_text("from postgres import database, postgres, postgres_url\n")
    (tmp_path / "test_it.py").write_text("def test_it(postgres_url):\n    assert postgres_url\n")
    environment = os.environ | {
        "KEYGUARD_REQUIRE_POSTGRES": required,
        "KEYGUARD_POSTGRES_BIN": str(tmp_path),
        "PYTHONPATH": str(TESTS),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert outcome in done.stdout
    assert "initdb" in done.stdout
