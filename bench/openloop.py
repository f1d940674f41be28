"""Requests at a fixed rate, whatever the answers do, from a process of its own: one JSON line in, one out.

Each request has its moment in a schedule, and its latency counts from that moment: a gateway that stands still for a
while is charged for every request that should have been sent meanwhile. The event loop waits with select(2), whose
timeouts are exact to a microsecond; those of epoll, in whole milliseconds, would be most of what is measured here.
"""

import asyncio
import contextlib
import gc
import json
import re
import selectors
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final, cast

LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_READY: Final = 32  # connections that are open before the first request
_MOST: Final = 400  # select(2) knows 1024 files; beyond this, requests wait, and their clock runs
_GRACE_S: Final = 2.0  # for the last answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to send, where, how often and how long."""

    port: int
    request: str
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run came to; times in microseconds from the moment of the schedule."""

    scheduled: int
    answered: int
    failed: int
    first: str  # of the first failure, the first bytes
    p50_us: float
    p99_us: float
    largest_us: float
    forty_ms: int  # answers in the mode that Nagle's algorithm and delayed acknowledgements make


class Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, generator: "Generator") -> None:
        self._generator = generator
        self._scheduled_s: float | None = None
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It may be used."""
        self._transport = cast("asyncio.Transport", transport)
        self._generator.free(self)

    def send(self, request: bytes, scheduled_s: float) -> None:
        """One request; `scheduled_s` is when it was due."""
        self._scheduled_s = scheduled_s
        self._seen = b""
        self._transport.write(request)

    def close(self) -> None:
        """The run is over."""
        self._scheduled_s = None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer."""
        seen = self._seen = self._seen + data
        if self._scheduled_s is None or not is_whole(seen):
            return
        scheduled_s, self._scheduled_s = self._scheduled_s, None
        self._generator.answered(self, seen, scheduled_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """A request under way is lost with it."""
        if self._scheduled_s is not None:
            self._generator.lost(b"connection lost: " + str(exc).encode())
        self._generator.gone(self)


def is_whole(seen: bytes) -> bool:
    """Whether the bytes are a complete answer."""
    end = seen.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(seen, 0, end + 2)
    return len(seen) >= end + 4 + int(length[1]) if length else seen.endswith(b"0\r\n\r\n")


class Generator:
    """Sends on schedule; owns the connections and the latencies."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._request = order.request.encode()
        self._free: list[Connection] = []
        self._due: list[float] = []  # moments of requests that wait for a connection
        self._all: set[Connection] = set()
        self._connections = 0  # with those that are being opened
        self._latencies: list[float] = []
        self._failed = self._forty = 0
        self._first = b""
        self._count = round(order.rate * order.seconds)
        self._all_told = asyncio.Event()

    async def run(self) -> Summary:
        """Send all requests and wait for their answers."""
        loop = asyncio.get_running_loop()
        for _ in range(_READY):
            await self._open()
        start_s = time.perf_counter() + 0.1
        offset_s = loop.time() - time.perf_counter()
        for index in range(self._count):
            moment_s = start_s + index / self._order.rate
            loop.call_at(moment_s + offset_s, self._send, moment_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(
                self._all_told.wait(), start_s - time.perf_counter() + self._order.seconds + _GRACE_S
            )
        for connection in self._all:
            connection.close()
        return self._summary()

    async def _open(self) -> None:
        self._connections += 1
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._order.port)
        except OSError as error:
            self._connections -= 1
            self.lost(str(error).encode())

    def _send(self, moment_s: float) -> None:
        if self._free:
            # The connection used last is the one whose pages are warm, here and there.
            self._free.pop().send(self._request, moment_s)
            return
        self._due.append(moment_s)
        if self._connections < _MOST:
            self._opening = asyncio.ensure_future(self._open())

    def free(self, connection: Connection) -> None:
        """A connection that can take the next request."""
        self._all.add(connection)
        if self._due:
            connection.send(self._request, self._due.pop(0))
        else:
            self._free.append(connection)

    def gone(self, connection: Connection) -> None:
        """A connection that was closed."""
        self._connections -= 1
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    def answered(self, connection: Connection, answer: bytes, scheduled_s: float) -> None:
        """An answer came."""
        latency_us = (time.perf_counter() - scheduled_s) * 1e6
        if answer.startswith(b"HTTP/1.1 200"):
            self._latencies.append(latency_us)
            self._forty += 35_000 < latency_us < 60_000
            self._tell()
        else:
            self.lost(answer[:1500])
        self.free(connection)

    def lost(self, why: bytes) -> None:
        """A request without a good answer."""
        self._failed += 1
        self._first = self._first or why
        self._tell()

    def _tell(self) -> None:
        if len(self._latencies) + self._failed >= self._count:
            self._all_told.set()

    def _summary(self) -> Summary:
        ordered = sorted(self._latencies) or [0.0]
        return Summary(
            scheduled=self._count,
            answered=len(self._latencies),
            failed=self._failed,
            first=self._first.decode("latin-1"),
            p50_us=ordered[len(ordered) // 2],
            p99_us=ordered[len(ordered) * 99 // 100],
            largest_us=ordered[-1],
            forty_ms=self._forty,
        )


def main() -> None:
    """One order in, one summary out."""
    gc.disable()  # a pause of ours would look like one of theirs
    generator = Generator(Order(**json.loads(sys.stdin.readline())))
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    print(json.dumps(asdict(loop.run_until_complete(generator.run()))))


if __name__ == "__main__":
    main()
