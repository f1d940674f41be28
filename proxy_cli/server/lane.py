"""The fast lane: every client's connection, read here for the requests that nearly all are.

It reads each head itself and answers what it knows for sure: a POST of JSON with a plain length to a path that asks a
model, and a probe, in the narrow grammar of `heads.py`. Every other request goes byte for byte to aiohttp's handler on
the same connection (the guest), which also gives every refusal of what cannot be read. So nothing is accepted here that
the counter refuses, and what is answered here goes through the counter's and the gateway's own functions.

A request whose end is known beforehand is lent to the guest: afterwards the lane reads on. Any other is given for good.
Keeps: one request at a time; what a client sends ahead waits, bounded; a client that leaves cancels its request.
"""

import asyncio
from collections.abc import Coroutine
from typing import Final, cast

from proxy_cli.errand import Errand
from proxy_cli.errors import GatewayError, SlowClient, forget_frames
from proxy_cli.server.body import MAX_INLINE_BYTES, Pace, too_slow
from proxy_cli.server.connection import STALL_S
from proxy_cli.server.flow import END as END_OF_CHUNKS
from proxy_cli.server.flow import Flow, chunk
from proxy_cli.server.heads import END, Head, may_become_plain, read_head
from proxy_cli.server.house import Desk, Guest, House
from proxy_cli.server.reply import EVENTS, PING, STREAM_HEADERS, Lines, Outgoing, at_once, head_bytes
from proxy_cli.server.routes import Match
from proxy_cli.server.strict import HEAD
from proxy_cli.shapes import Operation, Record

_AHEAD_BYTES: Final = 64 * 1024  # of further requests, while one is answered
_NEVER_S: Final = float("inf")
_KEPT_BYTES: Final = 4 * 1024  # of a head, while nothing is asked
_PING: Final = chunk(PING)


class Lane(asyncio.Protocol):
    """One client's connection.

    Owns the transport; what was read and not used yet; the body that is coming in and its pace; the errand of the
    request that is answered, and its stream; the guest, and how many bytes of a request it has yet to get; the time
    at which patience ends, whatever is waited for.
    """

    __slots__ = (
        "_ahead",
        "_body",
        "_client",
        "_closes",
        "_errand",
        "_flow",
        "_guest",
        "_has_answered",
        "_head",
        "_head_bytes",
        "_house",
        "_lent",
        "_loop",
        "_match",
        "_missing",
        "_pace",
        "_transport",
        "_unsent_bytes",
        "_waits",
        "begun",
        "due_s",
        "stall_due_s",
    )

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self._house = house
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._client = ""
        self._ahead = b""
        self._head_bytes = b""  # the last head, and what it means: most clients say the same again
        self._head: Head | None = None
        self._match: Match | None = None
        self._body: list[bytes] = []
        self._missing = 0
        self._pace: Pace | None = None
        self._errand: Errand | None = None
        self._flow: Flow | None = None
        self._closes = False
        self._guest: Guest | None = None
        self._has_answered = False
        self._lent: int | None = None  # bytes that the guest has yet to get; None: it has no request
        self._unsent_bytes = 0
        self._waits = False  # to go on, until the client has taken what was sent
        self.begun: Operation | None = None  # what the request asks, while a stream has begun that has no answer yet
        self.due_s = _NEVER_S
        self.stall_due_s = _NEVER_S

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first byte."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self.due_s = self._loop.time() + HEAD.first_byte_s
        self._house.entered(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, of a body, of the guest's request, or of what comes after."""
        if self._errand is not None or self._waits:
            self._hold(data)
        elif self._lent is not None:
            self._pass_on(data)
        elif self._missing:
            self._collect(data)
        else:
            self._read(self._ahead + data if self._ahead else data)

    def eof_received(self) -> bool:
        """A client that says no more is taken to have left; closing the transport cancels what it asked."""
        if self._guest is not None:
            self._guest.eof_received()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, or was sent away."""
        self._transport = None
        self.due_s = self.stall_due_s = _NEVER_S
        self._house.left(self)
        if self._errand is not None:
            self._errand.cancel()
        if self._guest is not None:
            self._guest.connection_lost(error)
            self._guest = None

    def pause_writing(self) -> None:
        """The client takes less than is sent: its backend is to wait."""
        self._unsent_bytes = self._unsent()
        self.stall_due_s = self._loop.time() + STALL_S
        if self._flow is not None:
            self._flow.pause()
        if self._guest is not None:
            self._guest.pause_writing()

    def resume_writing(self) -> None:
        """The client has taken nearly all."""
        self.stall_due_s = _NEVER_S
        if self._flow is not None:
            self._flow.resume()
        if self._guest is not None:
            self._guest.resume_writing()
        if self._waits:
            self._waits = False
            self._go_on()

    # What the house calls.

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked here, and nothing is on its way in."""
        return self._errand is None and self._lent is None and not self._missing and not self._ahead

    @property
    def _is_full(self) -> bool:
        """Whether the client is to take something first."""
        return self.stall_due_s < _NEVER_S

    def close_when_idle(self) -> None:
        """Close it now, or after the request that is under way."""
        self._closes = True
        if self.is_idle:
            self._close()

    def cut_off(self) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()

    def look_at(self, now_s: float) -> None:
        """Something has taken its time: end it, unless it has moved meanwhile."""
        if now_s >= self.stall_due_s:
            self._look_at_stall(now_s)
        if now_s < self.due_s or self._transport is None:
            return
        self.due_s = _NEVER_S
        if self._pace is not None:
            self._refuse_late(too_slow(), self._match)
        elif self._ahead:
            self._refuse_late(_too_slow_a_head(), None)
        else:
            self._transport.close()

    # Reading.

    def _read(self, data: bytes) -> None:
        """A request begins with these bytes; it may not be whole yet."""
        end = data.find(END) + len(END)
        if end < len(END):
            self._wait_for_head(data)
            return
        self._ahead = b""
        head_bytes = data[:end]
        if head_bytes != self._head_bytes:
            self._head_bytes = head_bytes
            self._head = read_head(head_bytes)
            self._match = self._house.match(self._head) if self._head is not None else None
        head = self._head
        if head is None:
            self._give(data)
        elif self._match is None or head.length > MAX_INLINE_BYTES or (not head.length and len(data) > end):
            self._lend(head, data, end)
        elif head.length:
            self._missing = head.length
            self._collect(data[end:])
        else:
            # A probe: in this turn, whatever else is under way. With requests behind it, it takes the guest's time.
            self.due_s = _NEVER_S
            try:
                at_once(self._answer(b""))
            except ConnectionError as error:
                self._answered(error)
            else:
                self._answered(None)

    def _wait_for_head(self, data: bytes) -> None:
        if not may_become_plain(data):
            self._ahead = b""
            self._give(data)
            return
        if not self._ahead:
            self.due_s = self._loop.time() + HEAD.complete_s
        self._ahead = data

    def _collect(self, data: bytes) -> None:
        """Bytes of the body, and perhaps of what comes after it."""
        missing = self._missing - len(data)
        if missing > 0:
            self._missing = missing
            self._await_body(data)
            return
        if missing < 0:
            self._ahead = data[missing:]
            data = data[:missing]
        if self._body:
            self._body.append(data)
            data = b"".join(self._body)
            self._body = []
        self._missing = 0
        self._pace = None
        self.due_s = _NEVER_S
        self._errand = errand = Errand(self._answer(data), self._loop, self._answered)
        errand.go_on()

    def _await_body(self, data: bytes) -> None:
        now_s = self._loop.time()
        if self._pace is None:
            self._pace = Pace(now_s)
        if data:
            self._body.append(data)
            self._pace.saw(len(data), now_s)
        self.due_s = self._pace.due_s()

    def _close(self) -> None:
        """Close the connection once all is sent that was written."""
        self._house.outbox.flush()
        if self._transport is not None:
            self._transport.close()

    def _hold(self, data: bytes) -> None:
        """Keep what comes ahead of its time; a client that sends much of it is not read further."""
        self._ahead += data
        if len(self._ahead) > _AHEAD_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def _go_on(self, *, knows: bool = True) -> None:
        """The request is answered: the next one may be here already. `knows`: an end of the connection was told."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if (self._closes or self._house.draining) and (knows or not self._ahead):
            self._close()
            return
        if self._is_full:
            self._waits = True
        elif self._ahead:
            # In a turn of its own, or a client could stack as many on each other as it sends at once.
            self._waits = True
            self._loop.call_soon(self._read_on)
        else:
            self.due_s = self._loop.time() + self._house.keepalive_s
            if len(self._head_bytes) > _KEPT_BYTES:
                self._head_bytes, self._head, self._match = b"", None, None

    def _read_on(self) -> None:
        """Read what was sent ahead, unless the client must take something first."""
        transport = self._transport
        if not self._waits or self._is_full or transport is None or transport.is_closing():
            return
        self._waits = False
        ahead = self._ahead
        if len(ahead) > _AHEAD_BYTES:
            transport.resume_reading()
        self._ahead = b""
        self._read(ahead)

    # The guest's requests.

    def _lend(self, head: Head, data: bytes, end: int) -> None:
        """A request for the guest, whose last byte is known."""
        size = end + head.length
        self.due_s = _NEVER_S
        self._ahead = data[size:]
        self._lent = max(0, size - len(data))
        self._has_answered = False
        self._host().data_received(data[:size])

    def _give(self, data: bytes) -> None:
        """The connection is the guest's from now on."""
        transport = self._transport
        assert transport is not None
        self.due_s = _NEVER_S
        self._lent = 0
        guest = self._host()
        if self._transport is not None:
            guest.given()
            # Looked after by the guest alone: what it is told by the event loop does not pass through here any more.
            transport.set_protocol(cast("asyncio.Protocol", guest))
            self._house.left(self)
            guest.data_received(data)

    def _host(self) -> Guest:
        if self._guest is None:
            assert self._transport is not None
            self._guest = self._house.guest(self._returned)
            self._guest.connection_made(self._transport)
            if self._is_full:
                self._guest.pause_writing()
        return self._guest

    def _pass_on(self, data: bytes) -> None:
        assert self._lent is not None
        part, rest = data[: self._lent], data[self._lent :]
        self._lent -= len(part)
        if rest:
            self._hold(rest)
        if part and self._guest is not None:
            self._guest.data_received(part)
        if self._has_answered and not self._lent:
            self._take_back()

    def _returned(self, goes_on: bool) -> None:
        """The guest has answered. A body that it did not want may still be coming in, for it to throw away."""
        if not goes_on:
            return  # it closes the connection, and what comes behind that is nobody's
        self._has_answered = True
        if self._lent == 0:
            self._take_back()

    def _take_back(self) -> None:
        self._lent = None
        # What was sent ahead while the server began to stop is answered once more: with that the client is told.
        self._go_on(knows=False)

    # Answering.

    def _answer(self, body: bytes) -> Coroutine[object, None, None]:
        """One request, to the last byte of its answer; behind that, `_answered`."""
        head, match, desk = self._head, self._match, self._house.desk
        assert head is not None
        assert match is not None
        self._closes = self._closes or head.closes
        counter = desk.counter
        record = counter.begun(head.method, match.route.path_template, self._client)
        own = counter.own_headers(record, head.fields.get("x-litellm-call-id"), head.fields.get("origin"))
        return counter.guard(record, own, self._ask(desk, match, head, record, own, body), self)

    def _answered(self, error: BaseException | None) -> None:
        self._errand = self.begun = None
        if isinstance(error, ConnectionError):
            forget_frames(error)
            self.cut_off()
        elif error is not None and not isinstance(error, asyncio.CancelledError):
            self._loop.call_exception_handler({"message": "a request failed behind its boundary", "exception": error})
            self.cut_off()
        self._go_on()

    async def _ask(self, desk: Desk, match: Match, head: Head, record: Record, own: Lines, body: bytes) -> None:
        counter, route = desk.counter, match.route
        if route.is_probe:
            counter.tell(match, record, own, self)
            return
        if not counter.admits(record, head.headers, route):
            await counter.admit_later(record, head.headers, route)
        try:
            call = desk.inference.calls.of_json(match, record, head.headers, body, head.target)
        except GatewayError as failure:
            desk.inference.refused(failure, head.headers, record, own, self)
            return
        await desk.inference.respond(call, record, own, self)

    def _refuse_late(self, error: GatewayError, match: Match | None) -> None:
        """Answer a request that does not come in, and close."""
        counter = self._house.desk.counter
        record = counter.begun("POST", match.route.path_template if match else "", self._client)
        own = counter.own_headers(record, None, None)
        self._closes = True
        self._body, self._pace, self._missing, self._ahead = [], None, 0, b""
        counter.refuse(record, own, error, self)
        self._go_on()

    def whole(self, status: int, head: Lines, body: bytes) -> None:
        """Send a whole response."""
        data = head_bytes(status, head, f"content-length: {len(body)}\r\n{self._last_words()}")
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        self._house.outbox.write_message(transport, data, body)

    async def stream(self, outgoing: Outgoing) -> None:
        """Send a stream, to its end or to the event that says why it ended."""
        if self._transport is None:
            raise ConnectionResetError("the client has left")
        head = b"" if self.begun else self._stream_head(outgoing.answer.status, outgoing.head)
        self._flow = Flow(self._transport, self._house.outbox, head, outgoing)
        if self._is_full:
            self._flow.pause()
        try:
            if not await self._flow.run():
                self.cut_off()
        finally:
            self._flow = None

    def begin(self, head: Lines, operation: Operation) -> None:
        """Send the head of a stream and a ping, while its answer is waited for."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.begun = operation
            self._house.outbox.write(transport, self._stream_head(200, EVENTS + head) + _PING)

    def ping(self) -> None:
        """Send a sign of life, unless the client has not taken yet what was sent before."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and not self._unsent():
            self._house.outbox.write(transport, _PING)

    def end(self, last: bytes) -> None:
        """Send the last event of a stream that was begun and has no answer."""
        if self._transport is None:
            raise ConnectionResetError("the client has left")
        self._house.outbox.write(self._transport, chunk(last) + END_OF_CHUNKS)

    def _stream_head(self, status: int, head: Lines) -> bytes:
        return head_bytes(status, head + STREAM_HEADERS, f"transfer-encoding: chunked\r\n{self._last_words()}")

    def _last_words(self) -> Lines:
        return "connection: close\r\n" if self._closes or self._house.draining else ""

    # A client that takes nothing.

    def _look_at_stall(self, now_s: float) -> None:
        unsent = self._unsent()
        if unsent < self._unsent_bytes:
            self._unsent_bytes = unsent
            self.stall_due_s = now_s + STALL_S
        else:
            self.cut_off()

    def _unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0


def _too_slow_a_head() -> GatewayError:
    return SlowClient(f"the request's headers were not complete within {HEAD.complete_s:.0f} s")
