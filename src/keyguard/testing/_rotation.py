# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for keys that take another one's place."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import product

from keyguard.errors import ConfigurationError, Conflict, NotFound
from keyguard.model import Found, KeyState
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._key_store import RegistrySuite
from keyguard.testing._made_up import NOON, UNSTORABLE, make_digest, make_record

_HOUR = timedelta(hours=1)


class RotationContract(RegistrySuite):
    """What `keyguard.ports.KeyRegistry` promises of rotations."""

    async def test_a_rotation_adds_one_key_and_ends_another(self) -> None:
        """A rotation adds the new key, and lets the old one expire or revokes it; nothing else of it changes."""
        ada, _ = self.owners()
        brief, dead, other = [make_record(key_id, ada.id, expires_at=NOON) for key_id in ("brief", "dead", "other")]
        later, at = NOON - timedelta(microseconds=1), NOON + _HOUR
        new = [make_record(f"new-{old}", ada.id, created_at=at, rotated_from=old) for old in ("brief", "dead")]
        async with opened(await self.make_store(Keyring(), [ada], [brief, dead, other])) as store:
            assert await store.rotate_key(brief, new[0], until=later)
            assert await store.rotate_key(dead, new[1], until=None)
            assert await store.get_key("brief") == replace(brief, expires_at=later, rotated_at=at)
            assert await store.get_key("dead") == replace(dead, revoked_at=at, revoked_reason="rotated", rotated_at=at)
            assert await store.get_key("other") == other
            assert [await store.find([key.lookup]) for key in new] == [Found(key=key, owner=ada) for key in new]

    async def test_a_key_in_its_grace_is_told_from_others(self) -> None:
        """A rotated key is in its grace until it expires, and its successor is active."""
        ada, _ = self.owners()
        old, new = make_record("old", ada.id), make_record("new", ada.id, rotated_from="old")
        until = NOON + _HOUR
        async with opened(await self.make_store(Keyring(), [ada], [old])) as store:
            assert await store.rotate_key(old, new, until=until)
            graced = replace(old, expires_at=until, rotated_at=NOON)
            for at, state in {NOON: KeyState.GRACE, until: KeyState.EXPIRED}.items():
                assert await store.list_keys(state=state, at=at) == [graced]
                assert await store.list_keys(state=KeyState.ACTIVE, at=at) == [new]

    async def test_a_key_is_rotated_once(self) -> None:
        """A key that was rotated has no second successor, whatever is known of it; its successor can be rotated."""
        ada, _ = self.owners()
        olds = [make_record(key_id, ada.id, expires_at=NOON + _HOUR) for key_id in ("shorter", "same", "none")]
        ends = [NOON + _HOUR / 2, NOON + _HOUR, None]
        async with opened(await self.make_store(Keyring(), [ada], olds)) as store:
            for old, until in zip(olds, ends, strict=True):
                first = make_record(f"{old.id}-1", ada.id, rotated_from=old.id)
                second = make_record(f"{old.id}-2", ada.id, rotated_from=old.id)
                assert await store.rotate_key(old, first, until=until)
                rotated = await store.get_key(old.id)
                assert rotated is not None
                for known in (old, rotated, replace(rotated, rotated_at=None)):
                    for again in (*ends, NOON):
                        assert not await store.rotate_key(known, second, until=again)
                assert await store.get_key(old.id) == rotated
                assert await store.get_key(second.id) is None
                assert await store.rotate_key(first, replace(second, rotated_from=first.id), until=NOON)

    async def test_a_key_that_is_another_by_now_is_not_rotated(self) -> None:
        """A key that is revoked, or of another end or name, or disabled or not, unlike it was read, is not rotated.

        No key is added then, and the old one stays as it is.
        """
        ada, _ = self.owners()
        keys = {
            "dead": make_record("dead", ada.id, revoked_at=NOON, revoked_reason="gone"),
            "brief": make_record("brief", ada.id, expires_at=NOON),
            "endless": make_record("endless", ada.id),
            "off": make_record("off", ada.id, disabled_at=NOON),
        }
        read = [
            replace(keys["dead"], revoked_at=None),
            replace(keys["brief"], expires_at=None),
            replace(keys["brief"], expires_at=NOON + timedelta(microseconds=1)),
            replace(keys["endless"], expires_at=NOON),
            replace(keys["endless"], name="its former name"),
            replace(keys["endless"], disabled_at=NOON),
            replace(keys["off"], disabled_at=None),
        ]
        new = make_record("new", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [*keys.values()])) as store:
            for old, until in product(read, (None, NOON)):
                assert not await store.rotate_key(old, new, until=until)
            assert {key.id: key for key in await store.list_keys()} == keys

    async def test_digests_that_are_others_by_now_keep_no_key_from_being_rotated(self) -> None:
        """A key whose digests were upgraded since it was read is rotated, and keeps the new ones."""
        ada, _ = self.owners()
        old, digest = make_record("old", ada.id), make_digest("upgraded")
        async with opened(await self.make_store(Keyring(), [ada], [old])) as store:
            assert await store.upgrade("old", verifier=old.verifier, new_lookup=digest, new_verifier=digest)
            assert await store.rotate_key(old, make_record("new", ada.id), until=NOON + _HOUR)
            upgraded = replace(old, lookup=digest, verifier=digest)
            assert await store.get_key("old") == replace(upgraded, expires_at=NOON + _HOUR, rotated_at=NOON)

    async def test_a_rotation_is_done_wholly_or_not_at_all(self) -> None:
        """Where the new key cannot be added, or there is no old one, neither is changed."""
        ada, bob = self.owners()
        old, other = make_record("old", ada.id), make_record("other", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [old, other])) as store:
            for until in (None, NOON):
                with raises(Conflict):
                    await store.rotate_key(old, make_record("other", ada.id, lookup=make_digest("new")), until=until)
                with raises(Conflict):
                    await store.rotate_key(old, make_record("new", ada.id, lookup=other.lookup), until=until)
                with raises(NotFound):
                    await store.rotate_key(old, make_record("new", bob.id), until=until)
                with raises(NotFound):
                    await store.rotate_key(make_record("none", ada.id), make_record("new", ada.id), until=until)
                with raises(NotFound):
                    await store.rotate_key(make_record("\0", ada.id), make_record("new", ada.id), until=until)
                for text in UNSTORABLE:
                    for field in ("name", "rotated_from", "metadata_json"):
                        with raises(ConfigurationError):
                            await store.rotate_key(old, make_record("new", ada.id, **{field: text}), until=until)
            assert {key.id: key for key in await store.list_keys()} == {"old": old, "other": other}

    async def test_one_of_several_rotations_wins(self) -> None:
        """Of several calls at once that rotate a key, one does it, and adds the only new key."""
        ada, _ = self.owners()
        old = {
            "now": make_record("now", ada.id),
            "later": make_record("later", ada.id),
            "then": make_record("then", ada.id, expires_at=NOON),  # It ends when it would have ended anyway.
        }
        async with opened(await self.make_store(Keyring(), [ada], [*old.values()])) as store:
            winners: set[str] = set()
            for end, until in {"now": None, "later": NOON, "then": NOON}.items():
                new = [make_record(f"{end}-{number}", ada.id) for number in range(6)]
                answers = await asyncio.gather(*[store.rotate_key(old[end], key, until=until) for key in new])
                assert sorted(answers) == [False] * 5 + [True]
                winners.add(new[answers.index(True)].id)
            assert {key.id for key in await store.list_keys()} == {*old, *winners}

    async def test_a_rotation_and_a_revocation_at_once(self) -> None:
        """Rotated and revoked at once, a key ends revoked, as if the one had come after the other."""
        ada, _ = self.owners()
        olds = [make_record(f"old-{number}", ada.id) for number in range(4)]
        cases = product((None, NOON + _HOUR), (True, False))
        async with opened(await self.make_store(Keyring(), [ada], olds)) as store:
            for old, (until, rotation_is_first) in zip(olds, cases, strict=True):
                new = make_record(f"new {old.id}", ada.id, created_at=NOON + 2 * _HOUR)
                calls = [store.rotate_key(old, new, until=until), store.revoke_key(old.id, NOON, "leaked")]
                answers = await asyncio.gather(*(calls if rotation_is_first else reversed(calls)))
                rotated, revoked = answers if rotation_is_first else reversed(answers)
                if revoked:  # After the rotation, which then let the key expire, or in its place.
                    expected = replace(old, revoked_at=NOON, revoked_reason="leaked")
                    if rotated:
                        expected = replace(expected, expires_at=until, rotated_at=new.created_at)
                else:
                    assert rotated
                    expected = replace(
                        old, revoked_at=new.created_at, revoked_reason="rotated", rotated_at=new.created_at
                    )
                assert await store.get_key(old.id) == expected
                assert await store.get_key(new.id) == (new if rotated else None)
