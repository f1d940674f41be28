"""A copy of a SQLite database as it is at one moment, made while it is in use. To restore is to put it in place.

The file that is being written has another name until it is whole, and an older backup of the name it gets is not
replaced.
"""

import os
import sqlite3
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from proxy_cli.store.failures import StoreProblem, meaning
from proxy_cli.store.sqlite import connect

_WAIT_S: Final = 30.0


def back_up(source: Path, target: Path) -> int:
    """Copy the database into a new file, for its owner alone; its size in bytes. Raises StoreProblem."""
    if not source.is_file():
        raise StoreProblem(f"there is no database at {source}; name it in general_settings.database_url")
    if target.exists():
        raise StoreProblem(f"{target} is there already; name a new file, or remove that one")
    try:
        part = _part_of(target)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise StoreProblem(f"no backup can be written to {target.parent}: {why}; name another folder") from error
    try:
        _copy(source, part)
        os.link(part, target)  # unlike a rename it replaces nothing
    except FileExistsError as error:
        raise StoreProblem(f"{target} is there already; name a new file") from error
    except (OSError, sqlite3.Error) as error:
        why = meaning(error) if isinstance(error, sqlite3.Error) else error.strerror or type(error).__name__
        raise StoreProblem(f"the database {source} cannot be copied to {target}: {why}; see to both disks") from error
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def _part_of(target: Path) -> Path:
    """A new file beside the target, for its owner alone; two backups at once have two."""
    descriptor, name = mkstemp(dir=target.parent, prefix=f"{target.name}.", suffix=".part")
    os.close(descriptor)
    return Path(name)


def _copy(source: Path, target: Path) -> None:
    reading = connect(source, timeout_s=_WAIT_S, reads_only=True)
    writing = sqlite3.connect(target, isolation_level=None)
    try:
        # All at once: in steps, each change by another process would begin the copy anew.
        reading.backup(writing)
        # A file by itself, without the companions of WAL mode; it is whole, and it is on the disk.
        writing.execute("PRAGMA journal_mode=DELETE")
        found = writing.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError("malformed")
    finally:
        writing.close()
        reading.close()
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
