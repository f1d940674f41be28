"""When the process looks for garbage: all of it only in a quiet moment.

Requests leave no circles of objects behind, however they end, so there is little that only Python's collector would
find. But to look through everything it stops the process: for some 40 us an open stream, a third of a second for
8,000 of them. So young objects are looked through when Python likes, and all of them here: while next to nothing is
asked, or after a quarter of an hour that had no such moment.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

from proxy_cli.clock import Clock

QUIET_S: Final = 60.0  # between two looks in quiet moments
BUSY_S: Final = 900.0  # after which it is done at a busy one
TICK_S: Final = 15.0
_PYTHONS_OWN: Final = gc.get_threshold()
_NEVER: Final = 1_000_000  # of the middle-aged collections before one of all


class Sweep:
    """The collector of one process, held back. Owns its thresholds, the next look, and the time of the last one."""

    def __init__(self, is_quiet: Callable[[], bool], clock: Clock) -> None:
        self._is_quiet = is_quiet
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None
        self._last_s = 0.0

    def start(self) -> None:
        """Hold the collector back from now on."""
        young, middle, _ = _PYTHONS_OWN
        gc.set_threshold(young, middle, _NEVER)
        self._last_s = self._clock()
        self._set()

    def stop(self) -> None:
        """Leave it to Python again."""
        gc.set_threshold(*_PYTHONS_OWN)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def is_due(self) -> bool:
        """Whether this is a moment to look."""
        since_s = self._clock() - self._last_s
        return since_s >= BUSY_S or (since_s >= QUIET_S and self._is_quiet())

    def _set(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        if self.is_due():
            gc.collect()
            self._last_s = self._clock()
        self._set()
