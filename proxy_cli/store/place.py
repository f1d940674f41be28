"""The file of a SQLite database on its disk: made with care, and never made anew where there has been one.

Beside `llmproxy.db` stands `llmproxy.db.lock`. Migrations take turns by it, and once the database has been made it says
so: a file that is then missing or empty has been lost, and an empty new one would hide that. Folder and file are for
their owner alone, for keys' digests and prompts are in there.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from proxy_cli.store.failures import NoPlace, StoreProblem

_HEAD: Final = b"SQLite format 3\x00"
_MADE: Final = b"made\n"
_NETWORKS: Final = re.compile(r"nfs\d?|cifs|smb\w*|fuse\.sshfs|9p|afs|ceph|glusterfs")
_MOUNTS: Final = Path("/proc/self/mounts")
_LOCK_WAIT_S: Final = 60.0
_POLL_S: Final = 0.05


def lock_file(path: Path) -> Path:
    """The file beside the database that says whether it has been made."""
    return path.with_name(path.name + ".lock")


@contextmanager
def alone_with(path: Path, wait_s: float = _LOCK_WAIT_S) -> Iterator[int]:
    """Hold the lock beside the database, which the kernel gives back if we die. Raises StoreProblem."""
    _make_folder(path.parent)
    try:
        descriptor = os.open(lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _cannot(error, lock_file(path), path) from error
    try:
        _take(descriptor, path, time.monotonic() + wait_s)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, until_s: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise StoreProblem(
                    f"the database {path} is being changed by another process and does not come free; "
                    "end that process, or try again later"
                ) from None
            time.sleep(_POLL_S)


def _make_folder(folder: Path) -> None:
    if folder.parts[:1] and folder.parts[0].startswith("~"):
        raise NoPlace("this user has no home to keep a database in; set LLMPROXY_DATA_DIR to a folder for it")
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _cannot(error, folder, None) from error


def make_file(path: Path, lock: int) -> bool:
    """See to it that the file is there and can be used; whether it is a new one. Raises StoreProblem."""
    _refuse_network(path)
    size = _size(path)
    if not size and os.pread(lock, len(_MADE), 0) == _MADE:
        state = "is missing" if size is None else "is empty (0 bytes)"
        raise StoreProblem(
            f"the database {path} {state}, but there has been one before; put it back from a backup, "
            f"or remove {lock_file(path)} to begin with an empty one"
        )
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _cannot(error, path, path) from error
    try:
        head = os.pread(descriptor, len(_HEAD), 0)
    finally:
        os.close(descriptor)
    if head and head != _HEAD:
        raise StoreProblem(
            f"{path} is no SQLite database, or is damaged; name another file, or put it back from a backup"
        )
    return not size


def note_made(lock: int) -> None:
    """Remember that the database has been made."""
    if os.pread(lock, len(_MADE), 0) != _MADE:
        os.pwrite(lock, _MADE, 0)


def identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at the path now; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _cannot(error, path, None) from error


def _cannot(error: OSError, path: Path, database: Path | None) -> StoreProblem:
    """What keeps us from a path. Where there is a database already, it is not for want of a place."""
    kind = StoreProblem if database is not None and database.is_file() else NoPlace
    why = error.strerror or type(error).__name__
    user = os.geteuid()
    return kind(
        f"the database cannot be kept at {path}: {why} (as user {user}); "
        "make it writable for this user, or set LLMPROXY_DATA_DIR or general_settings.database_url to another place"
    )


def _refuse_network(path: Path) -> None:
    try:
        mounts = _MOUNTS.read_text("utf-8", "replace")
    except OSError:
        return  # not Linux: nothing is known of the disk
    kind = file_system(path.resolve(), mounts)
    if _NETWORKS.fullmatch(kind):
        raise NoPlace(
            f"the database {path} lies on a network's file system ({kind}), where SQLite loses data; "
            "put it on a disk of this machine (LLMPROXY_DATA_DIR), or use PostgreSQL"
        )


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that a path lies on, by the text of /proc/mounts; empty where that does not tell."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2:
            folder = fields[1].replace("\\040", " ")
            if path.is_relative_to(folder) and len(folder) >= len(best):
                best, kind = folder, fields[2]
    return kind
