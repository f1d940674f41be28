"""What the processes of one server tell each other of their deployments: a row of cells for each, in shared memory.

Each process writes rows of its own and reads those of all. Where the others' rows begin is kept, and looked up anew
only when somebody has written a new one. A single process has rows of its own alone, and never looks. A row that there
is no more room for stays this process's own: it counts on, and the others do not see it.
"""

import logging
import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from proxy_cli.clock import Clock
from proxy_cli.shared import Shared

# Cells of a row. Of the last three groups each holds the moment of a word, 0 before the first, and what it says.
IN_FLIGHT, TRIAL = 0, 1
MINUTE, REQUESTS, REQUESTS_BEFORE, TOKENS, TOKENS_BEFORE = 2, 3, 4, 5, 6
SAID = 7  # moment of the row's latest word of any kind
REST_SAID, REST_UNTIL, REST_STEP, REST_CAUSE = 8, 9, 10, 11
OPERATOR_SAID, OPERATOR, OPERATOR_UNTIL = 12, 13, 14
PROBED_SAID, PROBED = 15, 16
_SIZE: Final = 17

_LOG: Final = logging.getLogger(__name__)
_MINUTE_S: Final = 60.0
_KIND: Final = 1  # of the entries in shared memory
_LOOK_S: Final = 0.25  # between looks at who lives and who has written more
Cells: TypeAlias = "list[float] | memoryview[float]"  # a list is twice as fast
Places: TypeAlias = tuple[int, ...]  # where rows begin in the shared cells


class Figures:
    """The rows of all processes. Owns where each is; what is in one belongs to the `Row` over it."""

    __slots__ = (
        "_living",
        "_mark",
        "_others",
        "_runs",
        "_shared",
        "_sizes",
        "_told_full",
        "cells",
        "clock",
        "due_s",
        "is_shared",
        "looks",
    )

    def __init__(self, shared: Shared | None, clock: Clock) -> None:
        self._shared = shared
        self.is_shared = shared is not None
        self.cells: Cells = shared.cells if shared else []
        self.clock = clock
        self.due_s = 0.0 if shared else math.inf  # when to look again
        self.looks = 0  # how often a look has found something new
        self._mark = b""  # of what was written at the latest look
        self._sizes: tuple[int, ...] = ()
        self._told_full = False
        self._runs: frozenset[int] = frozenset()
        self._others: dict[str, Places] = {}
        self._living: dict[str, Places] = {}

    def own(self, name: str) -> tuple[Cells, int]:
        """This process's row of a name: the cells it lies in, and where it begins."""
        begin = self._shared.place(_KIND, (name,), _SIZE) if self._shared else None
        if begin is None and self.is_shared and not self._told_full:
            self._told_full = True
            _LOG.warning(
                "the memory that processes share has no room for deployment %s: what this process and its operator "
                "say of it the others do not hear; restart llmproxy",
                name,
            )
        return ([0.0] * _SIZE, 0) if begin is None else (self.cells, begin)

    def others(self, name: str) -> tuple[Places, Places]:
        """Where the other processes' rows of a name begin: all that ever were, and those of the living."""
        return self._others.get(name, ()), self._living.get(name, ())

    def look(self, now_s: float) -> None:
        """Find rows that were added, and processes that came or went."""
        if self._shared is None:
            return
        self.due_s = now_s + _LOOK_S
        self._mark = self._shared.mark()
        sizes, own = self._shared.sizes(), self._shared.slot
        used = [slot for slot, size in enumerate(sizes) if size and slot != own]
        runs = frozenset(slot for slot in used if self._shared.runs(slot))
        if (sizes, runs) == (self._sizes, self._runs):
            return
        self._sizes, self._runs = sizes, runs
        self._others = self._found(self._shared, used)
        self._living = self._found(self._shared, sorted(runs))
        self.looks += 1

    def look_for_new(self, now_s: float) -> None:
        """Look at once if anybody has added a row since the latest look."""
        if self._shared is not None and self._shared.mark() != self._mark:
            self.look(now_s)

    def enter(self, number: int) -> None:
        """Write to rows of one's own from now on; what a former owner had under way there is over."""
        if self._shared is None:
            return
        self._shared.enter(number)
        for _, begin in self._shared.places(self._shared.slot, _KIND):
            self.cells[begin + IN_FLIGHT] = self.cells[begin + TRIAL] = 0.0
        self._sizes = ()
        self.due_s = 0.0

    @staticmethod
    def _found(shared: Shared, slots: Sequence[int]) -> dict[str, Places]:
        found: dict[str, Places] = {}
        for slot in slots:
            for (name, *_), begin in shared.places(slot, _KIND):
                found[name] = (*found.get(name, ()), begin)
        return found


class Row:
    """This process's row of one deployment, and the others' beside it. Owned by the deployment's `State`."""

    __slots__ = ("_figures", "_heard", "_living", "_looks", "_name", "_others", "at", "cells", "turns_s")

    def __init__(self, name: str, figures: Figures) -> None:
        self._name = name
        self._figures = figures
        self.settle()

    def settle(self) -> None:
        """Lie where this process writes; the process may be another one than before."""
        self.cells, self.at = self._figures.own(self._name)
        self.turns_s = (self.cells[self.at + MINUTE] + 1) * _MINUTE_S  # when the row's minute is over
        self._looks = -1
        self._others: Places = ()
        self._living: Places = ()
        self._heard: list[float] = []

    def count(self, what: int, amount: float, now_s: float) -> None:
        """Add to a figure of the minute."""
        if now_s >= self.turns_s:
            self.turn(now_s)
        self.cells[self.at + what] += amount

    def in_minute(self, what: int) -> float:
        """A figure of the last sixty seconds, of all processes that ever were."""
        now_s = self._figures.clock()
        own = _in_minute(self.cells, self.at, what, now_s)
        if not self._figures.is_shared:
            return own
        # A limit of few a minute would be exceeded by what others begin before the next look.
        self._figures.look_for_new(now_s)
        self._find(now_s)
        cells = self._figures.cells
        return own + sum([_in_minute(cells, at, what, now_s) for at in self._others])

    def below_s(self, what: int, level: float) -> float:
        """The moment before which a figure of the minute is certainly not below a level, above 0, in all processes."""
        now_s = self._figures.clock()
        if self.in_minute(what) < level:
            return now_s
        minute, cells = now_s // _MINUTE_S, self._figures.cells
        rows = [(self.cells, self.at), *((cells, at) for at in self._others)]
        present = sum([row[at + what] for row, at in rows if row[at + MINUTE] == minute])
        if present >= level:
            return (minute + 2.0 - level / present) * _MINUTE_S
        before = sum([row[at + what + 1] for row, at in rows if row[at + MINUTE] == minute])
        before += sum([row[at + what] for row, at in rows if row[at + MINUTE] == minute - 1])
        return (minute + 1.0 - (level - present) / before) * _MINUTE_S

    def of_others(self, what: int) -> float:
        """A cell of all other processes that live, added up."""
        if not self._figures.is_shared:
            return 0.0
        self._find(self._figures.clock())
        cells = self._figures.cells
        return sum([cells[at + what] for at in self._living])

    def say(self, what: int, before_s: float) -> float:
        """Put its moment to a word that stands in its cells by now: later than that of any word heard before."""
        cells, at = self.cells, self.at
        said_s = max(self._figures.clock(), math.nextafter(before_s, math.inf))
        cells[at + what] = said_s
        cells[at + SAID] = max(said_s, math.nextafter(cells[at + SAID], math.inf))
        return said_s

    def news(self, now_s: float) -> Sequence[int]:
        """Where others have said something since this was last asked; most often nowhere."""
        figures = self._figures
        if now_s >= figures.due_s or self._looks != figures.looks:
            self._find(now_s)
        news: Sequence[int] = ()
        if not self._others:
            return news
        cells, heard = figures.cells, self._heard
        for number, at in enumerate(self._others):
            if cells[at + SAID] != heard[number]:
                heard[number] = cells[at + SAID]
                news = (*news, at)
        return news

    def _find(self, now_s: float) -> None:
        figures = self._figures
        if now_s >= figures.due_s:
            figures.look(now_s)
        if self._looks != figures.looks:
            self._looks = figures.looks
            self._others, self._living = figures.others(self._name)
            self._heard = [0.0] * len(self._others)

    def turn(self, now_s: float) -> None:
        """Begin another minute: once `turns_s` is reached, before anything is counted."""
        minute = now_s // _MINUTE_S
        cells, at = self.cells, self.at
        just_before = cells[at + MINUTE] == minute - 1
        for what in (REQUESTS, TOKENS):
            cells[at + what + 1] = cells[at + what] if just_before else 0.0
            cells[at + what] = 0.0
        cells[at + MINUTE] = minute
        self.turns_s = (minute + 1) * _MINUTE_S


def _in_minute(cells: Cells, at: int, what: int, now_s: float) -> float:
    """What has been counted in this minute, and of the one before the share that is not yet sixty seconds ago."""
    minute, into_s = divmod(now_s, _MINUTE_S)
    written = cells[at + MINUTE]
    left = 1.0 - into_s / _MINUTE_S
    if written == minute:
        return cells[at + what] + cells[at + what + 1] * left
    return cells[at + what] * left if written == minute - 1 else 0.0
