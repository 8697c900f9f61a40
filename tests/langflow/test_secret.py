"""The Fernet keys that are made of Langflow's secret, and in which order they are tried."""

import copy
import pickle

import pytest
from cryptography.fernet import Fernet
from langflow.building import LONG_SECRET, SHORT_SECRET, seal

from keyguard.errors import ConfigurationError
from keyguard.langflow._secret import LangflowSecret, fernet_keys

TEXT = "a value"


def test_the_mersenne_twisters_key():
    """The older key of a short secret is the one that Langflow itself made of it, and comes second."""
    assert fernet_keys("shortkey123")[1] == b"qeA9wdDv6i0_4s4YpmYkg7mByqBIVqF5L8On7wINNmo="


def test_the_digests_key():
    """The newer key of a short secret is its SHA-256 digest, and comes first."""
    assert fernet_keys("shortkey123")[0] == b"aNoY9dqJfxfGApki2kc5atxF3qfuqBrUPwfx8X_Kndk="


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("secret", [SHORT_SECRET, "x", "x" * 31, "ein geheimnis für müde"])
def test_a_short_secret_opens_either_form(secret, old):
    """Whatever release has sealed it, a short secret opens it."""
    assert LangflowSecret(secret).open(seal(TEXT, secret, old=old)) == TEXT


@pytest.mark.parametrize("given", [LONG_SECRET, f"{LONG_SECRET}=", f"{LONG_SECRET}\n", f" {LONG_SECRET}=\n"])
def test_a_long_secret_is_the_key(given):
    """A secret of 43 or 44 characters is the key itself, with blanks around it or without."""
    assert LangflowSecret(given).open(seal(TEXT, LONG_SECRET)) == TEXT


@pytest.mark.parametrize("old", [False, True])
def test_a_line_break_belongs_to_a_short_secret_at_last(old):
    """Langflow takes a file as it stands: where the secret alone does not open a text, it does with its line break."""
    opener = LangflowSecret(f"{SHORT_SECRET}\n")
    assert opener.open(seal(TEXT, f"{SHORT_SECRET}\n", old=old)) == TEXT
    assert opener.open(seal(TEXT, SHORT_SECRET, old=old)) == TEXT


def test_the_order_of_the_keys():
    """The secret alone comes before the one with its line break, and the digest before the Mersenne Twister."""
    assert fernet_keys("short\n") == [*fernet_keys("short"), *fernet_keys("short\n")[2:]]
    assert len(fernet_keys("short\n")) == 4
    assert len(fernet_keys(f"{'x' * 31}\n")) == 2  # Langflow does not start with such a file.


@pytest.mark.parametrize(
    "secret",
    [
        "",
        " \n",
        "x" * 32,
        "x" * 42,
        "x" * 45,
        "x" * 44,  # 33 bytes.
        f"{'x' * 42}=",
        "ü" * 43,
        "\ud800",
    ],
)
def test_what_cannot_be_langflows_secret(secret):
    """A text with which no Langflow could run is refused, and not quoted."""
    with pytest.raises(ConfigurationError, match="this cannot be Langflow's secret") as raised:
        LangflowSecret(secret)
    assert "xx" not in str(raised.value)


@pytest.mark.parametrize(
    "token",
    [
        seal(TEXT, "another secret"),
        seal(TEXT, SHORT_SECRET)[:-4],
        Fernet(fernet_keys(SHORT_SECRET)[0]).encrypt(b"\xff").decode(),
        "gAAAAA",
        "gAAAAAü",
        "",
    ],
    ids=["of another secret", "cut off", "no text", "its beginning", "no ASCII", "empty"],
)
def test_what_does_not_open(token):
    """What none of the keys authenticates is nothing, and so is what holds no text."""
    assert LangflowSecret(SHORT_SECRET).open(token) is None


def test_the_secret_does_not_show():
    """Neither repr nor a copy shows the secret."""
    secret = LangflowSecret(SHORT_SECRET)
    assert repr(secret) == "<LangflowSecret …>"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="would leave the secret behind"):
            leave(secret)
