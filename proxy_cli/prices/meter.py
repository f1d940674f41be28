"""What a call bears of a server of one's own, whose price is that of its hours (`gpu_hour_cost`).

The formula: while a deployment is busy (one of our calls or more under way), each second costs `gpu_hour_cost / 3600`,
and the calls under way bear it in equal parts. So a call's part is the integral over its time of one through the calls
under way, and the parts of all calls are together exactly the busy time. A server that has nothing to do costs nobody.

Owns how much each call has borne so far, in one process; where several processes share a server, each of them shares
its own busy time among its own calls.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Final

from proxy_cli.clock import Clock
from proxy_cli.prices.cost import prices_of
from proxy_cli.shapes import Deployment

_PER_SECOND: Final = 1_000_000_000
_FINE: Final = 64  # bits behind a nanosecond: parts are cut off there, so together they are never more than the whole
_HOUR_S: Final = 3600
_MOST_NANO: Final = 10**16  # as for any answer


class GpuMeter:
    """The clock of one deployment that is paid by the hour. `begin` and `end` belong together, in the same process.

    All calls under way bear the same part of each moment, so one sum for all does: what a call bears is how far that
    sum has come between its begin and its end.
    """

    __slots__ = ("_borne", "_clock", "_price", "_seen_ns", "_under_way")

    def __init__(self, hour_usd: Decimal, clock: Clock) -> None:
        # Nano-dollars for a unit of the sum: an hour's are a billion times its USD, and a second has a billion parts.
        self._price = Fraction(hour_usd) / (_HOUR_S << _FINE)
        self._clock = clock
        # Owned here: the sum of one through the calls under way over the busy time, and up to when it is counted.
        self._borne = 0
        self._seen_ns = 0
        self._under_way = 0

    def begin(self) -> int:
        """A call is sent; what comes back is given to `end`."""
        self._count()
        self._under_way += 1
        return self._borne

    def end(self, mark: int) -> int:
        """The call has ended: its part in nano-dollars, rounded half-even. Comes once for each `begin`."""
        self._count()
        self._under_way -= 1
        return min(round((self._borne - mark) * self._price), _MOST_NANO)

    def _count(self) -> None:
        now_ns = int(self._clock() * _PER_SECOND)
        if self._under_way:
            passed_ns = max(0, now_ns - self._seen_ns)
            self._borne += (passed_ns << _FINE) // self._under_way
        self._seen_ns = now_ns


def meter_of(deployment: Deployment, clock: Clock) -> GpuMeter | None:
    """The deployment's meter, made once; None where it has no price for its hours."""
    hour_usd = prices_of(deployment).gpu_hour_usd
    if hour_usd is None:
        return None
    meter: GpuMeter | None = deployment.worked_out.get(GpuMeter)
    if meter is None:
        meter = deployment.worked_out[GpuMeter] = GpuMeter(hour_usd, clock)
    return meter
