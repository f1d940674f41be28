"""What other processes say of their places, and what this one tells them.

Owns: the cells in shared memory in which each process writes, for a deployment, how many places it has taken, how many
calls wait, the tokens of what is under way, and when it last took a place. Refuses: to decide who may take one next.
Rule: a process that has ended has no places. What is read is as new as the memory; that a process has ended is noticed
within a second.
"""

import logging
from typing import Final

from proxy_cli.shared import Shared

logger = logging.getLogger(__name__)

_KIND: Final = 7001  # of the entries here, among all that is written in the memory
_HELD, _WAITING, _TOKENS, _LAST = 0, 1, 2, 3
_CELLS: Final = 4
_LOOK_S: Final = 1.0


class Neighbours:
    """The other processes. Owns where their cells are, as far as it was looked."""

    __slots__ = ("_found", "_looked_s", "_mark", "_slot", "_untold", "shared")

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._slot = -1
        self._mark = b""
        self._looked_s = 0.0
        self._found: dict[str, list[int]] = {}
        self._untold = False
        self._enter()

    def row(self, identity: str) -> "Row":
        """A deployment's cells."""
        return Row(self, identity)

    def own(self, identity: str) -> int | None:
        """Where this process writes; None where the memory is full."""
        if self.shared.slot != self._slot:
            self._enter()
        begin = self.shared.place(_KIND, (identity,), _CELLS)
        if begin is None and not self._untold:
            self._untold = True
            logger.warning(
                "the memory that processes share has no room for deployment %s: its limits hold for each process alone;"
                " use fewer deployments or one worker",
                identity,
            )
        return begin

    def others(self, identity: str, now_s: float) -> list[int]:
        """Where the cells of the other processes that live begin."""
        if self.shared.slot != self._slot:
            self._enter()
        mark = self.shared.mark()
        if mark != self._mark or now_s - self._looked_s >= _LOOK_S:
            self._look()
            self._mark = mark
            self._looked_s = now_s
        return self._found.get(identity, [])

    def _look(self) -> None:
        self._found = {}
        for slot, used in enumerate(self.shared.sizes()):
            if not used or slot == self.shared.slot or not self.shared.runs(slot):
                continue
            for labels, begin in self.shared.places(slot, _KIND):
                self._found.setdefault(labels[0], []).append(begin)

    def _enter(self) -> None:
        """This process's slot may be that of one which has ended: what that one held is not held any more."""
        self._slot = self.shared.slot
        self._mark = b""
        for _, begin in self.shared.places(self._slot, _KIND):
            for cell in range(begin, begin + _CELLS):
                self.shared.cells[cell] = 0.0


class Row:
    """One deployment, as all processes see it."""

    __slots__ = ("_cells", "_identity", "_neighbours")

    def __init__(self, neighbours: Neighbours, identity: str) -> None:
        self._neighbours = neighbours
        self._identity = identity
        self._cells = neighbours.shared.cells

    def write(self, held: int, waiting: int, tokens: int, taken_s: float | None) -> None:
        """Tell how things stand here, and when a place was taken if one just was."""
        begin = self._neighbours.own(self._identity)
        if begin is None:
            return
        cells = self._cells
        cells[begin + _HELD], cells[begin + _WAITING], cells[begin + _TOKENS] = held, waiting, tokens
        if taken_s is not None:
            cells[begin + _LAST] = taken_s

    def others_held(self, now_s: float) -> tuple[int, int]:
        """Places that others have taken, and the tokens of what is under way there."""
        held = tokens = 0
        for begin in self._neighbours.others(self._identity, now_s):
            held += int(self._cells[begin + _HELD])
            tokens += int(self._cells[begin + _TOKENS])
        return held, tokens

    def others_waiting(self, now_s: float) -> int:
        """Calls that wait elsewhere."""
        return sum(int(self._cells[begin + _WAITING]) for begin in self._neighbours.others(self._identity, now_s))

    def is_behind_another(self, held: int, now_s: float) -> bool:
        """Whether calls wait in a process that has fewer places, or as many and took its last one earlier."""
        own = self._neighbours.own(self._identity)
        if own is None:
            return False
        cells = self._cells
        rank = (held, cells[own + _LAST])
        others = self._neighbours.others(self._identity, now_s)
        return any(cells[each + _WAITING] and (cells[each + _HELD], cells[each + _LAST]) < rank for each in others)
