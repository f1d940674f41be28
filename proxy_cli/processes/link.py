"""What a worker process and its parent say to each other: one line a message, over a pair of sockets.

The end of a line is the end of a process: the worker's, or the parent's, whose workers then end too.
"""

import socket
from typing import Final

import msgspec

from proxy_cli.server.reload import Renewal

READY: Final = "ready"  # worker: it accepts clients
RETIRES: Final = "retires"  # worker: it has served its number of requests
FAILED: Final = "failed"  # worker: why it ends
ASKS: Final = "asks"  # worker: its number of the question, and whether to try twice; all are to reload
RELOADED: Final = "reloaded"  # worker: the number of the reload
REFUSED: Final = "refused"  # worker: the same, but it keeps its former configuration
RELOAD: Final = "reload"  # parent: its number of the reload
ANSWER: Final = "answer"  # parent: the worker's number of the question, and what came of it
STOP: Final = "stop"  # parent: end in order; whether without a wait for load balancers

_SEND_S: Final = 5.0  # a message is small and its reader reads


class Link:
    """One end. Owns what has arrived of a line that is not complete yet."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.settimeout(_SEND_S)
        self._partial = b""

    def fileno(self) -> int:
        """For those who wait until something can be read."""
        return self._end.fileno()

    def say(self, verb: str, *words: object) -> bool:
        """Send a message; False when nobody is there any more."""
        try:
            self._end.sendall(msgspec.json.encode([verb, *words]) + b"\n")
        except OSError:
            return False
        return True

    def hear(self) -> list[tuple[str, list[object]]] | None:
        """The messages that have come in; None once the other end is gone. Call it when something can be read."""
        try:
            data = self._end.recv(65536)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._partial = (self._partial + data).split(b"\n")
        decoded: list[list[object]] = [msgspec.json.decode(line) for line in lines]
        return [(str(verb), words) for verb, *words in decoded]

    def close(self) -> None:
        """Close this end."""
        self._end.close()


def pair() -> tuple[Link, Link]:
    """Two ends of one line."""
    one, other = socket.socketpair()
    return Link(one), Link(other)


def packed(renewal: Renewal) -> object:
    """A renewal as words of a message."""
    return [renewal.taken, list(renewal.lines)]


def unpacked(words: object) -> Renewal:
    """The renewal of such words."""
    taken, lines = msgspec.convert(words, tuple[bool, tuple[str, ...]])
    return Renewal(taken, lines)
