"""One request and its reply: what the rest of the program holds of a connection.

A reply is pulled piece by piece, or poured: then each piece goes on in the very turn in which it was read. What waits
is bounded either way. Whoever stops waiting (a cancelled task) or closes an unfinished reply closes the connection with
it, so that the backend stops working.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy_cli.errand import Pause
from proxy_cli.errors import BackendBroken, GatewayError, forget_frames
from proxy_cli.shapes import Headers, UpstreamRequest
from proxy_cli.upstream.connection import Connection
from proxy_cli.upstream.decoding import DECODERS, CodingError, Decoder
from proxy_cli.upstream.head import ReplyHead
from proxy_cli.upstream.upload import upload
from proxy_cli.upstream.watch import Watch

_ENOUGH_BYTES: Final = 256 * 1024
MAX_STREAM_BYTES: Final = 2 * 1024**3


class Exchange:
    """An `UpstreamReply` whose head is awaited first.

    Owns the pieces of the body that wait, the pause of who waits for them, where they are poured to, whether that is
    held up, the timers, the task of a streamed upload, and the connection until the reply is complete.
    """

    # What stands here is how each begins; most exchanges change little of it.
    status = 0
    headers: Headers = ()
    head: ReplyHead | None = None
    _connection: Connection | None = None
    _watch: Watch | None = None
    _decoder: Decoder | None = None
    _has_data = False
    _waiting_bytes = 0
    _given_bytes = 0
    _sink: Callable[[bytes], None] | None = None
    _held = False
    _paused = False
    _finished = False
    _failure: BaseException | None = None
    _pause: Pause | None = None
    _upload: asyncio.Task[None] | None = None

    def __init__(
        self,
        request: UpstreamRequest,
        started: float,
        max_body_bytes: int,
        max_stream_bytes: int = MAX_STREAM_BYTES,
    ) -> None:
        """An exchange that `start` begins; `started` is when its total time began.

        `max_body_bytes`: what `read` may come to, `max_stream_bytes`: all that `chunk` and `pour` give, both decoded.
        """
        self.method = request.method
        self._request = request
        self._started = started
        self._max_body_bytes = max_body_bytes
        self._max_stream_bytes = max_stream_bytes
        self._pieces: list[bytes] = []

    # For the room itself.

    def start(self, connection: Connection, head: bytes) -> None:
        """Write the request; a body that is still being read follows in a task of its own."""
        self._connection = connection
        self._loop = connection.loop
        self._watch = watch = connection.watch
        body = self._request.body
        watch.begin(self._request.timeouts, self._started, self._fail, sent=isinstance(body, bytes))
        if isinstance(body, bytes):
            connection.begin(self, head, body)
        else:
            connection.begin(self, head, None)
            if self._finished or self._failure is not None:
                return  # it was over before it began
            # Held here and ended with the exchange; its failure is the exchange's, not a background task's.
            self._upload = self._loop.create_task(upload(connection, body, watch))
            self._upload.add_done_callback(self._uploaded)

    # The reply, as others see it.

    async def read(self) -> bytes:
        """The whole body, decoded. Raises BackendBroken, BackendTimeout or CallerTimeout."""
        limit = self._max_body_bytes
        length = self.head.length if self.head else None
        if length is not None and length > limit:
            raise self._too_large(limit)
        if self._finished and self._decoder is None and len(self._pieces) == 1:
            return self._pieces.pop()  # as most do, it came with its head
        pieces, size = [], 0
        while piece := await self.chunk():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise self._too_large(limit)
        return b"".join(pieces)

    async def chunk(self) -> bytes:
        """The next piece as it came, empty at the end of a reply that ended as it should."""
        while not (data := self._take()):
            if self._finished:
                self._check_end()
                return b""
            await self.wait()
        return data

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        """Hand each piece to `sink` in the turn in which it comes; come back at the end of the reply."""
        self._sink = sink
        try:
            self._hand_on()
            while self._failure is not None or not self._finished or self._has_more():
                await self.wait()
                self._hand_on()
        finally:
            self._sink = None  # it belongs to who holds this
        self._check_end()

    def pause(self) -> None:
        """Stop reading, until `resume`."""
        self._held = True
        self._set_pace()

    def resume(self) -> None:
        """Go on reading; what waits here is handed on in the turn of who awaits `pour`."""
        self._held = False
        self._set_pace()
        if self._has_more():
            self._wake()

    def close(self) -> None:
        """Drop the connection unless the reply is complete. Never raises, may be called twice."""
        if self._connection is not None:
            self._pieces.clear()
        self._fail(RuntimeError("the reply was closed before its end"))

    # What the connection tells.

    def head_came(self, head: ReplyHead) -> None:
        """The reply begins, perhaps while the request is still being sent; what came with it follows at once."""
        self.head = head
        self.status = head.status
        self.headers = head.headers
        if head.coding:
            self._decoder = DECODERS[head.coding]()
        if head.status >= 300:
            # The rest of the body is not wanted (RFC 9112, 9.5), and writing on might cost us the reply.
            self._stop_upload()

    def answered(self, head: ReplyHead, body: bytes) -> bool:
        """The whole reply came at once, as most do; says whether the request was sent in full, too."""
        self.head = head
        self.status = head.status
        self.headers = head.headers
        if body:
            self._pieces.append(body)
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        sent = self._upload is None or self._upload.done()
        self._stop_upload()
        self._connection = None
        self._finished = True
        return sent

    def data_came(self, data: bytes) -> None:
        """A piece of the body; it waits until what came with it is read."""
        self._has_data = True
        self._pieces.append(data)
        self._waiting_bytes += len(data)

    def more_expected(self) -> None:
        """What came is read, and it was not the end: hand it on, take care of the pace, and of the time."""
        # Not done piece by piece: most replies end with the segment that they begin with, and what came in one
        # segment may well leave in one.
        if self.head is None:
            return
        if self._sink is not None:
            self._hand_on()  # which may be the end of it
        # A head alone is no answer yet: some servers send it at once, and think afterwards.
        if self._watch is not None and self._has_data and not self._paused:
            self._watch.await_data()
            if self._held or self._waiting_bytes > _ENOUGH_BYTES:
                self._set_pace()
        if self._sink is None:
            self.tell()

    def request_moved(self) -> None:
        """The backend has taken more of the request: the time to its reply's head counts from now."""
        if self.head is None and self._watch is not None:
            self._watch.touch()

    def ended(self) -> bool:
        """The reply is complete; says whether the request was sent in full, too."""
        sent = self._upload is None or self._upload.done()
        self._let_go()
        self._hand_on()
        self._finished = True
        return sent

    def tell(self) -> None:
        """What came has found its place, in the connection too: who waits for it goes on, in this turn."""
        if self._pause is not None:
            self._pause.end()

    def broke(self, failure: BackendBroken) -> None:
        """The connection ended or sent what is no reply."""
        self._fail(failure)

    # Inside.

    def _hand_on(self) -> None:
        """Pour what waits, as long as it is wanted."""
        if self._sink is None:
            return
        try:
            while (self._pieces or (self._decoder and self._has_more())) and not self._held and self._failure is None:
                if data := self._take():
                    self._sink(data)
        except Exception as failure:  # noqa: BLE001 - the sink's; raised where `pour` is awaited
            if isinstance(failure, GatewayError | ConnectionError):
                forget_frames(failure)  # of which this is one; nobody may be left to await it
            self._fail(failure)
            self._failure = self._failure or failure

    def _has_more(self) -> bool:
        return bool(self._pieces) or (self._decoder is not None and self._decoder.has_more)

    def _take(self) -> bytes:
        """What waits, decoded; nothing if that is nothing yet."""
        plain = self._take_pieces() if self._decoder is None else self._take_decoded(self._decoder)
        self._given_bytes += len(plain)
        if self._given_bytes > self._max_stream_bytes:
            raise self._too_large(self._max_stream_bytes)
        return plain

    def _take_decoded(self, decoder: Decoder) -> bytes:
        try:
            while self._has_more():
                if plain := decoder.feed(b"" if decoder.has_more else self._take_pieces()):
                    return plain
        except CodingError as error:
            raise self._undecodable(error) from error
        return b""

    def _check_end(self) -> None:
        """Refuse a body that ended before its coding did."""
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except CodingError as error:
                raise self._undecodable(error) from error

    def _undecodable(self, error: CodingError) -> GatewayError:
        failure = BackendBroken(
            f"{self._request.backend} sent a body that does not decode: {error}", code="upstream_invalid_body"
        )
        self._fail(failure)
        return failure

    def _take_pieces(self) -> bytes:
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces = []
        self._waiting_bytes = 0
        if self._paused:
            self._set_pace()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _set_pace(self) -> None:
        """Read from the backend, or do not, as it is wanted now."""
        wanted = not self._held and self._waiting_bytes <= _ENOUGH_BYTES
        if self._paused is not wanted or self._connection is None or self._watch is None:
            return
        self._paused = not wanted
        if wanted:
            self._connection.resume()
            if self._has_data:
                self._watch.await_data()
            else:
                self._watch.await_reply()
        else:
            self._connection.pause()
            self._watch.hold()

    async def wait(self) -> None:
        """Come back when something has happened. Raises the failure if there is one; cancelled, it closes."""
        if self._failure is not None:
            raise self._failure
        self._pause = Pause(loop=self._loop)
        try:
            await self._pause
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._pause = None

    def _wake(self) -> None:
        if self._pause is not None:
            self._pause.end_soon()

    def _uploaded(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _stop_upload(self) -> None:
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()

    def _too_large(self, limit: int) -> GatewayError:
        failure = BackendBroken(
            f"{self._request.backend} replied with more than {limit} bytes",
            code="upstream_body_too_large",
        )
        self._fail(failure)
        return failure

    def _fail(self, failure: BaseException) -> None:
        """End it here, the connection too; the first reason is the one that is told."""
        if self._finished or self._failure is not None:
            return
        self._failure = failure
        connection = self._connection
        self._let_go()
        if connection is not None:
            connection.abort()
        self._wake()

    def _let_go(self) -> None:
        if self._watch is not None:
            # From here on it is the connection's next exchange that is watched.
            self._watch.stop()
            self._watch = None
        if self._upload is not None:
            self._stop_upload()
        self._connection = None
