"""Why a request would pass, or not: the steps of a check, one after the other, in words.

`explain` has the request judged by what the guard itself goes by: its `Rules`, its `Sources`, an `Authenticator` over
its store, and `keyguard.policy.decide`. It judges nothing itself. Nothing is counted, written or remembered, and the
observer hears nothing.

What an endpoint asks for beyond being let in (`keyguard.require`) comes later, and is not looked at.
"""

from keyguard.explain._explanation import Explanation, Step, explain
from keyguard.explain._request import request, with_key

__all__ = ["Explanation", "Step", "explain", "request", "with_key"]
