"""Keys' ids as UUIDs."""

from string import ascii_letters, digits
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langflow_server.ids import key_id_of, uuid_of

KEY_IDS = st.text(digits + ascii_letters, min_size=12, max_size=12)


@given(KEY_IDS)
def test_a_key_is_found_by_its_uuid(key_id):
    """Each id has a UUID of version 8 and of RFC 9562's variant, which gives the id back."""
    uuid = uuid_of(key_id)
    assert uuid.version == 8
    assert uuid.variant == "specified in RFC 4122"
    assert key_id_of(uuid) == key_id


@given(KEY_IDS, KEY_IDS)
def test_two_keys_have_two_uuids(one, other):
    """No two ids have the same UUID."""
    assert (uuid_of(one) == uuid_of(other)) is (one == other)


@given(st.uuids())
def test_a_uuid_that_is_no_keys_stands_for_none(uuid):
    """A UUID that was not made from an id stands for no id, and none stands for an id with another UUID."""
    key_id = key_id_of(uuid)
    assert key_id is None or uuid_of(key_id) == uuid


@pytest.mark.parametrize("bit", [0, 61, 62, 63, 64, 75, 76, 79, 80, 127])
def test_a_uuid_that_differs_in_a_bit_is_another_ones(bit):
    """A changed bit makes another id of it or none, be it in the number, the variant, the version or the tag."""
    changed = UUID(int=uuid_of("000000000000").int ^ (1 << bit))
    assert key_id_of(changed) != "000000000000"


def test_a_number_above_the_last_id_stands_for_none():
    """72 bits hold more than 12 characters do: what is above the last of them is no id."""
    assert key_id_of(UUID(int=uuid_of("ZZZZZZZZZZZZ").int + 1)) is None
    assert key_id_of(uuid4()) is None
