"""What is said of a deployment from outside: by its operator, and by looks in the background.

Said in one process and heard in all; of each kind the newest word counts. A word crosses as the number of its place.
"""

import math
from enum import StrEnum
from typing import Final

from proxy_cli.routing.figures import (
    OPERATOR,
    OPERATOR_SAID,
    OPERATOR_UNTIL,
    PROBED,
    PROBED_SAID,
    Cells,
    Row,
)


class Operator(StrEnum):
    """What an operator wants of a deployment."""

    ACTIVE = "active"
    DRAINING = "draining"
    DISABLED = "disabled"


class Probed(StrEnum):
    """What a look from outside has found."""

    UNKNOWN = "unknown"
    READY = "ready"
    LOADING = "loading"
    BUSY = "busy"
    DRAINING = "draining"
    DOWN = "down"


_OPERATORS: Final = tuple(Operator)
_PROBED: Final = tuple(Probed)
_ASKABLE: Final = frozenset({Probed.UNKNOWN, Probed.READY, Probed.LOADING, Probed.BUSY})


class Words:
    """The newest words on one deployment. Owned by its `State`."""

    __slots__ = ("_operator", "_operator_said_s", "_operator_until_s", "_probed_said_s", "are_none", "probed", "why")

    def __init__(self) -> None:
        self._operator = Operator.ACTIVE
        self._operator_until_s = math.inf
        self._operator_said_s = self._probed_said_s = 0.0
        self.are_none = True  # against asking the deployment: the one look that a request makes most often
        self.probed = Probed.UNKNOWN
        self.why = ""  # of `probed`, known in the process that has looked

    def operator(self, now_s: float) -> tuple[Operator, float | None]:
        """What the operator wants, and until when; None: until he says otherwise."""
        if self._operator is Operator.ACTIVE or now_s >= self._operator_until_s:
            return Operator.ACTIVE, None
        return self._operator, None if self._operator_until_s == math.inf else self._operator_until_s

    def allow(self, now_s: float) -> bool:
        """Whether none of them is against asking the deployment."""
        if self.are_none:
            return True
        if self._operator is not Operator.ACTIVE and now_s < self._operator_until_s:
            return False
        return self.probed in _ASKABLE

    def say_operator(self, word: Operator, until_s: float | None, row: Row) -> None:
        """The operator's word from now on; it is forgotten at a moment, if there is one."""
        self._operator, self._operator_until_s = word, math.inf if until_s is None else until_s
        self._weigh()
        row.cells[row.at + OPERATOR] = _OPERATORS.index(word)
        row.cells[row.at + OPERATOR_UNTIL] = self._operator_until_s
        self._operator_said_s = row.say(OPERATOR_SAID, self._operator_said_s)

    def say_probed(self, word: Probed, why: str, row: Row) -> None:
        """What a look has found; what is known already is not said again."""
        self.why = why
        if word is self.probed:
            return
        self.probed = word
        self._weigh()
        row.cells[row.at + PROBED] = _PROBED.index(word)
        self._probed_said_s = row.say(PROBED_SAID, self._probed_said_s)

    def hear(self, cells: Cells, at: int) -> None:
        """Take over what a row says, where that is newer."""
        if (said_s := cells[at + OPERATOR_SAID]) > self._operator_said_s:
            self._operator_said_s = said_s
            self._operator = _OPERATORS[int(cells[at + OPERATOR])]
            self._operator_until_s = cells[at + OPERATOR_UNTIL]
        if (said_s := cells[at + PROBED_SAID]) > self._probed_said_s:
            self._probed_said_s = said_s
            self.probed = _PROBED[int(cells[at + PROBED])]
            self.why = ""
        self._weigh()

    def _weigh(self) -> None:
        self.are_none = self._operator is Operator.ACTIVE and self.probed in _ASKABLE
