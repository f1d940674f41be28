"""For how much: the money that may be spent since the start, across all processes of one server.

It owns the counter and the comparison, not the prices. A call is let in while less than the limit is spent; what runs
at that moment is not known yet, so the last calls may go over it.
"""

import mmap
from typing import Protocol

from proxy_cli.errors import BudgetExceeded

SLOTS = 256
_BYTES_PER_SLOT = 8


class Spend(Protocol):
    """A sum of money that only grows."""

    def add(self, usd: float) -> None:
        """Count what was spent."""

    def total_usd(self) -> float:
        """All that was spent since the start."""

    def use_slot(self, process: int) -> None:
        """Count for this process from now on."""


class SharedSpend:
    """A sum in memory that every process forked after its making shares; it starts at zero and ends with them.

    Each process writes a slot of its own and reads all, so no lock is needed and nothing is lost. `use_slot` comes
    first in a new process; two that live at the same time must not have the same number (modulo SLOTS), which holds
    when a supervisor counts the processes it starts.
    """

    __slots__ = ("_amounts", "_slot", "_used")

    def __init__(self) -> None:
        self._amounts = memoryview(mmap.mmap(-1, SLOTS * _BYTES_PER_SLOT)).cast("d")
        # A byte for each slot that was ever written: most servers use a few, and adding up all takes as long as a call
        # has for everything else that is decided about it.
        self._used = mmap.mmap(-1, SLOTS)
        self._slot = 0

    def use_slot(self, process: int) -> None:
        """Write to this process's slot from now on; what its predecessor left there stays counted."""
        self._slot = process % SLOTS

    def add(self, usd: float) -> None:
        """Count what this process spent."""
        self._used[self._slot] = 1
        self._amounts[self._slot] += usd

    def total_usd(self) -> float:
        """What all processes spent."""
        return sum(self._amounts[: self._used.rfind(b"\1", 0) + 1])


class ProcessBudget:
    """The limit of `--max_budget`. Truth is in the `Spend` it is given, by default memory that forked workers share."""

    __slots__ = ("_limit_usd", "_spend", "_status")

    def __init__(self, max_budget_usd: float | None, status: int, spend: Spend | None = None) -> None:
        self._limit_usd = max_budget_usd
        self._status = status
        self._spend = spend if spend is not None else SharedSpend()

    def enter_process(self, number: int) -> None:
        """Called first in a worker process; no two that live at the same time have the same number."""
        self._spend.use_slot(number)

    def after(self, former: "ProcessBudget") -> "ProcessBudget":
        """This limit, with what was spent under a former one counted on."""
        return ProcessBudget(self._limit_usd, self._status, former._spend)  # noqa: SLF001 - of its own kind

    @property
    def spent_usd(self) -> float:
        """All that was spent since the start."""
        return self._spend.total_usd()

    def check(self) -> None:
        """Let a call in, or raise BudgetExceeded once the limit is spent."""
        if self._limit_usd is None:
            return
        spent_usd = self._spend.total_usd()
        if spent_usd >= self._limit_usd:
            raise BudgetExceeded(
                f"Budget has been exceeded! Current cost: {round(spent_usd, 10)}, Max budget: {self._limit_usd}",
                status=self._status,
            )

    def add(self, cost_usd: float) -> None:
        """Count what an answer came to."""
        self._spend.add(cost_usd)
