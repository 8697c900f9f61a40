"""Fill a database through the HTTP API of the Langflow release installed beside this Python: `make.py FILE SECRET`.

A file that is there already is upgraded by this release, which then adds one key and two variables of its own.
What is then in the file goes to contents.json, secrets in plaintext: they were invented for these files.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import httpx
from pydantic import SecretStr

CONTENTS = Path(__file__).with_name("contents.json")
RELEASE = version("langflow-base")
KNOWS_EXPIRY = int(RELEASE.split(".")[1]) >= 10
ADDRESS = "http://127.0.0.1:7899"

PASSWORDS = {
    "operator": "operator-password-1",
    "alice": "alice-password-1",
    "Dörte": "Ein Kennwort, das länger ist als die 72 Bytes, die bcrypt davon liest: Ende.",
    "carla": "carla-password-1",  # Deactivated after she made a key and a variable.
    "newcomer": "newcomer-password-1",  # Never activated.
}
KEYS = [
    # owner, what to send, how often it is used
    ("operator", {"name": "deployment"}, 0),
    ("alice", {"name": "laptop"}, 2),
    ("alice", {"name": "switched off"}, 1),
    ("Dörte", {"name": "Prüfstand"}, 0),
    ("Dörte", {}, 1),
    ("carla", {"name": "of an inactive owner"}, 1),
]
EXPIRING_KEYS = [
    ("alice", {"name": "expired", "expires_at": "2026-01-01T00:00:00Z"}, 0),
    ("alice", {"name": "expires far off", "expires_at": "2099-12-31T23:59:59Z"}, 1),
    ("alice", {"name": "expires far off, with an offset", "expires_at": "2099-12-31T23:59:59+02:00"}, 0),
]
VARIABLES = [
    ("operator", {"name": "WITHOUT_A_TYPE", "value": "operator's secret"}),
    ("alice", {"name": "WEATHER_TOKEN", "value": "weather-token-1", "type": "Credential", "default_fields": ["Token"]}),
    ("alice", {"name": "REGION", "value": "eu-west-1", "type": "Generic"}),
    ("alice", {"name": "OF_ANOTHER_TYPE", "value": "of type Text", "type": "Text"}),
    ("Dörte", {"name": "WEATHER_TOKEN", "value": "weather-token-2", "type": "Credential"}),
    ("Dörte", {"name": "GREETING", "value": "Grüß Gott, 世界", "type": "Generic", "default_fields": ["Text"]}),
    ("Dörte", {"name": "WAS_GENERIC", "value": "now a credential", "type": "Generic"}),
    ("Dörte", {"name": "WAS_CREDENTIAL", "value": "now generic", "type": "Credential"}),
    ("carla", {"name": "WEATHER_TOKEN", "value": "weather-token-3", "type": "Credential"}),
]
RETYPED = {"WAS_GENERIC": "Credential", "WAS_CREDENTIAL": "Generic"}


@contextmanager
def langflow(database, secret):
    """Run the release's server on a database; of the environment here it gets the search path alone."""
    home = database.parent
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DO_NOT_TRACK": "true",
        "LANGFLOW_DO_NOT_TRACK": "true",
        "LANGFLOW_DATABASE_URL": f"sqlite:///{database}",
        "LANGFLOW_CONFIG_DIR": str(home),
        "LANGFLOW_SECRET_KEY": secret,
        "LANGFLOW_AUTO_LOGIN": "false",
        "LANGFLOW_SUPERUSER": "operator",
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORDS["operator"],
        "LANGFLOW_CREATE_STARTER_PROJECTS": "false",
        "LANGFLOW_MCP_COMPOSER_ENABLED": "false",  # It would be fetched from the network.
        "LANGFLOW_RATE_LIMIT_ENABLED": "false",
    }
    command = [sys.executable, "-m", "langflow", "run", "--backend-only", "--host", "127.0.0.1", "--port", "7899"]
    with subprocess.Popen(command, cwd=home, env=environment, stdout=sys.stderr, start_new_session=True) as server:
        try:
            for _ in range(300):
                with suppress(httpx.HTTPError):
                    if httpx.get(f"{ADDRESS}/health").is_success:
                        break
                assert server.poll() is None, "the server did not start"
                time.sleep(1)
            yield
        finally:
            server.terminate()


def call(method, path, *, headers=None, **arguments):
    answer = httpx.request(method, f"{ADDRESS}/api/v1/{path}", headers=headers, timeout=60, **arguments)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


def login(name):
    form = {"username": name, "password": PASSWORDS[name]}
    return {"Authorization": f"Bearer {call('POST', 'login', data=form)['access_token']}"}


def add_users():
    operator = login("operator")
    for name, password in PASSWORDS.items():
        if name != "operator":
            user = call("POST", "users/", headers=operator, json={"username": name, "password": password})
            if name != "newcomer":
                call("PATCH", f"users/{user['id']}", headers=operator, json={"is_active": True})


def add_key(owner, request, uses):
    key = call("POST", "api_key/", headers=login(owner), json=request)["api_key"]
    for _ in range(uses):
        call("GET", "users/whoami", headers={"x-api-key": key})


def add_variable(owner, request):
    call("POST", "variables/", headers=login(owner), json={"default_fields": []} | request)


def retype_variables():
    """Change a type without saying the value again, which each release takes in its own way."""
    owner = login("Dörte")
    for variable in call("GET", "variables/", headers=owner):
        if variable["name"] in RETYPED:
            request = {"id": variable["id"], "type": RETYPED[variable["name"]]}
            answer = httpx.patch(f"{ADDRESS}/api/v1/variables/{variable['id']}", headers=owner, json=request)
            sys.stderr.write(f"{variable['name']}: {answer.status_code}\n")


def deactivate(name):
    operator = login("operator")
    user = next(user for user in call("GET", "users/", headers=operator)["users"] if user["username"] == name)
    call("PATCH", f"users/{user['id']}", headers=operator, json={"is_active": False})


def fill():
    add_users()
    for owner, request, uses in KEYS + EXPIRING_KEYS * KNOWS_EXPIRY:
        add_key(owner, request, uses)
    for owner, request in VARIABLES:
        add_variable(owner, request)
    retype_variables()
    deactivate("carla")


def add():
    """Add to what an earlier release has filled."""
    add_key("alice", {"name": f"made by {RELEASE}"}, 1)
    for kind in ("Credential", "Generic"):
        add_variable("alice", {"name": f"{kind} of {RELEASE}", "value": f"{kind} of {RELEASE}", "type": kind})


def finish(database):
    """Do what the API has no way to do, and leave one small file."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("UPDATE apikey SET is_active = 0 WHERE name = 'switched off'")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA page_size = 512")  # A page is the least that an empty table or index takes.
        connection.execute("VACUUM")


def decrypted(secret):
    """Return what reads a stored text as the release itself does."""
    from langflow.services.auth import utils

    settings = SimpleNamespace(auth_settings=SimpleNamespace(SECRET_KEY=SecretStr(secret)))
    fernet = getattr(utils, "get_fernet_for_decryption", utils.get_fernet)(settings)
    return lambda text: fernet.decrypt(text.encode()).decode() if text.startswith("gAAAAA") else text


def contents(database, secret):
    """Describe every row of the three tables."""
    plaintext = decrypted(secret)
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row

        def rows(table):
            return [dict(row) for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY rowid')]

        owners = {user["id"]: user["username"] for user in rows("user")}
        return {
            "users": [
                {
                    "name": user["username"],
                    "password": PASSWORDS[user["username"]],
                    "active": bool(user["is_active"]),
                    "superuser": bool(user["is_superuser"]),
                }
                for user in rows("user")
            ],
            "api_keys": [
                {
                    "name": row["name"],
                    "key": plaintext(row["api_key"]),
                    "owner": owners[row["user_id"]],
                    "active": bool(row["is_active"]),
                    "expires": row.get("expires_at"),
                    "uses": row["total_uses"],
                    "encrypted": row["api_key"].startswith("gAAAAA"),
                    "hashed": row.get("api_key_hash") is not None,
                }
                for row in rows("apikey")
            ],
            "variables": [
                {
                    "name": row["name"],
                    "value": plaintext(row["value"]),
                    "type": row["type"],
                    "owner": owners[row["user_id"]],
                    "encrypted": row["value"].startswith("gAAAAA"),
                }
                for row in rows("variable")
            ],
            "columns": {
                table: {
                    column["name"]: column["type"] for column in connection.execute(f'PRAGMA table_info("{table}")')
                }
                for table in ("user", "apikey", "variable")
            },
        }


def main(file, secret):
    described = json.loads(CONTENTS.read_text(encoding="utf-8")) if CONTENTS.exists() else {}
    earlier = described[file.name]["releases"] if file.exists() else []
    with tempfile.TemporaryDirectory() as home:
        database = Path(home, "langflow.sqlite")
        if earlier:
            shutil.copy(file, database)
        with langflow(database, secret):
            add() if earlier else fill()
        finish(database)
        shutil.copy(database, file)
    described[file.name] = {
        "releases": [*earlier, f"langflow-base {RELEASE}"],
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "secret_key": secret,
        **contents(file, secret),
    }
    CONTENTS.write_text(json.dumps(described, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
