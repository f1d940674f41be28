"""What one process says of its requests, in memory over files: it outlives a kill -9, and nobody waits for a disk.

Owns the process's run of segments. Refuses intents where the disk or `max_bytes` leaves no room (JournalFull), so that
no request is sent that could not be accounted for; what has to be said of requests under way is never refused. Rules:
a record is one assignment to memory whose place on the disk is taken already; the next segment is made in a thread
before the present one is full; all calls come from one thread.
"""

import contextlib
import mmap
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

import msgspec

from proxy_cli.clock import Clock
from proxy_cli.errors import Overloaded
from proxy_cli.ledger.crash import CrashPoint
from proxy_cli.ledger.framing import HEAD, INTENT, SEALED, SETTLED, START, VOID, frame
from proxy_cli.ledger.row import Row
from proxy_cli.ledger.segments import (
    LOCK_SUFFIX,
    NEW_SUFFIX,
    Allocate,
    SegmentName,
    allocate,
    bytes_in,
    hold,
    make_segment,
)
from proxy_cli.ledger.tally import Charges, write_beside

SEGMENT_BYTES: Final = 4 * 1024 * 1024
JOURNAL_MAX_BYTES: Final = 1024 * 1024 * 1024
_AGAIN_AFTER_S: Final = 1.0  # where there was no room
_RESERVE: Final = 4  # the last quarter of a segment without a successor is kept for what becomes of requests under way

_encode: Final = msgspec.msgpack.Encoder().encode


class JournalFull(Overloaded):
    """No place is left to write down what a request costs, so it is not sent."""

    code = "ledger_full"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"what requests cost cannot be written down: {reason}; free space for the journal, or see that the database"
            " takes what stands in it",
            retry_after_s=2.0,
        )


@dataclass(frozen=True, slots=True)
class Room:
    """Where journals lie, and how much they may take."""

    folder: Path
    segment_bytes: int = SEGMENT_BYTES
    max_bytes: int = JOURNAL_MAX_BYTES  # of all processes together
    allocator: Allocate = allocate


class Journal:
    """One process's. A segment is made with the first record; `close` says that the process has ended in order."""

    __slots__ = (
        "_asked_s",
        "_clock",
        "_end",
        "_lock",
        "_making",
        "_memory",
        "_next",
        "_number",
        "_open",
        "_position",
        "_prepare_at",
        "_reason",
        "_room",
        "_run",
        "_settled",
        "_soft_end",
        "_to_tally",
        "_unsaid",
        "_wake",
    )

    def __init__(
        self,
        room: Room,
        *,
        node: str,
        number: int,
        clock: Clock = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._room = room
        self._clock = clock
        self._run = f"{node}-{number}-{wall_ns() // 1000:016d}"
        self._lock: int | None = None
        self._number = 0  # of the present segment
        self._memory: mmap.mmap | bytearray = bytearray()  # the latter before the first segment, and after the last
        self._position = self._end = self._soft_end = self._prepare_at = 0
        self._next: mmap.mmap | None = None  # made, under its new name
        self._making: Thread | None = None
        self._asked_s = -_AGAIN_AFTER_S
        self._reason = ""
        # Of requests under way, while there is no room, and so no more than those: whose it is, and its row.
        self._unsaid: deque[tuple[bytes, str, Row | None]] = deque()
        self._open: dict[str, Row] = {}  # said to be under way
        self._settled: dict[Charges, int] = {}  # in the present segment
        self._wake: Callable[[], None] | None = None
        self._to_tally: tuple[Path, dict[Charges, int], list[Row]] | None = None  # of the segment before it

    @property
    def run(self) -> str:
        """What this process's segments begin with."""
        return self._run

    def intent(self, row: Row) -> None:
        """A backend is about to be asked. Raises JournalFull."""
        record = frame(INTENT, _bytes_of(row))
        position = self._position
        end = position + len(record)
        if end > self._soft_end or self._unsaid:
            self._intent_slowly(record)
        else:
            self._memory[position:end] = record
            self._position = end
            if end > self._prepare_at:
                self._prepare()
        self._open[row.request_id] = row

    def settle(self, row: Row) -> None:
        """What became of it; the whole row."""
        self._say(frame(SETTLED, _bytes_of(row)), row.request_id, row)

    def void(self, request_id: str) -> None:
        """It reached nobody after all: no row is made of it."""
        self._say(frame(VOID, _encode(request_id)), request_id, None)

    def say_what_waits(self) -> None:
        """Write what found no room, if there is some by now, though no further request comes."""
        if self._unsaid:
            self._say_late()

    def call_with_next(self, wake: Callable[[], None]) -> None:
        """Call this once, when the next row is settled."""
        self._wake = wake

    def close(self) -> None:
        """The process ends in order: what is left to say is said, and whoever reads knows that nothing follows."""
        if self._making is not None:
            self._making.join()
        self._say_late()
        self._seal()
        if self._next is not None:
            self._next.close()
            self._path_of_next().unlink(missing_ok=True)
        self._memory, self._next, self._to_tally = bytearray(), None, None
        self._end = self._soft_end = self._position = 0
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _say(self, record: bytes, request_id: str, row: Row | None) -> None:
        position = self._position
        end = position + len(record)
        if end > self._end or self._unsaid:
            self._unsaid.append((record, request_id, row))
            self._say_late()
            return
        self._memory[position:end] = record
        self._position = end
        self._said(request_id, row)

    def _said(self, request_id: str, row: Row | None) -> None:
        """What became of a request stands in the present segment."""
        self._open.pop(request_id, None)
        if row is not None and row.cost_nano:
            self._settled[row.charges] = self._settled.get(row.charges, 0) + row.cost_nano
        if self._wake is not None:
            wake, self._wake = self._wake, None
            wake()

    def _intent_slowly(self, record: bytes) -> None:
        self._say_late()
        if self._unsaid:
            raise JournalFull(self._reason)
        if self._position + len(record) > self._soft_end and not self._has_successor(len(record)):
            raise JournalFull(self._reason)
        if not self._write(record):
            raise JournalFull(self._reason)

    def _say_late(self) -> None:
        """Write what found no room, oldest first, as far as there is some now."""
        while self._unsaid and self._write(self._unsaid[0][0]):
            _, request_id, row = self._unsaid.popleft()
            self._said(request_id, row)

    def _write(self, record: bytes) -> bool:
        """Write into this segment, or else into the next; False where neither has room."""
        if self._position + len(record) > self._end and not (self._has_successor(len(record)) and self._turn(record)):
            return False
        end = self._position + len(record)
        self._memory[self._position : end] = record
        self._position = end
        return True

    def _has_successor(self, size: int) -> bool:
        """Whether a further segment is ready; where it is not, it is made now, but not again and again."""
        if self._making is not None:
            self._making.join()
            self._making = None
        if self._next is not None:
            self._soft_end = self._end
            return True
        now_s = self._clock()
        if now_s - self._asked_s < _AGAIN_AFTER_S:
            return False
        self._make(size)
        return self._next is not None

    def _prepare(self) -> None:
        """Have the next segment made beside the work, and what the last one comes to put down."""
        self._prepare_at = self._end
        if self._making is None and (self._next is None or self._to_tally is not None):
            self._making = Thread(target=self._make_beside, name="journal", daemon=True)
            self._making.start()

    def _make_beside(self) -> None:
        if self._next is None:
            self._make(0)
        if self._to_tally is not None:
            segment, settled, open_rows = self._to_tally
            self._to_tally = None
            most_bytes = self._room.max_bytes - bytes_in(self._room.folder)
            write_beside(segment, settled, open_rows, most_bytes=most_bytes)

    def _make(self, record_bytes: int) -> None:
        """Make the next segment, large enough for a record; or say why there is none."""
        room = self._room
        size = max(room.segment_bytes, START + record_bytes + HEAD.size)
        self._asked_s = self._clock()
        try:
            room.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if bytes_in(room.folder) + size > room.max_bytes:
                self._reason = f"the journal has reached its limit of {room.max_bytes // 1024 // 1024} MiB"
                return
            if self._lock is None:
                self._lock = hold(room.folder / f"{self._run}{LOCK_SUFFIX}")
            self._next = make_segment(self._path_of_next(), size, room.allocator)
        except OSError as error:
            self._reason = f"{room.folder}: {error.strerror}"

    def _turn(self, record: bytes) -> bool:
        """Go on in the next segment; False where even that is too small for the record."""
        assert self._next is not None
        if START + len(record) > len(self._next):
            self._next.close()
            self._path_of_next().unlink(missing_ok=True)
            self._next = None
            self._make(len(record))
            if self._next is None:
                return False
        self._seal()
        if self._number:
            self._to_tally = (self._path_of(self._number), self._settled, list(self._open.values()))
        self._settled = {}
        memory, fresh = self._next, self._path_of_next()
        self._number += 1
        fresh.rename(self._path_of(self._number))
        self._next = None
        self._asked_s = self._clock() - _AGAIN_AFTER_S
        self._memory, self._position, self._end = memory, START, len(memory)
        self._soft_end = self._end - self._end // _RESERVE
        self._prepare_at = self._end // 2
        return True

    def _seal(self) -> None:
        if self._end - self._position >= HEAD.size:
            self._memory[self._position : self._position + HEAD.size] = SEALED
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()

    def _path_of(self, number: int) -> Path:
        return self._room.folder / SegmentName(self._run, number).file

    def _path_of_next(self) -> Path:
        return self._room.folder / f"{self._run}{NEW_SUFFIX}"


class SafeJournal(Journal):
    """One that power may fail: each record is on the disk before anything is done that it tells of.

    All requests of the process wait for that disk.
    """

    __slots__ = ("_on_disk",)

    def __init__(self, room: Room, *, node: str, number: int) -> None:
        super().__init__(room, node=node, number=number)
        self._on_disk: tuple[int, int] = (0, 0)  # of which segment how much

    def intent(self, row: Row) -> None:
        """As any journal's. Raises JournalFull, also for a disk that does not write."""
        super().intent(row)
        try:
            self._flush()
        except OSError as error:
            raise JournalFull(f"{self._room.folder}: {error.strerror}") from error

    def settle(self, row: Row) -> None:
        """As any journal's."""
        super().settle(row)
        with contextlib.suppress(OSError):  # it is in the kernel's hands; the next intent tells of the disk
            self._flush()

    def _flush(self) -> None:
        memory = self._memory
        if not isinstance(memory, mmap.mmap):
            return
        number, done = self._on_disk
        begin = done if number == self._number else 0
        begin -= begin % mmap.PAGESIZE
        memory.flush(begin, self._position - begin)
        self._on_disk = (self._number, self._position)


class CrashingJournal(Journal):
    """One that ends the process where a test wants it to."""

    __slots__ = ("_crash",)

    def __init__(self, room: Room, *, node: str, number: int, crash: CrashPoint) -> None:
        super().__init__(room, node=node, number=number)
        self._crash = crash

    def intent(self, row: Row) -> None:
        """As any journal's."""
        super().intent(row)
        self._crash.at("after_intent")

    def settle(self, row: Row) -> None:
        """As any journal's."""
        self._crash.at("before_settle")
        super().settle(row)
        self._crash.at("after_settle")


def _bytes_of(row: Row) -> bytes:
    try:
        return _encode(row)
    except (UnicodeEncodeError, OverflowError, TypeError):
        return _encode(_encodable(row))


def _encodable(row: Row) -> Row:
    """The row without what no file can hold: halves of characters, and metadata of strange kinds."""
    changed = msgspec.structs.replace(row)
    for name in row.__struct_fields__:
        setattr(changed, name, _clean(getattr(row, name)))
    return changed


def _clean(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case tuple() | list():
            return tuple(_clean(each) for each in value)
        case dict():
            return {str(_clean(name)): _clean(each) for name, each in value.items()}
        case None | bool() | float():
            return value
        case int():
            return min(max(value, -(2**63)), 2**63 - 1)
    return str(value)
