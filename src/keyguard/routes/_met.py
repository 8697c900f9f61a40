"""Which guards a request meets."""

from starlette.applications import Starlette
from starlette.types import Scope

from keyguard.middleware import KeyGuard
from keyguard.routes._app import App

__all__ = ["guards_met"]


def guards_met(app: object, scope: Scope) -> list[tuple[KeyGuard | None, Scope]]:
    """Return the guards that a request meets on its way through an app, the outermost first.

    Each comes with the request's scope as it arrives there: below a mount, with another `root_path`. None stands for a
    guard that cannot be set up, and lets nothing pass. Nothing of the app's is run, and `scope` is left as it is.
    """
    # As Starlette does before anything else; an app's own sign-in may look for its settings there.
    seen_by_all = {"app": app} if isinstance(app, Starlette) else {}
    answer = App(app).answer({**scope, **seen_by_all})
    return [(guarding.guard, seen) for (guarding, _), seen in zip(answer.asked, answer.scopes, strict=True)]
