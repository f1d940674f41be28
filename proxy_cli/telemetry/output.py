"""Where the log's bytes go, and how: a file takes all that waits at once, a pipe what it takes whole.

Lines of several processes on one output must not mix. POSIX promises that for a pipe up to PIPE_BUF bytes, and a file
that was opened once and inherited has one position for all.
"""

import os
import select
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TextIO

_MEMORY_DEVICE: Final = 1  # the major number of /dev/null and /dev/full

Put = Callable[[Sequence[str]], None]


class Output(NamedTuple):
    """How lines are written, and whether in passing: a pipe or a terminal may keep a writer waiting."""

    put: Put
    quick: bool


def output_to(stream: TextIO) -> Output:
    """The way to a stream: past its own buffer where it has a descriptor."""
    try:
        descriptor = stream.fileno()
        status = os.fstat(descriptor)
    except (OSError, ValueError):
        return Output(lambda lines: _through(stream, lines), quick=False)
    stream.flush()
    encoding = stream.encoding or "utf-8"
    if _is_quick(status):
        return Output(lambda lines: _write(descriptor, _bytes(lines, encoding)), quick=True)

    def put(lines: Sequence[str]) -> None:
        for piece in _whole(lines, encoding):
            _write(descriptor, piece)

    return Output(put, quick=False)


def _is_quick(status: os.stat_result) -> bool:
    device = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == _MEMORY_DEVICE
    return stat.S_ISREG(status.st_mode) or device


def _through(stream: TextIO, lines: Sequence[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


def _whole(lines: Sequence[str], encoding: str) -> Iterator[bytes]:
    """The lines in pieces of at most PIPE_BUF bytes; a line that is longer is a piece of its own."""
    piece = b""
    for line in lines:
        data = _bytes((line,), encoding)
        if piece and len(piece) + len(data) > select.PIPE_BUF:
            yield piece
            piece = b""
        piece += data
    if piece:
        yield piece


def _bytes(lines: Sequence[str], encoding: str) -> bytes:
    return "\n".join((*lines, "")).encode(encoding, "backslashreplace")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
