"""What `--debug` and `--detailed_debug` show of each request, tied together by its id.

`--debug` says one line for each step. `--detailed_debug` puts below it the raw message: URL, headers and body, of the
caller's side and of the backend's, secrets masked. Without either there is no Tap at all, so a request pays nothing.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from proxy_cli.shapes import BodySource, Headers, UpstreamReply, UpstreamRequest
from proxy_cli.telemetry.raw import Pieces, body_lines, header_lines

logger = logging.getLogger(__name__)

_MAX_STREAMS: Final = 1000


class Tap:
    """Shows requests on their way. `detailed` adds the raw messages."""

    def __init__(self, *, detailed: bool) -> None:
        self.detailed = detailed
        # Streams whose last piece has not come yet; the oldest goes when one never ends.
        self._streams: OrderedDict[str, Pieces] = OrderedDict()

    def step(self, request_id: str, text: str) -> None:
        """One line: where a request is."""
        self._say(request_id, text)

    def client_request(
        self, request_id: str, method: str, target: str, headers: Headers, body: bytes | BodySource
    ) -> None:
        """What the caller has sent."""
        lines = self._message(headers, body)
        self._say(request_id, f"caller asks: {method} {target}{_size(body)}", lines)

    def sent(self, request_id: str, request: UpstreamRequest) -> None:
        """What goes to the backend."""
        lines = self._message(request.headers, request.body)
        url = f"{request.backend}{request.target}"
        self._say(request_id, f"sent to the backend: {request.method} {url}{_size(request.body)}", lines)

    def received(self, request_id: str, status: int, headers: Headers) -> None:
        """The head of the backend's reply."""
        self._say(request_id, f"backend answers: {status}", self._message(headers, b""))

    def body(self, request_id: str, data: bytes) -> None:
        """The whole of the backend's reply."""
        self._say(request_id, f"backend's answer is complete{_size(data)}", body_lines(data) if self.detailed else ())

    def piece(self, request_id: str, data: bytes) -> None:
        """A piece of the backend's stream."""
        if not self.detailed:
            return
        pieces = self._streams.setdefault(request_id, Pieces())
        if len(self._streams) > _MAX_STREAMS:
            self._streams.popitem(last=False)
        if lines := pieces.feed(data):
            self._say(request_id, f"backend's stream{_size(data)}", lines)

    def ended(self, request_id: str, text: str) -> None:
        """The backend's reply has ended, one way or another."""
        pieces = self._streams.pop(request_id, None)
        self._say(request_id, text, pieces.end() if pieces else ())

    def client_reply(self, request_id: str, status: int, headers: Headers, body: bytes | None) -> None:
        """What the caller gets; no body where it was a stream."""
        how = "as a stream" if body is None else f"complete{_size(body)}"
        self._say(request_id, f"caller is answered: {status}, {how}", self._message(headers, body or b""))

    def watched(self, request_id: str, reply: UpstreamReply) -> UpstreamReply:
        """The same reply, shown while it is read."""
        return _Watched(self, request_id, reply)

    def _message(self, headers: Headers, body: bytes | BodySource) -> Sequence[str]:
        if not self.detailed:
            return ()
        lines = body_lines(body)
        return (*header_lines(headers), "", *lines) if lines else header_lines(headers)

    def _say(self, request_id: str, text: str, lines: Sequence[str] = ()) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            extra = {"fields": {"request_id": request_id}, "block": lines}
            # The place that is shown is the one that called the Tap.
            logger.debug("[%s] %s", request_id, text, extra=extra, stacklevel=3)


class _Watched:
    """A backend's reply that shows what is read from it."""

    def __init__(self, tap: Tap, request_id: str, reply: UpstreamReply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._tap = tap
        self._request_id = request_id
        self._reply = reply
        self._bytes = 0
        self._over = False

    async def read(self) -> bytes:
        """The whole body."""
        data = await self._reply.read()
        self._over = True
        self._tap.body(self._request_id, data)
        return data

    async def chunk(self) -> bytes:
        """The next piece."""
        data = await self._reply.chunk()
        if data:
            self._show(data)
        else:
            self._complete()
        return data

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        """Each piece, shown before it is handed on."""

        def show(data: bytes) -> None:
            self._show(data)
            sink(data)

        await self._reply.pour(show)
        self._complete()

    def pause(self) -> None:
        """Pause the reply beneath."""
        self._reply.pause()

    def resume(self) -> None:
        """Let the reply beneath go on."""
        self._reply.resume()

    def close(self) -> None:
        """Close the reply beneath; one that was not read to its end is said to be broken off."""
        self._end(f"backend's answer was left after {self._bytes:,} bytes")
        self._reply.close()

    def _show(self, data: bytes) -> None:
        self._bytes += len(data)
        self._tap.piece(self._request_id, data)

    def _complete(self) -> None:
        self._end(f"backend's stream is complete, {self._bytes:,} bytes")

    def _end(self, text: str) -> None:
        if not self._over:
            self._over = True
            self._tap.ended(self._request_id, text)


def _size(body: bytes | BodySource) -> str:
    length = len(body) if isinstance(body, bytes) else body.length
    return "" if length is None else f", {length:,} bytes"
