"""Keys: made from entropy, read exactly, never shown."""

import copy
import json
import pickle
import re
import runpy
import traceback
import zlib
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyguard.errors import ConfigurationError, InvalidKey
from keyguard.keys import (
    ENTROPY_BYTES,
    ApiKey,
    Plaintext,
    from_entropy,
    id_from_entropy,
    parse,
    recognise,
    scanner_pattern,
)
from keyguard.settings import KeyFormat, Keyring

VECTORS = json.loads((Path(__file__).parent / "vectors" / "keys.json").read_text())
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY = from_entropy("kg", bytes(range(ENTROPY_BYTES)))
TEXT = KEY.reveal()
SECRET_AND_CHECKSUM = TEXT.rpartition("_")[2]

prefixes = st.from_regex(r"[a-z0-9]([a-z0-9_]{0,14}[a-z0-9])?", fullmatch=True)
keys = st.builds(from_entropy, prefixes, st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
vectors = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['prefix']}: {vector['about']}")


def checksummed(body):
    """`body` as a key with a right checksum, so that nothing but the form can be wrong with it."""
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        digits = ALPHABET[number % 62] + digits
        number //= 62
    return body + digits.rjust(6, "0")


# --- made ---------------------------------------------------------------------------------------------------------


@vectors
def test_a_key_is_what_another_implementation_makes_of_the_same_bytes(vector):
    """From the same entropy the same key comes as in the vectors, part by part."""
    key = from_entropy(vector["prefix"], bytes.fromhex(vector["entropy"]))
    assert key.reveal() == vector["key"] == f"{key.prefix}_{key.id}_{vector['secret']}{vector['checksum']}"
    assert (key.prefix, key.id) == (vector["prefix"], vector["id"])


@vectors
def test_a_vector_is_read(vector):
    """Each key of the vectors is read, with its prefix and its id."""
    key = parse(vector["key"], prefix=vector["prefix"])
    assert (key.reveal(), key.prefix, key.id) == (vector["key"], vector["prefix"], vector["id"])


def test_the_vectors_are_what_their_script_makes():
    """Running the script again would change nothing."""
    script = Path(__file__).parent / "vectors" / "make_keys.py"
    assert runpy.run_path(str(script))["vectors"]() == VECTORS
    assert "keyguard" not in re.findall(r"^(?:import|from) (\w+)", script.read_text(), re.MULTILINE)


@pytest.mark.parametrize("length", [0, 16, 32, 47, 49, 96])
def test_entropy_of_another_length_is_refused(length):
    """No key is made of fewer or more than 48 bytes, and the message tells lengths only."""
    with pytest.raises(ConfigurationError) as caught:
        from_entropy("kg", b"\xa5" * length)
    assert str(caught.value) == f"a key is made from exactly 48 random bytes; not {length}"


@vectors
def test_an_id_alone_is_what_the_key_would_have(vector):
    """The first 16 bytes of a key's entropy give its id, also without the rest."""
    assert id_from_entropy(bytes.fromhex(vector["entropy"])[:16]) == vector["id"]


@pytest.mark.parametrize("length", [0, 15, 17, ENTROPY_BYTES])
def test_an_id_is_made_of_16_bytes(length):
    """No id is made of fewer or more."""
    with pytest.raises(ConfigurationError, match=f"an id is made from exactly 16 random bytes; not {length}"):
        id_from_entropy(b"\xa5" * length)


@given(key=keys, key_id=st.from_regex(r"[0-9A-Za-z]{12}", fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_a_key_with_an_id_of_ones_own(key, key_id):
    """With an id that is given all but the id and the checksum is of the entropy, and the whole is read as a key."""
    secret = key.reveal().rpartition("_")[2][:43]
    entropy = bytes(16) + _number(secret).to_bytes(32)
    own = from_entropy(key.prefix, entropy, key_id=key_id)
    assert own.reveal() == checksummed(f"{key.prefix}_{key_id}_{secret}")
    assert (own.id, parse(own.reveal(), prefix=key.prefix)) == (key_id, own)


def _number(digits):
    number = 0
    for digit in digits:
        number = number * 62 + ALPHABET.index(digit)
    return number


def test_a_generated_key_is_strong():
    """A fast digest is enough for a key of 256 bits, however it came here."""
    assert KEY.is_strong is True
    assert parse(TEXT, prefix="kg").is_strong is True


# --- read ---------------------------------------------------------------------------------------------------------


@given(keys)
def test_reading_undoes_writing(key):
    """Whatever key is written, reading it gives the same key."""
    read = parse(key.reveal(), prefix=key.prefix)
    assert read == key
    assert (read.reveal(), read.prefix, read.id, read.hint) == (key.reveal(), key.prefix, key.id, key.hint)


def no_key(text, prefix):
    with pytest.raises(InvalidKey) as caught:
        parse(text, prefix=prefix)
    assert str(caught.value) == f"this is not a key of the form {prefix}_…, or it is damaged"
    return caught.value


@given(keys, st.sampled_from(ALPHABET + "_-= \n\u00e9"))
def test_no_single_replaced_character_is_read(key, wrong):
    """At each position, another character in place of the right one makes it no key."""
    text = key.reveal()
    for position, right in enumerate(text):
        if wrong != right:
            no_key(text[:position] + wrong + text[position + 1 :], key.prefix)


@given(keys, st.sampled_from(ALPHABET + "_ \n\x00\u0661"))
def test_no_single_inserted_character_is_read(key, extra):
    """At each position, the ends included, one character more makes it no key."""
    text = key.reveal()
    for position in range(len(text) + 1):
        no_key(text[:position] + extra + text[position:], key.prefix)


@given(keys)
def test_no_single_deleted_character_is_read(key):
    """At each position, one character fewer makes it no key."""
    text = key.reveal()
    for position in range(len(text)):
        no_key(text[:position] + text[position + 1 :], key.prefix)


@given(keys)
def test_no_swapped_neighbours_are_read(key):
    """Two different neighbours the wrong way round make it no key.

    Within the checksummed part CRC-32 notices every change of up to 32 bits in a row; across the border of secret and
    checksum, all twenty pairs that leave a number of 32 bits were tried on paper, and none has a solution.
    """
    text = key.reveal()
    for position in range(len(text) - 1):
        first, second = text[position : position + 2]
        if first != second:
            no_key(text[:position] + second + first + text[position + 2 :], key.prefix)


def test_every_character_at_every_position_of_one_key_is_tried():
    """Of one key, all replacements by any ASCII character are tried, and only the right one is read."""
    for position in range(len(TEXT)):
        for wrong in set(map(chr, range(128))) - {TEXT[position]}:
            no_key(TEXT[:position] + wrong + TEXT[position + 1 :], "kg")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kg",
        "kg_",
        "_",
        TEXT + "\n",
        "\n" + TEXT,
        " " + TEXT,
        TEXT + " ",
        TEXT + TEXT,
        TEXT.upper(),
        TEXT.lower(),
        TEXT.removeprefix("kg"),
        "KG" + TEXT.removeprefix("kg"),
        "xx" + TEXT.removeprefix("kg"),
        checksummed("xx" + TEXT.removeprefix("kg")[:-6]),
        checksummed("kg_" + "0" * 11 + "_" + "0" * 43),
        checksummed("kg_" + "0" * 13 + "_" + "0" * 43),
        checksummed("kg_" + "0" * 12 + "_" + "0" * 42),
        checksummed("kg_" + "0" * 12 + "_" + "0" * 44),
        checksummed("kg-" + "0" * 12 + "_" + "0" * 43),
        checksummed("kg_" + "0" * 12 + "-" + "0" * 43),
        checksummed("kg_" + "0" * 11 + "-" + "_" + "0" * 43),
        checksummed("kg_" + "0" * 12 + "_" + "0" * 42 + "-"),
        checksummed("kg_" + "0" * 12 + "_" + "0" * 42 + "_"),
        checksummed("kg_" + "\u0661" * 12 + "_" + "0" * 43),
    ],
)
def test_a_text_that_is_not_exactly_a_key_is_not_read(text):
    """Neither a part of a key, nor one with something around it, nor another form with a right checksum is a key."""
    no_key(text, "kg")


def test_the_largest_and_the_smallest_parts_are_read():
    """Every digit is good at every place of id and secret, if the checksum is right."""
    for digit in ALPHABET:
        text = checksummed(f"kg_{digit * 12}_{digit * 43}")
        assert parse(text, prefix="kg").reveal() == text


def test_a_prefix_that_begins_another_is_not_taken_for_it():
    """A key with prefix `lf_live` is none with prefix `lf`, and the other way round."""
    no_key(from_entropy("lf_live", bytes(48)).reveal(), "lf")
    no_key(from_entropy("lf", bytes(48)).reveal(), "lf_live")


def test_a_refused_text_stands_nowhere_in_the_exception():
    """Message, cause, context and the variables of Keyguard's own frames do not hold the text, even from a handler."""
    almost = TEXT[:-1] + "~"
    try:
        int(almost)
    except ValueError:
        error = no_key(almost, "kg")
    assert almost not in "".join(traceback.format_exception(error))
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    assert innermost.f_locals == {"prefix": "kg", "key": None}


# --- presented ----------------------------------------------------------------------------------------------------

PEPPER = b"a pepper that tests use"
STRONG = KeyFormat(prefix="sk-", alphabet=ALPHABET, min_length=43, max_length=43, entropy=112)
WEAK = KeyFormat(prefix="sk-", alphabet=ALPHABET + "-", min_length=8, max_length=509, entropy=111)
ANYTHING = KeyFormat(alphabet="".join(map(chr, range(33, 127))), min_length=1, max_length=512)


@pytest.mark.parametrize(
    ("value", "formats", "is_strong"),
    [
        (TEXT, (), True),
        (TEXT, (ANYTHING,), True),
        ("sk-" + "a" * 43, (STRONG, WEAK), True),
        ("sk-" + "a" * 43, (WEAK, STRONG), False),
        ("sk-" + "a" * 42, (STRONG, WEAK), False),
        ("a" * 512, (STRONG, ANYTHING), False),
        ("lf" + TEXT.removeprefix("kg"), (ANYTHING,), False),
        (TEXT[:-1] + "~", (ANYTHING,), False),
    ],
)
def test_what_has_an_accepted_form_is_recognised(value, formats, is_strong):
    """The own form comes first, then the first of the formats that matches says how strong it is."""
    found = recognise(value.encode(), Keyring(formats=formats, peppers=[PEPPER]))
    assert found.reveal() == value
    assert found.is_strong is is_strong
    assert isinstance(found, ApiKey) == (value == TEXT)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"sk-" + b"a" * 7,
        b"sk-" + b"a" * 510,
        b"a" * 513,
        TEXT.encode() + b"\n",
        TEXT.encode() + b"\x00",
        b"\xff" + TEXT.encode(),
        TEXT.encode().replace(b"kg", b"k\xc3\xa9"),
        b"sk-" + "\u00e9".encode() * 8,
        b"sk-" + "\u0661".encode() * 43,
        b"%6b" + TEXT.encode()[1:],
        TEXT.encode("utf-16"),
    ],
)
def test_what_has_no_accepted_form_is_not_recognised(value):
    """Too long, too short, not ASCII or with a character too many: it is no key."""
    assert recognise(value, Keyring(formats=[STRONG, WEAK], peppers=[PEPPER])) is None


def test_a_key_of_another_prefix_is_not_recognised():
    """The keyring's prefix is the only one whose keys are accepted."""
    assert recognise(TEXT.encode(), Keyring(prefix="lf")) is None
    assert recognise(from_entropy("lf", bytes(48)).reveal().encode(), Keyring(prefix="lf")).prefix == "lf"


@given(st.binary(max_size=1024))
@example(b"\xff" * 512)
@example(b"\x80")
def test_no_bytes_raise(value):
    """Whatever bytes are presented, the answer is a value, and a text that is recognised is the text presented."""
    keyring = Keyring(formats=[STRONG, WEAK, ANYTHING], peppers=[PEPPER])
    found = recognise(value, keyring)
    assert (found is not None) == (0 < len(value) <= 512 and all(33 <= byte < 127 for byte in value))
    assert found is None or found.reveal().encode() == value


# --- not shown ----------------------------------------------------------------------------------------------------

CHOSEN = Plaintext("correct horse battery staple", is_strong=False)


@dataclass(frozen=True)
class Holder:
    key: Plaintext


def test_masks_read_like_this():
    """A key of ours shows what people tell it by, another shows nothing."""
    assert KEY.hint == f"kg_{KEY.id[:4]}…"
    assert repr(KEY) == str(KEY) == f"<ApiKey kg_{KEY.id[:4]}…>"
    assert repr(CHOSEN) == str(CHOSEN) == "<Plaintext …>"
    assert f"{CHOSEN:*^17}" == "**<Plaintext …>**"


@given(keys | st.builds(Plaintext, st.text(ALPHABET, min_size=20), is_strong=st.booleans()))
def test_a_key_is_masked_wherever_it_is_written(key):
    """No text that Python makes of a key, or of something that holds it, has eight letters of the secret in a row."""
    try:
        raise ValueError(key)  # noqa: TRY301  # Only the traceback is wanted.
    except ValueError as error:
        report = "".join(traceback.format_exception(error)) + repr(error)
    written = [
        f"{key} {key!s} {key!r} {key!a} {key:>80}",
        "%s %r %a" % (key, key, key),  # noqa: UP031  # Logging writes like this.
        str(key),
        repr(Holder(key)),
        repr({"key": [key]}),
        report,
    ]
    secret = key.reveal().rpartition("_")[2]
    pieces = [secret[start : start + 8] for start in range(len(secret) - 7)]
    assert not [piece for piece in pieces if any(piece in text for text in written)]


@pytest.mark.parametrize("key", [KEY, CHOSEN], ids=["own form", "another form"])
@pytest.mark.parametrize(
    "leave_behind",
    [
        *(partial(pickle.dumps, protocol=protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
        copy.copy,
        copy.deepcopy,
        lambda key: asdict(Holder(key)),
    ],
    ids=[*(f"pickle {protocol}" for protocol in range(pickle.HIGHEST_PROTOCOL + 1)), "copy", "deepcopy", "asdict"],
)
def test_a_key_is_neither_pickled_nor_copied(key, leave_behind):
    """Pickling by any protocol, copying, and what copies on the way, raise TypeError."""
    with pytest.raises(TypeError) as caught:
        leave_behind(key)
    name = type(key).__name__
    assert str(caught.value) == f"{name} cannot be pickled or copied: it would leave the text of a key behind"


def test_a_key_is_written_by_no_json():
    """A key that is forgotten in an answer is an error, not an answer."""
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps({"key": KEY})


def test_a_key_has_no_dictionary_and_no_hash():
    """Nothing can be hung on a key, and it can be neither in a set nor the key of a cache."""
    assert not hasattr(KEY, "__dict__")
    with pytest.raises(TypeError, match="unhashable type: 'ApiKey'"):
        hash(KEY)
    with pytest.raises(TypeError, match="unhashable type: 'Plaintext'"):
        hash(CHOSEN)


def test_keys_are_equal_if_their_texts_are():
    """A key equals whatever key has the same text, and nothing else, its own text included."""
    assert Plaintext(TEXT, is_strong=False) == KEY
    assert from_entropy("kg", bytes(range(48))) == KEY
    assert from_entropy("kg", bytes(48)) != KEY
    assert CHOSEN != KEY
    assert KEY != TEXT
    assert KEY.__eq__(TEXT) is NotImplemented


def test_any_text_can_be_compared():
    """Letters beyond ASCII and lone surrogates do not make comparing raise."""
    assert Plaintext("pässwörd", is_strong=False) == Plaintext("pässwörd", is_strong=False)
    assert Plaintext("\ud800", is_strong=False) != Plaintext("pässwörd", is_strong=False)
    assert Plaintext("\ud800", is_strong=False) == Plaintext("\ud800", is_strong=False)


# --- found by scanners --------------------------------------------------------------------------------------------


def test_the_scanner_pattern_reads_like_this():
    """The published pattern is written out here, so that a change of it is seen."""
    assert scanner_pattern("kg") == "kg_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}"


@given(keys, st.sampled_from(["", "x", "%3D", "\\n", '"', "Bearer ", "é"]), st.sampled_from(["", "&", '"', "\\n", "'"]))
def test_a_scanner_finds_a_key_in_any_text(key, before, after):
    """The pattern finds the key, whole, whatever stands around it."""
    assert re.findall(scanner_pattern(key.prefix), before + key.reveal() + after) == [key.reveal()]


def test_a_scanner_finds_no_key_of_another_prefix_or_form():
    """The pattern asks for the prefix and the lengths."""
    assert not re.search(scanner_pattern("lf"), TEXT)
    assert not re.search(scanner_pattern("kg"), TEXT[:-1])
    assert not re.search(scanner_pattern("kg"), TEXT.replace("_", "-"))
