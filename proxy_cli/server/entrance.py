"""The listening socket of one worker: clients are accepted here, and turned away by nobody but the kernel.

An event loop's own accepting fails us twice. At its end it closes the socket with clients in it who were connected
already: they would be reset, so we accept them first. And where no file may be opened any more it either spins or
closes what it has just accepted: we pause, and leave clients in the kernel's queue until others have gone. A few
files are kept back for connections to backends.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from resource import RLIMIT_NOFILE, getrlimit
from typing import Final

from proxy_cli.clock import Clock
from proxy_cli.tasks import Tasks

logger = logging.getLogger(__name__)

_BACKLOG: Final = 4096  # clients that wait to be accepted; the kernel takes less where it is set so
_AT_ONCE: Final = 64  # clients accepted before others get their turn
_PAUSE_S: Final = 0.25
_SAID_EVERY_S: Final = 60.0
_HANDSHAKE_S: Final = 10.0
_MOST_KEPT_BACK: Final = 256
# accept(2): errors of the client that was to be accepted, not of ours.
_GONE: Final = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH,
     errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPERM}
)  # fmt: skip


class Entrance:
    """Accepts clients until it is closed. Owns the socket, the pause, and the connections that are being made."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        clock: Clock,
    ) -> None:
        self._listener = listener
        listener.setblocking(False)
        self._make = make
        self._tls = tls
        self._clock = clock
        self._making = Tasks()
        self._pause: asyncio.TimerHandle | None = None
        self._said_s = -_SAID_EVERY_S
        most = getrlimit(RLIMIT_NOFILE)[0]
        self._first_kept_back = most - min(_MOST_KEPT_BACK, most // 4)
        self.was_reached_from_elsewhere = False
        self.accepted_s = clock()  # when the last client was

    def open(self) -> None:
        """Accept clients from now on."""
        self._listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    async def close(self) -> None:
        """Accept those who are connected already, and nobody after them."""
        if self._listener.fileno() < 0:
            return
        if self._pause is None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
        else:
            self._pause.cancel()
        while self._take():
            pass
        self._listener.close()
        await self._making.ended()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._take():
                return

    def _take(self) -> bool:
        """Accept one client; False when none waits, or none can be had for now."""
        try:
            client, address = self._listener.accept()
        except BlockingIOError:
            return False
        except OSError as problem:
            if problem.errno in _GONE:
                return True
            self._rest(problem.strerror or str(problem))
            return False
        client.setblocking(False)
        self.accepted_s = self._clock()
        if client.family in (socket.AF_INET, socket.AF_INET6):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.was_reached_from_elsewhere:
            self.was_reached_from_elsewhere = _is_elsewhere(client.family, address)
        self._making.spawn(self._connect(client), "connection")
        if client.fileno() >= self._first_kept_back:
            self._rest("nearly all files that this process may open are open")
            return False
        return True

    async def _connect(self, client: socket.socket) -> None:
        limit_s = None if self._tls is None else _HANDSHAKE_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make, client, ssl=self._tls, ssl_handshake_timeout=limit_s
            )
        except (OSError, TimeoutError) as problem:
            # It spoke no TLS, or left in the middle of its handshake.
            logger.debug("a client came to no connection: %s", problem)
            client.close()

    def _rest(self, reason: str) -> None:
        """Leave clients in the kernel's queue for a while."""
        loop = asyncio.get_running_loop()
        if self._pause is None:
            loop.remove_reader(self._listener.fileno())
        self._pause = loop.call_later(_PAUSE_S, self._go_on)
        now_s = self._clock()
        if now_s - self._said_s >= _SAID_EVERY_S:
            self._said_s = now_s
            logger.warning("new clients have to wait: %s; raise the limit (ulimit -n 65536)", reason)

    def _go_on(self) -> None:
        if not self._has_room():
            self._pause = asyncio.get_running_loop().call_later(_PAUSE_S, self._go_on)
            return
        self._pause = None
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def _has_room(self) -> bool:
        try:
            # A new descriptor gets the lowest free number.
            lowest = os.dup(self._listener.fileno())
        except OSError:
            return False
        os.close(lowest)
        return lowest < self._first_kept_back


def _is_elsewhere(family: int, address: object) -> bool:
    """Whether a client is on another machine."""
    if family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return False
    found = ip_address(str(address[0]).partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return not (mapped or found).is_loopback
