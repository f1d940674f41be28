"""A backend whose answers are event streams at a steady pace: `python bench/paced.py PORT`.

The request says how: `max_tokens` events, `seed` milliseconds apart (by default 200 events, 5 ms). Each event carries
the moment it was sent (nanoseconds of the machine's monotonic clock), so that a reader in another process sees what was
added on the way. Without `stream`, the answer is plain JSON. It is run as a file, and imports nothing of ours.
"""

import asyncio
import re
import sys
import time
from typing import Final, cast

import httptools
import uvloop

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
EVENT: Final = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1715570147,"model":"vicuna-13b",'
    b'"choices":[{"index":0,"delta":{"content":"t=%020d "},"finish_reason":null}]}\n\n'
)
CHUNK: Final = b"%x\r\n%b\r\n" % (len(EVENT % 0), EVENT)
USAGE: Final = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1715570147,"model":"vicuna-13b",'
    b'"choices":[],"usage":{"prompt_tokens":101,"completion_tokens":%d,"total_tokens":%d}}\n\n'
)
DONE: Final = b"data: [DONE]\n\n"
PLAIN: Final = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1715570147,"model":"vicuna-13b","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":101,"completion_tokens":114,"total_tokens":215}}'
)
_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
_EVENTS: Final = re.compile(rb'"max_tokens"\s*:\s*(\d+)')
_PACE_MS: Final = re.compile(rb'"seed"\s*:\s*(\d+)')


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def number(pattern: re.Pattern[bytes], body: bytes, default: int) -> int:
    """A whole number that the request names."""
    found = pattern.search(body)
    return int(found[1]) if found else default


class Connection(asyncio.Protocol):
    """One connection; its timer writes the next event, with no task and no coroutine in between."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()
        self._left = self._events = 0
        self._pace_s = self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        # uvloop's transports are no subclass of asyncio's.
        self._write = cast("asyncio.Transport", transport).write

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's name
        """A reader that left ends its stream."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Requests come one after the other."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A new request."""
        self._body.clear()

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer, or start to."""
        body = bytes(self._body)
        if not _STREAM.search(body):
            self._write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(PLAIN), PLAIN)
            )
            return
        self._left = self._events = number(_EVENTS, body, 200)
        self._pace_s = number(_PACE_MS, body, 5) / 1000
        self._due_s = self._loop.time()
        self._send(HEAD)

    def _send(self, before: bytes = b"") -> None:
        if self._left == 0:
            tokens = self._events
            self._write(before + chunk(USAGE % (tokens, 101 + tokens)) + chunk(DONE) + b"0\r\n\r\n")
            return
        self._left -= 1
        self._write(before + CHUNK % time.monotonic_ns())
        self._due_s += self._pace_s
        self._timer = self._loop.call_at(self._due_s, self._send)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(loop), "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
