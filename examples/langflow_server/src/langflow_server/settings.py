"""What the server is told by the environment and by `.env`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from langflow_server.problems import SettingsProblem

__all__ = ["PREFIX", "Settings", "load"]

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
    """Of an asyncio driver, or as Langflow takes it (``sqlite:///…``, ``postgresql://…``); SQLite in `config_dir`."""
    backend_only: bool = False
    """The API alone, without pages."""
    allowed_hosts: str = ""
    """Which host names the server answers to, with commas between them; see `langflow_server.app`."""
    environment: Mapping[str, str] = Field(default_factory=dict, repr=False, exclude=True)

    @property
    def secret_file(self) -> Path:
        """Where the secret key is kept that was generated."""
        return self.config_dir / "secret_key"

    @property
    def url(self) -> str:
        """The database's URL, with the driver that is used here."""
        if self.database_url is None or not (url := self.database_url.get_secret_value()):
            return f"sqlite+aiosqlite:///{self.config_dir / 'langflow.db'}"
        scheme, separator, rest = url.partition("://")
        return f"{_DRIVERS.get(scheme, scheme)}{separator}{rest}"

    @property
    def excuses_programs(self) -> bool:
        """Tell whether a request without a key passes, as the superuser."""
        return self.skip_auth_auto_login or (self.auto_login and self.api_version == "1.4")


_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+psycopg": "postgresql+asyncpg",
    "postgresql+psycopg2": "postgresql+asyncpg",
}


def load(environ: Mapping[str, str] = os.environ, *, env_file: str | Path = ".env") -> Settings:
    """Read the settings from the environment and, what it does not say, from `env_file`.

    Raises `SettingsProblem` with a sentence for each that cannot be right; it quotes no value.
    """
    written = {name: value for name, value in dotenv_values(env_file).items() if value is not None}
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
        wrong = [f"{PREFIX}{str(error['loc'][0]).upper()}: {error['msg']}" for error in problem.errors()]
        raise SettingsProblem("\n".join(wrong)) from None
