"""The commands on owners."""

import pytest

from keyguard import lifecycle


def owner(terminal, name="ada"):
    return next(each for each in terminal("owner", "list", "--json").json["owners"] if each["name"] == name)


def test_the_list_of_nobody_says_how_to_add_one(terminal):
    """An empty list has its head, and beside it, on standard error, what to do."""
    terminal("init")
    ran = terminal("owner", "list")
    assert ran.out == "name  id  active  superuser\n"
    assert "`keyguard owner add NAME`" in ran.err


def test_an_owner_is_added(ada):
    """`owner add` adds an active owner, with the id and the rights that were asked for."""
    assert ada("owner", "add", "root", "--id", "0", "--superuser").out == "Added root, with the id 0.\n"
    assert owner(ada, "root") == {"id": "0", "name": "root", "is_active": True, "is_superuser": True}
    assert ada("owner", "list").out.splitlines()[1:][1].split() == ["root", "0", "yes", "yes"]


def test_no_owner_is_added_twice(ada):
    """A name that is taken is a conflict."""
    assert ada("owner", "add", "ada").code == 4


def test_switching_an_owner_off_and_on(ada, key):
    """`deactivate` refuses an owner's keys and `activate` accepts them again; what is so already is said to be."""
    assert ada("owner", "deactivate", "ada", "--yes").out == "Deactivated ada.\n"
    assert ada("owner", "deactivate", "ada", "--yes").out == "ada is not active already.\n"
    assert "ada (off)" in ada("key", "show", key).out
    ran = ada("owner", "activate", "ada", "--json").json
    assert (ran["changed"], ran["owner"]["is_active"]) == (True, True)
    assert ada("owner", "activate", "ada", "--json").json["changed"] is False


def test_deactivating_says_how_many_keys_it_hits(ada, key):
    """Without a terminal and without `--yes` nothing is done, and the sentence says what would have been hit."""
    ran = ada("owner", "deactivate", "ada")
    assert (ran.code, ran.out) == (2, "")
    assert "Deactivate ada? All its keys are refused at once, of which 1 are good now." in ran.err
    assert owner(ada)["is_active"]


def test_superuser_rights_are_given_and_taken(ada):
    """`superuser --on` and `--off` do what they say, and one of them is needed."""
    assert ada("owner", "superuser", "ada", "--on").out == "ada is a superuser now.\n"
    assert owner(ada)["is_superuser"]
    assert ada("owner", "superuser", "ada", "--on").out == "ada is a superuser already.\n"
    assert ada("owner", "superuser", "ada", "--off").out == "ada is no superuser now.\n"
    assert ada("owner", "superuser", "ada").code == 2


def test_an_owner_is_renamed(ada):
    """`rename` changes the name, and says so; one that is taken ends with 4, and one that is none with 2."""
    assert ada("owner", "rename", "ada", "countess").out == "ada is called countess now.\n"
    assert ada("owner", "rename", "countess", "countess").out == "countess is the name already.\n"
    ran = ada("owner", "rename", "countess", "ada", "--json")
    assert (ran.json["changed"], ran.json["owner"]["name"]) == (True, "ada")
    ada("owner", "add", "bob")
    assert ada("owner", "rename", "ada", "bob").code == 4
    assert ada("owner", "rename", "ada", "").code == 2
    shown = ada("audit", "--kind", "owner.renamed").out.splitlines()
    assert shown[1].strip() == "owner ada: name ada, old_name countess"


def test_an_owner_is_removed_with_all_keys(ada):
    """`remove` asks, saying how many keys are good; then owner and keys are gone, and the id leads to the events."""
    ada("key", "issue", "ada")
    revoked = ada("key", "issue", "ada", "--json").json["key"]["id"]
    ada("key", "revoke", revoked, "--yes")
    ran = ada("owner", "remove", "ada")
    assert (ran.code, "Remove ada, with all its keys, of which 1 are good now" in ran.err) == (2, True)
    owner_id = owner(ada)["id"]
    assert ada("owner", "remove", "ada", "--yes").out == f"Removed ada, who had the id {owner_id} and 2 keys.\n"
    assert ada("key", "list", "--json").json["keys"] == []
    assert ada("owner", "list", "--json").json["owners"] == []
    shown = ada("audit", "--kind", "owner.removed", "--owner", owner_id).out.splitlines()
    assert shown[1].strip() == f"owner {owner_id}: name ada, keys 2"
    ada("owner", "add", "ada", "--id", "7")
    ran = ada("owner", "remove", "ada", "--yes", "--json")
    assert (ran.json["owner"]["id"], ran.json["keys"]) == ("7", 0)


def test_a_password_comes_from_standard_input(ada):
    """`passwd` takes what it reads but for the line's end; `--remove` asks, and takes the password away."""
    assert ada("owner", "passwd", "ada", stdin="correct horse\r\n").out == "ada has a new password.\n"
    assert ada.app(lambda store: lifecycle.verify_password(store, "ada", "correct horse"))
    ran = ada("owner", "passwd", "ada", "--remove")
    assert (ran.code, "Take away the password of ada?" in ran.err) == (2, True)
    assert ada.app(lambda store: lifecycle.verify_password(store, "ada", "correct horse"))
    assert ada("owner", "passwd", "ada", "--remove", "--yes").out == "ada has no password now.\n"
    assert not ada.app(lambda store: lifecycle.verify_password(store, "ada", "correct horse"))


def test_an_owner_is_signed_out(ada):
    """`sign-out` ends all sessions of one owner, says how many, and who did it stands in the log."""
    ada("owner", "add", "bob")
    tokens = [ada.app(lambda store, name=name: _token(store, name)) for name in ("ada", "bob", "bob")]
    assert ada("owner", "sign-out", "ada").out == "Signed ada out: one session has ended.\n"
    assert ada("owner", "sign-out", "ada").out == "ada has no session.\n"
    assert [bool(ada.app(lambda store, each=each: lifecycle.find_session(store, each))) for each in tokens] == [
        False,
        True,
        True,
    ]
    assert ada("owner", "sign-out", "bob").out == "Signed bob out: 2 sessions have ended.\n"
    assert ada("owner", "sign-out", "bob", "--json").json["changed"] is False
    shown = ada("audit", "--kind", "owner.signed_out", "--owner", "ada").out.splitlines()
    assert shown[0].endswith("  owner.signed_out  by cli:root")
    assert shown[1].strip() == "owner ada: everywhere true"


async def _token(store, name):
    return (await lifecycle.start_session(store, await store.find_owner(name))).token


def test_an_owner_is_added_with_a_password(ada):
    """`owner add --password` reads one."""
    assert ada("owner", "add", "bob", "--password", stdin="battery staple\n").code == 0
    assert ada.app(lambda store: lifecycle.verify_password(store, "bob", "battery staple"))


@pytest.mark.parametrize("arguments", [["passwd", "ada"], ["add", "bob", "--password"]])
def test_an_empty_password_is_none(ada, arguments):
    """Where nothing can be read, nothing is set."""
    ran = ada("owner", *arguments, stdin="\n")
    assert (ran.code, "there was none" in ran.err) == (2, True)


def test_an_owner_goes_by_name_or_by_id(ada):
    """A name will do, and an id; one that is both, of two owners, is not guessed, and ``id:`` says which."""
    ada("owner", "add", "bob", "--id", "7")
    assert ada("key", "issue", "7", "--json").json["key"]["owner"]["name"] == "bob"
    ada("owner", "add", "7", "--id", "8")
    ran = ada("key", "issue", "7")
    assert (ran.code, "say id:8 or id:7" in ran.err) == (4, True)
    assert ada("key", "issue", "id:7", "--json").json["key"]["owner"]["name"] == "bob"
    assert ada("key", "issue", "id:9").code == 3


def test_somebody_who_is_not_there(ada):
    """An owner that is not there ends every command on owners with 3."""
    for arguments in (
        ["activate"],
        ["deactivate", "--yes"],
        ["superuser", "--on"],
        ["passwd", "--remove"],
        ["sign-out"],
        ["rename", "adam"],
        ["remove", "--yes"],
    ):
        ran = ada("owner", arguments[0], "eve", *arguments[1:])
        assert (ran.code, "'eve'" in ran.err) == (3, True), arguments
