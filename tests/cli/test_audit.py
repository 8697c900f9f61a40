"""The command that shows who changed what."""

from keyguard import lifecycle


def kinds(ran):
    return [event["kind"] for event in ran.json["events"]]


def test_each_change_is_shown_with_who_made_it(ada, key):
    """The latest change stands first, with the time, the user of this machine, the key and its owner."""
    ada("key", "revoke", key, "--reason", "lost", "--yes")
    lines = ada("audit").out.splitlines()
    assert lines[0].split("  ")[1:] == ["key.revoked", "by cli:root"]
    assert lines[1].strip() == f"key {key} of owner ada: reason lost"
    assert max(map(len, lines)) <= 80


def test_events_are_filtered(ada, key):
    """`--key`, `--owner`, `--kind` and `--since` leave those that fit; where none does, that is said."""
    ada("owner", "add", "bob")
    ada("key", "disable", key)
    assert kinds(ada("audit", "--json")) == ["key.disabled", "owner.added", "key.issued", "owner.added"]
    assert kinds(ada("audit", "--key", f"kg_{key[:4]}", "--json")) == ["key.disabled", "key.issued"]
    assert kinds(ada("audit", "--owner", "bob", "--json")) == ["owner.added"]
    chosen = ada("audit", "--kind", "key.issued", "--kind", "key.disabled", "--since", "1h", "--json")
    assert kinds(chosen) == ["key.disabled", "key.issued"]
    assert ada("audit", "--since", "2100-01-01").err == "There is no such event.\n"


def test_events_are_paged(ada, key):
    """`--limit` gives the latest, the note says how to go on, and `--before` goes on there."""
    first = ada("audit", "--limit", "1", "--json").json
    assert f"There are more: --before {first['next']}" in ada("audit", "--limit", "1").err
    rest = ada("audit", "--before", str(first["next"]), "--json").json
    assert ([event["kind"] for event in rest["events"]], rest["next"]) == (["owner.added"], None)


def test_the_events_of_what_is_gone_stay(ada, key):
    """A key that was purged, and an owner that nobody knows, are filtered by their ids."""
    ada("key", "revoke", key, "--yes")
    ada("key", "purge", "--older-than", "0s", "--yes")
    assert kinds(ada("audit", "--key", key, "--json"))[0] == "key.purged"
    assert kinds(ada("audit", "--owner", "id:nobody", "--json")) == []


def test_a_change_that_nobody_signed(ada):
    """A change whose maker the app did not name has none."""
    ada.app(lambda store: lifecycle.add_owner(store, "bob"))
    assert ada("audit", "--limit", "1").out.splitlines()[0].endswith("  owner.added")


def test_a_key_that_is_not_named_exactly_is_no_filter(ada, key):
    """What could be several keys is refused, and not taken for an id; so is what could be two owners."""
    ada("key", "issue", "ada")
    assert ada("audit", "--key", "kg_").code == 2
    ada("owner", "add", "bob", "--id", "7")
    ada("owner", "add", "7")
    assert ada("audit", "--owner", "7").code == 4
