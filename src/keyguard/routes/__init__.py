"""Which routes an app has, and whether a guard stands before them: what `keyguard check` prints.

`survey` takes an app apart without starting it. Neither a lifespan nor a request is run, and no store is asked. The
constructors of its middleware are called once, as they are at its start.

What asks a key is said by the guard's own `Rules`, and which route answers by Starlette's own routers, each with the
scope as it arrives there. So that a path is open is never inferred, it is tried out. What nobody here can know (the
routes of another framework, a route that matches in a way of its own) is said to be unknown.

A mounted app of any kind can tell its routes: in an attribute `routes`, a list of Starlette's routes that are asked in
their order, below the mount.
"""

from keyguard.routes._met import guards_met
from keyguard.routes._survey import survey
from keyguard.routes._values import (
    Concern,
    Finding,
    Level,
    RouteKind,
    Standing,
    Survey,
    SurveyedGuard,
    SurveyedRoute,
)

__all__ = [
    "Concern",
    "Finding",
    "Level",
    "RouteKind",
    "Standing",
    "Survey",
    "SurveyedGuard",
    "SurveyedRoute",
    "guards_met",
    "survey",
]
