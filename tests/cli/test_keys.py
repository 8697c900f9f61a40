"""The commands on keys: issuing, showing, and the ways in which they end."""

from datetime import UTC, datetime, timedelta

import pytest

from keyguard.keys import parse
from keyguard.model import Usage


def shown(terminal, key):
    return terminal("key", "show", key, "--json").json["key"]


# --- issuing ----------------------------------------------------------------------------------------------------


def test_a_new_key_is_all_that_is_printed(ada):
    """`keyguard key issue ada > key.txt` gives a file with the key; what was done is said on standard error."""
    ran = ada("key", "issue", "ada")
    key = parse(ran.out.removesuffix("\n"), prefix="kg")
    assert ran.code == 0
    assert ran.err == f"Issued kg_{key.id} to ada. It is shown this once.\n"
    assert shown(ada, key.id)["scopes"] == ["*"]


def test_a_new_key_as_json_is_in_the_one_document(ada):
    """With `--json` the text stands in the document, with all that is known of the key, and no digest."""
    document = ada("key", "issue", "ada", "--json").json
    assert parse(document["text"], prefix="kg").id == document["key"]["id"]
    assert {"lookup", "verifier"}.isdisjoint(document["key"])


def test_all_that_a_key_can_be_given(ada):
    """Each option of `issue` is what the key then has."""
    ran = ada(
        *["key", "issue", "ada", "--name", "ci", "--scope", "flows:read", "--scope", "flows:run"],
        *["--network", "192.0.2.0/24", "--network", "2001:db8::/32", "--not-before", "2100-01-01"],
        *["--expires", "2101-06-01T12:00:00+02:00", "--metadata", '{"team": "data"}', "--json"],
    )
    key = ran.json["key"]
    assert (key["name"], key["scopes"], key["state"]) == ("ci", ["flows:read", "flows:run"], "not yet valid")
    assert key["networks"] == ["192.0.2.0/24", "2001:db8::/32"]
    assert key["not_before"] == "2100-01-01T00:00:00+00:00"
    assert key["expires_at"] == "2101-06-01T10:00:00+00:00"
    assert key["metadata"] == {"team": "data"}


def test_a_key_without_scopes(ada):
    """`--no-scopes` issues a key that may do nothing, and contradicts `--scope`."""
    assert ada("key", "issue", "ada", "--no-scopes", "--json").json["key"]["scopes"] == []
    assert ada("key", "issue", "ada", "--no-scopes", "--scope", "a").code == 2


def test_a_lifetime_is_counted_from_now(ada):
    """`--lifetime` says how long, where `--expires` says until when; both at once say too much."""
    key = ada("key", "issue", "ada", "--lifetime", "1w1d2h3m4s", "--json").json["key"]
    created, expires = (datetime.fromisoformat(key[name]) for name in ("created_at", "expires_at"))
    assert abs(expires - created - timedelta(days=8, hours=2, minutes=3, seconds=4)) < timedelta(minutes=1)
    assert ada("key", "issue", "ada", "--lifetime", "1d", "--expires", "2100-01-01").code == 2


NO_VALUES = {
    "--lifetime": ["", "15", "h", "1h1d", "-1h", "1.5h", "999999999w", "999999w", "90 d"],
    "--expires": ["tomorrow", "2100-01-01T00:00:00", "2000-01-01", "20270131"],
    "--metadata": ["[]", "{", "1"],
    "--network": ["somewhere", "192.0.2.1/24"],
    "--scope": ["Flows", "superuser", ""],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in NO_VALUES for value in NO_VALUES[option]])
def test_what_is_no_value(ada, option, value):
    """A duration, a time, an object, a network or a scope that is none is refused in one sentence."""
    ran = ada("key", "issue", "ada", option, value)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ada("key", "list", "--json").json["keys"] == []


# --- showing ----------------------------------------------------------------------------------------------------


def test_the_list_fits_into_eighty_columns(ada):
    """The list is no wider than a terminal of 80 columns, whatever the keys are called, and keys stay in one piece."""
    names = ["ci", "a name that is much longer than any column of a table on 80 columns", "é" * 30]
    keys = [ada("key", "issue", "ada", "--name", name, "--lifetime", "9d", "--json").json["key"] for name in names]
    ran = ada("key", "list")
    assert max(map(len, ran.out.splitlines())) <= 80
    for key in keys:
        assert f"kg_{key['id']} " in ran.out
    assert "\x1b" not in ran.out


def test_a_name_does_not_reach_the_terminal_as_a_command(ada):
    """Control characters in what others have written are shown as escapes; brackets are no markup."""
    key = ada("key", "issue", "ada", "--name", "[red]\x1b[2J\n:boom:", "--json").json["key"]["id"]
    for arguments in (["list"], ["show", key]):
        out = ada("key", *arguments).out
        assert "\x1b" not in out
    assert "[red]\\x1b[2J\\n:boom:" in ada("key", "show", key).out


def test_the_list_is_paged(ada):
    """`--limit` gives the newest, the note says how to go on, and `--after` goes on there."""
    ids = [ada("key", "issue", "ada", "--json").json["key"]["id"] for _ in range(3)][::-1]
    first = ada("key", "list", "--limit", "2", "--json").json
    assert ([key["id"] for key in first["keys"]], first["next"]) == (ids[:2], ids[1])
    assert f"There are more: --after {ids[1]}" in ada("key", "list", "--limit", "2").err
    rest = ada("key", "list", "--limit", "2", "--after", ids[1], "--json").json
    assert ([key["id"] for key in rest["keys"]], rest["next"]) == (ids[2:], None)


def test_the_list_is_filtered(ada, key):
    """`--owner`, `--state` and `--begins` leave those that fit; where none does, that is said."""
    ada("owner", "add", "bob")
    other = ada("key", "issue", "bob", "--json").json["key"]["id"]
    ada("key", "disable", other)

    def found(*filters):
        return {each["id"] for each in ada("key", "list", *filters, "--json").json["keys"]}

    assert found() == {key, other}
    assert found("--owner", "bob") == {other}
    assert found("--state", "disabled") == {other}
    assert found("--begins", f"kg_{key[:6]}") == {key}
    assert ada("key", "list", "--state", "revoked").err == "There is no such key.\n"


def test_all_there_is_to_say_of_a_key(ada, key):
    """`show` says what is so, leaves out what is not, and tells when and from where the key was used."""
    used = Usage(total=3, last_used_at=datetime(2026, 3, 1, 12, tzinfo=UTC), last_used_address="192.0.2.7")
    ada.app(lambda store: store.record_uses({key: used}, worker="w", sequence=1))
    lines = dict(line.split(maxsplit=1) for line in ada("key", "show", key).out.splitlines())
    assert (lines["key"], lines["name"], lines["state"]) == (f"kg_{key}", "ci", "active")
    assert "revoked" not in lines
    assert lines["last"] == "used  2026-03-01 12:00:00 UTC from 192.0.2.7"
    uses = {"total": 3, "last_used_at": "2026-03-01T12:00:00+00:00", "last_used_address": "192.0.2.7"}
    assert shown(ada, key)["uses"] == uses
    assert " 2026-03-01  3 " in ada("key", "list").out


def test_a_use_from_nowhere(ada, key):
    """A use whose address nobody knows has none."""
    used = Usage(total=1, last_used_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    ada.app(lambda store: store.record_uses({key: used}, worker="w", sequence=1))
    assert "2026-03-01 12:00:00 UTC\n" in ada("key", "show", key).out


def test_a_key_goes_by_the_beginning_of_its_id(ada, key):
    """An id will do, or prefix and id, or their beginning, with the dots of a hint, or all before the secret."""
    for text in (key, f"kg_{key}", f"kg_{key}_…", f"kg_{key[:4]}…", f"kg_{key[:4]}...", f"kg_{key[:7]}"):
        assert shown(ada, text)["id"] == key


def test_a_key_is_not_guessed(ada, key):
    """Less than four characters of an id, or a beginning of several, name no key; nor does nothing."""
    for text, code in ((f"kg_{key[:3]}", 2), ("kg_", 2), ("…", 3), ("kg_nope", 3), (key[:6], 3)):
        ran = ada("key", "show", text)
        assert (ran.code, ran.out) == (code, ""), text
    other = ada("key", "issue", "ada", "--json").json["key"]["id"]
    ran = ada("key", "show", "kg_")
    assert (ran.code, f"kg_{key}" in ran.err, f"kg_{other}" in ran.err) == (2, True, True)


def test_a_key_is_renamed(ada, key):
    """`rename` changes the name, and says which it is."""
    assert ada("key", "rename", key, "deploy").out == f"kg_{key} is called “deploy” now.\n"
    assert ada("key", "rename", key, "ci", "--json").json["key"]["name"] == "ci"


# --- ending -----------------------------------------------------------------------------------------------------


def test_rotating_with_a_grace(ada, key):
    """`rotate --grace` prints the new key alone; the old one is good for so long, until `end-grace` ends it."""
    ran = ada("key", "rotate", f"kg_{key[:4]}", "--grace", "24h", "--lifetime", "90d")
    new = parse(ran.out.removesuffix("\n"), prefix="kg")
    assert f"in the place of kg_{key}, which is good until " in ran.err
    assert (shown(ada, key)["state"], shown(ada, new.id)["rotated_from"]) == ("grace", key)
    assert "took the place of" in ada("key", "show", new.id).out
    assert ada("key", "end-grace", key).code == 2
    assert ada("key", "end-grace", key, "--yes").out == f"Ended the grace of kg_{key}.\n"
    assert shown(ada, key)["state"] == "revoked"
    assert ada("key", "end-grace", key, "--yes").out == f"kg_{key} was revoked before.\n"


def test_rotating_without_a_grace(ada, key):
    """Without a grace the old key is revoked, so that is confirmed."""
    assert ada("key", "rotate", key).code == 2
    document = ada("key", "rotate", key, "--yes", "--json").json
    assert parse(document["text"], prefix="kg").id == document["key"]["id"]
    assert (document["old"]["state"], document["old"]["revoked_reason"]) == ("revoked", "rotated")
    assert ada("key", "rotate", key, "--yes").code == 4


def test_revoking(ada, key):
    """`revoke` names what it will hit, and does it once; the first reason stays."""
    assert f"Revoke kg_{key} “ci” of ada?" in ada("key", "revoke", key).err
    ran = ada("key", "revoke", key, "--reason", "left the company", "--yes")
    assert (ran.code, ran.out) == (0, f"Revoked kg_{key}.\n")
    assert ada("key", "revoke", key, "--reason", "again", "--yes").out == f"kg_{key} was revoked before.\n"
    assert "left the company" in ada("key", "show", key).out


def test_disabling_and_enabling(ada, key):
    """`disable` and `enable` say what they did, or that it was so."""
    assert ada("key", "disable", key).out == f"Disabled kg_{key}.\n"
    assert ada("key", "disable", key).out == f"kg_{key} is disabled already.\n"
    assert ada("key", "enable", key, "--json").json["key"]["state"] == "active"
    assert ada("key", "enable", key).out == f"kg_{key} is not disabled.\n"


def test_purging(ada, key):
    """`purge` counts what it would delete, asks, and deletes that; where there is nothing it does not ask."""
    assert ada("key", "purge", "--older-than", "0s").out == "Deleted 0 keys.\n"
    ada("key", "revoke", key, "--yes")
    assert ada("key", "purge", "--older-than", "90d").out == "Deleted 0 keys.\n"
    assert (
        "Delete 1 key that ended before 2100-01-01 00:00:00 UTC?" in ada("key", "purge", "--before", "2100-01-01").err
    )
    assert ada("key", "purge", "--older-than", "0s", "--yes", "--json").json == {"purged": 1}
    assert ada("key", "show", key).code == 3


@pytest.mark.parametrize(
    "arguments", [[], ["--older-than", "1d", "--before", "2100-01-01"], ["--older-than", "999999w"]]
)
def test_purging_needs_one_time(ada, arguments):
    """`purge` takes one of its two options, and a time that can be reckoned."""
    assert ada("key", "purge", *arguments, "--yes").code == 2
