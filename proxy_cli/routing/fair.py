"""The order of a queue: callers take turns, and among one caller's calls the urgent and the old go first.

Owns: who waits in one line, whose turn is next, and how far each caller is ahead of its share. Refuses: to know what is
waited for, or to look at a clock. Rule: a caller's turns come in proportion to its weight while it has calls waiting;
by coming late, often or under many names nobody keeps another from his turn for ever.

Turns are counted as in fair queueing (Goyal, Vin and Cheng 1996; the time that passes with every turn is that of Parekh
and Gallager 1993): each caller has a mark, the lowest mark goes first, and a turn moves the caller's mark on by
1/weight. The queue's own mark moves on by one share with every turn, and a caller who comes anew begins there: it has
saved nothing up for the time in which it did not ask, and is at once ahead only of those who have had their share.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import ceil
from typing import Final, Generic, TypeVar

_MOST_REMEMBERED: Final = 1024  # callers who wait for nothing and are ahead of their share
_MOST_STALE: Final = 64  # turns in the heap that are no more
_LEAST_WEIGHT: Final = 0.001
_SAME: Final = 1e-9  # marks are sums of fractions
PRIORITY_STEP_S: Final = 1.0  # a call that has waited so long goes as if its priority were better by one


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    """One call that waits; of the same caller the one that is due first goes first, then the lower number."""

    caller: str
    weight: float
    due_s: float
    number: int


def due_s(arrived_s: float, priority: int) -> float:
    """When a call is due: every step of priority is worth a second of waiting, so that nothing waits for ever."""
    return arrived_s + priority * PRIORITY_STEP_S


T = TypeVar("T", bound=Ticket)
_Entry = tuple[float, int, T]


class _Line(Generic[T]):
    """The tickets of one caller, sorted, and its mark."""

    __slots__ = ("caller", "entries", "mark", "weight")

    def __init__(self, caller: str, mark: float) -> None:
        self.caller = caller
        self.entries: list[_Entry[T]] = []
        self.mark = mark
        self.weight = 0.0  # that of its latest ticket

    @property
    def turn(self) -> tuple[float, float, int]:
        """What is compared with other callers: the mark, then the ticket that goes first."""
        return (self.mark, *self.entries[0][:2])

    def index(self, ticket: T) -> int | None:
        """Where a ticket is."""
        entries = self.entries
        index = bisect_left(entries, (ticket.due_s, ticket.number), key=lambda entry: entry[:2])
        return index if index < len(entries) and entries[index][2] is ticket else None

    def turns_before(self, mark: float, entry: _Entry[T]) -> int:
        """How many of these go before another caller's ticket whose turn is at a mark."""
        entries = self.entries
        before = min(len(entries), max(0, ceil((mark - self.mark) * self.weight - _SAME)))
        is_tie = before < len(entries) and abs(self.mark + before / self.weight - mark) <= _SAME
        return before + 1 if is_tie and entries[before][:2] < entry[:2] else before


class Fair(Generic[T]):
    """One queue. Owns its tickets, and the marks of callers: of those who wait, and of those ahead of their share."""

    __slots__ = ("_idle", "_lines", "_mark", "_next", "_size", "_weights")

    def __init__(self) -> None:
        self._lines: dict[str, _Line[T]] = {}
        self._idle: dict[str, float] = {}  # marks of callers who do not wait; who has left first stands first
        self._next: list[tuple[tuple[float, float, int], str]] = []  # a heap of turns; those that are no more stay in
        self._mark = 0.0
        self._weights = 0.0  # of those who wait
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, ticket: T) -> bool:
        line = self._lines.get(ticket.caller)
        return line is not None and line.index(ticket) is not None

    def __iter__(self) -> Iterator[T]:
        return (entry[2] for line in self._lines.values() for entry in line.entries)

    def add(self, ticket: T) -> None:
        """Let a ticket wait."""
        line = self._lines.get(ticket.caller)
        if line is None:
            line = _Line(ticket.caller, max(self._idle.pop(ticket.caller, 0.0), self._mark))
            self._lines[ticket.caller] = line
        weight = max(ticket.weight, _LEAST_WEIGHT)
        self._weights += weight - line.weight
        line.weight = weight
        insort(line.entries, _entry(ticket))
        self._size += 1
        self._note(line)

    def first(self) -> T | None:
        """Whose turn it is; None where nobody waits."""
        while self._next:
            turn, caller = self._next[0]
            line = self._lines.get(caller)
            if line is not None and line.turn == turn:
                return line.entries[0][2]
            heappop(self._next)
        return None

    def remove(self, ticket: T) -> bool:
        """Let a ticket go that has had no turn; whether it was here."""
        line = self._lines.get(ticket.caller)
        index = line.index(ticket) if line is not None else None
        if line is None or index is None:
            return False
        del line.entries[index]
        self._size -= 1
        if line.entries:
            self._note(line)
        else:
            self._close(line)
        return True

    def serve(self, ticket: T) -> None:
        """A ticket that waits here has its turn and leaves; its caller comes again after the others."""
        line = self._lines[ticket.caller]
        self._mark = max(self._mark + 1 / self._weights, line.mark)
        line.mark += 1 / line.weight
        self.remove(ticket)

    def position(self, ticket: T) -> int:
        """The number of the turn of a ticket that waits here, counted from 1, if nobody else comes or leaves."""
        own, entry = self._lines[ticket.caller], _entry(ticket)
        before = bisect_left(own.entries, entry[:2], key=lambda each: each[:2])
        mark = own.mark + before / own.weight
        return 1 + before + sum(line.turns_before(mark, entry) for line in self._lines.values() if line is not own)

    def _note(self, line: _Line[T]) -> None:
        """Its turn may be another than before."""
        heappush(self._next, (line.turn, line.caller))
        if len(self._next) > 4 * len(self._lines) + _MOST_STALE:
            self._next = [(each.turn, each.caller) for each in self._lines.values()]
            heapify(self._next)

    def _close(self, line: _Line[T]) -> None:
        """Nobody waits there any more: its mark is kept for as long as it may be of use."""
        del self._lines[line.caller]
        self._weights -= line.weight
        self._idle[line.caller] = line.mark
        if not self._lines:
            self._idle.clear()
            self._next.clear()
            self._mark = self._weights = 0.0
        elif len(self._idle) > _MOST_REMEMBERED:
            ahead = [(caller, mark) for caller, mark in self._idle.items() if mark > self._mark]
            self._idle = dict(ahead[-_MOST_REMEMBERED // 2 :])


def _entry(ticket: T) -> _Entry[T]:
    return (ticket.due_s, ticket.number, ticket)
