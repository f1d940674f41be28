"""Content codings undone while the body is still coming: gzip and deflate.

Keeps what one step may make of a few bytes bounded: a kilobyte can stand for a megabyte, so the rest waits inside
until it is asked for.
"""

import zlib
from typing import Final

_STEP_BYTES: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


class Decoder:
    """One coded body on its way to plain bytes. Owns the zlib state and the input that is not decoded yet."""

    __slots__ = ("_coding", "_full", "_inflate", "_opening", "_waiting")

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inflate = zlib.decompressobj(_GZIP if coding == "gzip" else zlib.MAX_WBITS)
        self._waiting = b""
        # Until it is known what the first two bytes are, they are kept here.
        self._opening: bytes | None = b""
        # A step that gave all it may has, perhaps, a last match inside that no input stands for any more.
        self._full = False

    @property
    def has_more(self) -> bool:
        """Whether `feed(b"")` may give more without new input."""
        return self._full or bool(self._waiting)

    def feed(self, data: bytes) -> bytes:
        """Some of the plain bytes, at most 256 KiB; empty when more input is needed. Raises zlib.error."""
        data = self._waiting + data
        self._waiting = b""
        if self._opening is not None:
            data = self._open(self._opening + data)
        while data or self._full:
            if self._inflate.eof:
                self._full = False
                data = self._next_member(data)
                continue
            out = self._inflate.decompress(data, _STEP_BYTES)
            self._full = len(out) == _STEP_BYTES
            data = self._inflate.unconsumed_tail or self._inflate.unused_data
            if out:
                self._waiting = data
                return out
        return b""

    def finish(self) -> None:
        """Raise zlib.error if the body ended before its coding did."""
        # A body without a single byte is taken for what it looks like: nothing was sent, so nothing was coded.
        if self._opening != b"" and not self._inflate.eof:
            raise zlib.error(f"the {self._coding} data is cut off")

    def _open(self, data: bytes) -> bytes:
        """The bytes to begin with; nothing while there are fewer than two."""
        if len(data) < 2:
            self._opening = data
            return b""
        self._opening = None
        # Some servers mean bare deflate data, without the zlib wrapper that the name stands for (RFC 9110, 8.4.1.2).
        # The wrapper's two bytes are a multiple of 31 that begins with method 8 (RFC 1950, 2.2).
        is_wrapped = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        if self._coding == "deflate" and not is_wrapped:
            self._inflate = zlib.decompressobj(_RAW)
        return data

    def _next_member(self, data: bytes) -> bytes:
        """A gzip file may be followed by another one, or by zeros that only fill up."""
        data = data.lstrip(b"\0")
        if data and self._coding != "gzip":
            raise zlib.error("bytes follow the end of the deflate data")
        if data:
            self._inflate = zlib.decompressobj(_GZIP)
        return data
