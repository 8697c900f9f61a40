"""What a key page goes by: the arguments of `KeyAdmin`, checked once."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast
from urllib.parse import urlsplit

from keyguard.admin._opening import Opening
from keyguard.errors import ConfigurationError
from keyguard.middleware import Identify
from keyguard.model import check_scope
from keyguard.ports import Clock, KeyRegistry, SessionStore, SignInStore
from keyguard.settings import Policy, fits, require_bool

__all__ = ["Settings", "Theme"]

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_LONGEST_SESSION = timedelta(days=365)
_LONGEST_LIFE = timedelta(days=36_525)
_LABEL = re.compile(r".{1,40}", re.DOTALL)
_TITLE = re.compile(r".{1,80}", re.DOTALL)
_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][!-~]*)?")
_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of the same host, never ``//another``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """The page's colours, each as ``#rrggbb``: in light, and in dark for those whose system asks for it.

    - `accent`, `dark_accent`: of buttons and links.
    - `on_accent`, `dark_on_accent`: of the text on a button.

    Raises `ConfigurationError` if one is written in another way.
    """

    accent: str = "#1d4ed8"
    on_accent: str = "#ffffff"
    dark_accent: str = "#93b4ff"
    dark_on_accent: str = "#0b1020"

    def __post_init__(self) -> None:
        """Check the colours: they are written into a stylesheet."""
        for name in ("accent", "on_accent", "dark_accent", "dark_on_accent"):
            if not fits(_COLOUR, getattr(self, name)):
                raise ConfigurationError(f"a theme's {name} is a colour such as '#1d4ed8'; not {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all of the page goes by. Its fields are the arguments of `KeyAdmin`, which describes them and has defaults.

    Raises `ConfigurationError` if one of them cannot be right.
    """

    store: KeyRegistry
    identify: Identify | None
    sign_in_url: str | None
    policy: Policy | None
    scopes: Iterable[str] | Mapping[str, str]
    lifetimes: Iterable[timedelta]
    default_lifetime: timedelta | None
    session_lifetime: timedelta
    url: str | None
    sample_path: str
    origins: Iterable[str]
    trusted_hops: int | None
    secure_cookies: bool | None
    title: str
    links: Iterable[tuple[str, str]]
    theme: Theme
    clock: Clock
    # What is made of these, ready to be used.
    scopes_on_offer: Mapping[str, str] = field(init=False)
    """Names of scopes, and what each allows, in words (empty where the app has said nothing); in the app's order."""
    lifetimes_on_offer: tuple[timedelta, ...] = field(init=False)
    """The lives that can be chosen, the shortest first: the default among them, none above the keyring's limit."""
    lifetime_by_default: timedelta | None = field(init=False)
    """The one that is chosen already; None for no end."""
    trusted_origins: frozenset[str] = field(init=False)
    way_out: tuple[tuple[str, str], ...] = field(init=False)
    """The labels and addresses of the links back into the app."""
    opening: Opening = field(init=False, repr=False, compare=False)
    warned_of: set[str] = field(init=False, repr=False, compare=False)
    """As whom everybody is signed in, as the log has been told: once."""

    def __post_init__(self) -> None:
        """Check the values, and make of them what is used."""
        _check_store(self.store)
        _check_calls(identify=self.identify, clock=self.clock)
        _check_kinds(self)
        _check_texts(self)
        longest = self.store.keyring.max_lifetime
        lifetimes = _lifetimes(self.lifetimes, self.default_lifetime, self.session_lifetime)
        default = longest if longest is not None and self._is_beyond(longest) else self.default_lifetime
        offered = {each for each in (*lifetimes, default) if each is not None and (longest is None or each <= longest)}
        made: dict[str, object] = {
            "scopes_on_offer": _scopes(self.scopes),
            "lifetimes_on_offer": tuple(sorted(offered)),
            "lifetime_by_default": default,
            "way_out": tuple(map(_link, _listed("links", self.links))),
            "opening": Opening(self.store),
            "warned_of": set(),
            "trusted_origins": frozenset(map(_origin, _listed("origins", self.origins))),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)
        if self.has_form and not isinstance(self.store, SessionStore):
            raise ConfigurationError(
                f"people sign in here with a form, and {type(self.store).__name__} keeps no sessions: it is no "
                "keyguard.ports.SessionStore; give identify= or sign_in_url= to go by the app's own sign-in"
            )
        if self.has_form and getattr(self.store, "users", None) is not None:
            raise ConfigurationError(
                "owners live in the app's own table, and so do their passwords: give identify= or sign_in_url= to go "
                "by the app's own sign-in"
            )

    @property
    def has_form(self) -> bool:
        """Tell whether people sign in here, with a form of the page's own."""
        return self.identify is None and self.sign_in_url is None

    @property
    def sessions(self) -> SignInStore | None:
        """The store as one of sessions, where people sign in here; None where the app does that."""
        return cast("SignInStore", self.store) if self.has_form else None

    @property
    def may_be_endless(self) -> bool:
        """Tell whether a key may be issued without an end."""
        return self.store.keyring.max_lifetime is None

    def _is_beyond(self, longest: timedelta) -> bool:
        return self.default_lifetime is None or self.default_lifetime > longest


# --- checks -----------------------------------------------------------------------------------------------------

_REGISTRY = ("get_key", "add_key", "search_keys", "get_owner", "list_owners", "list_events")


def _check_store(store: object) -> None:
    # What was given is named by its type: a store's URL, for one, has a password in it.
    if isinstance(store, type):
        raise ConfigurationError(f"store is a store of keys and not its class: {store.__name__}(...)")
    missing = [name for name in _REGISTRY if not hasattr(store, name)]
    if missing:
        raise ConfigurationError(
            "store is one that keys are issued in, such as SQLStore(...) or MemoryStore(), with all members of "
            f"keyguard.ports.KeyRegistry; {type(store).__name__} has no {missing[0]!r}"
        )


def _check_calls(*, identify: object, clock: object) -> None:
    if identify is not None and not callable(identify):
        raise ConfigurationError(f"identify is a function, or None; not {type(identify).__name__}")
    if not callable(clock) or not isinstance(now := clock(), datetime) or now.utcoffset() is None:
        raise ConfigurationError("clock is a function that returns an aware datetime, such as datetime.now(UTC)")


def _check_kinds(settings: Settings) -> None:
    policy, theme, hops, secure = map(
        _as_is, (settings.policy, settings.theme, settings.trusted_hops, settings.secure_cookies)
    )
    if policy is not None and not isinstance(policy, Policy):
        raise ConfigurationError(f"policy is a keyguard.Policy, or None; not {type(policy).__name__}")
    if not isinstance(theme, Theme):
        raise ConfigurationError(f"theme is a keyguard.admin.Theme; not {type(theme).__name__}")
    if hops is not None and (isinstance(hops, bool) or not isinstance(hops, int) or hops < 0):
        raise ConfigurationError(f"trusted_hops is the number of proxies, 0 or more, or None; not {hops!r}")
    if secure is not None:
        require_bool("secure_cookies", secure)


def _as_is(value: object) -> object:
    """Take a value for whatever it is: not everybody runs a type checker."""
    return value


def _check_texts(settings: Settings) -> None:
    if not fits(_TITLE, settings.title):
        raise ConfigurationError(f"title is a text of 1 to 80 characters; not {settings.title!r}")
    if not fits(_PATH, settings.sample_path):
        raise ConfigurationError(
            f"sample_path is a path of the app's that a key opens, such as '/api/items'; not {settings.sample_path!r}"
        )
    if settings.url is not None:
        _check_url("url", settings.url)
    if settings.sign_in_url is not None and not fits(_PATH, settings.sign_in_url):
        _check_url("sign_in_url", settings.sign_in_url)


def _link(link: object) -> tuple[str, str]:
    match link:
        case (str() as label, str() as url) if fits(_LABEL, label) and not label.isspace() and _leads_somewhere(url):
            return label, url
        case _:
            raise ConfigurationError(
                "links is a list of pairs of a label of 1 to 40 characters and a path or a URL, such as ('Flows', "
                f"'/flows') or ('Help', 'https://example.com/help'); not {link!r}"
            )


def _leads_somewhere(url: str) -> bool:
    return fits(_PATH, url) or fits(_URL, url)


def _check_url(name: str, url: object) -> None:
    if not fits(_URL, url):
        raise ConfigurationError(f"{name} is a URL such as 'https://api.example.com'; not {url!r}")


def _origin(url: object) -> str:
    """Return an origin as browsers write it (RFC 6454 §6.1)."""
    _check_url("each of origins", url)
    scheme, netloc, path, query, fragment = urlsplit(str(url))
    if path not in {"", "/"} or query or fragment:
        raise ConfigurationError(f"an origin has no path, such as 'https://app.example.com'; not {url!r}")
    return f"{scheme}://{netloc.lower()}"


def _scopes(scopes: object) -> dict[str, str]:
    if not isinstance(scopes, Mapping):
        scopes = dict.fromkeys(_listed("scopes", scopes), "")
    offered: dict[str, str] = {}
    for name, words in cast("Mapping[object, object]", scopes).items():
        if check_scope(name) == "*" or not isinstance(words, str):
            raise ConfigurationError(
                "scopes is a list of names of scopes, or a mapping from each name to what it allows, in words; '*' is "
                "always on offer"
            )
        offered[str(name)] = words
    return offered


def _lifetimes(lifetimes: object, default: object, session: object) -> tuple[timedelta, ...]:
    listed = _listed("lifetimes", lifetimes)
    for name, value in [*(("each of lifetimes", each) for each in listed), ("default_lifetime", default)]:
        if not (value is None and name == "default_lifetime") and not _is_life(value, _LONGEST_LIFE):
            raise ConfigurationError(f"{name} is a positive timedelta of at most 100 years; not {value!r}")
    if not _is_life(session, _LONGEST_SESSION):
        raise ConfigurationError(f"session_lifetime is a positive timedelta of at most a year; not {session!r}")
    return cast("tuple[timedelta, ...]", listed)


def _is_life(value: object, longest: timedelta) -> bool:
    return isinstance(value, timedelta) and timedelta(0) < value <= longest


def _listed(name: str, values: object) -> tuple[object, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} is a list, even of one; not {type(values).__name__}")
    return tuple(cast("Iterable[object]", values))
