"""The nouns show themselves to people without giving away what a key is found by."""

from hypothesis import given
from strategies import found, key_records

from keyguard.model import Facts, Principal, Verdict

PRINCIPAL = Principal(id="1", name="ada")


@given(key_records)
def test_a_hint_is_the_prefix_and_the_beginning_of_the_id(key):
    """People tell their keys apart by the prefix and four characters of the id."""
    assert key.hint == key.prefix + key.id[:4] + "…"


@given(found)
def test_no_repr_shows_a_digest(found):
    """What a key is found by and verified against stands in no repr, of the record or of what holds it."""
    key = found.key
    for value in (key, found, Facts(credential=Verdict(key=key, principal=PRINCIPAL))):
        assert "lookup" not in repr(value)
        assert "verifier" not in repr(value)
        assert key.lookup not in repr(value)
        assert key.verifier not in repr(value)
