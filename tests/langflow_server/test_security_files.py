"""Who else on the machine can read what the server keeps."""

import stat

import pytest

from langflow_server.server import Server
from langflow_server.settings import Settings
from langflow_server.start import prepare


@pytest.mark.parametrize("place", ["the folder", "a URL"])
async def test_only_its_user_reads_the_database(tmp_path, place):
    """In a folder that everybody can look into, too, the files of the database are readable by their owner alone."""
    tmp_path.chmod(0o755)
    elsewhere = {"database_url": f"sqlite:///{tmp_path}/another.db"} if place == "a URL" else {}
    settings = Settings(config_dir=tmp_path, **elsewhere)
    await prepare(settings)
    async with Server(settings).opened():
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(found) >= 3
    assert set(found.values()) == {0o600}, found
