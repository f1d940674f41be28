"""How much this process takes on at once: a bound, a short queue before it, and a refusal for what is beyond.

Requests that are under way count until their answer is complete, or until a stream has begun, which then waits for its
backend most of the time and is counted apart. Who finds no place waits for one, first come, first served, but not for
long: a caller who is told to come again is better off than one who waits for a process that is behind with its work.
Health and admin routes have some places more, so that an operator can look in while it is full.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from proxy_cli.errors import Overloaded
from proxy_cli.telemetry.metrics import Metrics

_RESERVE: Final = 20  # one in so many places is added for health and admin routes
_TICK_S: Final = 0.1
_TICKS_TO_PUBLISH: Final = 10
_CROWD: Final = 20  # with fewer than one in so many places taken, a process that is late is not so for its requests
# While it is late there are fewer places at each look, and afterwards more again: shutting the door altogether would
# leave a process without work a moment later.
_LESS: Final = 0.7
_MORE: Final = 10  # one in so many places comes back at each look
_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """How much is taken on, in each process."""

    in_flight: int = 1000
    queued: int = 100
    wait_s: float = 1.0
    lag_s: float = 0.25  # how late the event loop may be before newcomers are refused
    streams: int = 10_000  # that have begun; they take no place of the others


class Admission:
    """The places of one process. Owns how many are taken, who waits for one, and how late the event loop is."""

    def __init__(self, limits: AdmissionLimits, metrics: Metrics) -> None:
        self._metrics = metrics
        self.in_flight = 0
        self.streams = 0
        self.lag_s = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tick_handle: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._ticks = 0
        # What in_flight is compared with: one number, for this is asked for every request.
        self._open = self._open_reserved = 0
        self.renew(limits)

    def renew(self, limits: AdmissionLimits) -> None:
        """Take other limits; who is in stays in."""
        self._limits = limits
        self._open = limits.in_flight
        self._open_reserved = limits.in_flight + max(1, limits.in_flight // _RESERVE)
        self._metrics.set("llmproxy_requests_limit", limits.in_flight)

    def start(self) -> None:
        """Watch the event loop from now on."""
        self.renew(self._limits)
        self._metrics.watch(self._show)
        self._tick()

    def stop(self) -> None:
        """Watch it no more, and refuse those who wait."""
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        self._show()
        self._metrics.unwatch(self._show)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(Overloaded("llmproxy is shutting down", code="shutting_down"))

    def try_enter(self, reserved: bool = False) -> bool:
        """Take a place if there is one; `reserved` for routes that must answer also when all is full."""
        if self.in_flight < self._open or (reserved and self.in_flight < self._open_reserved):
            self.in_flight += 1
            return True
        return False

    async def wait(self) -> None:
        """Take a place, after a short wait for it. Raises Overloaded."""
        if self.lag_s > self._limits.lag_s:
            raise self._refusal("lag", "the proxy is behind with its work")
        if len(self._waiting) >= self._limits.queued:
            raise self._refusal("full", f"{self._limits.in_flight} requests are under way here")
        if self.try_enter():
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await place
        except TimeoutError:
            raise self._refusal("queue", f"no request of {self._limits.in_flight} ended in time") from None
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave()  # it was given to one who has left
            raise
        finally:
            if not place.done() or place.cancelled():
                self._forget(place)

    def leave(self) -> None:
        """Give a place back: to whoever has waited for it longest."""
        self.in_flight -= 1
        if self._waiting:
            self._let_in()

    def begin_stream(self) -> bool:
        """Give the place back and count among the streams; False, and the place is kept, where those are too many."""
        if self.streams >= self._limits.streams:
            return False
        self.streams += 1
        self.leave()
        return True

    def end_stream(self) -> None:
        """A stream for which `begin_stream` was True has ended."""
        self.streams -= 1

    def _let_in(self) -> None:
        """Give the places there are to those who wait, in the order of their coming."""
        while self._waiting and self.in_flight < self._open:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)

    def _refusal(self, reason: str, why: str) -> Overloaded:
        self._metrics.count("llmproxy_requests_shed_total", reason)
        return Overloaded(f"{why}; try again in a moment", retry_after_s=_RETRY_S)

    def _forget(self, place: asyncio.Future[None]) -> None:
        if place in self._waiting:
            self._waiting.remove(place)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now_s, limit = loop.time(), self._limits.in_flight
        self.lag_s = max(0.0, now_s - self._due_s) if self._due_s else 0.0
        if self.lag_s > self._limits.lag_s:
            # A process that is late with hardly a request inside was held up by something else: refusing helps nobody.
            self._open = max(limit // _CROWD, int(min(self._open, self.in_flight) * _LESS))
        elif self._open < limit:
            self._open = min(limit, self._open + max(1, limit // _MORE))
            self._let_in()
        self._show()
        if self._ticks % _TICKS_TO_PUBLISH == 0:
            self._metrics.publish()
        self._ticks += 1
        self._due_s = now_s + _TICK_S
        self._tick_handle = loop.call_at(self._due_s, self._tick)

    def _show(self) -> None:
        metrics = self._metrics
        metrics.set("litellm_in_flight_requests", self.in_flight + self.streams)
        metrics.set("llmproxy_streams", self.streams)
        metrics.set("llmproxy_requests_waiting", len(self._waiting))
        metrics.set("llmproxy_event_loop_lag_seconds", self.lag_s)
