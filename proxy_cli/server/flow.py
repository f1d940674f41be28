"""A stream on its way to a client of the fast lane: pushed from the backend's connection into the client's.

Each piece is written in the turn of the event loop in which it came, with those of other streams, and the head with the
first one. Keeps the backend to the client's pace: while the client takes nothing, the relay is paused.
"""

import asyncio
from typing import Final

from proxy_cli.outbox import Outbox
from proxy_cli.server.reply import Outgoing

END: Final = b"0\r\n\r\n"  # behind the last chunk


class Flow:
    """One stream. Owns the head until the first piece has come."""

    __slots__ = ("_head", "_outbox", "_outgoing", "_transport")

    def __init__(self, transport: asyncio.Transport, outbox: Outbox, head: bytes, outgoing: Outgoing) -> None:
        self._transport = transport
        self._outbox = outbox
        self._head = head
        self._outgoing = outgoing

    async def run(self) -> bool:
        """Write all of it; False where it was cut short and the connection has to say so."""
        outgoing = self._outgoing
        last = await outgoing.outcome(outgoing.relay.pour(self._write))
        if last is None:
            return False
        if last:
            self._write_piece(last)
        self._outbox.write(self._transport, self._head + END)
        return True

    def pause(self) -> None:
        """The client takes nothing for now."""
        self._outgoing.relay.pause()

    def resume(self) -> None:
        """The client takes more."""
        self._outgoing.relay.resume()

    def _write(self, data: bytes) -> None:
        outgoing = self._outgoing
        self._write_piece(outgoing.passed(data))
        outgoing.record.delivered = outgoing.relay.finished

    def _write_piece(self, data: bytes) -> None:
        if self._transport.is_closing():
            # It is known a turn earlier than the connection tells; uvloop would call a write a programming error.
            raise ConnectionResetError("the client has left")
        piece = b"%b%x\r\n%b\r\n" % (self._head, len(data), data)
        self._head = b""
        self._outbox.write(self._transport, piece)


def chunk(data: bytes) -> bytes:
    """A piece of a body as it is sent where the length of the whole is not known."""
    return b"%x\r\n%b\r\n" % (len(data), data)
