"""Each kind of server runs once for all tests that want it."""

import pytest
from servers.harness import SERVERS, Fleet


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("servers"))
    yield fleet
    fleet.stop()


@pytest.fixture(params=SERVERS)
def server(request, fleet):
    return fleet(request.param, "servers.guarded:app")


@pytest.fixture
def port(server):
    return server.port
