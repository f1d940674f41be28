"""Time as a value that is handed in, so that tests can turn it."""

from typing import Protocol


class Clock(Protocol):
    """Seconds that only ever grow, as `time.monotonic` gives them."""

    def __call__(self) -> float: ...
