"""One connection to a backend, as the event loop sees it: bytes in, bytes out, the end.

It reads HTTP/1.1, the usual reply by itself and all others with httptools, and hands what it finds to the exchange it
carries. Refuses bytes that nobody asked for: a connection that brings some is closed, never used again.
"""

import asyncio
from typing import Final, Protocol, cast

import httptools

from proxy_cli.errors import BackendBroken
from proxy_cli.outbox import Outbox
from proxy_cli.shapes import Backend
from proxy_cli.upstream.head import MAX_HEAD_BYTES, ReplyHead, check_size, head_too_large, reply_head
from proxy_cli.upstream.quick import quick_head
from proxy_cli.upstream.watch import Watch

# Nothing at all came back: on a kept connection that may mean that the backend had closed it before we wrote.
EMPTY: Final = "upstream_empty_response"


class Listener(Protocol):
    """Who is told what a connection brings: an exchange."""

    method: str
    head: ReplyHead | None

    def head_came(self, head: ReplyHead) -> None:
        """The final reply's head."""

    def data_came(self, data: bytes) -> None:
        """A piece of its body."""

    def answered(self, head: ReplyHead, body: bytes) -> bool:
        """A plain reply, all of it at once; says whether the request was complete, too."""

    def more_expected(self) -> None:
        """What came is read, and the reply is not complete."""

    def request_moved(self) -> None:
        """The backend has taken more of the request."""

    def ended(self) -> bool:
        """The reply is complete; says whether the request was, too."""

    def tell(self) -> None:
        """The connection is as it will be after what came: whoever waits for that may go on."""

    def broke(self, failure: BackendBroken) -> None:
        """There will be no (more) reply."""


class Owner(Protocol):
    """Who is told what becomes of a connection: the pool."""

    outbox: Outbox  # what whole requests leave through

    def made(self, connection: "Connection") -> None:
        """It is open; `lost` will follow."""

    def free(self, connection: "Connection") -> None:
        """It can carry the next exchange."""

    def lost(self, connection: "Connection") -> None:
        """It is closed."""


class Connection(asyncio.Protocol):
    """A transport and its parser, for one exchange at a time.

    Owns the transport, the parser, the timers, the fields of the head that is being read or the number of bytes that
    the body still lacks, the exchange it carries now, the future of a writer that has to wait, and whether reading is
    paused.
    """

    def __init__(self, backend: Backend, owner: Owner) -> None:
        self.backend = backend
        self.reused = False
        self.idle_since = 0.0
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.loop = asyncio.get_running_loop()
        self.watch = Watch(backend, self.loop)
        self._exchange: Listener | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        # What came before anything was asked: some servers say at once why they will not serve.
        self._early = b""
        # Of the reply that is being read:
        self._fields: list[tuple[str, str]] = []
        self._read_bytes = 0
        self._left_bytes = 0
        self._interim = False
        self._complete = False
        self._reusable = False
        self._leaves = -1  # the turn of the outbox with which the request leaves; it has not, while that lasts

    @property
    def is_open(self) -> bool:
        """Whether it can still be written to, as far as we have heard."""
        return self._transport is not None and not self._transport.is_closing()

    # What an exchange does with it.

    def begin(self, exchange: Listener, head: bytes, body: bytes | None) -> None:
        """Write a request, or its head where the body comes later, and hand what comes to this exchange."""
        self._exchange = exchange
        self._fields = []
        self._read_bytes = 0
        self._left_bytes = 0
        self._complete = False
        if self._transport is not None and not self._transport.is_closing():
            if body is None:
                self._transport.write(head)
            elif self._owner.outbox.write_message(self._transport, head, body):
                self._leaves = self._owner.outbox.turns
        if self._early:
            self.data_received(self._early)
        if self._transport is None:
            self._close_came(None)

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport; nothing happens on a closed one."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the transport wants more."""
        if self._writable is not None:
            await self._writable

    def pause(self) -> None:
        """Stop reading: the backend's own sending will stall in time."""
        if self.is_open and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self.is_open and self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close it now; what is not sent yet is dropped."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def shut(self, failure: BackendBroken) -> None:
        """End whatever it carries, and close it."""
        self._break(failure)
        self.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and see whether that was the end of the reply."""
        exchange = self._exchange
        if exchange is None:
            self._unasked(data)
            return
        quick = None
        if self._leaves == self._owner.outbox.turns and self.reused:
            # No answer to what it does not know of: a farewell to an idle client, say. The request is still ours.
            self.shut(BackendBroken(f"{self.backend} replied before it was asked", code=EMPTY))
            return
        if not self._read_bytes and exchange.method != "HEAD":
            quick = quick_head(data)
        self._read_bytes += len(data)
        if quick is not None:
            head, body = quick
            self._reusable = True
            if len(body) == head.length:
                self._complete = True
                self._exchange = None
                self._keep(exchange.answered(head, body))
                exchange.tell()
            else:
                self._left_bytes = head.length or 0
                exchange.head_came(head)
                self._count(exchange, body)
        elif self._left_bytes:
            self._count(exchange, data)
        else:
            self._parse(exchange, data)

    def eof_received(self) -> bool:
        """The backend has said all it will."""
        self._close_came(None)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._close_came(error)
        self.watch.close()
        self.resume_writing()
        self._transport = None
        self._parser = None  # it holds this
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """The transport has enough for now."""
        self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """The transport wants more."""
        if self._exchange is not None:
            self._exchange.request_moved()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _count(self, exchange: Listener, data: bytes) -> None:
        """Hand on a body that has a length and nothing else to look at."""
        left_bytes = self._left_bytes - len(data)
        if left_bytes < 0:
            # The reply itself was well; what follows it is nobody's.
            self._reusable = False
            data = data[:left_bytes]
        if data:
            exchange.data_came(data)
        if left_bytes > 0:
            self._left_bytes = left_bytes
            exchange.more_expected()
        else:
            self._left_bytes = 0
            self._complete = True
            self._finish()

    def _parse(self, exchange: Listener, data: bytes) -> None:
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(error)
        else:
            if exchange.head is None and self._read_bytes > MAX_HEAD_BYTES:
                self.shut(head_too_large(self.backend, f"more than {MAX_HEAD_BYTES} bytes before a reply's body"))
        if self._complete:
            self._finish()
        else:
            exchange.more_expected()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A reply begins: the first one is the one that was asked for."""
        if self._complete:
            raise ValueError("bytes after the reply")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer field, which nobody needs."""
        if self._exchange is not None and self._exchange.head is None:
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Tell the exchange, but for an interim reply (1xx), which is not the answer."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200 and status != 101
        if self._interim:
            self._fields = []
        elif self._exchange is not None:
            check_size(self.backend, self._fields, self._read_bytes)
            version = self._parser.get_http_version()
            method = self._exchange.method
            head = reply_head(self.backend, method, status, version, self._fields)
            # The parser would wait for the body that a reply to HEAD only describes.
            self._complete = method == "HEAD"
            self._reusable = version == "1.1" and not self._complete
            self._exchange.head_came(head)

    def on_body(self, data: bytes) -> None:
        """Hand a piece on."""
        if self._exchange is not None and not self._complete:
            self._exchange.data_came(data)

    def on_message_complete(self) -> None:
        """The framing says that the reply ends here."""
        if not self._interim:
            self._complete = True
            assert self._parser is not None
            self._reusable = self._reusable and self._parser.should_keep_alive()

    def _unasked(self, data: bytes) -> None:
        """Bytes that answer nothing: kept for the first exchange of a new connection, the end of a used one."""
        self._early += data
        if self.reused or len(self._early) > MAX_HEAD_BYTES:
            self.abort()

    def _refuse(self, error: Exception) -> None:
        """The parser met what it cannot read, or what came out of it was refused."""
        if self._complete:
            # The reply itself was well; what follows it is nobody's.
            self._reusable = False
            return
        cause = error.__context__
        if not isinstance(cause, BackendBroken):
            cause = BackendBroken(
                f"{self.backend} replied with what is not HTTP/1.1: {error}", code="upstream_invalid_response"
            )
        self.shut(cause)

    def _finish(self) -> None:
        """The reply is complete: the exchange goes its way, the connection waits for the next one or is closed."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        self._keep(exchange.ended())
        exchange.tell()

    def _keep(self, sent: bool) -> None:
        """Wait for the next exchange, or end: where the last one was not complete in both directions."""
        transport = self._transport
        if transport is None:
            return
        clean = sent and self._reusable and not self._early and not transport.is_closing()
        if clean and transport.get_write_buffer_size() == 0:
            if self._paused:
                self.resume()
            self.reused = True
            self._owner.free(self)
        else:
            transport.abort()

    def _close_came(self, error: Exception | None) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if error is None and exchange.head is not None and exchange.head.ends_by_close:
            self._exchange = None
            exchange.ended()
            exchange.tell()
        elif self._read_bytes == 0:
            self._break(BackendBroken(f"{self.backend} closed the connection without a reply", code=EMPTY))
        else:
            self._break(BackendBroken(f"{self.backend} broke off its reply", code="upstream_truncated"))

    def _break(self, failure: BackendBroken) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.broke(failure)
