"""Where keys stand: all of them are found, and what is given back holds none."""

import re
import sys
from dataclasses import FrozenInstanceError
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyguard.errors import ConfigurationError
from keyguard.extract import MAX_ODD_NAMES, Candidate, Sources
from keyguard.model import Source

HEADER, QUERY, BEARER = Source.HEADER, Source.QUERY, Source.BEARER
PREFIXES = ("kg_", "sk-")


def found(extraction):
    return [(candidate.source, candidate.value) for candidate in extraction.candidates]


def told(extraction):
    """What an extraction says of the request, by the names of what is true."""
    names = ("is_ambiguous", "foreign_token", "from_query", "too_many")
    return {name for name in names if getattr(extraction, name)}


# --- headers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"kg_1", b"kg_1"),
        (b"", b""),
        (b" \t kg_1\t ", b"kg_1"),
        (b" \t ", b""),
        (b"kg_1, kg_2", b"kg_1, kg_2"),
        (b"kg 1", b"kg 1"),
        (b"XXkg_1XX", b"XXkg_1XX"),
        (b"Bearer kg_1", b"Bearer kg_1"),
        (b"\x0bkg_1\x0c", b"\x0bkg_1\x0c"),
        (b"kg_1\n", b"kg_1\n"),
        (b"kg_%31+", b"kg_%31+"),
        (b"\xa0kg_1", b""),
        ("kg_\u00e9".encode(), b""),
        (b"x" * 70000, b"x" * 70000),
    ],
)
def test_a_header_is_taken_as_it_stands(value, expected):
    """Blanks and tabs around it are left out; it is neither split nor decoded; beyond ASCII it is empty, so no key."""
    headers = [(b"host", b"kg_1"), (b"x-api-key", value), (b"accept", b"*/*")]
    extraction = Sources().extract(headers, b"")
    assert found(extraction) == [(HEADER, expected)]
    assert extraction.headers == [(b"host", b"kg_1"), (b"accept", b"*/*")]
    assert not extraction.is_ambiguous
    assert not extraction.from_query


@pytest.mark.parametrize("name", [b"x_api_key", b"x-api-key ", b"x-api-keys", b"-x-api-key", b"apikey", b""])
def test_a_header_of_another_name_is_nothing(name):
    """Only the very name counts: an underscore is no hyphen."""
    extraction = Sources().extract([(name, b"kg_1")], b"")
    assert found(extraction) == []
    assert extraction.headers == [(name, b"kg_1")]


@pytest.mark.parametrize(
    "shape",
    [
        list,
        tuple,
        iter,
        lambda headers: map(list, headers),
        lambda headers: [(*map(bytearray, each),) for each in headers],
    ],
    ids=["list", "tuple", "iterator", "lists", "other buffers"],
)
def test_headers_are_any_iterable(shape):
    """However the specification lets a server pass headers on, they are read, and given back in a list of our own."""
    extraction = Sources().extract(shape([(b"X-Api-Key", b"kg_1"), (b"Accept", b"*/*"), (b"host", b"a")]), b"")
    assert found(extraction) == [(HEADER, b"kg_1")]
    assert extraction.headers == [(b"accept", b"*/*"), (b"host", b"a")]
    assert {type(part) for entry in extraction.headers for part in entry} == {bytes}
    assert Sources().extract(shape([]), b"").headers == []


def test_a_header_is_configured_in_any_letter_case():
    """Names arrive in lower case, and so the configured one is kept."""
    sources = Sources(header="X-Flow-Key")
    assert sources.header == "x-flow-key"
    assert found(sources.extract([(b"x-flow-key", b"kg_1"), (b"x-api-key", b"kg_2")], b"")) == [(HEADER, b"kg_1")]


def test_no_header_is_read_where_it_is_off():
    """With header=None the header is the app's."""
    extraction = Sources(header=None).extract([(b"x-api-key", b"kg_1")], b"")
    assert found(extraction) == []
    assert extraction.headers == [(b"x-api-key", b"kg_1")]


# --- bearer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer kg_1", b"kg_1"),
        (b"bearer kg_1", b"kg_1"),
        (b"BEARER sk-1", b"sk-1"),
        (b"Bearer    kg_1", b"kg_1"),
        (b"Bearer\tkg_1", b"kg_1"),
        (b"Bearer \tkg_1", b"kg_1"),
        (b" \tBearer kg_1\t ", b"kg_1"),
        (b"Bearer kg_1 kg_2", b"kg_1 kg_2"),
        (b"Bearer kg_1,x", b"kg_1,x"),
        (b"Bearer kg_1X", b"kg_1X"),
        (b"Bearer kg_1\x0b", b"kg_1\x0b"),
        (b"Bearer kg_", b"kg_"),
        ("Bearer kg_\u00e9".encode(), b""),
    ],
)
def test_a_bearer_token_with_a_prefix_is_a_key(value, token):
    """The scheme's letter case does not matter, nor how many blanks follow; the header is taken out."""
    sources = Sources(bearer=True, prefixes=PREFIXES)
    extraction = sources.extract([(b"accept", b"*/*"), (b"authorization", value)], b"")
    assert found(extraction) == [(BEARER, token)]
    assert extraction.headers == [(b"accept", b"*/*")]
    assert not extraction.foreign_token


@pytest.mark.parametrize(
    ("value", "foreign"),
    [
        (b"Bearer eyJhbGciOi", True),
        (b"Bearer KG_1", True),
        (b"Bearer xkg_1", True),
        (b"Bearer Xkg_1", True),
        (b"Bearer kg", True),
        (b"Bearer \x0bkg_1", True),
        (b"Bearer", True),
        (b"bearer ", True),
        (b"Bearerkg_1", False),
        (b"Basic kg_1", False),
        (b"XBearer kg_1", False),
        (b"\x0bBearer kg_1", False),
        (b"Token Bearer kg_1", False),
        (b"kg_1", False),
        (b"", False),
    ],
)
def test_any_other_authorization_stays(value, foreign):
    """A bearer token without our prefixes is the app's, and told; another scheme is nothing."""
    extraction = Sources(bearer=True, prefixes=PREFIXES).extract([(b"authorization", value)], b"")
    assert found(extraction) == []
    assert extraction.foreign_token is foreign
    assert extraction.headers == [(b"authorization", value)]
    assert not extraction.is_ambiguous


def test_a_bearer_token_stays_where_nothing_is_stripped():
    """Without stripping the header with the key is given back as it came."""
    entry = (b"authorization", b"Bearer kg_1")
    extraction = Sources(bearer=True, prefixes=PREFIXES, strip=False).extract([entry], b"")
    assert found(extraction) == [(BEARER, b"kg_1")]
    assert extraction.headers == [entry]


def test_bearer_is_off_unless_it_is_asked_for():
    """Without bearer=True, what stands in Authorization is the app's whatever it is."""
    extraction = Sources(prefixes=PREFIXES).extract([(b"authorization", b"Bearer kg_1")], b"")
    assert (found(extraction), extraction.foreign_token) == ([], False)
    assert extraction.headers == [(b"authorization", b"Bearer kg_1")]


def test_an_empty_prefix_makes_every_token_a_key():
    """Where keys may begin with anything, no token is foreign."""
    sources = Sources(bearer=True, prefixes=("kg_", ""))
    for value, token in {b"Bearer x": b"x", b"Bearer": b""}.items():
        extraction = sources.extract([(b"authorization", value)], b"")
        assert (found(extraction), extraction.foreign_token) == ([(BEARER, token)], False)


# --- query --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "value", "rest"),
    [
        (b"x-api-key=kg_1", b"kg_1", b""),
        (b"x-api-key=kg_1&a=1", b"kg_1", b"a=1"),
        (b"a=1&x-api-key=kg_1", b"kg_1", b"a=1"),
        (b"a=%31&x-api-key=kg_1&b=+2", b"kg_1", b"a=%31&b=+2"),
        (b"&x-api-key=kg_1", b"kg_1", b""),
        (b"&&x-api-key=kg_1&&", b"kg_1", b"&&&"),
        (b"x-api-key=kg_1&", b"kg_1", b""),
        (b"x-api-key=kg_1&&", b"kg_1", b"&"),
        (b"x-api-key=", b"", b""),
        (b"x-api-key", b"", b""),
        (b"x-api-key&a", b"", b"a"),
        (b"x-api-key==kg_1=", b"=kg_1=", b""),
        (b"x-api-key=kg_1;b=2", b"kg_1;b=2", b""),
        (b"x-api-key=a+b", b"a+b", b""),
        (b"x-api-key= kg_1", b" kg_1", b""),
        (b"x-api-key=k%67%5F1", b"kg_1", b""),
        (b"x-api-key=%6b%67_1%26x-api-key%3Dkg_2", b"kg_1&x-api-key=kg_2", b""),
        (b"x-api-key=%2531", b"%31", b""),
        (b"x-api-key=kg_1%", b"", b""),
        (b"x-api-key=kg_1%3", b"", b""),
        (b"x-api-key=%g1kg_1", b"", b""),
        (b"x-api-key=%1gkg_1", b"", b""),
        (b"x-api-key=%u0031", b"", b""),
        (b"x-api-key=%C3%A9", b"", b""),
        (b"x-api-key=\xc3\xa9", b"", b""),
        (b"x-api-key=%80", b"", b""),
        (b"x-api-key=%7F", b"\x7f", b""),
        (b"x-api-key=kg_1\n", b"kg_1\n", b""),
        (b"x-api-key=" + b"%41" * 512, b"A" * 512, b""),
        (b"x-api-key=" + b"a" * 1536, b"a" * 1536, b""),
        (b"x-api-key=" + b"a" * 1537, b"", b""),
    ],
)
def test_a_parameter_is_decoded_and_taken_out(query, value, rest):
    """Its part is left out and all other bytes stay; the value is decoded strictly, with no blank for a plus."""
    extraction = Sources().extract([], query)
    assert found(extraction) == [(QUERY, value)]
    assert extraction.query_string == rest
    assert extraction.from_query is True
    assert extraction.is_ambiguous is False
    assert extraction.too_many is False


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"&",
        b"&&&",
        b"=",
        b"=kg_1",
        b"a=1&b=2",
        b"a=x-api-key=kg_1",
        b"a=&=x-api-key&=x-api-key=1",
        b"x-api-keys=kg_1",
        b"ax-api-key=kg_1",
        b"x_api_key=kg_1",
        b"x-api-key;a=kg_1",
        b"x-api-key =kg_1",
        b"x-api-key[]=kg_1",
        b"x-api-key.=kg_1",
        b"X-API-KEYS=1&%78=2&+x-api-key=3&x-api-key%00=4&\xff=5",
        b"x%252dapi%252dkey=kg_1",
        b"x-api-key%3Dkg_1",
        b"a=%26x-api-key=kg_1",
        b"x-api-key%26=1",
        b"a;x-api-key=kg_1",
        b"caf\xe9=1&x-api-\xe2\x84=2",
        "\uff58-api-key=1".encode(),
        b"x-api-%C3%A9ey",
        b"x-api-key+=1&+x-api-key=2&x+api+key=3",
        b"A" * 34,
        b"%78-api-key" + b"%00" * 20,
        b"%41" * 20000,
    ],
)
def test_nothing_presented_changes_nothing(query):
    """Where no part has the name, the query string is the same, byte for byte."""
    headers = [(b"host", b"kg.example"), (b"host", b"kg.example"), (b"cookie", b"x-api-key=kg_1")]
    extraction = Sources().extract(headers, query)
    assert extraction.query_string == query
    assert extraction.headers == headers
    assert extraction.headers is not headers
    assert found(extraction) == []
    assert told(extraction) == set()


def test_no_parameter_is_read_where_it_is_off():
    """With query=None the query is the app's."""
    query = b"x-api-key=kg_1&X-API-KEY=2&" + b"A&" * 300
    extraction = Sources(query=None).extract([(b"x-api-key", b"kg_2")], query)
    assert found(extraction) == [(HEADER, b"kg_2")]
    assert extraction.query_string == query
    assert told(extraction) == set()


@pytest.mark.parametrize("name", ["key", "KEY", "api.key", "a~b", "_", "0", "x-api-key2"])
def test_a_parameter_of_any_name_is_found(name):
    """The configured name is taken literally, whatever its characters mean elsewhere."""
    query = f"x=1&{name}=kg_1&apixkey=2".encode()
    extraction = Sources(query=name).extract([], query)
    assert found(extraction) == [(QUERY, b"kg_1")]
    assert extraction.query_string == b"x=1&apixkey=2"


# --- ambiguous ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query", "sources", "rest"),
    [
        ([(b"x-api-key", b"1"), (b"x-api-key", b"1")], b"a=1", [HEADER, HEADER], b"a=1"),
        ([(b"x-api-key", b""), (b"x-api-key", b"1")], b"", [HEADER, HEADER], b""),
        ([(b"x-api-key", b"1")], b"x-api-key=1", [HEADER, QUERY], b""),
        ([(b"x-api-key", b"1")], b"x-api-key", [HEADER, QUERY], b""),
        ([(b"x-api-key", b"1"), (b"authorization", b"Bearer kg_1")], b"", [HEADER, BEARER], b""),
        ([(b"authorization", b"Bearer kg_1")] * 2, b"", [BEARER, BEARER], b""),
        ([(b"authorization", b"Bearer kg_1"), (b"x-api-key", b"1")], b"x-api-key=1", [BEARER, HEADER, QUERY], b""),
        ([], b"x-api-key=1&x-api-key=1", [QUERY, QUERY], b""),
        ([], b"x-api-key&b&x-api-key=1&c", [QUERY, QUERY], b"b&c"),
        ([], b"x-api-key=&x-api-key=&x-api-key", [QUERY, QUERY, QUERY], b""),
    ],
)
def test_more_than_one_key_is_ambiguous(headers, query, sources, rest):
    """In one place or in two, equal or not, empty or not: more than one is too many, and all are taken out."""
    extraction = Sources(bearer=True, prefixes=PREFIXES).extract(headers, query)
    assert extraction.is_ambiguous is True
    assert [candidate.source for candidate in extraction.candidates] == sources
    assert extraction.headers == []
    assert extraction.query_string == rest
    assert extraction.from_query is (QUERY in sources)


def test_of_several_keys_in_one_query_no_value_is_kept():
    """None of them is used, so none is carried about."""
    extraction = Sources().extract([(b"x-api-key", b"kg_0")], b"x-api-key=kg_1&x-api-key=kg_2")
    assert found(extraction) == [(HEADER, b"kg_0"), (QUERY, b""), (QUERY, b"")]


def test_a_key_beside_a_foreign_token_is_not_ambiguous():
    """An app's own token may come along with a key."""
    headers = [(b"authorization", b"Bearer eyJ"), (b"x-api-key", b"kg_1")]
    extraction = Sources(bearer=True, prefixes=PREFIXES).extract(headers, b"")
    assert (found(extraction), extraction.foreign_token) == ([(HEADER, b"kg_1")], True)
    assert extraction.is_ambiguous is False


@pytest.mark.parametrize(
    "part",
    [
        b"X-API-KEY=kg_1",
        b"x-api-keY",
        b"x%2Dapi%2dkey=kg_1",
        b"%78-api-key=kg_1",
        b"%58-api-key=kg_1",
        b"%78%2D%61%70%69%2D%6B%65%79=kg_1",
        "x-api-\u212aey=kg_1".encode(),
        b"x-api-%E2%84%AAey=kg_1",
        b"%58%2D%41%50%49%2D%E2%84%AA%45%59=kg_1",
    ],
)
@pytest.mark.parametrize("around", [b"%b", b"a=1&%b", b"%b&b=2", b"A=1&a=%%20&%b&B=2&&"])
def test_a_lookalike_is_ambiguous_and_taken_out(part, around):
    """A name that decodes and case-folds to the configured one is no key, but nobody else shall take it for one."""
    extraction = Sources().extract([], around % part)
    parts = around.replace(b"%%", b"%").split(b"&")
    assert extraction.query_string == b"&".join(other for other in parts if other != b"%b")
    assert found(extraction) == []
    assert extraction.is_ambiguous is True
    assert extraction.from_query is True
    assert extraction.too_many is False


@pytest.mark.parametrize(
    ("name", "lookalikes"),
    [
        ("Key", [b"key", b"KEY", b"kEy", b"%4Bey", "\u212aey".encode()]),
        ("KEY", [b"key", b"Key"]),
        ("pass", ["pa\u017f\u017f".encode(), "pa\u00df".encode(), b"pa%E1%BA%9E", b"pa%C5%BFs"]),
        ("kk", [b"%E2%84%AA%E2%84%AA", "K\u212a".encode()]),
        ("fist", ["\ufb01st".encode(), b"%EF%AC%81%EF%AC%85", b"fi%EF%AC%86"]),
        ("aff", [b"a%EF%AC%80"]),
        ("ffl", [b"%EF%AC%84", b"f%EF%AC%82", b"%EF%AC%80l"]),
        ("ffi", [b"%EF%AC%83"]),
    ],
)
def test_other_names_have_other_lookalikes(name, lookalikes):
    """Letters that fold to one or more of ASCII are found in each spelling, and lower case for upper."""
    for lookalike in lookalikes:
        extraction = Sources(query=name).extract([], b"a=1&" + lookalike + b"=kg_1")
        assert extraction.is_ambiguous
        assert extraction.query_string == b"a=1"
    exact = Sources(query=name).extract([], name.encode() + b"=kg_1")
    assert found(exact) == [(QUERY, b"kg_1")]
    assert not exact.is_ambiguous


def test_no_letter_takes_more_bytes_than_are_looked_at():
    """Every character that folds to ASCII, spelt out at its longest, is found where the name is what it folds to."""
    folding = [char for char in map(chr, range(sys.maxunicode + 1)) if not char.isascii() and char.casefold().isascii()]
    assert len(folding) >= 10
    for char in folding:
        spelt = "".join(f"%{byte:02X}" for byte in char.encode()).encode()
        assert Sources(query=char.casefold()).extract([], spelt).is_ambiguous


def odd(name, times, more=b""):
    return b"&".join([name] * times) + more


@pytest.mark.parametrize("name", [b"%41", b"a+b", b"B=1", b"aBc", b"\xff=", b"\x80", b"%=x", b"Z"])
def test_more_than_256_odd_names_are_too_many(name):
    """256 names that need decoding are decoded; with one more nothing is, and nothing is given back."""
    extraction = Sources().extract([], odd(name, MAX_ODD_NAMES))
    assert told(extraction) == set()
    assert extraction.query_string == odd(name, 256)
    extraction = Sources().extract([(b"a", b"b")], odd(name, 257))
    assert extraction.too_many is True
    assert extraction.is_ambiguous is True
    assert extraction.from_query is True
    assert extraction.query_string == b""
    assert extraction.headers == [(b"a", b"b")]


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("x-api-key", odd(b"a=%41+BC\xff=%", 1000)),
        ("x-api-key", odd(b"az-._~09[];=", 1000)),
        ("KEY", odd(b"abcdfghijlmnopqrstuvwxz-._~09", 1000)),
        ("x-api-key", b"&" * 1000 + b"=A" * 1000),
    ],
)
def test_other_names_are_not_odd(name, query):
    """What stands in values, and what needs no decoding, does not count."""
    extraction = Sources(query=name).extract([], query)
    assert (extraction.too_many, extraction.query_string) == (False, query)


@pytest.mark.parametrize("name", ["KEY", "key"])
def test_the_name_itself_is_not_odd(name):
    """256 odd names and a key beside them are not too many, in whatever case the name is."""
    extraction = Sources(query=name).extract([], odd(b"A", 256, f"&{name}=kg_1".encode()))
    assert (extraction.too_many, found(extraction)) == (False, [(QUERY, b"kg_1")])


def test_a_lookalike_among_256_odd_names_is_found():
    """It may be the last of them, and what stands before and behind stays in its order."""
    query = odd(b"A", 255, b"&b&x-api-ke%79=kg_1&c")
    extraction = Sources().extract([], query)
    assert extraction.is_ambiguous
    assert extraction.query_string == odd(b"A", 255, b"&b&c")


def test_a_key_and_too_many_odd_names_are_told_together():
    """The key is still a candidate, so that the event can name where it stood; the query is given back empty."""
    extraction = Sources().extract([], odd(b"A", 257, b"&x-api-key=kg_1"))
    assert (found(extraction), extraction.too_many, extraction.query_string) == ([(QUERY, b"kg_1")], True, b"")


# --- the same said once more, without hurry -------------------------------------------------------------------------


def naive_value(raw):
    decoded = b""
    while raw:
        if raw[:1] != b"%":
            decoded, raw = decoded + raw[:1], raw[1:]
        elif re.match(rb"%[0-9a-fA-F][0-9a-fA-F]", raw):
            decoded, raw = decoded + bytes.fromhex(raw[1:3].decode()), raw[3:]
        else:
            return b""
    return decoded if max(decoded, default=0) < 128 else b""


def naive_query(name, query):
    """Part by part: the values under the name, whether there is a lookalike, how many names are odd, and the rest."""
    values, rest, lookalike, odd_names = [], [], False, 0
    for part in query.split(b"&"):
        raw_name, _, raw_value = part.partition(b"=")
        if raw_name == name.encode():
            values.append(naive_value(raw_value))
            continue
        other_case = {chr(byte) for byte in raw_name if byte < 128} & {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *name.swapcase()}
        if {*raw_name} & {*b"%+", *range(128, 256)} or any(letter.isalpha() for letter in other_case):
            odd_names += 1
        decoded = unquote_to_bytes(raw_name.replace(b"+", b" ")).decode("utf-8", "replace")
        if decoded.casefold() == name.casefold():
            lookalike = True
            continue
        rest.append(part)
    return values, lookalike, odd_names, b"&".join(rest)


def spellings(name):
    """The name, and what differs little from it."""
    letter = st.sampled_from([*name, *name.upper(), *name.lower(), "%6B", "%2D", "%4b", "\u212a", "%E2%84%AA", "+", ""])
    spelt = st.tuples(
        *(
            st.sampled_from([char, char, char, char.swapcase(), f"%{ord(char):02X}", f"%{ord(char.swapcase()):02x}"])
            for char in name
        )
    ).map("".join)
    return (st.just(name) | spelt | spelt | st.lists(letter, max_size=5).map("".join)).map(str.encode)


values = st.lists(st.sampled_from([b"kg_1", b"%41", b"%", b"%4", b"+", b"\xff", b"=", b"a", b"%C3%A9"]), max_size=4)


@st.composite
def queries(draw, name):
    part = st.builds(
        lambda name, equals, value: name + (b"=" + b"".join(value) if equals else b""),
        spellings(name) | st.sampled_from([b"", b"a", b"A", b"%41", b"x-api-keys"]) | st.binary(max_size=4),
        st.booleans(),
        values,
    )
    return b"&".join(draw(st.lists(part, max_size=6)))


@given(st.sampled_from(["x-api-key", "key", "Key", "k"]).flatmap(lambda name: st.tuples(st.just(name), queries(name))))
@example(("k", b"%E2%84%AA"))
@example(("x-api-key", b"x-api-key"))
@example(("x-api-key", b"&x-api-key&"))
def test_a_query_is_read_as_part_by_part(case):
    """Over all queries, what is found and what is left is what a plain loop over the parts finds and leaves."""
    name, query = case
    values, lookalike, odd_names, rest = naive_query(name, query)
    extraction = Sources(query=name).extract([], query)
    assert extraction.too_many == (odd_names > 256)
    assert found(extraction) == [(QUERY, value if len(values) == 1 else b"") for value in values]
    assert extraction.is_ambiguous == (lookalike or len(values) > 1)
    assert extraction.from_query == (lookalike or values != [])
    assert extraction.query_string == rest


@given(
    st.lists(st.sampled_from([b"%41", b"a", b"A=b", b"", b"b=A", b"x-api-key=1", b"+"]), min_size=1, max_size=4),
    st.integers(60, 300),
)
def test_odd_names_are_counted_as_part_by_part(parts, times):
    """Over long queries, too many is what a plain loop counts as too many."""
    query = b"&".join(parts * times)
    _, _, odd_names, rest = naive_query("x-api-key", query)
    extraction = Sources().extract([], query)
    assert extraction.too_many == (odd_names > 256)
    assert extraction.query_string == (b"" if odd_names > 256 else rest)


SECRET = b"kg_3fJ2x0Qm7LpZ"
plain = st.text("abcxyz-_=%+ 019", max_size=12).map(str.encode)
headers = st.lists(
    st.sampled_from(
        [
            (b"x-api-key", SECRET),
            (b"x-api-key", b" " + SECRET + b"\t"),
            (b"x-api-key", b"\xff" + SECRET),
            (b"authorization", b"Bearer " + SECRET),
            (b"authorization", b"bEARER   " + SECRET + b" x"),
        ]
    )
    | st.tuples(st.sampled_from([b"host", b"accept", b"x_api_key"]), plain),
    max_size=6,
)
presented_parts = st.sampled_from([b"x-api-key=", b"X-Api-Key=", b"x-api-%6bey=a", b"%78-api-key="]).map(
    lambda start: start + SECRET
)


@given(headers, st.lists(plain.map(lambda part: part.replace(b"&", b"")) | presented_parts, max_size=8))
def test_nothing_that_was_presented_is_given_back(headers, parts):
    """Neither the headers nor the query string hold a presented key any more, and the rest stands in its order."""
    sources = Sources(bearer=True, prefixes=PREFIXES)
    extraction = sources.extract(headers, b"&".join(parts))
    assert SECRET not in extraction.query_string + b"".join(value for _, value in extraction.headers)
    assert SECRET.decode() not in repr(extraction)
    assert extraction.headers == [entry for entry in headers if SECRET not in entry[1]]
    kept = [part for part in parts if SECRET not in part and not re.match(rb"x-api-key(=|\Z)", part)]
    assert extraction.query_string == b"&".join(kept)


# --- values -------------------------------------------------------------------------------------------------------


def test_what_was_presented_is_not_shown():
    """A candidate and an extraction can be logged: they show where a key stood, and no bytes of the request."""
    candidate = Candidate(HEADER, b"kg_1")
    assert repr(candidate) == f"{candidate}" == "Candidate(source=<Source.HEADER: 'header'>)"
    extraction = Sources(bearer=True, prefixes=PREFIXES).extract(
        [(b"authorization", b"Bearer eyJ"), (b"cookie", b"session=1"), (b"x-api-key", b"kg_1")], b"token=2"
    )
    assert repr(extraction) == (
        "Extraction(candidates=(Candidate(source=<Source.HEADER: 'header'>),), is_ambiguous=False, foreign_token=True, "
        "from_query=False, too_many=False)"
    )


def test_sources_are_a_value():
    """Equal arguments make equal sources; they cannot be changed, and show what they were given."""
    assert Sources(header="X-A", prefixes=PREFIXES) == Sources(header="x-a", prefixes=PREFIXES)
    assert Sources(query="a") != Sources(query="b")
    assert repr(Sources()) == "Sources(header='x-api-key', query='x-api-key', bearer=False, prefixes=(), strip=True)"
    with pytest.raises(FrozenInstanceError):
        Sources().header = "x-other"


HEADER_SENTENCE = "header is the name of a header, such as 'x-api-key', or None; not "
QUERY_SENTENCE = "query is the name of a query parameter, of A-Z, a-z, 0-9 and ._~- such as 'x-api-key', or None; not "


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        *(
            ({"header": header}, f"{HEADER_SENTENCE}{header!r}")
            for header in ["", "x api", "x:api", "x-\u00e9", "x-api-key\n", "a,b", 'a"b', "(a)", "a/b", b"x-api-key", 1]
        ),
        *(
            ({"query": query}, f"{QUERY_SENTENCE}{query!r}")
            for query in ["", "a b", "a&b", "a=b", "a%20b", "a+b", "\u00e9", "key\n", "key[]", b"key", 1]
        ),
        ({"header": "authorization"}, "header cannot be 'authorization': bearer=True reads keys from there"),
        ({"header": "Authorization"}, "header cannot be 'authorization': bearer=True reads keys from there"),
        *(
            ({"bearer": bearer, "prefixes": PREFIXES}, f"bearer is True or False; not {bearer!r}")
            for bearer in [None, 1, "yes"]
        ),
        *(
            ({"prefixes": prefixes}, f"prefixes is a tuple of texts; not {prefixes!r}")
            for prefixes in ["kg_", ["kg_"], (b"kg_",), ("kg_", None), None]
        ),
        ({"bearer": True}, "bearer=True needs prefixes: a token that has none of them is left to the app"),
        ({"header": None, "query": None}, "keys are looked for in at least one of header, query and bearer"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments, sentence):
    """Each wrong argument raises with a sentence that says what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        Sources(**arguments)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("header", ["x-api-key", "X-API-KEY", "a", "!#$%&'*+-.^_`|~09azAZ"])
def test_any_token_can_be_the_header(header):
    """Every character of a token is good."""
    extraction = Sources(header=header, query=None).extract([(header.lower().encode(), b"kg_1")], b"")
    assert found(extraction) == [(HEADER, b"kg_1")]


def test_each_source_can_stand_alone():
    """One of the three is enough."""
    request = ([(b"x-api-key", b"1"), (b"authorization", b"Bearer kg_2")], b"x-api-key=3")
    assert found(Sources(query=None).extract(*request)) == [(HEADER, b"1")]
    assert found(Sources(header=None).extract(*request)) == [(QUERY, b"3")]
    bearer = Sources(header=None, query=None, bearer=True, prefixes=PREFIXES)
    assert found(bearer.extract(*request)) == [(BEARER, b"kg_2")]
