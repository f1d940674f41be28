"""The memory in which limits are counted: rows of whole numbers that every process forked after its making shares.

Owns: the layout, finding and making a row, who holds what, the lock around a step, and what is to be done when a
process has died. Refuses: what a number means for a request. Rule: a sum that is kept beside its parts can be made anew
from them, so a process may be killed between any two writes: whoever holds the lock next finds the step unfinished
and adds up again.

A row is found by two numbers: the key, which is made of kind and id, and what else tells rows of one key apart. Keys
stand in sets of WAYS; a row lies anywhere in its key's set, so nothing ever moves, and a row that was long not used
gives its place to a new one. Pages that were never used take no memory. Other than for one process alone, every step
that reads and changes stands between `hold` and `free`, with `clean` before `free` when it went through.
"""

import fcntl
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Iterator
from typing import Final

from proxy_cli.clock import Clock
from proxy_cli.errors import Overloaded

# Cells of a row.
MARK: Final = 0  # which making of a row this is; 0: nothing was ever here
IDENT: Final = 1
USED_AT: Final = 2  # monotonic second
WINDOW: Final = 3  # unix second at which the window of the money begins
ELSEWHERE: Final = 4  # nano-dollars that other nodes counted in it
OWN: Final = 5  # nano-dollars that this node counted in it
RESERVED: Final = 6  # nano-dollars of requests under way: the sum of all slots' parts
PARALLEL: Final = 7  # requests under way: the sum of all slots' parts
HEAD: Final = 8  # the newest second of the rings
REQUESTS: Final = 9  # sum of the ring of requests
TOKENS: Final = 10  # sum of the ring of tokens
REQUEST_RING: Final = 11
# A request of the first moment of a second is 60 s old when that second is the 61st: so long it has to be remembered.
SECONDS: Final = 61
TOKEN_RING: Final = REQUEST_RING + SECONDS
PARTS: Final = TOKEN_RING + SECONDS  # of each slot: what it has reserved, and how many requests it has under way

WAYS: Final = 64
UNUSED_S: Final = 600  # a row that nobody used for so long may go: what it says is in the store by then
SILENT_S: Final = 30  # a process that gave no sign for so long holds nothing any more
WAIT_S: Final = 0.1  # for the lock

# Cells of the header. The first one is always 0: a row that was not found yet lies there.
_MADE, _UNFINISHED, _SLOTS = 1, 2, 8
_SLOT_CELLS: Final = 3
_PROCESS, _SEEN, _EPOCH = 0, 1, 2  # of a slot
_EMPTIED: Final = -1  # in place of the second of the last sign of life
_ZEROS: Final = memoryview(bytes((PARTS - REQUESTS) * 8)).cast("q")


class Board:
    """The rows. Every process has its own object over the memory; `enter` comes first in a forked one."""

    def __init__(self, *, processes: int, capacity: int, clock: Clock) -> None:
        self._clock = clock
        self.capacity = capacity
        self.slots = 2 * processes + 2  # successors start while their predecessors end; and the parent has one
        self.width = PARTS + 2 * self.slots
        self._sets = max(1, -(-2 * capacity // WAYS))  # twice the room: sets do not fill evenly
        self._keys = _SLOTS + self.slots * _SLOT_CELLS
        self._rows = self._keys + self._sets * WAYS
        size = (self._rows + self._sets * WAYS * self.width) * 8
        self.cells = memoryview(mmap.mmap(-1, size)).cast("q")
        self._lock = _lock_file()
        weakref.finalize(self, os.close, self._lock)
        self._maker = os.getpid()
        self.is_shared = processes > 1
        self._take_slot(0)

    def hold(self) -> None:
        """Begin a step; raises Overloaded when another process does not end its own."""
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()
        if self.cells[_UNFINISHED]:
            self._repair()
        self.cells[_UNFINISHED] = 1

    def clean(self) -> None:
        """The step went through."""
        self.cells[_UNFINISHED] = 0

    def free(self) -> None:
        """End a step, be it complete or not."""
        fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def _wait(self) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            time.sleep(0.00005)
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return
        raise Overloaded(
            f"the limits are held by another worker for longer than {WAIT_S} s; try again", retry_after_s=1.0
        )

    def _repair(self) -> None:
        """Add up anew what a process left half written."""
        cells = self.cells
        for row in self.used():
            cells[row + REQUESTS] = sum(cells[row + REQUEST_RING : row + TOKEN_RING])
            cells[row + TOKENS] = sum(cells[row + TOKEN_RING : row + PARTS])
            cells[row + RESERVED] = sum(cells[row + PARTS : row + self.width : 2])
            cells[row + PARALLEL] = sum(cells[row + PARTS + 1 : row + self.width : 2])

    @property
    def made(self) -> int:
        """How many rows were ever made."""
        return self.cells[_MADE]

    def find(self, key: int, ident: int) -> int:
        """The first cell of a row, 0 where there is none."""
        return next((row for row in self.rows_of(key) if self.cells[row + IDENT] == ident), 0)

    def rows_of(self, key: int) -> Iterator[int]:
        """All rows of a key."""
        first = key % self._sets * WAYS
        keys = self.cells[self._keys + first : self._keys + first + WAYS].tolist()
        if key in keys:
            yield from (self._row(first + way) for way, each in enumerate(keys) if each == key)

    def make(self, key: int, ident: int, window: int) -> int:
        """A new row; raises Overloaded when there is no place for one."""
        cells = self.cells
        number = self._place_for(key)
        row = self._row(number)
        # Not to be found before it is whole.
        cells[self._keys + number] = cells[row + MARK] = 0
        cells[row : row + self.width] = memoryview(bytes(self.width * 8)).cast("q")
        cells[row + IDENT], cells[row + WINDOW], cells[row + USED_AT] = ident, window, int(self._clock())
        cells[_MADE] += 1
        cells[row + MARK] = cells[_MADE]
        cells[self._keys + number] = key
        return row

    def used(self) -> list[int]:
        """All rows that are made."""
        keys = self.cells[self._keys : self._rows].tolist()
        return [self._row(number) for number, key in enumerate(keys) if key]

    def _row(self, number: int) -> int:
        return self._rows + number * self.width

    def _place_for(self, key: int) -> int:
        first = key % self._sets * WAYS
        keys = self.cells[self._keys + first : self._keys + first + WAYS].tolist()
        if 0 in keys:
            return first + keys.index(0)
        unused_since = self._clock() - UNUSED_S
        idle = [each for each in range(first, first + WAYS) if self._is_idle(self._row(each), unused_since)]
        if idle:
            return min(idle, key=lambda each: self.cells[self._row(each) + USED_AT])
        raise Overloaded(
            f"all places for limits are in use (limits_capacity: {self.capacity}); raise "
            "general_settings.limits_capacity, or try again in some minutes",
            code="limits_full",
            retry_after_s=60.0,
        )

    def _is_idle(self, row: int, unused_since: float) -> bool:
        cells = self.cells
        return not cells[row + RESERVED] and not cells[row + PARALLEL] and cells[row + USED_AT] <= unused_since

    def enter(self, number: int) -> None:
        """Count for this process, which was forked, from now on."""
        self.is_shared = self.is_shared or os.getpid() != self._maker
        self.hold()
        try:
            self._take_slot(self._free_slot(number))
            self.clean()
        finally:
            self.free()

    def part_of(self, slot: int) -> int:
        """Where in a row a slot's part of the money lies; behind it, that of the requests."""
        return PARTS + 2 * slot

    def seen(self, second: int) -> None:
        """This process gives a sign of life."""
        self.cells[self._at + _SEEN] = second

    @property
    def epoch(self) -> int:
        """Grows when what this process holds is taken from it."""
        return self.cells[self._at + _EPOCH]

    def sweep(self) -> None:
        """Free what is held by processes that are dead or were silent for long."""
        silent_since = int(self._clock()) - SILENT_S
        for slot in range(self.slots):
            at = _SLOTS + slot * _SLOT_CELLS
            process, seen = self.cells[at + _PROCESS], self.cells[at + _SEEN]
            if slot == self.slot or not process:
                continue
            if not _lives(process):
                self._empty(slot)
                self.cells[at + _PROCESS] = 0
            elif seen <= silent_since and seen != _EMPTIED:
                self._empty(slot)

    def _free_slot(self, number: int) -> int:
        silent_since = int(self._clock()) - SILENT_S
        slots = [each % self.slots for each in range(number, number + self.slots)]
        processes = [self.cells[_SLOTS + slot * _SLOT_CELLS + _PROCESS] for slot in slots]
        for slot, process in zip(slots, processes, strict=True):
            if not process or not _lives(process):
                return slot
        # Another program may have got the number of a process that is dead.
        for slot in slots:
            if self.cells[_SLOTS + slot * _SLOT_CELLS + _SEEN] <= silent_since:
                return slot
        raise Overloaded(f"more than {self.slots} processes share the limits; start fewer workers")

    def _take_slot(self, slot: int) -> None:
        self.slot = slot
        self.parts = self.part_of(slot)
        self._at = _SLOTS + slot * _SLOT_CELLS
        self._empty(slot)
        self.cells[self._at + _PROCESS] = os.getpid()
        self.seen(int(self._clock()))

    def _empty(self, slot: int) -> None:
        cells, part = self.cells, self.part_of(slot)
        at = _SLOTS + slot * _SLOT_CELLS
        cells[at + _EPOCH] += 1
        cells[at + _SEEN] = _EMPTIED
        for row in self.used():
            cells[row + RESERVED] -= cells[row + part]
            cells[row + PARALLEL] -= cells[row + part + 1]
            cells[row + part] = cells[row + part + 1] = 0


def advance(cells: memoryview, row: int, second: int) -> None:
    """Let a row's rings go on to a second: what is older than a minute does not count any more."""
    head = cells[row + HEAD]
    if second - head >= SECONDS:
        cells[row + REQUESTS : row + PARTS] = _ZEROS
    else:
        for each in range(head + 1, second + 1):
            at = row + REQUEST_RING + each % SECONDS
            cells[row + REQUESTS] -= cells[at]
            cells[row + TOKENS] -= cells[at + SECONDS]
            cells[at] = cells[at + SECONDS] = 0
    if second > head:
        cells[row + HEAD] = second


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lock_file() -> int:
    """A file of no name: the kernel gives the lock of a process back when that ends, however it ends."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("llmproxy-limits")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
