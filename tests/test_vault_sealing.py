"""What is sealed opens for its owner and name, under its key, and nowhere else; and the form is the one described."""

import base64
import copy
import json
import pickle
import runpy
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from vaults import NEW, OLD, OTHER

from keyguard.errors import CannotOpen, ConfigurationError
from keyguard.vault import SecretFile, SecretKeys

VECTORS = Path(__file__).parent / "vectors"
VAULT = json.loads((VECTORS / "vault.json").read_text())
ORACLE = runpy.run_path(str(VECTORS / "make_vault.py"))

AT = datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC)
HERE = {"owner_id": "1", "name": "TOKEN"}

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80)


def token_of(sealed):
    """The bytes of the token in a sealed text."""
    return base64.urlsafe_b64decode(sealed.removeprefix("v1."))


def sealed_of(token):
    return f"v1.{base64.urlsafe_b64encode(token).decode()}"


def forged(content, key=OLD):
    """Some bytes sealed by somebody who has the secret key."""
    return f"v1.{Fernet(base64.urlsafe_b64encode(ORACLE['fernet_key'](key))).encrypt(content).decode()}"


# --- the form -----------------------------------------------------------------------------------------------------


def test_the_vectors_are_what_their_script_makes():
    """The script that made the file makes the same again, and agrees with RFC 5869 and the specification of Fernet."""
    assert ORACLE["vectors"]() == VAULT


@pytest.mark.parametrize("vector", VAULT, ids=lambda vector: vector["about"])
def test_the_vectors_open(vector):
    """What was sealed by hand opens, and its key's check value is that of the vector."""
    keys = SecretKeys([vector["secret_key"]])
    assert keys.checks == (vector["check"],)
    assert keys.open(vector["sealed"], owner_id=vector["owner"], name=vector["name"]) == vector["value"]


@given(texts, texts, texts, st.integers(0, 2**33))
def test_what_is_sealed_is_what_the_oracle_seals(owner, name, value, time):
    """With the random bytes that it took, a sealed text is to the letter what the other implementation makes."""
    sealed = SecretKeys([OLD, NEW]).seal(value, owner_id=owner, name=name, at=datetime.fromtimestamp(time, UTC))
    assert sealed == ORACLE["seal"](OLD, owner, name, value, time, iv=token_of(sealed)[9:25])


def test_nothing_is_sealed_twice_alike():
    """Equal values of one owner cannot be told to be equal."""
    keys = SecretKeys([OLD])
    assert len({keys.seal("value", **HERE, at=AT) for _ in range(20)}) == 20


# --- opening ------------------------------------------------------------------------------------------------------


@given(texts, texts, texts)
def test_opening_is_the_inverse_of_sealing(owner, name, value):
    """Any text opens as it was sealed, before and after it was sealed again under another key."""
    sealed = SecretKeys([OLD]).seal(value, owner_id=owner, name=name, at=AT)
    both = SecretKeys([NEW, OLD])
    resealed = both.reseal(sealed, owner_id=owner, name=name)
    for text in (sealed, resealed):
        assert both.open(text, owner_id=owner, name=name) == value
    assert SecretKeys([NEW]).open(resealed, owner_id=owner, name=name) == value


@pytest.mark.parametrize(
    ("owner_id", "name"),
    [("2", "TOKEN"), ("1", "TOKEM"), ("1", "token"), ("1", "TOKEN "), ("TOKEN", "1"), ("1", ""), ("", "TOKEN")],
)
def test_it_opens_for_nobody_else(owner_id, name):
    """A sealed text does not open for another owner or name, and is not sealed again for one either."""
    keys = SecretKeys([OLD])
    sealed = keys.seal("value", **HERE, at=AT)
    for call in (keys.open, keys.reseal):
        with pytest.raises(CannotOpen, match="sealed for another owner or name"):
            call(sealed, owner_id=owner_id, name=name)


@given(texts, texts, texts, texts)
def test_owner_and_name_cannot_flow_into_one_another(owner, name, other_owner, other_name):
    """Only the very owner and name open it, wherever one ends and the other begins."""
    keys = SecretKeys([OLD])
    sealed = keys.seal("value", owner_id=owner, name=name, at=AT)
    if (owner, name) == (other_owner, other_name):
        assert keys.open(sealed, owner_id=other_owner, name=other_name) == "value"
    else:
        with pytest.raises(CannotOpen):
            keys.open(sealed, owner_id=other_owner, name=other_name)


def test_no_changed_bit_opens():
    """With one bit changed anywhere, or a byte missing at either end, nothing opens."""
    keys = SecretKeys([OLD])
    token = token_of(keys.seal("value", **HERE, at=AT))
    changed = [
        bytes([*token[:place], token[place] ^ 1 << bit, *token[place + 1 :]])
        for place in range(len(token))
        for bit in range(8)
    ]
    for text in map(sealed_of, [*changed, token[1:], token[:-1], token + b"\0", token[:40], b"", b"\x80"]):
        with pytest.raises(CannotOpen, match="it was changed, or sealed with a secret key that was not given"):
            keys.open(text, **HERE)


@pytest.mark.parametrize(
    "form",
    [
        *("{token}", "v2.{token}", " v1.{token}", "v1.{token}\n", "v1.{token}===", "v1.{token}{token}", "v1. {token}"),
        *("v1.é{token}", "v1.", "", "value"),
    ],
)
def test_another_form_does_not_open(form):
    """What is not `v1.` and a token, and nothing else, does not open, whatever a lenient decoder would make of it."""
    keys = SecretKeys([OLD])
    token = keys.seal("value", **HERE, at=AT).removeprefix("v1.")
    with pytest.raises(CannotOpen):
        keys.open(form.format(token=token), **HERE)


@pytest.mark.parametrize(
    "content",
    [
        b"value",
        b"\xff",
        b"[]",
        b'"value"',
        b'{"owner": "1", "name": "TOKEN"}',
        b'{"owner": "1", "name": "TOKEN", "value": 1}',
        b'{"owner": 1, "name": "TOKEN", "value": "value"}',
        b'{"owner": "1", "value": "value"}',
    ],
)
def test_other_content_does_not_open(content):
    """A genuine token over anything but the three texts does not open: one that was made for another purpose."""
    with pytest.raises(CannotOpen):
        SecretKeys([OLD]).open(forged(content), **HERE)


def test_a_key_that_was_not_given_opens_nothing():
    """What was sealed under one key does not open under others."""
    sealed = SecretKeys([OLD]).seal("value", **HERE, at=AT)
    for call in (SecretKeys([NEW, OTHER]).open, SecretKeys([NEW, OTHER]).reseal):
        with pytest.raises(CannotOpen, match="a secret key that was not given"):
            call(sealed, **HERE)


def test_the_first_key_seals_and_all_open():
    """What is sealed opens under the first key alone, and under any list in which that stands somewhere."""
    sealed = SecretKeys([OLD, NEW]).seal("value", **HERE, at=AT)
    for keys in ([OLD], [NEW, OLD], [NEW, OTHER, OLD]):
        assert SecretKeys(keys).open(sealed, **HERE) == "value"
    with pytest.raises(CannotOpen):
        SecretKeys([NEW]).open(sealed, **HERE)


def test_sealing_again_keeps_the_time():
    """The time in a sealed text is when it was first sealed, to the second."""
    sealed = SecretKeys([OLD]).seal("value", **HERE, at=AT)
    resealed = SecretKeys([NEW, OLD]).reseal(sealed, **HERE)
    assert token_of(resealed)[1:9] == token_of(sealed)[1:9] == int(AT.timestamp()).to_bytes(8, "big")
    assert token_of(resealed)[9:25] != token_of(sealed)[9:25]


# --- the keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ([], "no secret key"),
        (OLD, "is a list of secret keys, even of one"),
        (["x" * 31], "at least 32 printable ASCII characters without blanks"),
        ([OLD, ""], "at least 32"),
        ([f"{OLD} "], "without blanks"),
        ([f"{OLD}\n"], "without blanks"),
        ([f"{OLD}\t{NEW}"], "without blanks"),
        ([f"é{OLD}"], "ASCII"),
        ([OLD.encode()], "ASCII"),
        ([None], "ASCII"),
        ([OLD, NEW, OLD], "twice"),
    ],
)
def test_keys_that_cannot_be_right_are_refused(keys, problem):
    """Secret keys are checked where they are given; the sentence says what is allowed and quotes none."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        SecretKeys(keys)
    assert "DZq2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_any_iterable_of_keys_will_do():
    """Keys may come one after the other, and the shortest has 32 characters."""
    assert SecretKeys(iter(["x" * 32, OLD])).checks == (ORACLE["check"]("x" * 32), ORACLE["check"](OLD))


def test_keys_do_not_show_themselves():
    """Neither `repr` nor formatting shows a key or how many there are; pickling and copying are refused."""
    keys = SecretKeys([OLD, NEW])
    assert repr(keys) == str(keys) == f"{keys}" == "<SecretKeys …>"
    for whole in (keys, {"keys": [keys]}):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                pickle.dumps(whole, protocol)
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            copy.deepcopy(whole)
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy.copy(keys)


# --- from the environment -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [f"{OLD} {NEW}", f"{OLD}\n{NEW}\n", f"  {OLD}\t\r\n {NEW}"])
def test_keys_come_from_the_environment(text):
    """Between the keys in the variable stand blanks or line breaks; the first is the one that seals."""
    keys = SecretKeys.from_environment({"KEYGUARD_SECRET_KEY": text, "OTHER": "x"}, file="/nowhere")
    assert keys.checks == SecretKeys([OLD, NEW]).checks


def test_a_file_is_named_by_the_environment_or_the_app(tmp_path):
    """Without keys in it, the environment's file is taken, and without that the app's; it is not touched yet."""
    named = SecretKeys.from_environment({"KEYGUARD_SECRET_KEY_FILE": f"{tmp_path}/a"}, file=tmp_path / "b")
    given = SecretKeys.from_environment({}, file=tmp_path / "b")
    assert (type(named), type(given)) == (SecretFile, SecretFile)
    assert (named.path, given.path) == (tmp_path / "a", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "set KEYGUARD_SECRET_KEY or KEYGUARD_SECRET_KEY_FILE"),
        ({"KEYGUARD_SECRET_KEY": ""}, "KEYGUARD_SECRET_KEY: there is no secret key in it"),
        ({"KEYGUARD_SECRET_KEY": " \n"}, "KEYGUARD_SECRET_KEY: there is no secret key in it"),
        ({"KEYGUARD_SECRET_KEY": "DZq2"}, "KEYGUARD_SECRET_KEY: a secret key is at least 32"),
        ({"KEYGUARD_SECRET_KEY": f"{OLD} {OLD}"}, "KEYGUARD_SECRET_KEY: the same secret key stands there twice"),
        ({"KEYGUARD_SECRET_KEY_FILE": ""}, "KEYGUARD_SECRET_KEY_FILE is set and empty"),
        ({"KEYGUARD_SECRET_KEY": OLD, "KEYGUARD_SECRET_KEY_FILE": "/x"}, "both set"),
        ({"KEYGUARD_SECRET_KEY": OLD, "KEYGUARD_SECRET_KEY_FILE": ""}, "both set"),
    ],
)
def test_an_environment_that_cannot_be_right_is_refused(environ, problem):
    """A variable that is set and empty is a mistake and not a missing one; nothing is quoted."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        SecretKeys.from_environment(environ)
    assert "DZq2" not in str(caught.value)
