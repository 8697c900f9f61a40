"""All commands: to import a module of them is to register them."""

from keyguard.cli import _audit, _check, _doctor, _explain, _import, _key_life, _keys, _owners, _setup, _vault
from keyguard.cli._app import app

__all__ = ["app"]

_MODULES = (_setup, _owners, _keys, _key_life, _vault, _audit, _doctor, _check, _explain, _import)
