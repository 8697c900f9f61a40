"""What the server is told by the environment and by `.env`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from keyguard.vault import SecretKeys
from langflow_server.problems import SettingsProblem

__all__ = ["NAMES", "PREFIX", "Settings", "load"]

PREFIX = "LANGFLOW_"


class Settings(BaseModel):
    """The server's settings, each by its name without the prefix ``LANGFLOW_``. Those that it does not know are let be.

    `environment` is all that the environment and `.env` say: where the providers' keys are looked for.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    auto_login: bool = False
    """The browser is signed in as the superuser without a password. API requests still need a key."""
    skip_auth_auto_login: bool = False
    """No request needs a key, whatever `auto_login` says."""
    api_version: Literal["1.4", "1.5"] = "1.5"
    """With 1.4, `auto_login` excuses API requests, too."""
    superuser: str = Field(default="langflow", min_length=1, max_length=150)
    superuser_password: SecretStr | None = None
    """Generated at the first start where it is not given."""
    secret_key: SecretStr | None = None
    """What credentials are sealed with; without it, one is generated and kept in `config_dir`."""
    config_dir: Path = Field(default_factory=lambda: user_data_path("langflow-server"))
    database_url: SecretStr | None = None
    """As Langflow takes it (``sqlite:///…``, ``postgresql://…``); without it, SQLite in `config_dir`."""
    backend_only: bool = False
    """The API alone, without pages."""
    allowed_hosts: str = ""
    """Which host names the server answers to, with commas between them; see `langflow_server.app`."""
    provider_timeout: float = Field(default=60, gt=0)
    """For how many seconds a provider of language models may say nothing."""
    environment: Mapping[str, str] = Field(default_factory=dict, repr=False, exclude=True)

    @property
    def secret_file(self) -> Path:
        """Where the secret key is kept that was generated."""
        return self.config_dir / "secret_key"

    @property
    def url(self) -> str:
        """The database's URL, with the asyncio driver that is used here."""
        return self._url.render_as_string(hide_password=False)

    @property
    def place(self) -> str:
        """Where the data is, for people: it shows no password."""
        if self.is_sqlite:
            return str(Path(self._url.database or "").absolute())
        return self._url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Tell whether the data is in a file of this machine."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def is_untouched(self) -> bool:
        """Tell whether there is no file yet in which the data would be."""
        return self.is_sqlite and not Path(self.place).exists()

    @property
    def excuses_programs(self) -> bool:
        """Tell whether a request without a key passes, as the superuser."""
        return self.skip_auth_auto_login or (self.auto_login and self.api_version == "1.4")

    @property
    def lets_in(self) -> bool:
        """Tell whether somebody is let in, to the pages or the API, with neither a password nor a key."""
        return self.auto_login or self.skip_auth_auto_login

    @property
    def _url(self) -> URL:
        if self.database_url is None:
            return URL.create(_DRIVERS["sqlite"], database=str(self.config_dir / "langflow.db"))
        return _with_driver(self.database_url.get_secret_value())

    @field_validator("config_dir")
    @classmethod
    def _at_home(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @field_validator("secret_key")
    @classmethod
    def _is_secret(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            SecretKeys([key.get_secret_value()])
        return key

    @field_validator("database_url")
    @classmethod
    def _is_ours(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _with_driver(url.get_secret_value())
        return url


NAMES = tuple(f"{PREFIX}{name.upper()}" for name in Settings.model_fields if name != "environment")
"""What may be set, as it is called in the environment."""

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg"}


def _with_driver(text: str) -> URL:
    """Return a database's URL with our driver, and what that calls otherwise. Raises `ValueError`, quoting nothing."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(
            "no database's URL, such as postgresql://name:password@host/database or sqlite:///langflow.db"
        ) from None
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise ValueError("the database is SQLite (sqlite:///…) or PostgreSQL (postgresql://…)")
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ValueError("a database in memory would be another one for each worker: name a file")
    known = {"timeout"} if url.get_backend_name() == "sqlite" else {"ssl", "sslmode"}
    if unknown := set(url.query) - known:
        raise ValueError(f"the URL's parameter {min(unknown)!r} is not known here")
    query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    return url.set(drivername=driver, query=query)


def load(environ: Mapping[str, str] = os.environ, *, env_file: str | Path = ".env") -> Settings:
    """Read the settings from the environment and, what it does not say, from `env_file`.

    Raises `SettingsProblem` with a sentence for each that cannot be right; it quotes no value.
    """
    try:
        written = {name: value for name, value in dotenv_values(env_file).items() if value is not None}
    except UnicodeDecodeError:
        raise SettingsProblem(f"{env_file} is no text in UTF-8.") from None
    environment = {**written, **environ}
    # A variable that is set to nothing says nothing, as in Langflow.
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and value
    }
    try:
        return Settings.model_validate({**given, "environment": environment})
    except ValidationError as problem:
        wrong = [
            f"{PREFIX}{str(error['loc'][0]).upper()}: "
            + ("it is true or false" if error["type"] == "bool_parsing" else error["msg"].removeprefix("Value error, "))
            for error in problem.errors()
        ]
        raise SettingsProblem("\n".join(wrong)) from None
