"""What holds for every command: the way in, the exit codes, and what is not repeated."""

import pytest

WRONG = {
    "no such command": (["inti"], 2, "Did you mean 'init'?"),
    "no such option": (["init", "--foo"], 2, "No such option"),
    "one argument too many": (["init", "hunter2"], 2, "a secret is never an argument"),
    "no database": (["migrate", "--database", ""], 2, "KEYGUARD_DATABASE_URL"),
    "no URL": (["migrate", "--database", "keys.db"], 2, "no URL of a database"),
    "in memory": (["init", "--database", "sqlite://"], 2, "would end with this command"),
    "no such file": (["migrate"], 6, "there is no database keys.db"),
    "no such directory": (["init", "--database", "sqlite:///no/keys.db"], 6, "there is no directory no"),
    "no server": (["init", "--database", "postgresql://u:hunter2@127.0.0.1:1/x"], 6, "cannot be reached"),
    "no driver": (["init", "--database", "mysql://u:hunter2@127.0.0.1:1/x"], 2, "needs the module"),
    "a key": (["init", f"--database=kg_3fJ2x0Qm7LpZ_{'a1B2c3D' * 7}"], 2, "keyguard key revoke 3fJ2x0Qm7LpZ"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_one_sentence(terminal, wrong):
    """What cannot be done ends with its exit code and a sentence on standard error, and repeats no secret."""
    arguments, code, sentence = WRONG[wrong]
    ran = terminal(*arguments, **({"KEYGUARD_DATABASE_URL": ""} if wrong == "no database" else {}))
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert sentence in ran.err
    assert "hunter2" not in ran.err
    assert "Traceback" not in ran.err
