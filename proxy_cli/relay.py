"""A backend's event stream on its way to the caller.

Pulled by whoever writes to the caller, or poured into a function; either way a slow caller slows the backend. Owns the
reply until `close`, and the time since when no event has come: bytes alone, such as comments that only keep a line
open, do not count. Keeps nothing but the event that is not whole yet. What goes wrong is raised: before the first
bytes it is still an HTTP error or another attempt, after them the counter makes it an event.
"""

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from proxy_cli.errors import BackendBroken, BackendTimeout, CallerTimeout, GatewayError
from proxy_cli.providers.base import StreamReader
from proxy_cli.shapes import Call, Headers, LocalReply, Operation, UpstreamReply, Usage, first_header
from proxy_cli.wire.reshape import as_events, as_whole

# A backend that has said `[DONE]` has nothing more to say; the connection is worth a short wait for the end of its
# framing, because only then can it be used again.
_END_OF_FRAMING_S: Final = 0.25
_EVENTS: Final = "text/event-stream"
_JSON: Final = "application/json"
_PLAIN: Final = "text/plain"
_COMPLETIONS: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
_LONG_BYTES: Final = 1024 * 1024
# How the lines of an event stream begin.
_LINES: Final = (b"data:", b"event:", b"retry:", b"id:", b":")

Refusal = Callable[[bytes], GatewayError]
Sink = Callable[[bytes], None]
_Form = TypeVar("_Form")


class Relay:
    """The bytes of one stream, from the first to the last.

    `gap_s`: the longest time without an event, once one came; `first_s`: the longest time up to that one, `by_caller`
    where the caller has set it.
    """

    __slots__ = (
        "_begun",
        "_by_caller",
        "_event_s",
        "_events",
        "_first",
        "_first_s",
        "_gap_s",
        "_handle",
        "_held",
        "_loop",
        "_reader",
        "_reply",
        "_sink",
        "_stopped",
    )

    def __init__(
        self,
        reply: UpstreamReply,
        reader: StreamReader,
        gap_s: float | None = None,
        first_s: float | None = None,
        by_caller: bool = False,
    ) -> None:
        self._reply = reply
        self._reader = reader
        self._gap_s = gap_s
        self._first_s = first_s
        self._by_caller = by_caller
        self._loop = asyncio.get_running_loop()
        self._first = b""
        self._begun = b""  # what the backend has sent up to the first bytes for the caller
        self._sink: Sink | None = None
        self._held = False
        self._events = 0
        self._event_s = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._stopped: GatewayError | None = None

    @property
    def usage(self) -> Usage | None:
        """What the backend has counted so far."""
        return self._reader.usage

    @property
    def seen(self) -> tuple[int, int]:
        """How many events and bytes the backend has sent so far."""
        return self._reader.seen

    @property
    def failed(self) -> bool:
        """Whether the backend has reported an error inside the stream."""
        return self._reader.error_event is not None

    @property
    def finished(self) -> bool:
        """Whether the stream has come to its proper end."""
        return self._reader.finished

    async def start(self, refusal: Refusal) -> None:
        """Wait for the first bytes that the caller will see. Raises what the backend does instead.

        `refusal` makes an error of an event: what a backend says first of all may be that there will be no answer.
        """
        self._first = await self._next()
        event = self._reader.error_event
        if event is not None and self._begun.removeprefix(b"\xef\xbb\xbf").startswith(event):
            raise refusal(event)
        self._begun = b""
        if self._gap_s is not None and not self.finished:
            self._event_s = self._loop.time()
            first_s = self._gap_s if self._first_s is None else min(self._gap_s, self._first_s)
            self._handle = self._loop.call_at(self._event_s + first_s, self._look)

    async def next(self) -> bytes:
        """The next bytes for the caller, empty at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first
        # While the caller took the last bytes, nobody waited for the backend.
        self._event_s = self._loop.time()
        return await self._next()

    async def pour(self, sink: Sink) -> None:
        """Hand all bytes for the caller to `sink`, each in the turn in which the backend's came."""
        if self._first:
            first, self._first = self._first, b""
            sink(first)
        if self._reader.finished:
            await self._drain()
            return
        self._sink = sink
        try:
            await self._reply.pour(self._feed)
        except (BackendBroken, RuntimeError):
            if self._stopped is not None:
                raise self._stopped from None
            if not self._is_over:
                raise
        if not self._reader.finished and (last := self._last()):
            sink(last)

    def pause(self) -> None:
        """The caller takes nothing for now."""
        self._held = True
        self._reply.pause()

    def resume(self) -> None:
        """The caller takes more."""
        self._held = False
        self._event_s = self._loop.time()
        self._reply.resume()

    def stop(self, reason: GatewayError) -> None:
        """End it here; whoever reads it gets the reason."""
        self._stopped = reason
        self._reply.close()

    def close(self) -> None:
        """Let go of the backend: at once, if it is still sending."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._sink = None
        self._reply.close()

    @property
    def _is_over(self) -> bool:
        """Whether a break of the connection tells nothing new: the backend has said its last word."""
        return self._reader.finished or self._reader.error_event is not None

    async def _next(self) -> bytes:
        while not self._reader.finished:
            data = await self._chunk()
            if not data:
                return self._last()
            if not self._events:
                self._begun += data
            if out := self._read(data):
                return out
        await self._drain()
        return b""

    def _read(self, data: bytes) -> bytes:
        out = self._reader.feed(data)
        events = self._reader.seen[0]
        if events != self._events:
            self._events = events
            self._event_s = self._loop.time()
        return out

    def _feed(self, data: bytes) -> None:
        if self._stopped is not None:
            raise self._stopped
        out = self._read(data)
        if out and self._sink is not None:
            self._sink(out)
        if self._reader.finished:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_later(_END_OF_FRAMING_S, self._reply.close)

    async def _chunk(self) -> bytes:
        if self._stopped is not None:
            raise self._stopped
        try:
            return await self._reply.chunk()
        except (BackendBroken, RuntimeError):
            if self._stopped is not None:
                raise self._stopped from None
            if self._reader.error_event is None:
                raise
            # The backend has said what is wrong before it hung up: that is the one error of this stream.
            return b""

    def _last(self) -> bytes:
        rest = self._reader.end()
        if not self._reader.finished:
            # A connection that is simply closed looks like an end; only the mark tells it from a cut.
            raise BackendBroken("the backend ended the stream before its end mark", code="upstream_truncated")
        return rest

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_END_OF_FRAMING_S):
                while await self._reply.chunk():
                    pass
        except (TimeoutError, GatewayError):
            self._reply.close()

    def _look(self) -> None:
        """See whether an event has come lately."""
        self._handle = None
        gap_s = self._gap_s
        if gap_s is None or self.finished:
            return
        # Comments before the first event keep a line open while the backend thinks: that is the wait for its answer.
        limit_s, what = (gap_s, "event") if self._events else (self._first_s, "first event")
        now_s = self._loop.time()
        due_s = math.inf if limit_s is None else (now_s if self._held else self._event_s) + limit_s
        if due_s > now_s:
            self._handle = self._loop.call_at(min(due_s, now_s + gap_s), self._look)
        else:
            name = "gap" if self._events else "first byte"
            told = f"no {what} from the backend within {limit_s:g} s ({name} timeout)"
            # The limit of gaps is always ours.
            self.stop(CallerTimeout(told) if self._by_caller and not self._events else BackendTimeout(told))


def says_events(reply: UpstreamReply) -> bool:
    """Whether a reply is labelled as an event stream."""
    return (first_header(reply.headers, "content-type") or "").lower().startswith(_EVENTS)


async def labelled(reply: UpstreamReply) -> UpstreamReply:
    """The reply to a call for a stream, labelled as events where it holds them: some servers say `text/plain`."""
    if reply.status >= 300 or says_events(reply):
        return reply
    try:
        begun = await _beginning(reply)
    except BaseException:
        reply.close()
        raise
    return Begun(reply, begun)


async def _beginning(reply: UpstreamReply) -> bytes:
    begun = b""
    while len(begun.lstrip()) < max(map(len, _LINES)) and (piece := await reply.chunk()):
        begun += piece
    return begun


async def reshaped(call: Call, reply: UpstreamReply, refusal: Refusal) -> UpstreamReply:
    """A completion in the form that was asked for, where a backend knows only the other; all else as it is.

    Raises what the backend does instead, also inside its events.
    """
    if reply.status >= 300 or call.operation not in _COMPLETIONS or says_events(reply) is call.stream:
        return reply
    try:
        came = await reply.read()
        if call.stream:
            events = await _converted(came, as_events)
            if events is None:
                return LocalExchange(LocalReply(reply.status, reply.headers, body=came))
            return LocalExchange(LocalReply(reply.status, _labelled(reply.headers, _EVENTS), chunks=events))
        whole = await _converted(came, partial(as_whole, failure=refusal))
    except BaseException:
        reply.close()
        raise
    # Events that tell no completion are no answer to who wants one: whoever reads them as one says so.
    headers = _labelled(reply.headers, _PLAIN if whole is None else _JSON)
    return LocalExchange(LocalReply(reply.status, headers, body=came if whole is None else whole))


async def _converted(body: bytes, convert: Callable[[bytes], _Form]) -> _Form:
    """Work that takes longer than a turn of the loop may, for a body that is long, is done beside it."""
    return convert(body) if len(body) <= _LONG_BYTES else await asyncio.to_thread(convert, body)


def _labelled(headers: Headers, kind: str) -> Headers:
    """With another content type, and no length."""
    others = (header for header in headers if header[0] not in ("content-type", "content-length"))
    return (("content-type", kind), *others)


class Begun:
    """A reply of which the beginning was read to see what it is."""

    def __init__(self, reply: UpstreamReply, begun: bytes) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._reply = reply
        self._begun = begun
        if begun.lstrip().startswith(_LINES):
            others = (header for header in reply.headers if header[0] != "content-type")
            self.headers = (("content-type", _EVENTS), *others)

    async def read(self) -> bytes:
        """The whole body."""
        begun, self._begun = self._begun, b""
        return begun + await self._reply.read()

    async def chunk(self) -> bytes:
        """The next piece."""
        begun, self._begun = self._begun, b""
        return begun or await self._reply.chunk()

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        """The beginning first, then each piece."""
        begun, self._begun = self._begun, b""
        try:
            if begun:
                sink(begun)
        except BaseException:
            self._reply.close()
            raise
        await self._reply.pour(sink)

    def pause(self) -> None:
        """Pause the reply beneath."""
        self._reply.pause()

    def resume(self) -> None:
        """Let the reply beneath go on."""
        self._reply.resume()

    def close(self) -> None:
        """Close the reply beneath."""
        self._reply.close()


class LocalExchange:
    """A `mock_response` behaving as a backend's reply."""

    def __init__(self, local: LocalReply) -> None:
        self.status = local.status
        self.headers: Headers = local.headers
        self._body = local.body
        self._chunks = list(reversed(local.chunks))
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()

    async def read(self) -> bytes:
        """The whole body."""
        return self._body

    async def chunk(self) -> bytes:
        """The next event; the loop gets its turn between two."""
        await asyncio.sleep(0)
        return self._chunks.pop() if self._chunks else b""

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        """Each event in a turn of its own, as long as the caller can take it."""
        while data := await self.chunk():
            sink(data)
            await self._may_go_on.wait()

    def pause(self) -> None:
        """No event until `resume`."""
        self._may_go_on.clear()

    def resume(self) -> None:
        """Go on with the next event."""
        self._may_go_on.set()

    def close(self) -> None:
        """Nothing is held."""
