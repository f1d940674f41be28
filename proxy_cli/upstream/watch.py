"""The timers of a connection's exchanges, as one handle of the event loop.

Data only moves a time stamp, and so does the next exchange; the handle that then fires too early is set again. So a
stream of ten thousand events costs a handful of handles, and ten thousand plain calls over one connection no more.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy_cli.errors import BackendTimeout, CallerTimeout, GatewayError
from proxy_cli.shapes import Backend, Timeouts

_ROUNDING_S: Final = 0.002  # the event loop's clock ticks in milliseconds
_NO_LIMITS: Final = Timeouts(first_byte_s=None, total_s=None, gap_s=None)


class Watch:
    """What is waited for, since when, and what happens when it takes too long.

    Owns the loop's handle, the limits of the exchange that is watched, the one that counts now, and the time since
    when it does.
    """

    __slots__ = (
        "_backend",
        "_expire",
        "_handle",
        "_has_data",
        "_limit_s",
        "_loop",
        "_name",
        "_set_for",
        "_since",
        "_timeouts",
        "_total_at",
    )

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop) -> None:
        self._backend = backend
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._set_for = 0.0
        self._expire: Callable[[GatewayError], None] | None = None
        self._timeouts = _NO_LIMITS
        self._total_at: float | None = None
        self._has_data = False
        self._limit_s: float | None = None
        self._name = ""
        self._since = 0.0

    def begin(
        self, timeouts: Timeouts, started: float, expire: Callable[[GatewayError], None], *, sent: bool = False
    ) -> None:
        """Watch an exchange that has begun at `started`; `expire` gets the error of the limit that runs out.

        `sent`: all of the request is sent, so the reply's first data must come.
        """
        self._timeouts = timeouts
        self._total_at = None if timeouts.total_s is None else started + timeouts.total_s
        self._expire = expire
        self._has_data = False
        self._limit_s = timeouts.first_byte_s if sent else None
        self._name = "first byte" if sent else ""
        if sent:
            self._since = self._loop.time()
            # Nearly always the handle of an earlier exchange fires before this one's limits do.
            if self._handle is None or self._limit_s is None or self._set_for > self._since + self._limit_s:
                self._set()

    def await_reply(self) -> None:
        """The request is sent, or is being taken by the backend: the reply's first data must come, if it has not."""
        if not self._has_data:
            self._await(self._timeouts.first_byte_s, "first byte")

    def await_caller(self) -> None:
        """More of the request must come before the backend can answer: only the total time counts."""
        if not self._has_data:
            self._await(None, "")

    def await_data(self) -> None:
        """Data came: it must keep coming."""
        if self._name == "gap":
            self._since = self._loop.time()
        else:
            self._has_data = True
            self._await(self._timeouts.gap_s, "gap")

    def hold(self) -> None:
        """More data than is wanted is here already: only the total time counts."""
        self._await(None, "")

    def touch(self) -> None:
        """Something moved: the limit counts from now."""
        self._since = self._loop.time()

    def stop(self) -> None:
        """The exchange is over."""
        self._expire = None  # it holds the exchange, which holds this

    def close(self) -> None:
        """There will be no other exchange."""
        self._expire = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _await(self, limit_s: float | None, name: str) -> None:
        self._limit_s = limit_s
        self._name = name
        self._since = self._loop.time()
        self._set()

    def _due(self) -> float | None:
        """When the next limit runs out."""
        if self._limit_s is None:
            return self._total_at
        due = self._since + self._limit_s
        return due if self._total_at is None or due < self._total_at else self._total_at

    def _set(self) -> None:
        """See to it that the handle fires no later than the next limit."""
        due = self._due()
        if due is None or self._expire is None or (self._handle is not None and self._set_for <= due):
            return
        if self._handle is not None:
            self._handle.cancel()
        self._set_for = due
        self._handle = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._handle = None
        due = self._due()
        if due is None or due > self._loop.time() + _ROUNDING_S:
            self._set()
        elif self._expire is not None:
            expire, self._expire = self._expire, None
            expire(self._error(due))

    def _error(self, due: float) -> GatewayError:
        if due == self._total_at:
            what, limit_s, name = "complete reply", self._timeouts.total_s, "total"
        else:
            what = "first byte" if self._name == "first byte" else "more data"
            limit_s, name = self._limit_s, self._name
        return timeout_error(self._timeouts, f"no {what} from {self._backend}", limit_s, name)


def timeout_error(timeouts: Timeouts, what: str, limit_s: float | None, name: str) -> GatewayError:
    """The error for a timer that has run out: the caller's if the caller set it; the one for gaps is always ours."""
    message = f"{what} within {limit_s:g} s ({name} timeout)"
    return CallerTimeout(message) if timeouts.set_by_caller and name != "gap" else BackendTimeout(message)
