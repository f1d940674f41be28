"""aiohttp's server with our own timers, bounds and answers to what is not HTTP.

Owns: a connection's first seconds (something must come, and a head must end), the size of a head that is still coming
in, and the answer to bytes that the parser refuses.
Refuses: to echo. aiohttp's built-in page shows parts of the bad header, which may hold a key; ours says what is wrong.
Rule: one response for each request. What is wrong behind a request whose body has not ended belongs to that request.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import BadHttpMethod, ContentEncodingError, HttpProcessingError, LineTooLong
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import ERROR, RequestHandler, RequestPayloadError, _ErrInfo

from proxy_cli.errors import GatewayError, InvalidRequest, SlowClient, TooLarge, UnsupportedMedia, UnsupportedVersion
from proxy_cli.server.counter import new_request_id
from proxy_cli.server.problems import INTERNAL, Problems
from proxy_cli.server.strict import HEAD, HeadLimits, too_large_a_head, too_long_an_address

logger = logging.getLogger(__name__)

# aiohttp's parser in Python reads some heads in another way than the one in C, which is the one that is tested.
HAS_COMPILED_PARSER: Final = HttpRequestParser is not HttpRequestParserPy
NO_COMPILED_PARSER: Final = (
    "aiohttp's compiled HTTP parser is missing, and the one in Python takes requests that it should not; "
    "install a wheel of aiohttp for this platform, and unset AIOHTTP_NO_EXTENSIONS"
)

_VERSION: Final = re.compile(rb"[^ ]+ [^ ]+ HTTP/([0-9])\.([0-9])\r?\n?").match
_NO_VERSION: Final = re.compile(rb"[A-Z]+ [!-~]+\r?\n").match
_SPOKEN: Final = frozenset({(1, 0), (1, 1)})
_TLS_HELLO: Final = b"\x16\x03"
_HTTP2: Final = b"PRI * HTTP/2.0\r\n"
STALL_S: Final = 60.0  # a client that takes nothing for so long is cut off
# How much more than a body may come as its framing. Chunks of one byte have five around it, and cost as much each as
# a large one.
_FRAMING_BYTES: Final = 256 * 1024
_FRAMING_SHARE: Final = 4
_OVERFRAMED: Final = "the body comes with more framing than content; send it in larger chunks, or with a Content-Length"
_ERROR: Final = ERROR._replace(version=HttpVersion11)

Message = RawRequestMessage | _ErrInfo


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = (
        "_body_bytes",
        "_ends",
        "_head",
        "_head_timer",
        "_knows_start",
        "_last_payload",
        "_limits",
        "_problems",
        "_refused",
        "_stall_timer",
        "returned",
    )

    def __init__(
        self,
        manager: "Listener",
        *,
        loop: asyncio.AbstractEventLoop,
        problems: Problems,
        keepalive_timeout: float,
        limits: HeadLimits,
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=keepalive_timeout,
            access_log=None,  # type: ignore[arg-type]  # its own type forgets that None turns it off
            max_line_size=limits.line_bytes,
            max_field_size=limits.line_bytes,
            max_headers=limits.fields,
            # A refused upload is read a little longer, so that its sender sees the refusal before a reset.
            lingering_time=2.0,
        )
        self._problems = problems
        self._limits = limits
        self._body_bytes = 0  # received since the last head
        self._head = b""  # what has come of a head that has not ended
        self._knows_start = True  # whether that is all of it
        self._head_timer: asyncio.TimerHandle | None = None
        self._last_payload: StreamReader = EMPTY_PAYLOAD
        self._refused = False  # nothing that comes now is read
        self._ends = False  # the request under way is the last one
        self._stall_timer: asyncio.TimerHandle | None = None
        # Called after each answer, with whether there may be another one; None: the connection is this room's own.
        self.returned: Callable[[bool], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected: something must come soon."""
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(self._limits.first_byte_s, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended."""
        self._stop_head_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """The next bytes; a head that they complete becomes a request."""
        if self._refused:
            return
        between, count = self._last_payload.is_eof() and self._is_idle(), self._request_count
        # What the parser held back until now is not in `data`.
        held_back = not data or self._buffer_paused or self._reading_paused
        super().data_received(data)
        new = self._request_count - count
        if new:
            self._stop_head_timer()
            raw = b"" if held_back else self._head + data
            self._admit([self._messages.pop() for _ in range(new)][::-1], raw)
            self._head, self._body_bytes = b"", 0
            # Without a body the end of the bytes is known for the end of a request; else some may be of the next head.
            self._knows_start = (
                self._last_payload is EMPTY_PAYLOAD and raw.endswith(b"\r\n\r\n") and not self._buffer_paused
            )
        elif between:
            self._still_in_head(data)
        else:
            self._knows_start = False
            self._still_in_body(data)

    def given(self) -> None:
        """The connection was lent until now; from here on this room looks after its time, too."""
        self.returned = None
        self.keep_alive(True)
        if self._paused:
            self._watch_stall()

    def pause_writing(self) -> None:
        """The client takes less than is sent."""
        super().pause_writing()
        if self.returned is None:
            self._watch_stall()

    def resume_writing(self) -> None:
        """The client has taken nearly all."""
        self._stop_stall_timer()
        super().resume_writing()

    def close(self) -> None:
        """Take no further request; the one that is still coming in is read to its end, and answered."""
        if (self._request_in_progress or self._messages) and not self._last_payload.is_eof():
            # aiohttp would drop the rest of its body.
            self._ends = True
        else:
            super().close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's signature
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """The response to a request that could not be read, or that our own boundary let fall."""
        if isinstance(exc, ConnectionError):
            # The client has left while it was written to; the request boundary has noted it.
            raise exc
        request_id = new_request_id()
        error = _told(exc)
        if error is INTERNAL:
            logger.error("request %s from %s failed", request_id, request.remote, exc_info=exc)
        else:
            logger.info("request %s from %s is not read: %s", request_id, request.remote, error.message)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun; only closing the connection is left")
        headers = {
            "x-request-id": request_id,
            "content-type": "application/json",
            "server": "llmproxy",
            **dict(self._problems.headers(error)),
        }
        response = web.Response(status=self._problems.status(error), body=self._problems.body(error), headers=headers)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the response; whoever lent the connection is told when this room is done with the request."""
        if (self._ends or self._close) and not resp.prepared:
            resp.force_close()
        result = await super().finish_response(request, resp, start_time)
        if self._last_payload.exception() is not None:
            # It is told. What still comes is thrown away for a while, so that its sender sees the response.
            self._last_payload.set_exception(None)  # type: ignore[arg-type]
        if self.returned is not None:
            # Two turns of the loop on: in the next one the timer for the request after this is set.
            self._loop.call_soon(self._loop.call_soon, self.returned, bool(result[0].keep_alive))
        return result

    def log_exception(self, *args: object, **kw: object) -> None:
        """aiohttp's own complaints: a client's broken body is not worth a traceback."""
        if isinstance(kw.get("exc_info"), RequestPayloadError | ConnectionError):
            logger.info("a request's body broke off after it was answered")
        else:
            logger.error(*args, **kw)  # type: ignore[arg-type]

    def _is_idle(self) -> bool:
        """Whether no request is under way: what comes now is a head's."""
        return self._request_count == 0 or (self._waiter is not None and not self._waiter.done())

    def _still_in_head(self, data: bytes) -> None:
        if not data:
            return
        if not self._head:
            self._stop_head_timer()
            self._head_timer = self._loop.call_later(self._limits.complete_s, self._head_is_late)
        self._head += data
        if len(self._head) > self._limits.total_bytes:
            self._refuse(too_large_a_head())
        elif _NO_VERSION(self._head.lstrip(b"\r\n")):
            # That was a whole request once; nothing will come behind it.
            self._refuse(_unspoken())

    def _still_in_body(self, data: bytes) -> None:
        payload = self._last_payload
        self._body_bytes += len(data)
        if payload.is_eof() or self._body_bytes <= _FRAMING_BYTES + _FRAMING_SHARE * payload.total_bytes:
            return
        # RFC 9112, section 7.1.1: chunk extensions must have a bound. These have outgrown what they frame.
        self._refused = self._close = True
        payload.set_exception(TooLarge(_OVERFRAMED))

    def _admit(self, new: list[tuple[Message, StreamReader]], raw: bytes) -> None:
        """Queue what the parser has found, up to the first that is refused here."""
        for message, payload in new:
            if isinstance(message, _ErrInfo):
                error = _not_http(message.exc, raw)
            elif message.version not in _SPOKEN:
                error = _unspoken()
            elif raw and (self._knows_start or message is not new[0][0]) and _line_of(message) not in raw:
                error = _invalid()
            else:
                self._messages.append((message, payload))
                self._last_payload = payload
                continue
            self._refused = True
            if message is new[0][0] and not self._last_payload.is_eof():
                # It is the body of the request before that is broken: that one's answer is the last.
                self._close = True
            else:
                self._messages.append((_refusal(error), EMPTY_PAYLOAD))
                self._last_payload = EMPTY_PAYLOAD
            return

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self._is_idle():
            return
        if self._head:
            self._refuse(SlowClient(f"the request's headers were not complete within {self._limits.complete_s:.0f} s"))
        elif self._request_count == 0:
            self.force_close()

    def _refuse(self, error: GatewayError) -> None:
        """Answer what is not a request yet, and read no more."""
        self._refused = True
        self._stop_head_timer()
        self._request_count += 1
        self._messages.append((_refusal(error), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _process_keepalive(self) -> None:
        """The time until the next request is over: of a lent connection, its owner tells that."""
        if self.returned is None:
            super()._process_keepalive()
        else:
            self._keepalive_handle = None

    def _watch_stall(self) -> None:
        """Cut the client off if it takes nothing for too long."""
        unsent = self.transport.get_write_buffer_size() if self.transport is not None else 0
        self._stop_stall_timer()
        self._stall_timer = self._loop.call_later(STALL_S, self._look_at_stall, unsent)

    def _look_at_stall(self, unsent_before: int) -> None:
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() < unsent_before:
            self._watch_stall()
        else:
            self.transport.abort()

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _refusal(error: GatewayError) -> _ErrInfo:
    return _ErrInfo(status=error.status, exc=error, message=error.message)


def _told(exc: BaseException | None) -> GatewayError:
    match exc:
        case GatewayError():
            return exc
        case HttpProcessingError():
            return _not_http(exc, b"")
    return INTERNAL


def _unspoken() -> GatewayError:
    return UnsupportedVersion("only HTTP/1.1 and HTTP/1.0 are spoken here")


def _invalid() -> GatewayError:
    return InvalidRequest("the request is not valid HTTP/1.1", code="invalid_http")


def _line_of(message: RawRequestMessage) -> bytes:
    """A request's first line as it must have been sent: the parser also takes several blanks and other protocols."""
    major, minor = message.version
    line = f"{message.method} {message.path} HTTP/{major}.{minor}\r\n"
    return line.encode("utf-8", "surrogateescape")


def _not_http(fault: BaseException, head: bytes) -> GatewayError:
    """What to tell the sender of bytes that the parser refused; `head` is what is known of them."""
    head = head.lstrip(b"\r\n")
    match fault:
        case ContentEncodingError():
            return UnsupportedMedia("this Content-Encoding is not read here; send the body plain, in gzip or deflate")
        case LineTooLong():
            return too_large_a_head() if b"\n" in head[: HEAD.line_bytes] else too_long_an_address()
        case BadHttpMethod() if head.startswith(_TLS_HELLO):
            return InvalidRequest("this port speaks plain HTTP, not TLS; use an http:// address", code="invalid_http")
    if "Too many headers" in str(fault):
        return too_large_a_head()
    version = _VERSION(head)
    if _NO_VERSION(head) or (version and (int(version[1]), int(version[2])) not in _SPOKEN and _HTTP2 not in head):
        return _unspoken()
    return _invalid()


class Listener(web.Server):
    """Makes a Connection for each client. A client that leaves cancels its handler."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        problems: Problems,
        keepalive_timeout_s: float = 75.0,
        limits: HeadLimits = HEAD,
    ) -> None:
        super().__init__(handler, request_factory=self._request, handler_cancellation=True)
        self.problems = problems  # for connections from now on
        self._keepalive_timeout_s = keepalive_timeout_s
        self._limits = limits

    def __call__(self) -> Connection:
        return Connection(
            self,
            loop=self._loop,
            problems=self.problems,
            keepalive_timeout=self._keepalive_timeout_s,
            limits=self._limits,
        )

    def lend(self, returned: Callable[[bool], None]) -> Connection:
        """A handler for single requests of somebody else's connection.

        After each answer `returned` is told whether there may be another one; where not, the connection is closed here.
        """
        connection = self()
        connection.returned = returned
        return connection

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        # aiohttp answers what it cannot read as HTTP/1.0, which is not what is spoken here.
        return web.BaseRequest(_ERROR if message is ERROR else message, payload, protocol, writer, task, self._loop)
