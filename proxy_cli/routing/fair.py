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
from math import ceil
from typing import Final, Generic, TypeVar

_MOST_REMEMBERED: Final = 1024  # callers who wait for nothing and are ahead of their share
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


class Fair(Generic[T]):
    """One line. Owns its tickets, and the marks of callers: of those who wait, and of those ahead of their share."""

    __slots__ = ("_lines", "_mark", "_marks", "_size")

    def __init__(self) -> None:
        self._lines: dict[str, list[_Entry[T]]] = {}  # by caller; each sorted
        self._marks: dict[str, float] = {}
        self._mark = 0.0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, ticket: T) -> bool:
        return self._index(ticket) is not None

    def __iter__(self) -> Iterator[T]:
        return (entry[2] for line in self._lines.values() for entry in line)

    def add(self, ticket: T) -> None:
        """Let a ticket wait."""
        line = self._lines.get(ticket.caller)
        if line is None:
            line = self._lines[ticket.caller] = []
            self._marks[ticket.caller] = max(self._marks.get(ticket.caller, 0.0), self._mark)
        insort(line, _entry(ticket))
        self._size += 1

    def first(self) -> T | None:
        """Whose turn it is; None where nobody waits."""
        if not self._lines:
            return None
        caller = min(self._lines, key=lambda each: (self._marks[each], *self._lines[each][0][:2]))
        return self._lines[caller][0][2]

    def remove(self, ticket: T) -> bool:
        """Let a ticket go that has had no turn; whether it was here."""
        index = self._index(ticket)
        if index is None:
            return False
        line = self._lines[ticket.caller]
        del line[index]
        self._size -= 1
        if not line:
            del self._lines[ticket.caller]
            self._forget()
        return True

    def serve(self, ticket: T) -> None:
        """A ticket has its turn and leaves; its caller comes again after the others."""
        caller, mark = ticket.caller, self._marks[ticket.caller]
        share = 1 / sum(_weight(line[0][2]) for line in self._lines.values())
        self._mark = max(self._mark + share, mark)
        del self._marks[caller]  # put in again at the end: those at the front have had no turn for the longest time
        self._marks[caller] = mark + 1 / _weight(ticket)
        self.remove(ticket)

    def position(self, ticket: T) -> int:
        """The number of its turn, counted from 1, if nobody else comes or leaves."""
        entry, index = _entry(ticket), self._index(ticket)
        assert index is not None, "only a ticket that waits has a position"
        turn = self._marks[ticket.caller] + index / _weight(ticket)
        others = (each for each in self._lines if each != ticket.caller)
        return 1 + index + sum(self._turns_before(each, turn, entry) for each in others)

    def _index(self, ticket: T) -> int | None:
        """Where in its caller's line a ticket is."""
        line = self._lines.get(ticket.caller, [])
        index = bisect_left(line, (ticket.due_s, ticket.number), key=lambda entry: entry[:2])
        return index if index < len(line) and line[index][2] is ticket else None

    def _turns_before(self, caller: str, turn: float, entry: _Entry[T]) -> int:
        line, mark = self._lines[caller], self._marks[caller]
        weight = _weight(line[0][2])
        before = min(len(line), max(0, ceil((turn - mark) * weight - _SAME)))
        if before < len(line) and abs(mark + before / weight - turn) <= _SAME and line[before][:2] < entry[:2]:
            before += 1
        return before

    def _forget(self) -> None:
        """Keep no more marks of callers who do not wait than are of use."""
        if not self._lines:
            self._marks.clear()
            self._mark = 0.0
        elif len(self._marks) - len(self._lines) > _MOST_REMEMBERED:
            idle = [caller for caller in self._marks if caller not in self._lines]
            gone = [caller for caller in idle if self._marks[caller] <= self._mark] or idle[: _MOST_REMEMBERED // 2]
            for caller in gone:
                del self._marks[caller]


def _entry(ticket: T) -> _Entry[T]:
    return (ticket.due_s, ticket.number, ticket)


def _weight(ticket: Ticket) -> float:
    return max(ticket.weight, _LEAST_WEIGHT)
