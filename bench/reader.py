"""Readers of event streams, in a process of their own: many at once, told by one JSON line on standard input.

Three ways to read, one JSON line as the result:
- `count`: streams one after the other on each connection until the time is over; how many events came.
- `gaps`: each connection reads one stream; how much longer than at the backend the pauses between its events were, once
  all of them have begun. They begin within a second, not at one moment.
- `hold`: each connection opens a stream and keeps it; says when all have their first event, and ends with its input.
"""

import asyncio
import gc
import json
import re
import sys
import time
from dataclasses import dataclass, field
from typing import Final, cast

import uvloop

GOOD: Final = b"HTTP/1.1 200"
DATA: Final = b"data: "
DONE: Final = b"data: [DONE]"
LAST_CHUNK: Final = b"0\r\n\r\n"
LARGE_US: Final = 20_000
STAMP: Final = re.compile(rb"t=(\d{20}) ")
_OPEN_AT_ONCE: Final = 50
_CONNECT_S: Final = 120.0
_SPREAD_S: Final = 1.0
_TOGETHER: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do."""

    way: str
    port: int
    request: str
    streams: int
    seconds: float  # no new stream after this
    limit_s: float  # nor any waiting after this


@dataclass(slots=True)
class Result:
    """What came of it, over all connections."""

    events: int = 0
    streams: int = 0  # that came to their end mark
    failed: int = 0  # refused, cut off, or without an end mark
    first: str = ""  # of the first failure, the first bytes
    begun: int = 0  # connections whose first stream had its first event
    largest_gap_us: float = 0.0
    large_gaps: int = 0
    measuring: bool = False  # gaps count once all streams have begun
    first_event_us: list[float] = field(default_factory=list)


class Reader(asyncio.Protocol):
    """One connection, which asks again as soon as a stream has ended."""

    def __init__(self, order: Order, result: Result, until_s: float) -> None:
        self._result = result
        self._request = order.request.encode()
        self._once = order.way != "count"
        self._gaps = order.way == "gaps"
        self._until_s = until_s
        self._tail = b""
        self._asked_s = 0.0
        self._started = self._busy = self._marked = False
        self._transit_ns: int | None = None
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection; `ask` starts the first stream."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def ask(self) -> None:
        """Send the request."""
        self._tail = b""
        self._started, self._busy, self._marked = False, True, False
        self._transit_ns = None
        self._asked_s = time.perf_counter()
        if self._transport.is_closing():
            self._fail(b"the connection was closed before it was used")
            return
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count events; an event may be cut anywhere, so the last bytes are looked at again with the next ones."""
        seen = self._tail + data
        if not self._started and not self._start(seen):
            return
        # Shorter than the mark, so no mark counts twice.
        self._result.events += seen.count(DATA) - self._tail.count(DATA)
        if self._gaps:
            self._measure(seen)
        self._marked = self._marked or DONE in seen
        if self._marked and seen.endswith(LAST_CHUNK):
            self._finish()
            return
        self._tail = self._keep(seen)

    def _keep(self, seen: bytes) -> bytes:
        if self._gaps:
            return seen[seen.rfind(b"\n\n") + 1 :]
        return seen[-24:]

    def _start(self, seen: bytes) -> bool:
        """Whether the first event is here; a head alone is not yet an answer."""
        if not seen.startswith(GOOD[: len(seen)]):
            self._fail(seen)
            return False
        if DATA not in seen:
            self._tail = seen
            return False
        self._started = True
        self._tail = b""
        if len(self._result.first_event_us) < 100_000:
            self._result.first_event_us.append((time.perf_counter() - self._asked_s) * 1e6)
        if not self.begun.done():
            self._result.begun += 1
            self.begun.set_result(None)
        return True

    def _measure(self, seen: bytes) -> None:
        now_ns = time.monotonic_ns()
        for stamp in STAMP.findall(seen):
            transit_ns = now_ns - int(stamp)
            if self._transit_ns is not None and self._result.measuring:
                added_us = (transit_ns - self._transit_ns) / 1000
                self._result.largest_gap_us = max(self._result.largest_gap_us, added_us)
                self._result.large_gaps += added_us > LARGE_US
            self._transit_ns = transit_ns

    def _finish(self) -> None:
        self._result.streams += 1
        self._busy = False
        if self._once or time.perf_counter() >= self._until_s:
            self._close()
        else:
            self.ask()

    def _fail(self, seen: bytes) -> None:
        self._result.failed += 1
        self._result.first = self._result.first or seen[:1500].decode("latin-1")
        self._busy = False
        self._close()

    def _close(self) -> None:
        self._transport.close()
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """A stream that is cut off has failed."""
        if self._busy:
            self._fail(b"connection lost: " + str(exc).encode())


async def connect(order: Order, result: Result, count: int) -> list[Reader]:
    """Some connections at once; from several addresses, so that their ports do not run out."""
    loop = asyncio.get_running_loop()
    until_s = time.perf_counter() + order.seconds

    async def one(index: int) -> Reader:
        source = (f"127.0.0.{1 + index % 8}", 0)
        _, reader = await loop.create_connection(
            lambda: Reader(order, result, until_s), "127.0.0.1", order.port, local_addr=source
        )
        return reader

    return await asyncio.wait_for(asyncio.gather(*map(one, range(count))), _CONNECT_S)


async def read(order: Order) -> Result:
    """Carry an order out."""
    result = Result()
    if order.way == "hold":
        await hold(order, result)
        return result
    readers: list[Reader] = []
    together = _TOGETHER if order.way == "gaps" else order.streams
    while len(readers) < order.streams:
        some = await connect(order, result, min(together, order.streams - len(readers)))
        readers += some
        for reader in some:
            reader.ask()
        if order.way == "gaps":
            await asyncio.sleep(_SPREAD_S * len(some) / order.streams)
    await asyncio.wait([reader.begun for reader in readers], timeout=order.limit_s)
    result.measuring = True
    await asyncio.wait([reader.ended for reader in readers], timeout=order.limit_s)
    return result


async def hold(order: Order, result: Result) -> None:
    """Open the streams some at a time, say so when all are there, and keep them until the input ends."""
    held: list[Reader] = []
    while len(held) < order.streams and not result.failed:
        some = await connect(order, result, min(_OPEN_AT_ONCE, order.streams - len(held)))
        held += some
        for reader in some:
            reader.ask()
        await asyncio.wait([reader.begun for reader in some], timeout=order.limit_s)
    print("held", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def main() -> None:
    """One order in, one result out."""
    gc.disable()  # a pause of ours would look like one of theirs
    order = Order(**json.loads(sys.stdin.readline()))
    result = uvloop.run(read(order))
    first = sorted(result.first_event_us)
    print(
        json.dumps(
            {
                "events": result.events,
                "streams": result.streams,
                "failed": result.failed,
                "first": result.first,
                "begun": result.begun,
                "largest_gap_us": result.largest_gap_us,
                "large_gaps": result.large_gaps,
                "first_event_p50_us": first[len(first) // 2] if first else 0.0,
            }
        )
    )


if __name__ == "__main__":
    main()
