"""Files of the journal: their names, their making, and the reading of them.

A process that serves is a *run*; its segments are numbered, and a lock that it holds until its end says that it lives.
Names are never used again, for the store remembers by them how far each has been read: a run's name holds the moment it
began.
"""

import fcntl
import mmap
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from proxy_cli.ledger.framing import HEAD, MARK, START, Record, Stop, records

SUFFIX: Final = ".journal"
LOCK_SUFFIX: Final = ".lock"
NEW_SUFFIX: Final = ".new"  # made, and not in use yet
SUMS_SUFFIX: Final = ".sums"  # what a complete segment comes to
_CHUNK: Final = 256 * 1024
_NAME: Final = re.compile(r"(?P<run>.+-\d+-\d+)\.(?P<number>\d+)\.journal")
_MODE: Final = 0o600

Allocate = Callable[[int, int], None]  # a file descriptor and a size; raises OSError where there is no room


class SegmentName(NamedTuple):
    """Which segment of which run; sorts as they were written."""

    run: str
    number: int

    def __str__(self) -> str:
        return f"{self.run}.{self.number:06d}"

    @property
    def node(self) -> str:
        """The server whose process wrote it."""
        return self.run.rsplit("-", 2)[0]

    @property
    def file(self) -> str:
        """Its file, without the folder."""
        return f"{self}{SUFFIX}"


def segments_in(folder: Path) -> list[SegmentName]:
    """Every segment of a folder, each run's in order."""
    try:
        matches = [_NAME.fullmatch(entry.name) for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []
    return sorted(SegmentName(match["run"], int(match["number"])) for match in matches if match)


def bytes_in(folder: Path) -> int:
    """How much all segments of a folder take with what stands beside them, those that wait for their use among them."""
    total = 0
    for entry in os.scandir(folder):
        if entry.name.endswith((SUFFIX, NEW_SUFFIX, SUMS_SUFFIX)):
            try:
                total += entry.stat().st_size
            except FileNotFoundError:  # taken into the store meanwhile, and gone
                continue
    return total


def allocate(descriptor: int, size: int) -> None:
    """Take room on the disk, so that writing to memory over it cannot fail later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.pwrite(descriptor, bytes(size), 0)


def make_segment(path: Path, size: int, allocator: Allocate = allocate) -> mmap.mmap:
    """Memory over a new file of zeros that begins with the mark. Raises OSError, and leaves nothing then."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        allocator(descriptor, size)
        memory = mmap.mmap(descriptor, size)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    memory[:START] = MARK
    return memory


def hold(path: Path) -> int:
    """A descriptor that holds a lock as long as the process lives. Raises BlockingIOError where another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_held(path: Path) -> bool:
    """Whether the process that made a lock lives."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who look at the same moment do not take each other for the owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read(path: Path, position: int, until: int | None = None) -> Iterator[tuple[list[Record], Stop]]:
    """The records of a segment from a position on, some at a time; the last piece says why there are no more."""
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size if until is None else until
        at = max(position, START)
        if os.pread(descriptor, START, 0) != MARK:
            yield [], Stop.TORN
            return
        wanted = _CHUNK
        while True:
            data = os.pread(descriptor, min(wanted, max(size - at, 0)), at)
            found, stop = records(data, at)
            if stop is Stop.MORE and at + len(data) >= size:
                # A complete segment may end without room for a seal, and one that was cut within a record.
                last = found[-1].end if found else at
                yield found, Stop.TORN if any(data[last - at :]) else Stop.SEAL
                return
            yield found, stop
            if stop is not Stop.MORE:
                return
            wanted = _CHUNK if found else max(_CHUNK, HEAD.size + HEAD.unpack_from(data)[0])
            at = found[-1].end if found else at


def has_more(path: Path, position: int) -> bool:
    """Whether anything was written at a position."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return any(os.pread(descriptor, HEAD.size, position))
    finally:
        os.close(descriptor)


def leftover(path: Path, position: int) -> int:
    """How many bytes were written behind a position; zeros at the end are what was never written."""
    with path.open("rb") as file:
        file.seek(position)
        return len(file.read().rstrip(b"\0"))
