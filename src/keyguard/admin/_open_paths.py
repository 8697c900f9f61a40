"""What of the key page a guard in front lets through, for the page to ask its own session there."""

from dataclasses import replace

from keyguard.settings import PathRule, Policy

__all__ = ["with_key_page"]

_READ = frozenset({"GET", "HEAD"})
_FORM = _READ | {"POST"}
_ALL = _READ | {"POST", "PATCH", "DELETE"}


def with_key_page(policy: Policy, path: str) -> Policy:
    """Return `policy` with the paths of a key page that is mounted at `path`, such as ``/keys``.

    The form to sign in with and what it is made of are exempt. All else is optional: a key that is sent there is judged
    as anywhere, but nobody needs one, and the page asks its own session, or the app's own sign-in.

    Raises `ConfigurationError` if `path` is not one that `Policy` takes, or is one of `policy` already.
    """
    exempt = (PathRule(path=f"{path}/sign-in", methods=_FORM), PathRule(path=f"{path}/assets/*", methods=_READ))
    optional = PathRule(path=f"{path}/*", methods=_ALL)
    return replace(policy, exempt=(*policy.exempt, *exempt), optional=(*policy.optional, optional))
