"""The secret key: made once, kept, and asked for before anything is done with another one."""

import os
import secrets
import stat
import subprocess
import sys
from base64 import urlsafe_b64decode

import pytest
from langflow_accounts import call, session_of
from langflow_flows import chat, text_of, unique
from langflow_provider import providing
from langflow_serving import PASSWORD, PATIENCE, SUPERUSER, environment, serving
from leaks import WATCH

from langflow_server.server import Server
from langflow_server.settings import load
from langflow_server.start import prepare

CREDENTIAL = "sk-proj-of-the-superuser-0123456789"


def settings_in(folder):
    return load({"LANGFLOW_CONFIG_DIR": str(folder), "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD}, env_file=os.devnull)


async def test_a_secret_key_is_generated_once(tmp_path):
    """The first start writes one that only the server's user can read, whatever the umask; the next one leaves it."""
    settings = settings_in(tmp_path / "config")
    umask = os.umask(0)
    try:
        await prepare(settings)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(settings.secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.config_dir.stat().st_mode) == 0o700
    first = settings.secret_file.read_text()
    assert len(first.strip()) >= 43
    await prepare(settings)
    assert settings.secret_file.read_text() == first
    await prepare(settings_in(tmp_path / "another"))
    assert (tmp_path / "another" / "secret_key").read_text() != first


async def test_what_is_stored_is_sealed_by_fernet(tmp_path):
    """What the database has of a credential is a Fernet token, and not its value."""
    settings = settings_in(tmp_path)
    owner = (await prepare(settings)).superuser
    async with Server(settings).opened() as server:
        await server.vault.put(owner, "OPENAI_API_KEY", CREDENTIAL)
        sealed = (await server.store.get_credential(owner.id, "OPENAI_API_KEY")).sealed
        assert CREDENTIAL not in sealed
        assert urlsafe_b64decode(sealed.removeprefix("v1."))[0] == 0x80  # Fernet's version.


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_a_wrong_key_destroys_nothing(request, tmp_path, backend):
    """A start with another secret key, or none where there was one, is refused; with the right one all is there."""
    told = {}
    if backend == "postgres":
        told["LANGFLOW_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    secret_file = tmp_path / "config" / "secret_key"
    with providing() as provider:
        told["OPENAI_BASE_URL"] = provider.url
        with serving(tmp_path, workers=2, **told) as server:
            headers = session_of(server, SUPERUSER, PASSWORD)
            variable = {"name": "OPENAI_API_KEY", "value": CREDENTIAL, "type": "Credential", "default_fields": []}
            assert call(server, "POST", "/variables/", headers, json=variable).status_code == 201
            data = chat(api_key={"variable": "OPENAI_API_KEY"})
            flow = call(server, "POST", "/flows/", headers, json={"name": "asks", "data": data}).json()
            key = call(server, "POST", "/api_key/", headers).json()["api_key"]
            assert asked(server, flow, key, provider) == CREDENTIAL
        right = secret_file.read_text()
        WATCH.key(right.strip())

        said = refused(tmp_path, **told, LANGFLOW_SECRET_KEY=secrets.token_urlsafe(32))
        assert "LANGFLOW_SECRET_KEY is not the secret key" in said
        assert str(secret_file) in said  # Where the right one may be.
        secret_file.write_text(f"{secrets.token_urlsafe(32)}\n")
        assert f"{secret_file} does not hold the secret key" in refused(tmp_path, **told)
        secret_file.unlink()
        assert f"{secret_file} does not hold the secret key" in refused(tmp_path, **told)
        assert not secret_file.exists()

        with serving(tmp_path, **told, LANGFLOW_SECRET_KEY=right.strip()) as server:
            assert asked(server, flow, key, provider) == CREDENTIAL
        WATCH.see("what the provider was not sent", repr([each.body for each in provider.asked]))


def asked(server, flow, key, provider):
    """The credential that arrives at the provider when the flow is run."""
    text = unique()
    answer = call(server, "POST", f"/run/{flow['id']}", {"x-api-key": key}, json={"input_value": text})
    assert text_of(answer) == text
    return provider.key_for(text)


def refused(directory, **told):
    """What `langflow-server run` says on standard error when it does not start."""
    command = [sys.executable, "-m", "langflow_server", "run", "--port", "0"]
    ran = subprocess.run(
        command,
        cwd=directory,
        env=environment(directory, **told),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "Nothing was changed." in ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    WATCH.see("standard error", ran.stderr)
    return ran.stderr


def test_a_key_that_is_too_short_is_a_sentence(tmp_path):
    """It is named, with the length that it is to have, and is not repeated."""
    ran = subprocess.run(
        [sys.executable, "-m", "langflow_server", "run", "--port", "0"],
        cwd=tmp_path,
        env=environment(tmp_path, LANGFLOW_SECRET_KEY="correct-horse"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "LANGFLOW_SECRET_KEY: a secret key is at least 32 printable ASCII characters" in ran.stderr
    assert "correct-horse" not in ran.stderr
    assert not (tmp_path / "config").exists()
