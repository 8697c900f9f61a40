"""Paths: which are exempt, which optional, and that no way of writing one makes another."""

import string
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyguard.errors import ConfigurationError
from keyguard.model import Requirement
from keyguard.rules import Rules
from keyguard.settings import DEFAULT_METHODS, PathRule, Policy

EXEMPT, OPTIONAL, REQUIRED = Requirement.EXEMPT, Requirement.OPTIONAL, Requirement.REQUIRED

SAME = object()


def ask(rules, path, raw_path=SAME, *, kind="http", method="GET", root_path=""):
    raw_path = path.encode("utf-8", "surrogatepass") if raw_path is SAME else raw_path
    return rules.requirement(type=kind, method=method, path=path, raw_path=raw_path, root_path=root_path)


# --- a table for people -------------------------------------------------------------------------------------------

POLICY = Policy(
    exempt=[
        "/health",
        "/api/v1/mcp/*",
        "/docs/",
        PathRule(path="/login", methods=frozenset({"POST"})),
        PathRule(path="/live/*", websocket=True),
        PathRule(path="/socket", methods=frozenset(), websocket=True),
        "/both/exempt",
    ],
    optional=["/feed", "/both/*", PathRule(path="/login", methods=frozenset({"GET"}))],
)


@pytest.fixture
def rules():
    return Rules(POLICY)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/health", EXEMPT),
        ("/health/", REQUIRED),
        ("/health/x", REQUIRED),
        ("/healthy", REQUIRED),
        ("/Health", REQUIRED),
        ("/healt", REQUIRED),
        ("health", REQUIRED),
        ("//health", REQUIRED),
        ("/health.", REQUIRED),
        ("/./health", REQUIRED),
        ("/x/../health", REQUIRED),
        ("/health;v=1", REQUIRED),
        ("/health\n", REQUIRED),
        ("/health\x00", REQUIRED),
        ("/health?", REQUIRED),
        ("/health#", REQUIRED),
        ("/admin/health", REQUIRED),
        ("/docs/", EXEMPT),
        ("/docs", REQUIRED),
        ("/docs//", REQUIRED),
        ("/docs/x", REQUIRED),
        ("/api/v1/mcp", EXEMPT),
        ("/api/v1/mcp/", EXEMPT),
        ("/api/v1/mcp/sse", EXEMPT),
        ("/api/v1/mcp/a/b/", EXEMPT),
        ("/api/v1/mcp/*", EXEMPT),
        ("/api/v1/mcp/a.b/..c/...", EXEMPT),
        ("/api/v1/mcp/Az09._~!$&'()*+,=:@-", EXEMPT),
        ("/api/v1/mcpx", REQUIRED),
        ("/api/v1/mcp//", REQUIRED),
        ("/api/v1/mcp//sse", REQUIRED),
        ("/api/v1/mcp/./sse", REQUIRED),
        ("/api/v1/mcp/..", REQUIRED),
        ("/api/v1/mcp/../keys", REQUIRED),
        ("/api/v1/mcp/a/../../keys", REQUIRED),
        ("/api/v1/mcp/..;/keys", REQUIRED),
        ("/api/v1/mcp/%2e%2e/keys", REQUIRED),
        ("/api/v1/mcp\\..\\keys", REQUIRED),
        ("/api/v1/mcp/a b", REQUIRED),
        ("/api/v1/mcp/\u00e9", REQUIRED),
        ("/api/v1/mcp/\ud800", REQUIRED),
        ("/api/v1", REQUIRED),
        ("/api/v1/", REQUIRED),
        ("/api/v1/mcp/" + "x" * 2036, EXEMPT),
        ("/api/v1/mcp/" + "x" * 2037, REQUIRED),
        ("/feed", OPTIONAL),
        ("/feed/", REQUIRED),
        ("/both", OPTIONAL),
        ("/both/other", OPTIONAL),
        ("/both/exempt", EXEMPT),
        ("/both/exempt/", OPTIONAL),
        ("/both/../feed", REQUIRED),
        ("/", REQUIRED),
        ("", REQUIRED),
        ("*", REQUIRED),
        ("http://host/health", REQUIRED),
    ],
)
def test_a_path_is_listed_only_if_it_is_written_like_the_entry(rules, path, expected):
    """An entry speaks of its own characters, a subtree of whole segments below it, and of nothing else."""
    assert ask(rules, path) is expected
    assert ask(rules, path, None) is expected


@pytest.mark.parametrize(
    ("path", "raw_path", "expected"),
    [
        ("/health", b"/health", EXEMPT),
        ("/health", None, EXEMPT),
        ("/health", b"/health?a=1", EXEMPT),
        ("/health", b"/health?", EXEMPT),
        ("/health", b"/health?a=/x?b", EXEMPT),
        ("/health", b"/%68ealth", REQUIRED),
        ("/health", b"/healt%68?a=1", REQUIRED),
        ("/health", b"/health%3F?", REQUIRED),
        ("/health", b"/admin?/health", REQUIRED),
        ("/health", b"", REQUIRED),
        ("/health", b"?/health", REQUIRED),
        ("/health", b"/Health", REQUIRED),
        ("/health", b"/health#", REQUIRED),
        ("/health", b"http://host/health", REQUIRED),
        ("/api/v1/mcp/a", b"/api/v1/mcp%2Fa", REQUIRED),
        ("/api/v1/mcp/a", b"/keys/../api/v1/mcp/a", REQUIRED),
        ("/feed", b"/fee%64", REQUIRED),
    ],
)
def test_an_encoded_path_is_not_listed(rules, path, raw_path, expected):
    """Up to its first question mark, what was sent must be what was decoded, byte for byte."""
    assert ask(rules, path, raw_path) is expected


@pytest.mark.parametrize(
    ("kind", "method", "path", "expected"),
    [
        *(("http", method, "/health", EXEMPT) for method in sorted(DEFAULT_METHODS)),
        ("http", "CONNECT", "/health", REQUIRED),
        ("http", "TRACE", "/health", REQUIRED),
        ("http", "get", "/health", REQUIRED),
        ("http", "BREW", "/health", REQUIRED),
        ("http", "", "/health", REQUIRED),
        ("http", None, "/health", REQUIRED),
        ("http", "POST", "/login", EXEMPT),
        ("http", "GET", "/login", OPTIONAL),
        ("http", "PUT", "/login", REQUIRED),
        ("websocket", None, "/health", REQUIRED),
        ("websocket", "GET", "/health", REQUIRED),
        ("websocket", None, "/live/x", EXEMPT),
        ("websocket", "GET", "/live/x", EXEMPT),
        ("http", "GET", "/live/x", EXEMPT),
        ("websocket", None, "/socket", EXEMPT),
        ("http", "GET", "/socket", REQUIRED),
        ("http", None, "/socket", REQUIRED),
        ("http", "websocket", "/socket", REQUIRED),
        ("websocket", None, "/feed", REQUIRED),
        ("websocket", None, "/other", REQUIRED),
        ("webtransport", None, "/live/x", REQUIRED),
        ("webtransport", "GET", "/health", REQUIRED),
        ("lifespan", None, "/health", REQUIRED),
        ("HTTP", "GET", "/health", REQUIRED),
    ],
)
def test_an_entry_speaks_of_its_methods_only(rules, kind, method, path, expected):
    """HTTP with one of the entry's methods, WebSockets only where the entry says so, other types never."""
    assert ask(rules, path, kind=kind, method=method) is expected


@pytest.mark.parametrize(
    ("root_in_path", "root_path", "path", "expected"),
    [
        (True, "/app", "/app/health", EXEMPT),
        (True, "/app", "/app/tree", EXEMPT),
        (True, "/app", "/app/tree/x", EXEMPT),
        (True, "/app", "/health", REQUIRED),
        (True, "/app", "/tree/x", REQUIRED),
        (True, "/app", "/app", REQUIRED),
        (True, "/app", "/app/", REQUIRED),
        (True, "/app", "/apphealth", REQUIRED),
        (True, "/app", "/app/app/health", REQUIRED),
        (True, "/app", "/app/feed", OPTIONAL),
        (True, "", "/app/health", REQUIRED),
        (True, "", "/health", REQUIRED),
        (True, "/app/", "/app/health", REQUIRED),
        (True, "/App", "/app/health", REQUIRED),
        (True, "/other", "/app/health", REQUIRED),
        (False, "/app", "/health", EXEMPT),
        (False, "/app", "/tree/x", EXEMPT),
        (False, "/app", "/feed", OPTIONAL),
        (False, "/app", "/app/health", REQUIRED),
        (False, "/app", "/app/tree", REQUIRED),
        (False, "/app", "/application", REQUIRED),
        (False, "/app", "/app", REQUIRED),
        (False, "", "/health", REQUIRED),
        (False, "/other", "/health", REQUIRED),
    ],
)
def test_only_the_declared_root_counts(root_in_path, root_path, path, expected):
    """Under another root than the declared one nothing is listed, and the root is in the path or out, never both."""
    policy = Policy(exempt=["/health", "/tree/*", "/application", "/app"], optional=["/feed"])
    rules = Rules(policy, root_path="/app", root_in_path=root_in_path)
    assert ask(rules, path, root_path=root_path) is expected


def test_a_root_is_in_the_path_unless_that_is_declared_otherwise():
    """As uvicorn has it, and any app that is mounted below another."""
    rules = Rules(Policy(exempt=["/health"]), root_path="/app")
    assert ask(rules, "/app/health", root_path="/app") is EXEMPT
    assert ask(rules, "/health", root_path="/app") is REQUIRED


def test_without_a_root_it_makes_no_difference_whether_it_is_in_the_path():
    """An app that has no root can say either."""
    rules = Rules(Policy(exempt=["/health"]), root_in_path=False)
    assert ask(rules, "/health") is EXEMPT
    assert ask(rules, "/health", root_path="/app") is REQUIRED


def test_a_policy_without_paths_guards_everything():
    """No entry, no exemption."""
    assert ask(Rules(Policy()), "/health") is REQUIRED


@pytest.mark.parametrize(
    "root_path",
    [
        *("/", "app", "/app/", "//app", "/app//x", "/../app", "/a%20b", "/a b", "/\u00e9", "/app\n", "/" + "x" * 2048),
        *(None, b"/app", 1, ["/app"]),
    ],
)
def test_a_root_that_cannot_be_one_is_refused(root_path):
    """A root is empty or canonical without a trailing slash; the sentence says so."""
    with pytest.raises(ConfigurationError) as caught:
        Rules(Policy(), root_path=root_path)
    assert str(caught.value) == (
        "root_path is empty, or begins with one slash and has none at its end, no empty, '.' or '..' segment and "
        f"no character that needs encoding (such as '/api'); not {root_path!r}"
    )


@pytest.mark.parametrize("value", [None, 0, 1, "False"])
def test_root_in_path_is_a_bool(value):
    """What is merely true or false is not taken for it."""
    with pytest.raises(ConfigurationError) as caught:
        Rules(Policy(), root_path="/app", root_in_path=value)
    assert str(caught.value) == f"root_in_path is True or False; not {value!r}"


# --- the same said once more, without hurry -------------------------------------------------------------------------

PLAIN = set(string.ascii_letters + string.digits + "._~!$&'()*+,=:@-")


def written_plainly(path):
    first, *segments = path.split("/")
    if segments[-1:] == [""]:
        segments.pop()
    return (
        first == ""
        and len(path) <= 2048
        and segments != []
        and all(segment not in {"", ".", ".."} and set(segment) <= PLAIN for segment in segments)
    )


def listed(rule, declared, root_in_path, request):
    """The six conditions, in the order in which the manual gives them."""
    path, raw_path = request["path"], request["raw_path"]
    rest = path[len(declared) :] if root_in_path else path
    return all(
        [
            (request["type"] == "http" and request["method"] in rule.methods)
            or (request["type"] == "websocket" and rule.websocket),
            request["root_path"] == declared,
            path.startswith(declared + "/") if root_in_path else declared == "" or not path.startswith(declared),
            written_plainly(path),
            raw_path is None or raw_path.split(b"?")[0] == path.encode("utf-8", "surrogatepass"),
            rest == rule.path or (rule.is_subtree and (rest + "/").startswith(rule.path[:-1])),
        ]
    )


def naive(policy, declared, root_in_path, request):
    if any(listed(rule, declared, root_in_path, request) for rule in policy.exempt_rules):
        return EXEMPT
    if any(listed(rule, declared, root_in_path, request) for rule in policy.optional_rules):
        return OPTIONAL
    return REQUIRED


few_segments = st.sampled_from(["a", "b", "app", "A", "ab"])
entries = st.builds(
    "".join,
    st.tuples(
        st.lists(few_segments, min_size=1, max_size=3).map(lambda names: "/" + "/".join(names)),
        st.sampled_from(["", "/", "/*"]),
    ),
)
path_rules = st.builds(
    PathRule,
    path=entries,
    methods=st.frozensets(st.sampled_from(["GET", "POST"]), min_size=1),
    websocket=st.booleans(),
)
roots = st.sampled_from(["", "", "/app", "/a", "/app/a"])
odd_ends = st.sampled_from(["", "", "", "/", "//", "/.", "/..", "\n", "%2e", "\u00e9", "\ud800", "?", ";", " "])


@given(st.data(), st.lists(path_rules, max_size=5, unique_by=lambda rule: rule.path), roots, st.booleans())
def test_the_rules_are_the_six_conditions(data, rules, declared, root_in_path):
    """Over all policies, roots and requests, the answer is what the conditions say when each is asked by itself."""
    split = data.draw(st.integers(0, len(rules)))
    policy = Policy(exempt=rules[:split], optional=rules[split:])
    near = st.sampled_from([rule.entry for rule in rules]) if rules else st.nothing()
    path = (
        data.draw(st.sampled_from(["", declared]))
        + data.draw(near | entries.map(lambda entry: entry.removesuffix("*")))
        + data.draw(st.sampled_from(["", "/a", "/", "b"]))
        + data.draw(odd_ends)
    )
    sent = path.encode("utf-8", "surrogatepass")
    request = {
        "type": data.draw(st.sampled_from(["http", "http", "http", "websocket", "other"])),
        "method": data.draw(st.sampled_from(["GET", "POST", "PUT", "TRACE", None])),
        "path": path,
        "raw_path": data.draw(st.sampled_from([None, sent, sent, sent + b"?a=1", sent.replace(b"a", b"%61"), b""])),
        "root_path": data.draw(st.sampled_from([declared, declared, "", "/app"])),
    }
    answer = Rules(policy, root_path=declared, root_in_path=root_in_path).requirement(**request)
    assert answer is naive(policy, declared, root_in_path, request)


# --- every small change of a path ---------------------------------------------------------------------------------

BASE_PATHS = [b"/health", b"/api/v1/health_check", b"/.well-known/security.txt", b"/a/b/c/", b"/static/app.js"]


def mutations(base):
    """Each byte, raw and encoded both ways, in place of each byte and between them; and each byte left out."""
    spellings = [bytes([byte]) for byte in range(256)]
    spellings += [b"%%%02X" % byte for byte in range(256)] + [b"%%%02x" % byte for byte in range(256)]
    spellings += [b"./", b"../", b"//", b"%2e%2e/", b"..%2f", b";/", b"%252e", b"\xc0\xaf"]
    for position in range(len(base) + 1):
        before, at, behind = base[:position], base[position : position + 1], base[position + 1 :]
        yield before + behind
        for spelling in spellings:
            yield before + spelling + at + behind
            if at:
                yield before + spelling + behind


def readings(sent):
    """The paths that servers make of the bytes before the question mark."""
    decoded = unquote_to_bytes(sent)
    yield decoded.decode("utf-8", "replace")
    yield decoded.decode("utf-8", "surrogateescape")
    yield decoded.decode("latin-1")
    yield sent.decode("latin-1")
    yield unquote(unquote(sent.decode("latin-1")))


@pytest.mark.parametrize("base", BASE_PATHS, ids=bytes.decode)
def test_no_changed_byte_leaves_a_path_exempt(base):
    """However one byte of an exempt path is changed, raw or encoded, and however it is decoded, a key is needed."""
    rules = Rules(Policy(exempt=[path.decode() for path in BASE_PATHS]))
    assert ask(rules, base.decode(), base) is EXEMPT
    tried = 0
    for target in set(mutations(base)):
        sent = target.partition(b"?")[0]
        if sent != base:
            for path in readings(sent):
                assert ask(rules, path, target) is REQUIRED
                tried += 1
    assert tried > len(base) * 5000
