"""Finds the app that ``module:attribute`` names, as a server does."""

import importlib
import inspect
import os
import sys
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from keyguard.cli._failures import Failed

__all__ = ["AppName", "Factory", "load", "load_app"]

AppName = Annotated[
    str, typer.Argument(metavar="MODULE:APP", help="The app, as uvicorn takes it: the module, and its name in there.")
]
Factory = Annotated[bool, typer.Option("--factory", help="What is named is no app, but a function that makes it.")]


def load_app(target: str, *, factory: bool = False) -> Any:  # noqa: ANN401 An app of whatever kind.
    """Import the app that `target` names, such as ``main:app``; the current directory is looked into first.

    Whatever the module prints goes to standard error: standard output is the command's own.

    Raises `Failed` if there is no such module or attribute, if the module or the factory raises, or if what is found is
    no ASGI app.
    """
    found = load(target)
    if factory:
        with redirect_stdout(sys.stderr):
            found = _made(found, target)
    _check(found, target, factory=factory)
    return found


def load(target: str, what: str = "the app is named as module:attribute, such as main:app") -> Any:  # noqa: ANN401 Whatever stands there.
    """Import what `target` names. Raises `Failed` as `load_app` does; `what` says how it is named."""
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise Failed(f"{what}; not {target!r}")
    with redirect_stdout(sys.stderr):
        return _attribute(_module(module_name), path, target)


def _module(name: str) -> object:
    here = os.getcwd()  # noqa: PTH109 As uvicorn does.
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Its own imports can be missing as well, which is another thing.
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise Failed(f"there is no module {error.name}, neither in {here} nor installed") from None
        raise Failed(f"the module {name} cannot be imported: {_said(error)}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 Whatever the app's code raises.
        raise Failed(f"the module {name} cannot be imported: {_said(error)}") from None


def _attribute(found: object, path: str, target: str) -> Any:  # noqa: ANN401 Whatever stands there.
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise Failed(f"{target.partition(':')[0]} has no attribute {path}") from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 A property, or a module's own __getattr__.
            raise Failed(f"{target} cannot be looked at: {_said(error)}") from None
    return found


def _made(factory: Any, target: str) -> Any:  # noqa: ANN401 Likewise.
    if not callable(factory):
        raise Failed(f"{target} is no function that makes an app, but of type {type(factory).__name__}")
    try:
        return factory()
    except (Exception, SystemExit) as error:  # noqa: BLE001 Likewise.
        raise Failed(f"{target} makes no app: {_said(error)}") from None


def _check(app: object, target: str, *, factory: bool) -> None:
    if callable(app) and not _takes(app, 3) and not factory and _takes(app, 0):
        raise Failed(f"{target} is no ASGI app, but perhaps makes one: say --factory if it does")
    if inspect.isclass(app) or not callable(app) or not _takes(app, 3):
        what = "what it makes" if factory else "it"
        kind = f"the class {app.__name__}" if inspect.isclass(app) else f"of type {type(app).__name__}"
        raise Failed(f"{target} is no ASGI app, which is called with scope, receive and send: {what} is {kind}")


def _takes(app: Any, count: int) -> bool:  # noqa: ANN401 Whatever can be called.
    try:
        inspect.signature(app).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # What is not written in Python need not say.
        return count > 0
    return True


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
