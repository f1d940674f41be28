"""Bytes that leave together: what is written in one turn of the event loop goes out at the end of that turn.

A write wakes whoever waits for it, and waking costs more than writing. Of ten that follow each other at once, the
first wakes the other side and the rest find it awake; of ten that are written between other work, each wakes it again.
With one request at a time nothing is delayed but by a step of the loop.
"""

import asyncio
from typing import Final

# Up to here the head and the body of a message are joined, so that they leave as one segment; beyond, copying costs
# more than it saves.
_JOIN_BYTES: Final = 64 * 1024


class Outbox:
    """The writes of one process. Owns those that wait for the end of the turn, in their order."""

    __slots__ = ("_loop", "_waiting", "turns")

    def __init__(self) -> None:
        self.turns = 0  # how often what waited has left
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write these bytes soon; a transport that is closed by then gets nothing."""
        waiting = self._waiting
        if not waiting:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self.flush)
        waiting.append((transport, data))

    def write_message(self, transport: asyncio.Transport, head: bytes, body: bytes) -> bool:
        """Write a whole message; says whether it waits. One too large to be copied leaves now, behind what waits."""
        if len(body) <= _JOIN_BYTES:
            self.write(transport, head + body)
            return True
        self.flush()
        transport.writelines((head, body))
        return False

    def flush(self) -> None:
        """Write what waits, now: before anything that is not to overtake it."""
        waiting = self._waiting
        if not waiting:
            return
        self._waiting = []
        self.turns += 1
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
