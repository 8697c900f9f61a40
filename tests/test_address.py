"""Where a request came from: the connection's other end, or what a known number of proxies wrote. And networks."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from keyguard.address import client_address, network_of, unmapped
from keyguard.errors import ConfigurationError

FORWARDED = b"x-forwarded-for"


def of(*fields, hops, client=("203.0.113.9", 50000)):
    headers = [(b"host", b"192.0.2.66"), *((FORWARDED, field) for field in fields), (b"x-real-ip", b"192.0.2.77")]
    return client_address(client, headers, trusted_hops=hops)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:8080", "2001:db8::1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%kg_anything that somebody wrote", "fe80::1"),
        ("", None),
        (":", None),
        ("[", None),
        ("unknown", None),
        ("_hidden", None),
        ("testclient", None),
        ("unix:7", None),
        ("/run/app.sock", None),
        ("3221225985", None),
        ("192.0.2.1.", None),
        ("192.0.2.256", None),
        ("192.0.02.1", None),
        ("192.0.2.1/32", None),
        ("192.0.2.1, 192.0.2.2", None),
        ("192.0.2.1\n", None),
        ("\xa0192.0.2.1", None),
        ("１９２.0.2.1", None),  # noqa: RUF001 Full-width digits are digits to `str.isdigit`.
        ("2001:db8::1::2", None),
        ("for=192.0.2.1", None),
    ],
)
def test_how_an_address_is_written(text, expected):
    """An address is read exactly, with a port, brackets or a zone where there are any; all else is not known."""
    wanted = None if expected is None else ip_address(expected)
    assert client_address((text, 50000), [], trusted_hops=0) == wanted
    if text.isascii() and "," not in text:
        assert of(text.encode(), hops=1) == wanted


@pytest.mark.parametrize("fields", [(), (b"192.0.2.1",), (b"192.0.2.1, 192.0.2.2", b"192.0.2.3")])
def test_without_proxies_no_header_counts(fields):
    """With no trusted hop the address is the connection's other end, whatever the headers say."""
    assert of(*fields, hops=0) == IPv4Address("203.0.113.9")


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_a_connection_without_an_address(hops):
    """On a Unix socket the address is not known, unless a proxy wrote it."""
    assert of(hops=hops, client=None) is None
    assert of(b"192.0.2.1", hops=1, client=None) == IPv4Address("192.0.2.1")


@pytest.mark.parametrize(
    ("fields", "hops", "expected"),
    [
        ([b"192.0.2.1"], 1, "192.0.2.1"),
        ([b"192.0.2.1, 192.0.2.2"], 1, "192.0.2.2"),
        ([b"192.0.2.1, 192.0.2.2"], 2, "192.0.2.1"),
        ([b"192.0.2.1,192.0.2.2,192.0.2.3"], 2, "192.0.2.2"),
        ([b"192.0.2.1", b"192.0.2.2"], 1, "192.0.2.2"),
        ([b"192.0.2.1", b"192.0.2.2"], 2, "192.0.2.1"),
        ([b"192.0.2.1, 192.0.2.2", b"192.0.2.3"], 2, "192.0.2.2"),
        ([b"garbage, 2001:db8::7"], 1, "2001:db8::7"),
        ([b"192.0.2.1, garbage"], 1, None),
        ([b"192.0.2.1, garbage"], 2, "192.0.2.1"),
        ([b"192.0.2.1,"], 1, None),
        ([b""], 1, None),
        ([], 1, None),
        ([], 2, None),
        ([b"192.0.2.1"], 2, None),
        ([b"192.0.2.1, 192.0.2.2"], 3, None),
        ([b"\xff\xfe"], 1, None),
    ],
)
def test_the_entry_counts_from_the_right(fields, hops, expected):
    """With n trusted hops it is the n-th entry from the right, over all fields; with fewer entries it is not known."""
    assert of(*fields, hops=hops) == (None if expected is None else ip_address(expected))


@pytest.mark.parametrize(("length", "expected"), [(100, "fe80::1"), (101, None)])
def test_what_is_too_long_is_no_address(length, expected):
    """An entry of more than a hundred bytes is no address, whatever it begins with: what was read is remembered."""
    assert of(b"192.0.2.1," + b"fe80::1%".ljust(length, b"x"), hops=1) == (expected and ip_address(expected))


def test_a_mapped_address_stays_what_it_is():
    """An IPv4 address that came mapped into IPv6 is left so; the policy knows that the two are the same."""
    assert of(b"::ffff:192.0.2.1", hops=1) == IPv6Address("::ffff:192.0.2.1")


@given(
    spoofed=st.lists(st.binary(max_size=30), max_size=5), added=st.lists(strategies.addresses, min_size=1, max_size=3)
)
def test_a_caller_cannot_choose_its_address(spoofed, added):
    """Whatever a caller wrote before our proxies appended, the address is the one that the first of them saw."""
    fields = [b", ".join([*spoofed, *(str(address).encode() for address in added)])]
    assert of(*fields, hops=len(added)) == added[0]


@given(
    client=st.none() | st.tuples(st.text(), st.integers()),
    fields=st.lists(st.binary() | st.text("0123456789abcdef:.,[]% \t").map(str.encode), max_size=3),
    hops=st.integers(0, 4),
)
def test_no_bytes_raise(client, fields, hops):
    """Whatever was sent, the answer is an address or that it is not known."""
    assert isinstance(of(*fields, hops=hops, client=client), IPv4Address | IPv6Address | None)


# --- networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:c000:200/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),
        ("::192.0.2.0/120", "::192.0.2.0/120"),
        ("64:ff9b::192.0.2.0/120", "64:ff9b::192.0.2.0/120"),
        (IPv4Network("192.0.2.0/24"), "192.0.2.0/24"),
        (ip_network("::ffff:192.0.2.0/120"), "192.0.2.0/24"),
    ],
)
def test_how_a_network_is_written(written, meant):
    """A network is read as it is written; one of mapped IPv4 addresses alone is the network of those addresses."""
    assert network_of(written) == ip_network(meant)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ("192.0.2.1/24", "not '192.0.2.1/24', which has host bits: 192.0.2.0/24 has none"),
        ("2001:db8::1/32", "not '2001:db8::1/32', which has host bits: 2001:db8::/32 has none"),
        ("192.0.2.0/33", "without host bits; not '192.0.2.0/33'$"),
        ("192.0.2.0/", "without host bits; not '192.0.2.0/'$"),
        (" 192.0.2.0/24", "without host bits; not ' 192.0.2.0/24'$"),
        ("example.com", "a network is written like '192.0.2.0/24' or '2001:db8::/32'"),
        ("", "not ''$"),
        ("fe80::%eth0/64", "a network has no zone, as a caller's address has none; not 'fe80::%eth0/64'"),
        (ip_network("fe80::1%eth0"), "a network has no zone"),
        (3221225984, "not 3221225984$"),
        (True, "not True$"),
        (b"\xc0\x00\x02\x01", "without host bits; not b'"),
        (("192.0.2.0", 24), "without host bits; not \\("),
        (None, "not None$"),
    ],
)
def test_what_is_no_network(mistake, sentence):
    """What is no network, or no one's, is a mistake; the sentence says how one is written, and which may be meant."""
    with pytest.raises(ConfigurationError, match=sentence):
        network_of(mistake)


@given(strategies.networks(), strategies.addresses)
def test_a_network_goes_on_to_contain_what_it_did(network, address):
    """Reading a network as IPv4 takes no address out of it and brings none in, taken as the mapped ones that it had."""
    plain = unmapped(network)
    if plain != network:
        assert isinstance(plain, IPv4Network)
        for each in (address, network[0], network[-1]):
            if isinstance(each, IPv6Address):
                assert (each in network) == (each.ipv4_mapped is not None and each.ipv4_mapped in plain)
    assert unmapped(plain) == plain
