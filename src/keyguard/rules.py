"""Which paths are open: what a request's type, method and path ask of it.

A request is exempt only if its path, as it was sent, *is* an exempt path, character for character. So nothing is
undone here that a caller may have done to a path: no unquoting, no normalising, no lower-casing, no pattern. Servers,
frameworks and proxies each do some of that, and whoever guesses what the next one will do is wrong for some of them. A
path that is written in any other way than the one way needs a key, even where it means the same.

Nothing else has a say: not the host, not `X-Forwarded-*`, not `X-Original-URL`, not the query.
"""

from keyguard.errors import ConfigurationError
from keyguard.model import Requirement
from keyguard.settings import PathRule, Policy, is_canonical, require_bool

__all__ = ["Rules"]

_WEBSOCKET = ("websocket", None)
_REQUIRED = Requirement.REQUIRED  # Its class looks its members up by a function in Python 3.11.


class Rules:
    """A policy's paths, ready to be asked. It is built once and never changes.

    - `root_path`: the one `root_path` under which the app is served; under any other nothing is exempt.
    - `root_in_path`: whether a request's path begins with it. True for uvicorn, and for an app mounted below another.
      False where the server or the framework leaves it out: hypercorn, granian, daphne, ``FastAPI(root_path=)``.

    Raises `ConfigurationError` if `root_path` is neither empty nor a canonical path without a trailing slash, or if
    `root_in_path` is not a bool.
    """

    def __init__(self, policy: Policy, *, root_path: str = "", root_in_path: bool = True) -> None:
        if not _is_root(root_path):
            raise ConfigurationError(
                "root_path is empty, or begins with one slash and has none at its end, no empty, '.' or '..' segment "
                f"and no character that needs encoding (such as '/api'); not {root_path!r}"
            )
        require_bool("root_in_path", root_in_path)
        self._root = root_path
        self.root_in_path: bool = root_in_path
        # Where the root is left out, a path that brings it all the same may be routed with it or without.
        self._never = (root_path,) if root_path and not root_in_path else ()
        base = root_path if root_in_path else ""
        self._exempt = _by_kind(policy.exempt_rules, base)
        self._listed = _by_kind(policy.exempt_rules + policy.optional_rules, base)

    def requirement(
        self,
        type: str,  # noqa: A002  # The scope's own word.
        method: str | None,
        path: str,
        raw_path: bytes | None,
        root_path: str,
    ) -> Requirement:
        """Return what a request asks, from its scope as the server made it; `REQUIRED` unless all is as it must be."""
        kind = (type, method if type == "http" else None)
        # The cheap test comes first: most requests end here.
        if not _has(self._listed.get(kind), path) or not self._is_as_listed(path, raw_path, root_path):
            return _REQUIRED
        return Requirement.EXEMPT if _has(self._exempt.get(kind), path) else Requirement.OPTIONAL

    def _is_as_listed(self, path: str, raw_path: bytes | None, root_path: str) -> bool:
        return (
            root_path == self._root
            and is_canonical(path)
            and not path.startswith(self._never)
            and (raw_path is None or raw_path.partition(b"?")[0] == path.encode())
        )


_Kind = tuple[str, str | None]
_Paths = tuple[frozenset[str], tuple[str, ...]]


def _has(paths: _Paths | None, path: str) -> bool:
    return paths is not None and (path in paths[0] or path.startswith(paths[1]))


def _by_kind(rules: tuple[PathRule, ...], base: str) -> dict[_Kind, _Paths]:
    """Return, for each kind of request that `rules` speak of, the exact paths and the beginnings of all others."""
    speaking: dict[_Kind, list[PathRule]] = {}
    for rule in rules:
        kinds: list[_Kind] = [("http", method) for method in rule.methods]
        for kind in [*kinds, _WEBSOCKET] if rule.websocket else kinds:
            speaking.setdefault(kind, []).append(rule)
    return {
        kind: (
            frozenset(base + rule.entry for rule in those),
            tuple(f"{base}{rule.entry}/" for rule in those if rule.is_subtree),
        )
        for kind, those in speaking.items()
    }


def _is_root(value: object) -> bool:
    return isinstance(value, str) and (value == "" or (is_canonical(value) and not value.endswith("/")))
