"""What a caller may do: the names of scopes, their patterns, and how an app asks for them."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, has_required_scope, requires
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from strategies import alike_names, alike_scopes, principals, scope_names, scope_sets, scopes

from keyguard.errors import ConfigurationError
from keyguard.model import ALL_SCOPES, AnonymousUser, Auth, Principal, Scopes, check_scope

RESERVED = ("authenticated", "superuser")


def covers(scope: str, name: str) -> bool:
    """What the manual says of patterns, word by word."""
    if scope == "*":
        return True
    patterns, words = scope.split(":"), name.split(":")
    if patterns[-1] == "*":
        return len(words) >= len(patterns) and all(map(fnmatchcase, words, patterns[:-1]))
    return len(words) == len(patterns) and all(map(fnmatchcase, words, patterns))


# --- names ------------------------------------------------------------------------------------------------------


GOOD_NAMES = "* flows flows:read flows:* flows:*:read flows:re* flows:** a.b-c_d 0 v1.2:x a:b:c:d"
BAD_NAMES = "Flows flows:Read *:read fl*ws ** flows: :read flows::read flows,read flows/read flöws \u0661"


@pytest.mark.parametrize("name", GOOD_NAMES.split())
def test_a_key_may_carry_such_a_scope(name):
    """`*`, and lower-case words joined by colons, with stars after the first, are scopes."""
    assert check_scope(name) == name


@pytest.mark.parametrize(
    "name", [*BAD_NAMES.split(), "", " ", "flows read", "flows\n", "*\n", None, 5, b"flows", ["flows"]]
)
def test_no_key_may_carry_such_a_scope(name):
    """Anything else is refused, and the sentence shows what a scope looks like."""
    with pytest.raises(ConfigurationError, match=r"^a scope is '\*' or lower-case words .* 'flows:read' or 'flows:\*'"):
        check_scope(name)


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_scope_cannot_be_given_to_a_key(name):
    """The two names that KeyGuard grants itself are refused by name."""
    with pytest.raises(ConfigurationError, match=f"^the scope '{name}' is granted by KeyGuard itself"):
        check_scope(name)


@given(scopes)
def test_every_scope_of_that_grammar_is_accepted(scope):
    """Whatever the grammar makes, but for the reserved names, may be given to a key."""
    if scope not in RESERVED:
        assert check_scope(scope) == scope


# --- patterns ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "name"),
    [
        ("*", "flows"),
        ("*", "flows:read"),
        ("*", "*"),
        ("*", "whatever\nit is"),
        ("flows", "flows"),
        ("flows:read", "flows:read"),
        ("flows:*", "flows:read"),
        ("flows:*", "flows:read:own"),
        ("flows:*", "flows:*"),
        ("flows:*:read", "flows:7:read"),
        ("flows:re*", "flows:read"),
        ("flows:re*", "flows:re"),
        ("flows:*a*", "flows:read"),
        ("flows:r*d:*", "flows:read:own"),
        ("a.b:*", "a.b:c"),
    ],
)
def test_a_scope_covers_a_name(granted, name):
    """A right that the granted scope names or matches is there."""
    assert name in Scopes(frozenset({granted}))


@pytest.mark.parametrize(
    ("granted", "name"),
    [
        ("flows", "flows:read"),
        ("flows:read", "flows"),
        ("flows:read", "flows:write"),
        ("flows:read", "flows:*"),
        ("flows:read", "*"),
        ("flows:*", "flows"),
        ("flows:*", "flows:"),
        ("flows:*", "flowsx:read"),
        ("flows:*", "xflows:read"),
        ("flows:*", "*"),
        ("flows:*:read", "flows:read"),
        ("flows:*:read", "flows:7:8:read"),
        ("flows:re*", "flows:read:own"),
        ("flows:re*", "flows:write"),
        ("flows:*d", "flows:do"),
        ("flows:r*a*d", "flows:rd"),
        ("flows:*a*", "flows:x:a"),
        ("a.b:*", "axb:c"),
        ("flows:read", "flows:read\n"),
    ],
)
def test_a_scope_does_not_cover_a_name(granted, name):
    """A right that is only like the granted scope is not there: a dot is a dot, a word is a whole word."""
    assert name not in Scopes(frozenset({granted}))


@pytest.mark.parametrize("asked", [None, 5, b"flows", ("flows",)])
def test_only_a_text_names_a_right(asked):
    """What is no text is never granted, not even by `*`."""
    assert asked not in Scopes(ALL_SCOPES)


@given(st.frozensets(alike_scopes, max_size=3), alike_names)
@example(frozenset({"a:*b*a"}), "a:aba")
@example(frozenset({"a:*:b"}), "a:a:b")
def test_patterns_match_word_by_word(granted, name):
    """A name is granted if and only if a scope covers it: each word by itself, a last star all the rest."""
    assert (name in Scopes(granted)) == any(covers(scope, name) for scope in granted)


@given(scope_sets, scope_sets, scope_names)
def test_more_scopes_never_grant_less(some, more, name):
    """Whatever some scopes grant, those and others grant too."""
    if name in Scopes(some):
        assert name in Scopes(some | more)


@given(scope_names)
def test_no_scopes_grant_nothing(name):
    """An empty list means none."""
    assert name not in Scopes()
    assert not Scopes()


def test_no_scope_makes_the_search_long():
    """A scope made of stars is searched in a time that its length bounds, not in one that grows with every star.

    By trying every way to share the name out among the stars, this would take longer than anybody has waited.
    """
    name = "flows:" + "a" * 60
    assert name not in Scopes(frozenset({"flows:" + "*" * 400 + "b", "flows:" + "a*" * 59 + "b"}))
    assert name in Scopes(frozenset({"flows:" + "*a" * 60}))


# --- reserved names ---------------------------------------------------------------------------------------------


@given(scope_sets, st.sampled_from(RESERVED))
def test_no_row_grants_a_reserved_name(granted, name):
    """`authenticated` and `superuser` are not granted by whatever a row carries: not by name, and not by a pattern."""
    assert name not in Scopes(granted | {name, "*", "super*", "a*"})


@given(scope_sets)
def test_a_reserved_name_in_a_row_is_not_listed(granted):
    """The names of a row are listed in alphabetical order, without the reserved ones."""
    listed = list(Scopes(granted))
    assert listed == sorted(granted - set(RESERVED))
    assert len(Scopes(granted)) == len(listed)


@given(principals)
def test_keyguard_grants_the_reserved_names_itself(principal):
    """Everybody who passed is `authenticated`, and `superuser` is who may act as one."""
    allowed = Auth.of(principal).scopes
    assert "authenticated" in allowed
    assert ("superuser" in allowed) == principal.is_superuser
    assert set(allowed) - set(RESERVED) == principal.scopes - set(RESERVED)
    assert len(allowed) == len(list(allowed))


# --- in an app --------------------------------------------------------------------------------------------------

READER = Principal(id="1", name="ada", scopes=frozenset({"flows:*"}))
NOBODY = Principal(id="1", name="ada", scopes=frozenset())
ROOT = Principal(id="2", name="root", is_superuser=True)


class Attach:
    """A middleware that says what the caller may do."""

    def __init__(self, app, *, auth):
        self.app = app
        self.auth = auth

    async def __call__(self, scope, receive, send):
        scope["auth"] = self.auth
        await self.app(scope, receive, send)


@pytest.mark.parametrize(
    ("auth", "asked", "passes"),
    [
        (Auth.of(READER), "flows:read", True),
        (Auth.of(READER), ["authenticated", "flows:read", "flows:write"], True),
        (Auth.of(READER), ["flows:read", "users:read"], False),
        (Auth.of(READER), "superuser", False),
        (Auth.of(NOBODY), "authenticated", True),
        (Auth.of(NOBODY), "flows:read", False),
        (Auth.of(ROOT), ["superuser", "users:delete"], True),
        (Auth(), "authenticated", False),
        (Auth(), "flows:read", False),
    ],
    ids=lambda value: str(list(value.scopes) if isinstance(value, Auth) else value),
)
def test_starlettes_requires_asks_by_pattern(auth, asked, passes):
    """Starlette's `@requires` lets an endpoint run exactly where its scopes are covered, and answers 403 elsewhere."""

    @requires(asked)
    async def endpoint(request):
        return PlainTextResponse("run")

    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(Attach, auth=auth)
    assert TestClient(app).get("/").status_code == (200 if passes else 403)


def test_starlettes_own_credentials_would_lose_the_patterns():
    """The reason for a class of our own: Starlette's copies the scopes into a list, and `flows:read` is lost."""
    connection = HTTPConnection({"type": "http", "auth": AuthCredentials(list(Auth.of(READER).scopes))})
    assert not has_required_scope(connection, ["flows:read"])


@pytest.mark.parametrize("auth", [Auth(), Auth.of(READER)])
def test_scopes_are_a_value(auth):
    """What a caller may do can be compared, hashed and shared, and not be changed."""
    assert auth == Auth(Scopes(auth.scopes.granted, auth.scopes.built_in))
    assert len({auth, auth}) == 1
    with pytest.raises(AttributeError):
        auth.scopes.granted = ALL_SCOPES


@given(principals)
def test_a_principal_is_a_user_of_starlette(principal):
    """An owner has the members of Starlette's users: authenticated, with a name to show and an identity."""
    assert principal.is_authenticated is True
    assert principal.display_name == principal.name
    assert principal.identity == principal.id


def test_nobody_is_an_unauthenticated_user_of_starlette():
    """Where nobody is signed in there is a user who is not authenticated, has no name and no rights."""
    nobody = AnonymousUser()
    assert nobody.is_authenticated is False
    assert nobody.is_superuser is False
    assert nobody.display_name == nobody.name == nobody.identity == ""
    assert nobody.id is None
