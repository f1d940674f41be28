"""Limits with clocks that tests turn, and processes that share them."""

import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from proxy_cli.access.limits import Limits, Ticket
from proxy_cli.callers import Scope

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


class Desk:
    """One server's limits, and its time: `pass_s` lets both clocks go on, `wall_s` is set to move one of them."""

    def __init__(
        self, *, processes: int = 1, capacity: int = 64, clock_s: float = 1000.0, wall_s: float = NOON
    ) -> None:
        self.clock_s, self.wall_s = clock_s, wall_s
        self.limits = Limits(
            processes=processes, capacity=capacity, clock=lambda: self.clock_s, wall=lambda: self.wall_s
        )

    def pass_s(self, seconds: float) -> None:
        """Let time go on."""
        self.clock_s += seconds
        self.wall_s += seconds

    def take(self, *scopes: Scope, nano: int = 0, is_bound: bool = True, tokens: int = 0) -> Ticket:
        """A call for these scopes."""
        return self.limits.take(scopes, nano=nano, is_bound=is_bound, tokens=tokens)


def key(name: str = "k1", **limits: object) -> Scope:
    """The scope of a key."""
    return Scope(kind="key", id=name, name=name, **limits)  # type: ignore[arg-type]


def start(work: Callable[[], None]) -> int:
    """The id of a forked process that does the work and ends; nothing of pytest's runs in it."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def wait_for(child: int) -> int:
    """How a process has ended: 0 for well."""
    return os.waitpid(child, 0)[1]
