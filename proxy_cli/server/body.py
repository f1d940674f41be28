"""A request's body, read no further than the limits and no slower than the pace.

Owns: the numbers of that pace, the answer to `Expect: 100-continue`, and the reading of a JSON body.
Refuses: a body whose Content-Length is over the limit before any of it is read, or its sender is told to go on.
Rule: only the time that is spent waiting for the client counts against it, never the time we take ourselves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import StreamReader, web

from proxy_cli.errors import ExpectationFailed, GatewayError, SlowClient, TooLarge, UnsupportedMedia
from proxy_cli.shapes import Fields
from proxy_cli.wire.request import MAX_AT_ONCE_BYTES, cutting

_KIB: Final = 1024
MAX_INLINE_BYTES: Final = MAX_AT_ONCE_BYTES  # up to here a body is looked at at once
_TURN_S: Final = 0.004  # how long a larger one may hold up everybody else
_CODINGS: Final = frozenset({"gzip", "deflate", "br", "zstd"})
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii"})


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How a body must come in."""

    idle_s: float = 30.0
    rate_bytes_per_s: int = _KIB
    rate_after_s: float = 10.0
    total_s: float = 300.0


BODY: Final = BodyLimits()
Read = Callable[[], Awaitable[bytes]]


class Pace:
    """How a body comes in. Owns three numbers: since when it is waited for, when its last piece came, and its size."""

    __slots__ = ("_last_s", "_limits", "_size", "_started_s")

    def __init__(self, now_s: float, limits: BodyLimits = BODY) -> None:
        self._limits = limits
        self._started_s = self._last_s = now_s
        self._size = 0

    def saw(self, count: int, now_s: float) -> None:
        """So many bytes have come."""
        self._size += count
        if count:
            self._last_s = now_s

    def paused(self, seconds: float) -> None:
        """For so long nobody here was reading: that is not the client's doing."""
        self._started_s += seconds
        self._last_s += seconds

    def due_s(self) -> float:
        """When it is late, if nothing more comes until then."""
        limits = self._limits
        by_rate = max(limits.rate_after_s, self._size / limits.rate_bytes_per_s)
        return min(self._last_s + limits.idle_s, self._started_s + min(by_rate, limits.total_s))

    def late(self, now_s: float) -> bool:
        """Whether the client has been too slow."""
        return now_s >= self.due_s()


def too_slow() -> GatewayError:
    """The refusal of a body that does not come."""
    return SlowClient(
        f"the body came too slowly: under {BODY.rate_bytes_per_s} bytes/s, nothing for {BODY.idle_s:.0f} s, "
        f"or not whole within {BODY.total_s:.0f} s; send it again"
    )


def too_large(limit_bytes: int) -> GatewayError:
    """The refusal of a body over the limit."""
    return TooLarge(
        f"the body is larger than {limit_bytes // _KIB // _KIB} MiB, the limit here; "
        "send less, or raise general_settings.max_request_size_mb"
    )


def refuse_expectation(request: web.BaseRequest) -> None:
    """Raise ExpectationFailed for an Expect header that is not understood."""
    expected = request.headers.get("expect")
    if expected is not None and expected.lower() != "100-continue":
        raise ExpectationFailed("the only Expect that is understood is 100-continue; leave the header out")


async def welcome(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to go on, now that its body is wanted."""
    if "expect" not in request.headers or request.version < (1, 1) or request.content.is_eof():
        return
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # An interim response is not the response: what counts the bytes of that must not see it.
    request.writer.output_size = 0


async def read_json(request: web.BaseRequest, limit_bytes: int) -> bytes:
    """The whole body of a request that should hold JSON. Raises UnsupportedMedia, TooLarge or SlowClient."""
    charset = request.charset
    if charset and charset.lower() not in _CHARSETS:
        raise UnsupportedMedia(f"a body in {charset[:40]!r} is not read here; send JSON in UTF-8")
    _refuse_coding(request)
    if (request.content_length or 0) > limit_bytes:
        raise too_large(limit_bytes)
    content = request.content
    if not content.is_eof():
        await welcome(request)
        return await _whole(Reader(content).read, limit_bytes)
    body = content.read_nowait()
    if len(body) > limit_bytes:
        raise too_large(limit_bytes)
    return body


async def read_fields(body: bytes) -> Fields:
    """The top-level fields of a JSON body; a large one is looked at in turns with everything else."""
    work = cutting(body)
    turn_ends_s = time.monotonic() + _TURN_S
    while True:
        try:
            next(work)
        except StopIteration as end:
            fields: Fields = end.value
            return fields
        if time.monotonic() >= turn_ends_s:
            await asyncio.sleep(0)
            turn_ends_s = time.monotonic() + _TURN_S


async def read_form(request: web.BaseRequest, limit_bytes: int) -> Read:
    """A function for a form's pieces, empty at the end: it raises SlowClient. Raises TooLarge at once."""
    _refuse_coding(request)
    if (request.content_length or 0) > limit_bytes:
        raise too_large(limit_bytes)
    await welcome(request)
    return Reader(request.content).read


class Reader:
    """A body's bytes as they come, at the pace that is asked of them."""

    __slots__ = ("_content", "_pace", "_read_at_s")

    def __init__(self, content: StreamReader, limits: BodyLimits = BODY) -> None:
        self._content = content
        self._read_at_s = time.monotonic()
        self._pace = Pace(self._read_at_s, limits)

    async def read(self) -> bytes:
        """The next piece, empty at the end. Raises SlowClient."""
        now_s = time.monotonic()
        self._pace.paused(now_s - self._read_at_s)
        try:
            async with asyncio.timeout(self._pace.due_s() - now_s):
                piece = await self._content.readany()
        except TimeoutError:
            raise too_slow() from None
        self._read_at_s = time.monotonic()
        self._pace.saw(len(piece), self._read_at_s)
        return piece


def _refuse_coding(request: web.BaseRequest) -> None:
    """Raise UnsupportedMedia for a Content-Encoding that was not undone on the way here."""
    codings = ",".join(request.headers.getall("content-encoding", ())).strip().lower()
    if codings not in _CODINGS and codings not in {"", "identity"}:
        raise UnsupportedMedia("this Content-Encoding is not read here; send the body plain, in gzip or deflate")


def _joined(pieces: list[bytes]) -> bytes:
    body = b"".join(pieces)
    pieces.clear()  # giving the memory back takes a while too
    return body


async def _whole(read: Read, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await read():
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            raise too_large(limit_bytes)
    if size <= MAX_INLINE_BYTES:
        return b"".join(pieces)
    # In a thread, for a hundred megabytes take a while, and copying lets others run meanwhile.
    return await asyncio.to_thread(_joined, pieces)
