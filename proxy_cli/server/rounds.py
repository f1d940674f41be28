"""One round at a time over all processes of a server: who comes while another one is at it gets that one's result.

The result and the turn lie in a file without a name that is made before the fork. The turn is a lock of the kernel on
it, which a process that dies gives back. Lost with the last process.
"""

import asyncio
import os
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from proxy_cli.server.turn import Turn

_HEAD: Final = struct.Struct("=QQ32s")  # number of the round, bytes of its result, what it was about
_LOOK_S: Final = 0.05


class SharedRound:
    """The turn and the latest result, shared by all processes forked after its making."""

    def __init__(self) -> None:
        self._turn = Turn("llmproxy-round")
        os.pwrite(self._turn.descriptor, _HEAD.pack(0, 0, b""), 0)

    async def result(self, subject: bytes, work: Callable[[], Awaitable[bytes]]) -> bytes:
        """What `work` comes to, or what another process has found about the same subject since this was asked."""
        seen, _, _ = self._read()
        while not self._turn.take():  # noqa: ASYNC110 - no event of ours tells what another process does
            await asyncio.sleep(_LOOK_S)
        try:
            number, about, found = self._read()
            if number != seen and about == _of_size(subject):
                return found
            found = await work()
            self._write(number + 1, subject, found)
            return found
        finally:
            self._turn.give()

    def _read(self) -> tuple[int, bytes, bytes]:
        number, size, about = _HEAD.unpack(os.pread(self._turn.descriptor, _HEAD.size, 0))
        return number, about, os.pread(self._turn.descriptor, size, _HEAD.size)

    def _write(self, number: int, subject: bytes, result: bytes) -> None:
        os.pwrite(self._turn.descriptor, result, _HEAD.size)
        os.pwrite(self._turn.descriptor, _HEAD.pack(number, len(result), subject), 0)


def _of_size(subject: bytes) -> bytes:
    return subject[:32].ljust(32, b"\0")
