"""An event loop that does not wait: when nothing is to be done, its clock is turned on to the next timer.

Sockets are real ones, between parts of one process; so hours of a dialogue pass in seconds. Threads and other
processes are not waited for.
"""

import asyncio
import selectors
from typing import Any, Final

_INTO_MINUTE_S: Final = 5.0


class _Skipping(selectors.DefaultSelector):
    """Looks at the sockets, and takes every wait for a timer for done. Owns the time that was not waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """What is ready, as any selector tells it."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.skipped_s += max(timeout, 0.0)
        return ready


class TurnedLoop(asyncio.SelectorEventLoop):
    """As the standard event loop, without its patience."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)
        # Always at the same point of a minute: what is counted by the minute would else depend on when tests run.
        self._skipping.skipped_s = 60.0 + _INTO_MINUTE_S - super().time() % 60.0

    def time(self) -> float:
        """The clock, as far as it was turned on."""
        return super().time() + self._skipping.skipped_s
