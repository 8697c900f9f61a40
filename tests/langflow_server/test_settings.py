"""What the environment and `.env` say."""

import os
import re
from pathlib import Path

import pytest

from langflow_server.problems import SettingsProblem
from langflow_server.settings import Settings, load

SECRET = "a secret key of more than 32 characters".replace(" ", "-")


def read(env_file=os.devnull, **said):
    return load({f"LANGFLOW_{name}": value for name, value in said.items()}, env_file=env_file)


def test_without_a_word_it_is_as_the_manual_says(tmp_path):
    """What nobody has set has its default: no automatic sign-in, version 1.5, the superuser langflow, SQLite."""
    settings = read(CONFIG_DIR=str(tmp_path))
    assert (settings.auto_login, settings.skip_auth_auto_login, settings.backend_only) == (False, False, False)
    assert (settings.api_version, settings.superuser, settings.superuser_password) == ("1.5", "langflow", None)
    assert settings.place == str(tmp_path / "langflow.db")
    assert settings.secret_file == tmp_path / "secret_key"
    assert not settings.excuses_programs


def test_the_environment_goes_before_the_file(tmp_path):
    """A line of `.env` counts where the environment does not say otherwise; so for a provider's key, too."""
    file = tmp_path / ".env"
    file.write_text("LANGFLOW_SUPERUSER=ada\nLANGFLOW_API_VERSION=1.4\nOPENAI_API_KEY=sk-of-the-file\n")
    environ = {"LANGFLOW_SUPERUSER": "eve", "ANTHROPIC_API_KEY": "sk-of-the-environment"}
    settings = load(environ, env_file=file)
    assert (settings.superuser, settings.api_version) == ("eve", "1.4")
    assert settings.environment["OPENAI_API_KEY"] == "sk-of-the-file"
    assert settings.environment["ANTHROPIC_API_KEY"] == "sk-of-the-environment"


def test_a_file_that_is_no_text_is_a_sentence(tmp_path):
    """An `.env` that is not in UTF-8 is named, and nothing that stands in it."""
    file = tmp_path / ".env"
    file.write_bytes(b"LANGFLOW_SECRET_KEY=\xff\xfe secret")
    with pytest.raises(SettingsProblem) as raised:
        load({}, env_file=file)
    assert str(raised.value) == f"{file} is no text in UTF-8."
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", True), ("FALSE", False), ("", False)]
)
def test_a_switch_is_written_in_several_ways(text, value):
    """True and false are taken as Langflow takes them; set to nothing, a variable says nothing."""
    assert read(AUTO_LOGIN=text).auto_login is value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AUTO_LOGIN", "perhaps", "true or false"),
        ("API_VERSION", "2", "'1.4' or '1.5'"),
        ("SECRET_KEY", "too-short", "at least 32"),
        ("SECRET_KEY", f"{SECRET} and more", "without blanks"),
        ("SUPERUSER", "x" * 151, "150"),
        ("DATABASE_URL", "no url", "sqlite:///langflow.db"),
        ("DATABASE_URL", "mysql://ada:hunter2-hunter2@host/db", "PostgreSQL"),
        ("DATABASE_URL", "postgresql://ada:hunter2-hunter2@host/db?options=x", "'options'"),
        ("DATABASE_URL", "postgresql://ada:hunter2-hunter2@host:port/db", "postgresql://name:password@host/database"),
        ("DATABASE_URL", "sqlite://", "in memory"),
        ("DATABASE_URL", "sqlite:///:memory:", "in memory"),
    ],
)
def test_what_cannot_be_right_is_named(name, value, said):
    """A wrong setting is a sentence that begins with its whole name, says what is allowed, and quotes no value."""
    with pytest.raises(SettingsProblem, match=f"^LANGFLOW_{name}: ") as raised:
        read(**{name: value})
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert value not in str(raised.value) or name == "API_VERSION"


def test_all_that_is_wrong_is_said_at_once():
    """Each wrong setting has a line."""
    with pytest.raises(SettingsProblem) as raised:
        read(AUTO_LOGIN="perhaps", SECRET_KEY="short")
    assert str(raised.value).count("\n") == 1


@pytest.mark.parametrize(
    ("given", "used", "shown"),
    [
        ("postgresql://ada:pw@host:5/db", "postgresql+asyncpg://ada:pw@host:5/db", "postgresql://ada:***@host:5/db"),
        ("postgres://ada:pw@host/db", "postgresql+asyncpg://ada:pw@host/db", "postgresql://ada:***@host/db"),
        ("postgresql+psycopg://ada@host/db", "postgresql+asyncpg://ada@host/db", "postgresql://ada@host/db"),
        (
            "postgresql://ada:p%40w@host/db?sslmode=require",
            "postgresql+asyncpg://ada:p%40w@host/db?ssl=require",
            "postgresql://ada:***@host/db",
        ),
        ("sqlite:////var/lib/my.db", "sqlite+aiosqlite:////var/lib/my.db", "/var/lib/my.db"),
    ],
)
def test_a_database_is_named_as_for_langflow(given, used, shown):
    """A URL may have any driver or none; what is shown of it is never its password."""
    settings = read(DATABASE_URL=given)
    assert settings.url == used
    assert settings.place == shown


def test_a_folder_may_be_below_home(monkeypatch, tmp_path):
    """`~` is the user's home, as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(CONFIG_DIR="~/langflow").config_dir == tmp_path / "langflow"


def test_a_folder_may_be_called_anything(tmp_path):
    """A character that means something in a URL is one of the name."""
    settings = read(CONFIG_DIR=str(tmp_path / "what? #1 %41"))
    assert settings.place == str(tmp_path / "what? #1 %41" / "langflow.db")


def test_no_secret_is_shown():
    """Neither `repr` nor a dump shows a password, a secret key, or what the environment has."""
    settings = load(
        {
            "LANGFLOW_SECRET_KEY": SECRET,
            "LANGFLOW_SUPERUSER_PASSWORD": "hunter2-hunter2",
            "LANGFLOW_DATABASE_URL": "postgresql://ada:hunter2-hunter2@host/db",
            "OPENAI_API_KEY": "sk-hunter2-hunter2",
        },
        env_file=os.devnull,
    )
    assert isinstance(settings, Settings)
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in shown
    assert SECRET not in shown


def test_the_readme_names_each_setting():
    """The table of settings has a row for each setting that there is, and no other."""
    text = (Path(__file__).parents[2] / "examples" / "langflow_server" / "README.md").read_text("utf-8")
    table = text.partition("## Settings")[2].partition("## Commands")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields if name != "environment")
