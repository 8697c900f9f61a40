"""What `doctor` sees of a database of SQLite's: the file, where it lies, and its journal.

The file is never opened but by SQLite: closing it would drop the locks that SQLite holds for this process.
"""

import re
import sqlite3
import stat
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from keyguard.cli._doctor_tables import look
from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._findings import Finding, fine, problem, unknown, warning
from keyguard.stores._sqlite import is_in_memory
from keyguard.stores.sql import SQLStore

__all__ = ["examine", "file_system_finding"]

_MOUNTS = Path("/proc/self/mountinfo")

_NETWORKS = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|fuse\.(sshfs|glusterfs|s3fs|rclone|ceph).*"
)
"""The names that Linux has for file systems of other machines."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


def examine(store: SQLStore) -> list[Finding]:
    """Return what is to be said of a store in a file of SQLite's. Raises `Failed` if SQLite cannot read it."""
    if is_in_memory(store.url):
        raise Failed("the store is in memory, and ends with its process: there is nothing to see here")
    if store.url.query.get("uri"):
        raise Failed("doctor knows no SQLite URLs with uri=true: name the file as sqlite:///path")
    path = Path(str(store.url.database)).absolute()
    if not path.exists():
        raise Failed(f"there is no database {path}", ExitCode.UNREACHABLE)
    try:
        return [*_files(path), file_system_finding(path), *_content(store, path)]
    except DBAPIError as error:
        raise Failed(f"SQLite cannot read the database: {error.orig}", ExitCode.UNREACHABLE) from None


def _content(store: SQLStore, path: Path) -> list[Finding]:
    # A connection that could write takes its log away again when it is the last one; one that only reads would not.
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True), poolclass=NullPool
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
        return [_journal(mode), *look(connection, store)]


def _journal(mode: str) -> Finding:
    if mode == "wal":
        return fine("journal", "SQLite's write-ahead log is on.")
    return warning(
        "journal",
        f"The journal mode is {mode!r}, and Keyguard needs the write-ahead log.",
        "Any other command switches it on. If it does not stay on, see what else uses this file.",
    )


def _files(path: Path) -> list[Finding]:
    """Look at who may read and write the file, its log, and the directory in which SQLite makes that."""
    about, directory, found = "file", path.parent, list[Finding]()
    if directory.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        what = f"Every user of this machine can put another file into {directory}."
        found.append(problem(about, what, f"Keep them out: chmod o-w {directory}"))
    if not all(each.stat().st_mode & stat.S_IXOTH for each in path.parents):
        return found or [fine(about, "Other users of this machine do not get to it.")]
    modes = {each: each.stat().st_mode for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if each.exists()}
    for each in (each for each, mode in modes.items() if mode & stat.S_IWOTH):
        found.append(
            problem(about, f"Every user of this machine can write to {each}.", f"Keep them out: chmod o-rw {each}")
        )
    if not found and any(mode & stat.S_IROTH for mode in modes.values()):
        what = "Every user of this machine can read it: no keys, but names, digests, addresses and networks."
        found.append(warning(about, what, f"Keep them out: chmod o-r {path}"))
    return found or [fine(about, "Other users of this machine can neither read nor write it.")]


def file_system_finding(path: Path, mounts: Path = _MOUNTS) -> Finding:
    """Look on what the file lies: write-ahead logs need memory that all who write share."""
    about = "file system"
    try:
        lines = [line.split(" - ") for line in mounts.read_text("utf-8", "surrogateescape").splitlines()]
    except OSError:
        return unknown(about, "This system does not say on what the file lies.", "Keep it on a local disk.")
    kinds = {_ESCAPE.sub(_character, left.split()[4]): right.split()[0] for left, right in lines}
    real = path.resolve()
    kind = next((kinds[str(each)] for each in (real, *real.parents) if str(each) in kinds), "")
    if _NETWORKS.fullmatch(kind):
        return problem(
            about,
            f"The file lies on a network file system ({kind}), where SQLite's write-ahead log does not work.",
            "Keep it on a local disk, or keep keys in PostgreSQL.",
        )
    return fine(about, f"The file lies on {kind}, which is of this machine.")


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 8))
