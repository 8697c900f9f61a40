"""The file with the secret keys: read with care, and made where it is missing, once and whole."""

import logging
import os
import re
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from vaults import NEW, OLD

from keyguard.errors import ConfigurationError, WrongSecret
from keyguard.vault import SecretFile, SecretKeys


@pytest.fixture
def path(tmp_path):
    return tmp_path / "secret.key"


def write(path, content, mode=0o600):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [f"{OLD}\n{NEW}\n", f"{OLD}\r\n{NEW}", f"\n{OLD}\n\n{NEW}\n\n"])
def test_one_key_a_line(path, content):
    """The file has one key a line, the one that seals first; how its lines end, and empty ones, make no difference."""
    write(path, content)
    assert SecretKeys.from_file(path).checks == SecretKeys([OLD, NEW]).checks
    assert SecretFile(str(path)).read().checks == SecretKeys([OLD, NEW]).checks


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "there is no secret key in it"),
        ("\n\n", "there is no secret key in it"),
        (f"# a comment\n{OLD}\n", "at least 32 printable ASCII characters"),
        (f"KEYGUARD_SECRET_KEY={OLD} x", "at least 32 printable ASCII characters"),
        (OLD[:31], "at least 32 printable ASCII characters"),
        (f"{OLD}\n{OLD}\n", "twice"),
        (b"\xef\xbb\xbf" + OLD.encode(), "at least 32 printable ASCII characters"),
        (os.urandom(60).replace(b"\n", b"\0"), "at least 32 printable ASCII characters"),
        (f"{OLD}\n" * 2000, "more than 65536 bytes"),
    ],
    ids=["empty", "blank", "comment", "assignment", "half", "twice", "mark", "binary", "long"],
)
def test_a_file_of_something_else_is_refused(path, content, problem):
    """A file that does not hold secret keys is refused by a sentence that names it and quotes nothing of it."""
    write(path, content)
    for read in (SecretKeys.from_file, lambda path: SecretFile(path).load(nothing_is_sealed=True)):
        with pytest.raises(ConfigurationError, match=problem) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "DZq2" not in str(caught.value)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())


def test_a_missing_file(path):
    """A file that is missing is None to whoever may make it, and a mistake to whoever wants its keys now."""
    assert SecretFile(path).read() is None
    assert SecretFile(path.parent / "no" / "folder").read() is None
    with pytest.raises(ConfigurationError, match=re.escape(f"there is no file {str(path)!r}")):
        SecretKeys.from_file(path)


def test_what_is_no_regular_file_is_refused(path, tmp_path):
    """A folder, a pipe or a device is no file of keys; none of them is waited for."""
    os.mkfifo(path)
    for place in (tmp_path, path, "/dev/zero"):
        with pytest.raises(ConfigurationError, match="it is no regular file"):
            SecretFile(place).read()


def test_what_cannot_be_read_is_refused(path):
    """Where the operating system gives no access, its reason is in the sentence."""
    write(path, OLD)
    with pytest.raises(ConfigurationError, match="cannot be read: Not a directory"):
        SecretFile(path / "below").read()


def test_a_symbolic_link_is_followed(path, tmp_path):
    """The path may be a link, as where secrets are mounted into a container; one that leads nowhere is a mistake."""
    write(tmp_path / "data", OLD)
    path.symlink_to(tmp_path / "data")
    assert SecretFile(path).read().checks == SecretKeys([OLD]).checks
    (tmp_path / "data").unlink()
    with pytest.raises(ConfigurationError, match="is a symbolic link to a file that is not there"):
        SecretFile(path).load(nothing_is_sealed=True)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o622])
def test_a_file_that_others_may_write_is_refused(path, mode):
    """Whoever can write another key into it would read all that is sealed from then on."""
    write(path, OLD, mode)
    with pytest.raises(ConfigurationError, match="could write another key into it"):
        SecretFile(path).read()


@pytest.mark.parametrize(
    ("mode", "warns"), [(0o400, False), (0o600, False), (0o640, False), (0o604, True), (0o444, True)]
)
def test_a_file_that_others_may_read_is_warned_of(path, mode, warns, caplog):
    """A file that everybody can read is read, and the log warns; what a group can read is the group's business."""
    write(path, OLD, mode)
    assert SecretFile(path).read().checks == SecretKeys([OLD]).checks
    assert [record.getMessage() for record in caplog.records] == [
        f"the secret key's file {str(path)!r} can be read by every user of this machine: chmod o-r it"
    ] * warns


def test_a_file_stays_where_it_is(path, tmp_path, monkeypatch):
    """A relative path is meant from where the process was when it was named."""
    write(path, OLD)
    monkeypatch.chdir(tmp_path)
    file = SecretFile("secret.key")
    monkeypatch.chdir("/")
    assert file.read().checks == SecretKeys([OLD]).checks
    assert repr(file) == f"SecretFile({str(path)!r})"


# --- making -------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_made(path, caplog):
    """Where nothing is sealed, a missing file is made with a key of 256 bits; the log says where, and not what."""
    caplog.set_level(logging.INFO)
    keys = SecretFile(path).load(nothing_is_sealed=True)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", path.read_text())
    assert keys.checks == SecretKeys.from_file(path).checks == SecretKeys([path.read_text().strip()]).checks
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == f"a secret key was generated and written to {path}: keep a copy of it"


def test_a_key_is_made_anew_for_each_file(tmp_path):
    """No two files get the same key."""
    files = [SecretFile(tmp_path / name) for name in "abc"]
    assert len({file.load(nothing_is_sealed=True).checks for file in files}) == 3


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277, 0o777])
def test_only_the_owner_can_read_it(tmp_path, umask):
    """The file has mode 0600 whatever the umask, and folders that had to be made are closed to everybody else."""
    path = tmp_path / "var" / "lib" / "secret.key"
    before = os.umask(umask)
    try:
        assert SecretFile(path).make()
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600
    assert {mode_of(folder) & 0o077 for folder in (path.parent, path.parent.parent)} == {0}
    assert [each.name for each in path.parent.iterdir()] == ["secret.key"]


def test_a_folder_that_is_there_keeps_its_mode(path):
    """The folder in which the file is made stays as it is."""
    path.parent.chmod(0o755)
    SecretFile(path).make()
    assert mode_of(path.parent) == 0o755


def test_what_is_there_is_not_replaced(path):
    """Making a file where there is one, whatever is in it, changes nothing and leaves nothing behind."""
    write(path, "half a k")
    assert not SecretFile(path).make()
    assert path.read_text() == "half a k"
    assert list(path.parent.iterdir()) == [path]


def test_where_it_cannot_be_made(path):
    """Where the operating system refuses, its reason is in the sentence."""
    write(path, OLD)
    with pytest.raises(ConfigurationError, match=r"cannot be made: (File exists|Not a directory)"):
        SecretFile(path / "below").make()


def test_no_key_is_made_where_one_is_needed(path):
    """Where something is sealed and the file is missing, none is made; the sentence says where it was looked for."""
    with pytest.raises(WrongSecret, match=re.escape(f"there is no file {str(path)!r}, and KEYGUARD_SECRET_KEY")):
        SecretFile(path).load(nothing_is_sealed=False)
    assert list(path.parent.iterdir()) == []


# --- several at once ----------------------------------------------------------------------------------------------


def test_many_threads_get_one_key(tmp_path):
    """However many make a missing file at the same moment, one does it, all read its key, and nobody a part of it."""
    number, rounds = 6, 60
    start = threading.Barrier(number, timeout=20)

    def load(path):
        start.wait()
        file = SecretFile(path)
        return file.make(), file.read().checks

    with ThreadPoolExecutor(number) as pool:
        for turn in range(rounds):
            path = tmp_path / f"{turn}.key"
            outcomes = list(pool.map(load, [path] * number))
            assert sorted(made for made, _ in outcomes) == [False] * (number - 1) + [True]
            assert {checks for _, checks in outcomes} == {SecretKeys.from_file(path).checks}
    assert len(list(tmp_path.iterdir())) == rounds


def test_nobody_reads_half_a_key(tmp_path):
    """Whoever looks for the file all the time while it is made finds nothing, and then the whole of it."""
    for turn in range(60):
        file = SecretFile(tmp_path / f"{turn}.key")
        seen, end = set(), threading.Event()

        def look(file=file, seen=seen, end=end):
            while not end.is_set():
                seen.add(keys.checks if (keys := file.read()) else None)

        watcher = threading.Thread(target=look)
        watcher.start()
        file.make()
        end.set()
        watcher.join(20)
        assert not watcher.is_alive()
        assert seen <= {None, file.read().checks}


CHILD = """
import sys
from keyguard.vault import SecretFile
print("ready", flush=True)
sys.stdin.readline()
print(*SecretFile(sys.argv[1]).load(nothing_is_sealed=True).checks)
"""


def test_many_processes_get_one_key(tmp_path):
    """Workers that start together on an empty folder all have the key of the one that was first."""
    path = tmp_path / "made" / "secret.key"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [child.communicate(timeout=60) for child in children]
    assert {output for output, _ in outputs} == {f"{SecretKeys.from_file(path).checks[0]}\n"}
    assert sum("was generated and written to" in errors for _, errors in outputs) == 1
