"""The way out of a worker: where it stands, and how long each step may take.

First readiness says no while clients are still accepted, so that a load balancer sees it before a connection fails;
then nobody is accepted any more and replies ask for their connection's end; then requests under way get their time,
streams more of it; what is left after that ends with an error.
"""

from dataclasses import dataclass
from typing import Final

from proxy_cli.clock import Clock

_STEERED_FOR_S: Final = 60.0  # who asked for readiness so lately goes by the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """How long the steps of an end may take, in seconds."""

    wait_s: float | None = None  # readiness says no, clients are accepted; None: as `Drain.wait_s` finds
    plain_s: float = 60.0  # requests under way
    stream_s: float = 600.0  # streams under way
    default_wait_s: float = 5.0

    def left_s(self, waited_s: float, *, has_streams: bool) -> float:
        """How much longer requests under way may take; while streams are under way, the others may go on too."""
        return (self.stream_s if has_streams else self.plain_s) - waited_s

    @property
    def longest_s(self) -> float:
        """All steps at their longest."""
        wait_s = self.default_wait_s if self.wait_s is None else self.wait_s
        return wait_s + max(self.plain_s, self.stream_s)


class Drain:
    """Where one worker stands on its way out. Shared by all its snapshots."""

    __slots__ = ("_asked_s", "_clock", "closing", "draining")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked_s: float | None = None
        self.draining = False  # readiness says no
        self.closing = False  # nobody is accepted any more: replies ask for the end of their connection

    def is_ready(self) -> bool:
        """Whether requests are welcome. Who asks is taken for somebody that goes by the answer."""
        self._asked_s = self._clock()
        return not self.draining

    def has_whole_wait(self, *, reached_from_elsewhere: bool) -> bool:
        """Whether clients are accepted for the whole wait: somebody on the way to us may still send them.

        Otherwise the wait ends with the last request under way: nobody on this machine is to wait for nothing.
        """
        asked = self._asked_s is not None and self._clock() - self._asked_s < _STEERED_FOR_S
        return asked or reached_from_elsewhere
