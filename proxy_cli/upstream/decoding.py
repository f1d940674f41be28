"""Content codings undone while the body is still coming: gzip, deflate, and with the extra `[compression]` br and zstd.

Keeps what one step may make of a few bytes bounded: a kilobyte can stand for gigabytes, so the rest waits inside until
it is asked for. What is not installed is never asked for, and refused when it comes all the same.
"""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

_STEP_BYTES: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
# A zstd block of four bytes may stand for 128 KiB (RFC 8878, 3.1.1.2), so that this much stands for 2 MiB at most.
_ZSTD_STEP_BYTES: Final = 64
# What a decoder for the web has to take (RFC 9659), and no more.
_ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024


class CodingError(ValueError):
    """The bytes are not what their coding says."""


class Decoder(Protocol):
    """One coded body on its way to plain bytes."""

    @property
    def has_more(self) -> bool:
        """Whether `feed(b"")` may give more without new input."""

    def feed(self, data: bytes) -> bytes:
        """Some of the plain bytes, a bounded number; empty when more input is needed. Raises CodingError."""

    def finish(self) -> None:
        """Raise CodingError if the body ended before its coding did."""


class Inflate:
    """gzip and deflate. Owns the zlib state and the input that is not decoded yet."""

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
        """Some of the plain bytes, at most 256 KiB; empty when more input is needed."""
        try:
            return self._feed(data)
        except zlib.error as error:
            raise CodingError(str(error)) from error

    def finish(self) -> None:
        """Raise CodingError if the body ended before its coding did."""
        # A body without a single byte is taken for what it looks like: nothing was sent, so nothing was coded.
        if self._opening != b"" and not self._inflate.eof:
            raise CodingError(f"the {self._coding} data is cut off")

    def _feed(self, data: bytes) -> bytes:
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
            raise CodingError("bytes follow the end of the deflate data")
        if data:
            self._inflate = zlib.decompressobj(_GZIP)
        return data


class Brotli:
    """br. Owns the state of the library, which keeps the input that is not decoded yet."""

    __slots__ = ("_began", "_error", "_gave", "_state")

    def __init__(self, library: Any) -> None:
        self._state = library.Decompressor()
        self._error: type[Exception] = library.error
        self._began = False
        # The library says whether input waits, but not whether output does: after a step that gave some, it may.
        self._gave = False

    @property
    def has_more(self) -> bool:
        """Whether `feed(b"")` may give more without new input."""
        return not self._state.is_finished() and (self._gave or not self._state.can_accept_more_data())

    def feed(self, data: bytes) -> bytes:
        """Some of the plain bytes, about 256 KiB; empty when more input is needed."""
        self._began = self._began or bool(data)
        try:
            plain: bytes = self._state.process(data, output_buffer_limit=_STEP_BYTES)
        except self._error as error:
            raise CodingError("it is no br data, or bytes follow its end") from error
        self._gave = bool(plain)
        return plain

    def finish(self) -> None:
        """Raise CodingError if the body ended before its coding did."""
        if self._began and not self._state.is_finished():
            raise CodingError("the br data is cut off")


class Zstandard:
    """zstd. Owns the state of the library for one frame, and the input that is not decoded yet."""

    __slots__ = ("_began", "_library", "_state", "_waiting")

    def __init__(self, library: Any) -> None:
        self._library = library
        self._state = self._fresh()
        self._began = False
        self._waiting = b""

    @property
    def has_more(self) -> bool:
        """Whether `feed(b"")` may give more without new input."""
        return bool(self._waiting)

    def feed(self, data: bytes) -> bytes:
        """Some of the plain bytes, at most some 2 MiB; empty when more input is needed."""
        data = self._waiting + data
        self._began = self._began or bool(data)
        at, plain = 0, b""
        try:
            while at < len(data) and not plain:
                if self._state.eof:  # one frame may follow another
                    self._state = self._fresh()
                step = data[at : at + _ZSTD_STEP_BYTES]
                plain = self._state.decompress(step)
                at += len(step) - len(self._state.unused_data)
        except self._library.ZstdError as error:
            raise CodingError(str(error)) from error
        self._waiting = data[at:]
        return plain

    def finish(self) -> None:
        """Raise CodingError if the body ended before its coding did."""
        if self._began and not self._state.eof:
            raise CodingError("the zstd data is cut off")

    def _fresh(self) -> Any:
        return self._library.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()


def _brotli() -> Any:
    """The library for br, where the extra is installed."""
    try:
        import brotli  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    # Before 1.2 its steps had no bounds.
    return brotli if hasattr(brotli.Decompressor, "can_accept_more_data") else None


def _zstandard() -> Any:
    """The library for zstd, where the extra is installed."""
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return zstandard


def _decoders() -> dict[str, Callable[[], Decoder]]:
    decoders: dict[str, Callable[[], Decoder]] = {
        "gzip": lambda: Inflate("gzip"),
        "deflate": lambda: Inflate("deflate"),
    }
    if library := _brotli():
        decoders["br"] = partial(Brotli, library)
    if library := _zstandard():
        decoders["zstd"] = partial(Zstandard, library)
    return decoders


# A decoder for each coding that can be undone here, in the order in which they are asked for.
DECODERS: Final[Mapping[str, Callable[[], Decoder]]] = _decoders()
