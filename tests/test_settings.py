"""A mistake in the settings dies where it was written, with a sentence that says what is allowed."""

import pickle
import re
import string
from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import MODES, entries, key_formats, keyrings, path_rules, paths, policies

from keyguard.errors import ConfigurationError
from keyguard.settings import DEFAULT_METHODS, MAX_KEY_BYTES, KeyFormat, Keyring, PathRule, Policy, is_canonical


class PlainHasher:
    """The least that a hasher has."""

    def __repr__(self):
        return "PlainHasher()"

    def hash(self, secret):
        return secret.hex()

    def verify(self, verifier, secret):
        return verifier == secret.hex()

    def needs_rehash(self, verifier):
        return False


PEPPER = "0123456789abcdef"
OTHER_PEPPER = b"fedcba9876543210"
WEAK = KeyFormat(alphabet="abc", min_length=1, max_length=20)
STRONG = KeyFormat(prefix="sk-", alphabet="abcdef0123456789", min_length=32, max_length=32, entropy=128)


def name_of(value):
    """A row's name: what is given, shortened in the middle."""
    shown = repr(value)
    return shown if len(shown) < 80 else f"{shown[:50]}…{shown[-20:]}"


def refused(make, arguments, sentence):
    """Check that the constructor refuses these arguments with an error whose text is or begins with the sentence."""
    with pytest.raises(ConfigurationError, match="^" + re.escape(sentence)) as caught:
        make(**arguments)
    assert isinstance(caught.value, ValueError)


# --- Keyring ----------------------------------------------------------------------------------------------------

PREFIX_SENTENCE = (
    "a key prefix is 1 to 16 characters of a-z and 0-9, with underscores only inside (such as 'kg' or 'lf_live'); not "
)
PEPPER_SENTENCE = "each pepper is bytes or a str of at least 16 bytes"
NEEDS_PEPPERS = "a hasher, or a key format of fewer than 112 bits of entropy, needs peppers: "
LIFETIME_SENTENCE = "max_lifetime is a positive timedelta of at most 100 years, or None; not "


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"prefix": ""}, PREFIX_SENTENCE + "''"),
        ({"prefix": "KG"}, PREFIX_SENTENCE),
        ({"prefix": "_kg"}, PREFIX_SENTENCE),
        ({"prefix": "kg_"}, PREFIX_SENTENCE),
        ({"prefix": "k-g"}, PREFIX_SENTENCE),
        ({"prefix": "k" * 17}, PREFIX_SENTENCE),
        ({"prefix": "kg\n"}, PREFIX_SENTENCE),
        ({"prefix": "kü"}, PREFIX_SENTENCE),
        ({"prefix": None}, PREFIX_SENTENCE + "None"),
        ({"prefix": b"kg"}, PREFIX_SENTENCE),
        ({"peppers": PEPPER}, "peppers is a list, even of one; not str"),
        ({"peppers": OTHER_PEPPER}, "peppers is a list, even of one; not bytes"),
        ({"peppers": None}, "peppers is a list, even of one; not NoneType"),
        ({"peppers": ["short"]}, PEPPER_SENTENCE),
        ({"peppers": [PEPPER[:-1]]}, PEPPER_SENTENCE),
        ({"peppers": [OTHER_PEPPER[:-1]]}, PEPPER_SENTENCE),
        ({"peppers": [PEPPER, 5]}, PEPPER_SENTENCE),
        ({"peppers": [PEPPER, None]}, PEPPER_SENTENCE),
        ({"peppers": [PEPPER, PEPPER]}, "the same pepper stands twice among peppers"),
        ({"peppers": [PEPPER, PEPPER.encode()]}, "the same pepper stands twice among peppers"),
        ({"hasher": "argon2", "peppers": [PEPPER]}, "hasher is a Hasher such as Argon2Hasher(), or None; not 'argon2'"),
        ({"hasher": PlainHasher()}, NEEDS_PEPPERS),
        ({"formats": "sk-"}, "formats is a list, even of one; not str"),
        ({"formats": STRONG}, "formats is a list, even of one; not KeyFormat"),
        ({"formats": ["sk-"]}, "formats is a list of KeyFormat values"),
        ({"formats": [WEAK]}, NEEDS_PEPPERS),
        ({"formats": [STRONG, WEAK]}, NEEDS_PEPPERS),
        ({"max_lifetime": timedelta(0)}, LIFETIME_SENTENCE),
        ({"max_lifetime": timedelta(days=-1)}, LIFETIME_SENTENCE),
        ({"max_lifetime": timedelta(days=36_525, microseconds=1)}, LIFETIME_SENTENCE),
        ({"max_lifetime": timedelta.max}, LIFETIME_SENTENCE),
        ({"max_lifetime": 3600}, LIFETIME_SENTENCE + "3600"),
    ],
    ids=name_of,
)
def test_a_wrong_keyring_says_what_is_allowed(arguments, sentence):
    """A keyring with a wrong value is refused with the sentence for that value."""
    refused(Keyring, arguments, sentence)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"prefix": "k"},
        {"prefix": "0"},
        {"prefix": "lf_live"},
        {"prefix": "a__b"},
        {"prefix": "k" * 16},
        {"peppers": [PEPPER]},
        {"peppers": (OTHER_PEPPER, PEPPER)},
        {"peppers": ["ü" * 8]},
        {"peppers": [PEPPER], "hasher": PlainHasher()},
        {"formats": [STRONG]},
        {"formats": (WEAK, STRONG), "peppers": [PEPPER]},
        {"max_lifetime": timedelta(microseconds=1)},
        {"max_lifetime": timedelta(days=36_525)},
    ],
    ids=name_of,
)
def test_a_right_keyring_keeps_what_it_was_given(arguments):
    """A keyring with right values is made, and shows them."""
    keyring = Keyring(**arguments)
    defaults = {"prefix": "kg", "hasher": None, "formats": (), "max_lifetime": None}
    for name, default in defaults.items():
        value = arguments.get(name, default)
        assert getattr(keyring, name) == (tuple(value) if name == "formats" else value)


def test_peppers_are_bytes_in_their_order():
    """Peppers given as text are their UTF-8 bytes, and the first stays the first."""
    keyring = Keyring(peppers=["ü" * 8, OTHER_PEPPER])
    assert keyring.peppers == keyring.pepper_bytes == (("ü" * 8).encode(), OTHER_PEPPER)


@pytest.mark.parametrize("make", [repr, str, "{}".format])
def test_no_repr_shows_a_pepper(make):
    """A keyring can be logged: its peppers do not show, however it is written."""
    shown = make(Keyring(peppers=[PEPPER, OTHER_PEPPER], formats=[STRONG], hasher=None))
    assert "KeyFormat" in shown
    assert "pepper" not in shown
    assert PEPPER not in shown
    assert OTHER_PEPPER.decode() not in shown


@pytest.mark.parametrize("peppers", [PEPPER, OTHER_PEPPER, [PEPPER[:-1]], [PEPPER, PEPPER], [PEPPER, 5]])
def test_no_mistake_with_peppers_quotes_one(peppers):
    """The sentence about a wrong pepper does not hold it."""
    with pytest.raises(ConfigurationError) as caught:
        Keyring(peppers=peppers)
    assert PEPPER[:-1] not in str(caught.value)
    assert OTHER_PEPPER.decode() not in str(caught.value)


def test_pepper_checks_are_in_the_order_of_the_peppers():
    """Each pepper has a check value of its own, which does not depend on the others and does not hold it."""
    one, other = Keyring(peppers=[PEPPER]), Keyring(peppers=[OTHER_PEPPER])
    both = Keyring(peppers=[OTHER_PEPPER, PEPPER])
    assert both.pepper_checks == other.pepper_checks + one.pepper_checks
    assert len(set(both.pepper_checks)) == 2
    assert PEPPER not in one.pepper_checks[0]
    assert Keyring().pepper_checks == ()


def test_a_pepper_check_never_changes():
    """The value is what `printf 'keyguard pepper check 1' | openssl dgst -sha256 -hmac 0123456789abcdef` prints.

    Stores keep it: another value would refuse every store that was ever opened.
    """
    expected = "2371ea5637e44178fa9201ad4fefe133a1e2af105140b5a81f931784c577cad2"
    assert Keyring(peppers=[PEPPER]).pepper_checks == (expected,)


def test_prefixes_are_ours_and_those_of_the_formats():
    """What a bearer token begins with, if it is a key: our prefix with its underscore, then each format's."""
    assert Keyring(prefix="lf_live", formats=[STRONG]).prefixes == ("lf_live_", "sk-")


@given(keyrings)
def test_a_keyring_is_a_value(keyring):
    """Equal keyrings are equal, hash alike and cannot be changed."""
    again = Keyring(
        prefix=keyring.prefix, peppers=keyring.peppers, formats=keyring.formats, max_lifetime=keyring.max_lifetime
    )
    assert again == keyring
    assert hash(again) == hash(keyring)
    with pytest.raises(FrozenInstanceError):
        keyring.prefix = "other"


# --- KeyFormat --------------------------------------------------------------------------------------------------

CHARACTERS_SENTENCE = "a key format's prefix and alphabet are printable ASCII characters without blanks"
RANGES_SENTENCE = (
    "a key format's alphabet has no ranges: write the characters out, each once, and '-' anywhere but between two "
    "letters or digits; not "
)
LENGTH_SENTENCE = "a key format needs 1 <= min_length <= max_length, and at most 512 bytes with its prefix; not "
ENTROPY_SENTENCE = "a key format's entropy is a whole number of bits, or 0; not "


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"alphabet": ""}, CHARACTERS_SENTENCE),
        ({"alphabet": "ab c"}, CHARACTERS_SENTENCE),
        ({"alphabet": "abc\n"}, CHARACTERS_SENTENCE),
        ({"alphabet": "abcü"}, CHARACTERS_SENTENCE),
        ({"alphabet": "abc\x7f"}, CHARACTERS_SENTENCE),
        ({"alphabet": b"abc"}, CHARACTERS_SENTENCE),
        ({"alphabet": None}, CHARACTERS_SENTENCE),
        ({"alphabet": "A-Za-z0-9"}, RANGES_SENTENCE + "'A-Za-z0-9'"),
        ({"alphabet": "a-z"}, RANGES_SENTENCE + "'a-z'"),
        ({"alphabet": "0-9_"}, RANGES_SENTENCE + "'0-9_'"),
        ({"alphabet": "_a-F"}, RANGES_SENTENCE + "'_a-F'"),
        ({"alphabet": "abca"}, RANGES_SENTENCE + "'abca'"),
        ({"prefix": "sk "}, CHARACTERS_SENTENCE),
        ({"prefix": "sk-\n"}, CHARACTERS_SENTENCE),
        ({"prefix": None}, CHARACTERS_SENTENCE),
        ({"prefix": b""}, CHARACTERS_SENTENCE),
        ({"min_length": 0}, LENGTH_SENTENCE + "0 and 8"),
        ({"min_length": 9}, LENGTH_SENTENCE + "9 and 8"),
        ({"max_length": MAX_KEY_BYTES + 1}, LENGTH_SENTENCE),
        ({"max_length": MAX_KEY_BYTES, "prefix": "s"}, LENGTH_SENTENCE),
        ({"min_length": "4"}, LENGTH_SENTENCE + "'4' and 8"),
        ({"max_length": 8.0}, LENGTH_SENTENCE + "4 and 8.0"),
        ({"max_length": None}, LENGTH_SENTENCE),
        ({"entropy": -1}, ENTROPY_SENTENCE + "-1"),
        ({"entropy": None}, ENTROPY_SENTENCE + "None"),
        ({"entropy": "128"}, ENTROPY_SENTENCE + "'128'"),
    ],
    ids=name_of,
)
def test_a_wrong_key_format_says_what_is_allowed(changes, sentence):
    """A key format with a wrong value is refused with the sentence for that value."""
    refused(KeyFormat, {"alphabet": "abc", "min_length": 4, "max_length": 8, **changes}, sentence)


@pytest.mark.parametrize(
    ("form", "text", "matches"),
    [
        (KeyFormat(alphabet="abc", min_length=2, max_length=3), "ab", True),
        (KeyFormat(alphabet="abc", min_length=2, max_length=3), "abc", True),
        (KeyFormat(alphabet="abc", min_length=2, max_length=3), "a", False),
        (KeyFormat(alphabet="abc", min_length=2, max_length=3), "abca", False),
        (KeyFormat(alphabet="abc", min_length=2, max_length=3), "ab\n", False),
        (KeyFormat(alphabet="abc", min_length=2, max_length=3), "AB", False),
        (KeyFormat(alphabet="+-/", min_length=1, max_length=1), ".", False),
        (KeyFormat(alphabet="+-/", min_length=1, max_length=1), "-", True),
        (KeyFormat(alphabet="-ac", min_length=1, max_length=1), "b", False),
        (KeyFormat(alphabet="ac-", min_length=1, max_length=1), "b", False),
        (KeyFormat(alphabet=string.ascii_letters + string.digits + "-_", min_length=1, max_length=1), "-", True),
        (KeyFormat(alphabet="^a", min_length=1, max_length=1), "b", False),
        (KeyFormat(alphabet="^a", min_length=1, max_length=1), "^", True),
        (KeyFormat(alphabet="]\\", min_length=2, max_length=2), "\\]", True),
        (KeyFormat(prefix="sk-", alphabet="abc", min_length=1, max_length=3), "sk-ab", True),
        (KeyFormat(prefix="sk-", alphabet="abc", min_length=1, max_length=3), "ab", False),
        (KeyFormat(prefix="s.-", alphabet="abc", min_length=1, max_length=3), "sk-ab", False),
        (KeyFormat(alphabet="a", min_length=MAX_KEY_BYTES, max_length=MAX_KEY_BYTES), "a" * MAX_KEY_BYTES, True),
    ],
    ids=name_of,
)
def test_a_format_matches_whole_texts_of_its_alphabet(form, text, matches):
    """A text has the form if and only if all of it is prefix and alphabet, in the lengths; no sign is special."""
    assert form.matches(text) is matches


@given(st.data(), key_formats)
def test_a_format_matches_what_is_made_of_it(data, form):
    """Whatever is made of prefix and alphabet matches; one strange character more, anywhere, and it does not."""
    characters = st.text(alphabet=sorted(set(form.alphabet)), min_size=form.min_length, max_size=form.max_length)
    text = form.prefix + data.draw(characters)
    assert form.matches(text)
    place = data.draw(st.integers(0, len(text)))
    assert not form.matches(text[:place] + "\n" + text[place:])


@pytest.mark.parametrize(("entropy", "strong"), [(0, False), (111, False), (112, True), (256, True)])
def test_a_format_is_strong_from_112_bits_on(entropy, strong):
    """A fast digest is enough from 112 bits of entropy on."""
    form = KeyFormat(alphabet="abc", min_length=1, max_length=100, entropy=entropy)
    assert form.is_strong is strong


# --- PathRule ---------------------------------------------------------------------------------------------------

PATH_SENTENCE = (
    "a path begins with one slash, is not '/' alone, and has no empty, '.' or '..' segment and no character that needs "
    "encoding; only its last segment may be '*', for all that is below; not "
)
METHODS_SENTENCE = "methods is a set of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT; not "
WRONG_PATHS = (
    "",
    "/",
    "/*",
    "//",
    "//x",
    "/x//",
    "/x//y",
    "x",
    "x/y",
    "*",
    "/./x",
    "/x/.",
    "/x/..",
    "/x/../y",
    "/../*",
    "/x%20y",
    "/x y",
    "/x?",
    "/x#y",
    "/x;y",
    "/x\\y",
    "/ü",
    "/x\n",
    "/x*",
    "/x/y*",
    "/*/x",
    "/x/*/y",
    "/x/*/",
    "/x/**",
    "/{id}",
    "http://x/y",
    "/" + "x" * 2048,
    "/" + "x" * 2046 + "/*",
    None,
    5,
    b"/x",
)
RIGHT_PATHS = (
    "/x",
    "/x/",
    "/x/y",
    "/x/*",
    "/api/v1/mcp/*",
    "/.well-known/security.txt",
    "/...",
    "/a.b~c!$&'()+,=:@-_",
    "/" + "x" * 2047,
)


@pytest.mark.parametrize("path", WRONG_PATHS, ids=name_of)
def test_a_wrong_path_says_what_is_allowed(path):
    """A path that is not canonical, `/` itself, or a star anywhere but at the end is refused, alone or in a policy."""
    refused(PathRule, {"path": path}, PATH_SENTENCE + repr(path))
    for field in ("exempt", "optional"):
        refused(Policy, {field: ["/health", path]}, PATH_SENTENCE)


@pytest.mark.parametrize("path", RIGHT_PATHS, ids=name_of)
def test_a_right_path_is_accepted(path):
    """A canonical path is accepted, with a trailing slash or a last star, alone or in a policy."""
    rule = PathRule(path=path)
    assert rule.methods == DEFAULT_METHODS
    assert rule.websocket is False
    assert Policy(exempt=[path]).exempt_rules == (rule,)
    assert Policy(optional=[path]).optional_rules == (rule,)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"methods": "GET"}, "methods is a list, even of one; not str"),
        ({"methods": None}, "methods is a list, even of one; not NoneType"),
        ({"methods": ["get"]}, METHODS_SENTENCE + "['get']"),
        ({"methods": ["GET", "TRACE"]}, METHODS_SENTENCE),
        ({"methods": {"CONNECT"}}, METHODS_SENTENCE),
        ({"methods": ["GET", 5]}, METHODS_SENTENCE),
        ({"methods": [["GET"]]}, METHODS_SENTENCE),
        ({"methods": []}, "a path rule has one method at least, or websocket=True, or it speaks of nothing"),
        ({"websocket": "yes"}, "websocket is True or False; not 'yes'"),
        ({"websocket": 1, "methods": []}, "websocket is True or False; not 1"),
    ],
    ids=name_of,
)
def test_a_wrong_path_rule_says_what_is_allowed(arguments, sentence):
    """A path rule with wrong methods or a wrong switch is refused with the sentence for that value."""
    refused(PathRule, {"path": "/x", **arguments}, sentence)


def test_a_path_rule_may_speak_of_websockets_alone():
    """With `websocket=True` no method is needed."""
    rule = PathRule(path="/x", methods=[], websocket=True)
    assert rule.methods == frozenset()
    assert rule.websocket is True


@given(path_rules)
def test_an_entry_is_the_path_without_its_star(rule):
    """`/x/*` is a subtree with the entry `/x`; any other path is its own entry."""
    assert rule.path == rule.entry + ("/*" if rule.is_subtree else "")
    assert "*" not in rule.entry
    assert is_canonical(rule.entry)
    assert isinstance(rule.methods, frozenset)


@given(paths, st.sampled_from(["%", " ", "?", "#", ";", "\\", "\n", "\0", "é", "/./", "/../", "//", "|"]), st.data())
def test_no_path_with_a_strange_character_is_canonical(path, strange, data):
    """A canonical path stops being one wherever a character, or an empty or dotted segment, is put into it."""
    assert is_canonical(path)
    assert is_canonical(path + "/")
    place = data.draw(st.integers(0, len(path)))
    assert not is_canonical(path[:place] + strange + path[place:])


# --- Policy -----------------------------------------------------------------------------------------------------

USER_SENTENCE = "auto_login_user is the name of an owner, or None"
USER_NEEDED = "auto_login and skip_auth need auto_login_user, the name of the owner to act as"
NEEDS_AUTO_LOGIN = "auto_login_needs_key=False says something only together with auto_login=True"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"exempt": "/health"}, "exempt is a list, even of one; not str"),
        ({"exempt": b"/health"}, "exempt is a list, even of one; not bytes"),
        ({"exempt": None}, "exempt is a list, even of one; not NoneType"),
        ({"exempt": PathRule(path="/health")}, "exempt is a list, even of one; not PathRule"),
        ({"optional": "/health"}, "optional is a list, even of one; not str"),
        ({"optional": 5}, "optional is a list, even of one; not int"),
        ({"exempt": ["/x", "/x"]}, "the path '/x' stands twice among exempt and optional"),
        ({"optional": ["/x/*", "/y", "/x/*"]}, "the path '/x/*' stands twice among exempt and optional"),
        ({"exempt": ["/x"], "optional": ["/x"]}, "the path '/x' stands twice among exempt and optional"),
        (
            {"exempt": ["/x", PathRule(path="/x", methods={"GET"}, websocket=True)]},
            "the path '/x' stands twice among exempt and optional",
        ),
        (
            {
                "exempt": [PathRule(path="/x", methods={"GET"}, websocket=True)],
                "optional": [PathRule(path="/x", methods={"POST"}, websocket=True)],
            },
            "the path '/x' stands twice among exempt and optional",
        ),
        ({"auto_login": "true", "auto_login_user": "root"}, "auto_login is True or False; not 'true'"),
        ({"auto_login": 1, "auto_login_user": "root"}, "auto_login is True or False; not 1"),
        ({"auto_login": None}, "auto_login is True or False; not None"),
        ({"auto_login_needs_key": "no"}, "auto_login_needs_key is True or False; not 'no'"),
        ({"skip_auth": "false"}, "skip_auth is True or False; not 'false'"),
        ({"skip_auth": 0}, "skip_auth is True or False; not 0"),
        ({"auto_login": True}, USER_NEEDED),
        ({"skip_auth": True}, USER_NEEDED),
        ({"auto_login": True, "auto_login_needs_key": False}, USER_NEEDED),
        ({"auto_login": True, "auto_login_user": ""}, USER_SENTENCE),
        ({"auto_login": True, "auto_login_user": 7}, USER_SENTENCE),
        ({"auto_login_user": ["root"]}, USER_SENTENCE),
        ({"auto_login_needs_key": False}, NEEDS_AUTO_LOGIN),
        ({"auto_login_needs_key": False, "auto_login_user": "root"}, NEEDS_AUTO_LOGIN),
        ({"auto_login_needs_key": False, "skip_auth": True, "auto_login_user": "root"}, NEEDS_AUTO_LOGIN),
    ],
    ids=name_of,
)
def test_a_wrong_policy_says_what_is_allowed(arguments, sentence):
    """A policy with a wrong value, or with values that do not go together, is refused with the sentence for that."""
    refused(Policy, arguments, sentence)


def test_nothing_is_open_by_default():
    """A policy without arguments exempts nothing and excuses nobody."""
    policy = Policy()
    assert (policy.exempt, policy.optional) == ((), ())
    assert (policy.exempt_rules, policy.optional_rules) == ((), ())
    assert (policy.auto_login, policy.auto_login_needs_key, policy.skip_auth) == (False, True, False)
    assert policy.auto_login_user is None
    assert policy.excuses_keyless is False


@pytest.mark.parametrize("mode", MODES, ids=name_of)
def test_each_mode_is_accepted_with_its_user(mode):
    """Every combination of switches that means something is accepted, and says whether it excuses a missing key."""
    policy = Policy(auto_login_user="root", **mode)
    assert {name: getattr(policy, name) for name in mode} == mode
    expected = mode.get("skip_auth", False) or not mode.get("auto_login_needs_key", True)
    assert policy.excuses_keyless is expected


def test_a_path_may_stand_twice_for_different_requests():
    """One path may be exempt for some methods, optional for others, and something else for WebSockets."""
    get = PathRule(path="/x", methods={"GET"})
    post = PathRule(path="/x", methods={"POST"})
    socket = PathRule(path="/x", methods=[], websocket=True)
    policy = Policy(exempt=[get, socket], optional=[post, "/x/*", "/x/"])
    assert policy.exempt_rules == (get, socket)
    assert policy.optional_rules == (post, PathRule(path="/x/*"), PathRule(path="/x/"))


@given(st.lists(entries, max_size=5, unique=True))
def test_paths_keep_their_order(listed):
    """Texts become rules one by one, whatever iterable they come in."""
    rules = tuple(PathRule(path=path) for path in listed)
    for given_as in (listed, tuple(listed), iter(listed), dict.fromkeys(listed)):
        policy = Policy(exempt=given_as)
        assert policy.exempt == policy.exempt_rules == rules


@given(policies())
def test_a_policy_is_a_value(policy):
    """Equal policies are equal and hash alike, one goes through pickle unharmed, and none can be changed."""
    again = pickle.loads(pickle.dumps(policy))
    assert again == policy
    assert hash(again) == hash(policy)
    assert again.exempt_rules == policy.exempt_rules
    with pytest.raises(FrozenInstanceError):
        policy.skip_auth = True
