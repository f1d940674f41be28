"""The connections to all backends: which may be used again, and how many there may be.

TLS settings are the same for everything that goes through one pool, so a backend (scheme, host, port) is all that
tells connections apart. The most recent one is used first: it is the least likely to have been closed meanwhile.
"""

import asyncio
import ssl
from collections import deque
from typing import Final

from proxy_cli.errors import BackendBroken, Overloaded
from proxy_cli.shapes import Backend, Timeouts
from proxy_cli.upstream.connect import dial
from proxy_cli.upstream.connection import Connection
from proxy_cli.upstream.watch import connect_error

# Shorter than the servers' own: uvicorn, behind most model servers, closes after 5 s; what stands behind TLS after 60.
_IDLE_S: Final = {"http": 4.0, "https": 15.0}


class Pool:
    """Connections by backend.

    Owns the idle ones, the set of all that are open, the number that are being opened to each backend, those who
    wait for a place, and the timer that closes what was idle for too long.
    """

    def __init__(self, tls: ssl.SSLContext, limit: int | None, wait_s: float) -> None:
        self._tls = tls
        self._limit = limit
        self._wait_s = wait_s
        self._idle: dict[Backend, list[Connection]] = {}
        self._open: dict[Backend, set[Connection]] = {}
        self._dialing: dict[Backend, int] = {}
        self._waiters: dict[Backend, deque[asyncio.Future[None]]] = {}
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None

    async def acquire(self, backend: Backend, timeouts: Timeouts, started: float, *, fresh: bool) -> Connection:
        """A connection to use, a new one if `fresh`. Raises BackendUnreachable, a timeout, or Overloaded."""
        if not fresh and (connection := self._take(backend)) is not None:
            return connection
        if self._is_full(backend):
            connection = await self._wait_for_place(backend, timeouts, started, fresh=fresh)
            if connection is not None:
                return connection
        return await self._dial(backend, timeouts, started)

    def made(self, connection: Connection) -> None:
        """A new connection is open."""
        self._open.setdefault(connection.backend, set()).add(connection)

    def free(self, connection: Connection) -> None:
        """Keep a connection that can carry the next exchange."""
        if self._closed:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(connection.backend, []).append(connection)
        if self._sweep_handle is None:
            self._sweep_handle = loop.call_later(_IDLE_S[connection.backend.scheme], self._sweep)
        if self._limit is not None:
            self._wake(connection.backend)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        backend = connection.backend
        idle = self._idle.get(backend)
        if idle and connection in idle:
            idle.remove(connection)
        connections = self._open.get(backend, set())
        connections.discard(connection)
        if not connections:
            self._open.pop(backend, None)
        self._wake(backend)
        if self._emptied is not None and not self._open and not self._emptied.done():
            self._emptied.set_result(None)

    async def close(self) -> None:
        """Close every connection; what they carried ends with an error."""
        self._closed = True
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(Overloaded("llmproxy is shutting down", code="shutting_down"))
        for connection in [connection for connections in self._open.values() for connection in connections]:
            connection.shut(BackendBroken("llmproxy is shutting down", code="shutting_down"))
        if self._open:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    def _take(self, backend: Backend) -> Connection | None:
        """The connection that was idle for the shortest time."""
        idle = self._idle.get(backend)
        if not idle:
            return None
        oldest = asyncio.get_running_loop().time() - _IDLE_S[backend.scheme]
        while idle:
            connection = idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _dial(self, backend: Backend, timeouts: Timeouts, started: float) -> Connection:
        loop = asyncio.get_running_loop()
        limit_s = timeouts.connect_s
        if timeouts.total_s is not None:
            limit_s = min(limit_s, started + timeouts.total_s - loop.time())
        self._dialing[backend] = self._dialing.get(backend, 0) + 1
        try:
            async with asyncio.timeout(limit_s):
                connection = await dial(backend, self._tls, limit_s, lambda: Connection(backend, self))
        except TimeoutError as error:
            raise connect_error(backend, timeouts, started, loop.time()) from error
        finally:
            self._dialed(backend)
        if self._closed:
            connection.abort()
        return connection

    def _dialed(self, backend: Backend) -> None:
        """One less is being opened; if nothing came of it, somebody else may try."""
        self._dialing[backend] -= 1
        if not self._dialing[backend]:
            del self._dialing[backend]
        if not self._is_full(backend):
            self._wake(backend)

    def _is_full(self, backend: Backend) -> bool:
        places = len(self._open.get(backend, ())) + self._dialing.get(backend, 0)
        return self._limit is not None and places >= self._limit

    async def _wait_for_place(
        self, backend: Backend, timeouts: Timeouts, started: float, *, fresh: bool
    ) -> Connection | None:
        """Come back with an idle connection, or when a new one may be opened. Raises Overloaded."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_s
        if timeouts.total_s is not None:
            deadline = min(deadline, started + timeouts.total_s)
        try:
            async with asyncio.timeout_at(deadline):
                while self._is_full(backend):
                    if fresh:
                        self._evict(backend)
                    await self._turn(backend)
                    if not fresh and (connection := self._take(backend)) is not None:
                        return connection
        except TimeoutError:
            message = f"all {self._limit} connections to {backend} stayed busy; try again, or raise the limit"
            raise Overloaded(message, code="upstream_pool_full", retry_after_s=1.0) from None
        return None

    async def _turn(self, backend: Backend) -> None:
        """Wait until something about the places has changed; first come, first woken."""
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(backend, deque())
        waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._wake(backend)  # it was our turn, and we do not take it
            elif waiter in waiters:
                waiters.remove(waiter)
            raise

    def _wake(self, backend: Backend) -> None:
        waiters = self._waiters.get(backend)
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _evict(self, backend: Backend) -> None:
        """Close the oldest idle connection, whose place somebody needs for a new one."""
        if idle := self._idle.get(backend):
            idle.pop(0).abort()

    def _sweep(self) -> None:
        """Close what was idle for too long, and come again while anything is idle."""
        loop = asyncio.get_running_loop()
        now, next_s = loop.time(), 0.0
        for backend, idle in list(self._idle.items()):
            limit_s = _IDLE_S[backend.scheme]
            while idle and idle[0].idle_since + limit_s <= now:
                idle.pop(0).abort()
            if idle:
                due_s = idle[0].idle_since + limit_s - now
                next_s = min(next_s, due_s) if next_s else due_s
            else:
                del self._idle[backend]
        self._sweep_handle = loop.call_later(next_s, self._sweep) if next_s else None
