"""The JSON API of the key page, for the app's own front end: what is asked of the desk as JSON.

`operations` is the table of what it can do, of which `endpoints` makes the routes and `openapi` the document. What
comes in is read by `bodies` and `parameters`, held to `schemas` by `shapes`, and understood by `asked`; `as_json`
writes what goes out.
"""

from keyguard.admin._api.endpoints import routes

__all__ = ["routes"]
