"""All commands: to import a module of them is to register them."""

from keyguard.cli import _setup
from keyguard.cli._app import app

__all__ = ["app"]

_MODULES = (_setup,)
