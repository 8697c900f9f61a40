"""Audit events as sentences."""

import pytest

from keyguard.admin._pages.told import Told, told
from keyguard.model import AuditKind
from keyguard.testing._made_up import make_event

BORN = {"scopes": ["*"], "networks": [], "expires_at": None}


@pytest.mark.parametrize("kind", AuditKind)
def test_every_kind_has_words(kind):
    """Each kind of event is told, also if its detail is missing or is not what it should be."""
    for detail in ({}, {"name": 7, "scopes": "x", "networks": {}, "expires_at": "x", "until": [], "reason": None}):
        words = told(make_event(kind, "key", detail=detail))
        assert words.did
        assert words.to == ("key" if kind.value.startswith("key.") else words.to)
    if kind.value.startswith("key."):
        assert told(make_event(kind, "key")).to == "key"


def test_no_two_changes_of_a_key_are_told_alike():
    """What was done to a key can be told from everything else that is done to keys."""
    keys = [kind for kind in AuditKind if kind.value.startswith("key.")]
    assert len({told(make_event(kind, "key")).did for kind in keys}) == len(keys)


@pytest.mark.parametrize(
    ("kind", "detail", "words"),
    [
        (AuditKind.KEY_ADOPTED, BORN, Told(did="took over", detail=("Full access", "Never expires"))),
        (
            AuditKind.KEY_IMPORTED,
            {"scopes": [], "networks": ["192.0.2.0/24", "::1/128"], "expires_at": "2030-01-31T12:00:00+00:00"},
            Told(did="imported", detail=("No scopes", "From 2 networks only", "Expires 31 Jan 2030, 12:00 UTC")),
        ),
        (
            AuditKind.KEY_ROTATED,
            {"successor": "new", "until": "2030-01-31T12:00:00+00:00"},
            Told(
                did="rotated",
                then="into",
                key_id="new",
                detail=("The old key works until 31 Jan 2030, 12:00 UTC",),
            ),
        ),
        (
            AuditKind.KEY_ROTATED,
            {"successor": "new", "until": None},
            Told(did="rotated", then="into", key_id="new", detail=("The old key stopped working at once",)),
        ),
        (AuditKind.KEY_REVOKED, {"reason": "deleted"}, Told(did="deleted")),
        (AuditKind.KEY_REVOKED, {"reason": "leaked"}, Told(did="deleted", detail=("Reason: leaked",))),
        (AuditKind.CREDENTIAL_STORED, {"name": "TOKEN"}, Told(did="stored the credential", to="", name="TOKEN")),
        (AuditKind.OWNER_SIGNED_IN, {}, Told(did="signed in", to="")),
        (AuditKind.OWNER_RENAMED, {"name": "eve"}, Told(did="renamed", to="account", then="to", name="eve")),
        (AuditKind.OWNER_REMOVED, {"name": "eve", "keys": 2}, Told(did="removed", to="account")),
    ],
)
def test_what_is_told(kind, detail, words):
    """An event is told with what it says of itself."""
    assert told(make_event(kind, "key", detail=detail)) == words
