"""A request body that is written while it is still being read.

Keeps no more of it than the transport's write buffer: the source is asked for the next piece when the backend has
taken the last.
"""

from typing import Protocol

from proxy_cli.shapes import BodySource
from proxy_cli.upstream.watch import Watch


class Outlet(Protocol):
    """Where the pieces go: a connection."""

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport."""

    async def drain(self) -> None:
        """Wait until the transport wants more."""


async def upload(outlet: Outlet, source: BodySource, watch: Watch) -> None:
    """Write a whole body, with its framing. Raises what the source does; ValueError if its length was a lie."""
    length, sent = source.length, 0
    # While the caller is slow it is not the backend that is late; while it takes nothing, it is.
    watch.await_caller()
    while piece := await source.read():
        sent += len(piece)
        if length is None:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        elif sent > length:
            break  # what is beyond the length would be read as a second request
        watch.await_reply()
        outlet.write(piece)
        await outlet.drain()
        watch.await_caller()
    if length is None:
        outlet.write(b"0\r\n\r\n")
    elif sent != length:
        raise ValueError(f"a request body of {length} bytes was announced, and {sent} or more came")
    watch.await_reply()
