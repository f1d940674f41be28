"""Figures in memory that every process forked after its making shares.

Each process writes a slot of its own and reads all, so no lock is needed, and what a process has counted stays counted
after its end. A slot is a row of entries that only grows: what an entry stands for is written beside its figures, so
that a process which was started later, with another configuration, finds and reads it all the same. A slot that is
full takes no new entries: what may be named in it is bounded by whoever names it, and by its size.
"""

import mmap
import os
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

_CELL: Final = 8  # bytes; every cell is a double
_HEADER: Final = 8  # cells of a slot's header, all headers in one page: a slot that was never used is never touched
_USED, _PROCESS, _SEEN = 0, 1, 2  # in a header: cells in use, process id, moment of its last sign of life
_TITLE: Final = 3  # cells before an entry's labels: kind, bytes of labels, cells of figures
_ALIVE_S: Final = 5.0  # a process that gave no sign for longer has ended, or will not answer either


class Entry(NamedTuple):
    """What one process has written under one name."""

    process: int
    kind: int
    labels: tuple[str, ...]
    figures: tuple[float, ...]
    alive: bool


class Shared:
    """The memory. Every process has its own object over it; `enter` comes first in a new process."""

    def __init__(self, *, slots: int = 64, slot_bytes: int = 256 * 1024) -> None:
        self._slots = slots
        self._width = slot_bytes // _CELL
        memory = memoryview(mmap.mmap(-1, slots * (_HEADER * _CELL + slot_bytes)))
        self._bytes = memory
        self.cells = memory.cast("d")
        self._used = self.cells[_USED : slots * _HEADER : _HEADER]  # of all headers
        self.slot = 0  # this process's own
        self._mine: dict[tuple[int, tuple[str, ...]], int] = {}
        self._take(0)

    def enter(self, number: int) -> None:
        """Write to another slot from now on: number's, or the next that no living process has."""
        free = (each % self._slots for each in range(number, number + self._slots))
        self._take(next((slot for slot in free if not self._is_taken(slot)), number % self._slots))

    def leave(self) -> None:
        """What this process says of its present state does not count any more; what it has counted does."""
        self.cells[self.slot * _HEADER + _SEEN] = 0.0

    def beat(self) -> None:
        """Give a sign of life."""
        self.cells[self.slot * _HEADER + _SEEN] = time.monotonic()

    def place(self, kind: int, labels: tuple[str, ...], size: int) -> int | None:
        """Where in `cells` this process's figures under a name begin; None when there is no room for more names."""
        found = self._mine.get((kind, labels))
        return found if found is not None else self._add(kind, labels, size)

    def entries(self) -> Iterator[Entry]:
        """What all processes have written."""
        now = time.monotonic()
        for slot in range(self._slots):
            header = slot * _HEADER
            alive = self._lives(slot, now)
            process = int(self.cells[header + _PROCESS])
            for kind, labels, begin, size in self._walk(slot):
                yield Entry(process, kind, labels, tuple(self.cells[begin : begin + size]), alive)

    def sizes(self) -> tuple[int, ...]:
        """Of each slot how much is written in it: whoever has found an entry's place looks again once that grows."""
        return tuple(int(self.cells[slot * _HEADER + _USED]) for slot in range(self._slots))

    def mark(self) -> bytes:
        """What differs from the last time if any process has written another entry since: `sizes`, without counting."""
        return self._used.tobytes()

    def places(self, slot: int, kind: int) -> Iterator[tuple[tuple[str, ...], int]]:
        """Labels of a slot's entries of a kind, and where in `cells` their figures begin."""
        return ((labels, begin) for each, labels, begin, _ in self._walk(slot) if each == kind)

    def runs(self, slot: int) -> bool:
        """Whether the process that a slot belongs to exists, be it busy or not; this one's own does."""
        return slot == self.slot or self._is_taken(slot)

    def processes(self) -> int:
        """How many processes give signs of life."""
        now = time.monotonic()
        return sum(self._lives(slot, now) for slot in range(self._slots))

    def _take(self, slot: int) -> None:
        self.slot = slot
        header = slot * _HEADER
        self.cells[header + _PROCESS] = os.getpid()
        self._mine = {(kind, labels): begin for kind, labels, begin, _ in self._walk(slot)}

    def _lives(self, slot: int, now: float) -> bool:
        header = slot * _HEADER
        if now - self.cells[header + _SEEN] >= _ALIVE_S:
            return False
        # One that was killed has said nothing of its end.
        return self.cells[header + _PROCESS] == os.getpid() or self._is_taken(slot)

    def _is_taken(self, slot: int) -> bool:
        process = int(self.cells[slot * _HEADER + _PROCESS])
        if not process or process == os.getpid():
            return False
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _begin(self, slot: int) -> int:
        return self._slots * _HEADER + slot * self._width

    def _walk(self, slot: int) -> Iterator[tuple[int, tuple[str, ...], int, int]]:
        """Kind, labels, first cell and number of cells of every entry of a slot."""
        at = self._begin(slot)
        end = at + int(self.cells[slot * _HEADER + _USED])
        while at < end:
            kind, length, size = (int(each) for each in self.cells[at : at + _TITLE])
            text = bytes(self._bytes[(at + _TITLE) * _CELL : (at + _TITLE) * _CELL + length]).decode()
            at += _TITLE + _cells(length)
            yield kind, tuple(text.split("\0")) if text else (), at, size
            at += size

    def _add(self, kind: int, labels: tuple[str, ...], size: int) -> int | None:
        text = "\0".join(labels).encode("utf-8", "replace")
        header = self.slot * _HEADER
        used = int(self.cells[header + _USED])
        needed = _TITLE + _cells(len(text)) + size
        if used + needed > self._width:
            return None
        at = self._begin(self.slot) + used
        self.cells[at], self.cells[at + 1], self.cells[at + 2] = kind, len(text), size
        self._bytes[(at + _TITLE) * _CELL : (at + _TITLE) * _CELL + len(text)] = text
        # Only now: a reader of another process must never see an entry that is half written.
        self.cells[header + _USED] = used + needed
        begin = self._mine[kind, labels] = at + needed - size
        return begin


def _cells(length: int) -> int:
    return -(-length // _CELL)
