"""Answers on their way out: a whole body, or a stream whose head goes with its first event in one segment.

Owns what an outlet is (where a response goes to, whichever protocol carries it), the outlet of aiohttp's responses,
and what is alike in every stream: that its failure becomes one last event that says why. A stream may be begun before
there is anything to say; then its head and a comment are all that leaves. The client that leaves is noticed below (the
request is cancelled).
"""

import contextlib
import http
import logging
import time
from collections.abc import Awaitable, Coroutine, Iterable
from email.utils import formatdate
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from proxy_cli.answer import Answer
from proxy_cli.clock import Clock
from proxy_cli.errors import BackendBroken, GatewayError, forget_frames
from proxy_cli.relay import Relay
from proxy_cli.server import compat
from proxy_cli.server.keeping import Keeping
from proxy_cli.server.problems import INTERNAL, Problems
from proxy_cli.shapes import Call, Headers, Operation, Record, first_header
from proxy_cli.wire.identity import stream_id

logger = logging.getLogger(__name__)

Sent = TypeVar("Sent")
Sent_co = TypeVar("Sent_co", covariant=True)

# The headers of a response are put together as the lines that they are written as: `name: value` and a line's end.
Lines = str

# Hops in front must neither hold events back nor change them.
STREAM_HEADERS: Lines = "cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n"
# The type of a stream whose head leaves before the backend has said anything.
EVENTS: Lines = "content-type: text/event-stream\r\n"
# A comment, which every reader of events steps over (WHATWG HTML, section 9.2.6).
PING: Final = b": ping\n\n"
_TAIL: Final = 16  # bytes: as much as tells where in an event a stream stands


class Outgoing(msgspec.Struct):
    """A stream on its way to the caller."""

    call: Call
    answer: Answer
    relay: Relay
    head: Lines
    record: Record
    problems: Problems
    clock: Clock
    keeping: Keeping | None = None  # where more is kept of a stream than its sum
    tail: bytes = b""  # of what was sent; empty again where nothing may follow

    def passed(self, data: bytes) -> bytes:
        """The bytes to send for these bytes of the relay; they are counted as sent."""
        record = self.record
        if record.first_byte_s is None:
            record.first_byte_s = self.clock()
            if self.call.account is not None:
                record.answer_id = stream_id(data)
        record.bytes_out += len(data)
        self.tail = data[-_TAIL:]
        if self.keeping is not None:
            self.keeping.piece(data)
        return compat.usage_event(data) if self.problems.compat_litellm else data

    async def outcome(self, sending: Awaitable[None]) -> bytes | None:
        """Send to the end; the event that has to follow because of a failure, or None for an end cut short."""
        failure: GatewayError
        try:
            await sending
        except ConnectionError:
            raise
        except GatewayError as error:
            failure = error
            forget_frames(failure)
        except Exception:  # the request boundary of a response that has begun
            logger.exception("request %s failed in its stream", self.call.request_id)
            failure = INTERNAL
        else:
            if self.relay.failed:
                self.record.error = "the backend reported an error inside its stream"
                self.answer.failure = BackendBroken(self.record.error, code="upstream_error_event")
            self._ended()
            return b""
        self.tail = b""
        self.answer.failure = failure
        self.record.error, self.record.error_code = failure.message, failure.code
        self._ended()
        # In sound there is no place for words: that it was cut short is all that can be said.
        return self.problems.event(failure, self.call.operation) if holds_events(self.answer.headers) else None

    def _ended(self) -> None:
        if self.keeping is not None:
            self.keeping.end()


class Outlet(Protocol[Sent_co]):
    """Where the response to one request goes."""

    begun: Operation | None  # what was asked, where a stream was begun before there was an answer

    def whole(self, status: int, head: Lines, body: bytes) -> Sent_co:
        """A whole response."""

    async def stream(self, outgoing: Outgoing) -> Sent_co:
        """A stream, to its end."""

    def begin(self, head: Lines, operation: Operation) -> None:
        """Begin a stream that has nothing to say yet: its head and a ping. Never raises, as the next."""

    def ping(self) -> None:
        """A sign of life to a client that has taken what was sent; the caller sees to it that no event is cut."""

    def end(self, last: bytes) -> Sent_co:
        """End a stream that was begun and comes to nothing, with an event that says why."""


class EventStream(web.StreamResponse):
    """A streamed response whose head waits for the first bytes."""

    _send_headers_immediately = False


class AiohttpOutlet:
    """The outlet of a request that aiohttp has read. `closes`: the connection ends with this response."""

    def __init__(self, request: web.BaseRequest, *, closes: bool = False) -> None:
        self._request = request
        self._closes = closes
        self._response: web.StreamResponse | None = None  # of a stream
        self.begun: Operation | None = None

    def whole(self, status: int, head: Lines, body: bytes) -> web.StreamResponse:
        """A whole response."""
        response = plain(status, pairs(head), body)
        if self._closes or not self._request.content.is_eof():
            # The rest of a body that nobody wants is not worth waiting for.
            response.force_close()
        return response

    async def stream(self, outgoing: Outgoing) -> web.StreamResponse:
        """Relay a stream to its end; what fails on the way becomes its last event."""
        request, response = self._request, self._response
        if response is None:
            response = self._response = self._events(outgoing.answer.status, outgoing.head)
            await response.prepare(request)
        last = await outgoing.outcome(_pull(outgoing, response))
        if last is None:
            return _cut_off(request, response)
        if last:
            await response.write(last)
        await response.write_eof()
        return response

    def begin(self, head: Lines, operation: Operation) -> None:
        """The head and a ping, while the request waits for its answer."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        self.begun = operation
        self._response = self._events(200, EVENTS + head)
        with contextlib.suppress(ConnectionError):
            at_once(self._response.prepare(self._request))
            at_once(self._response.write(PING))

    def ping(self) -> None:
        """Nothing where something is unsent, so that it need not wait."""
        transport = self._request.transport
        if self._response is None or transport is None or transport.get_write_buffer_size():
            return
        with contextlib.suppress(ConnectionError):
            at_once(self._response.write(PING))

    def end(self, last: bytes) -> web.StreamResponse:
        """The last event; aiohttp itself writes the end behind it."""
        assert self._response is not None
        with contextlib.suppress(ConnectionError):
            at_once(self._response.write(last))
        return self._response

    def _events(self, status: int, head: Lines) -> web.StreamResponse:
        response = EventStream(status=status, headers=multidict(pairs(head + STREAM_HEADERS)))
        if self._request.version >= (1, 1):
            response.enable_chunked_encoding()
        else:
            # Before HTTP/1.1 the end of a stream is the end of its connection.
            response.force_close()
        return response


def at_once(work: Coroutine[Any, Any, object]) -> None:
    """Do what waits for nothing in this turn: without a task, whose turn would come after those of all others."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("what was to be done at once waits for something")


async def _pull(outgoing: Outgoing, response: web.StreamResponse) -> None:
    relay = outgoing.relay
    while data := await relay.next():
        await response.write(outgoing.passed(data))
        outgoing.record.delivered = relay.finished


def _cut_off(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    response.force_close()
    if request.transport is not None:
        request.transport.abort()
    return response


def holds_events(headers: Headers) -> bool:
    """Whether a response is an event stream."""
    return (first_header(headers, "content-type") or "").lower().startswith("text/event-stream")


def multidict(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """Headers as aiohttp wants them."""
    return CIMultiDict(headers)


def plain(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> web.Response:
    """A whole response."""
    return web.Response(status=status, headers=multidict(headers), body=body)


class _Date:
    """The Date header (RFC 9110, section 6.6.1), worked out once a second. Owns the last one."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        """The whole line, for now."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = f"date: {formatdate(now, usegmt=True)}\r\n"
        return self._line


_DATE: Final = _Date()
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus if status.value >= 200
}


def lines(headers: Headers) -> Lines:
    """Headers as lines. Raises ValueError for one that would be read as two."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    count = len(headers)
    if text.count("\n") != count or text.count("\r") != count or "\0" in text:
        raise ValueError("a response header holds a line break or a NUL")
    return text


def pairs(head: Lines) -> Headers:
    """The headers that lines hold."""
    found = (line.partition(": ") for line in head.split("\r\n") if line)
    return tuple((name, value) for name, _, value in found)


def head_bytes(status: int, head: Lines, framing: Lines) -> bytes:
    """The head of a response as it is written."""
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return f"{first}{_DATE.line()}{framing}{head}\r\n".encode()
