"""Places at which the process ends itself as if it were killed, for tests; none unless LLMPROXY_CRASH_AT is set.

`LLMPROXY_CRASH_AT=in_flush` ends it the first time that it comes to the place, `in_flush:20` the twentieth time.
"""

import os
import signal
from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "LLMPROXY_CRASH_AT"
POINTS: Final = (
    "after_intent",
    "before_settle",
    "after_settle",
    "before_flush",
    "in_flush",  # in the transaction, before its end
    "after_flush",
    "before_unlink",
    "after_unlink",
)


class CrashPoint:
    """The one place that is set, if any."""

    __slots__ = ("_left", "point")

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.point, _, times = environ.get(VARIABLE, "").partition(":")
        self._left = int(times or 1)

    def at(self, point: str) -> None:
        """End here, when this is the place and it is time."""
        if point != self.point:
            return
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
