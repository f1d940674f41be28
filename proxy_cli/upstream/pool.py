"""The connections to one backend: which may be used again, how many there may be, and who waits for one.

The most recent one is used first: it is the least likely to have been closed meanwhile. A place that becomes free is
handed to who waited longest, never to who comes by at the right moment. A connection to an address that the backend's
name has left behind is not used again once that address fails, or when the name has moved altogether.
"""

import asyncio
import math
from collections import deque
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from proxy_cli.errors import BackendBroken, BackendFull, GatewayError, Overloaded
from proxy_cli.outbox import Outbox
from proxy_cli.shapes import Backend, Timeouts
from proxy_cli.tasks import Tasks
from proxy_cli.upstream.connect import Ways, dial, target, too_late
from proxy_cli.upstream.connection import Connection
from proxy_cli.upstream.names import FRESH_S, Address, literal

# Shorter than the servers' own: uvicorn, behind most model servers, closes after 5 s; what stands behind TLS after 60.
_IDLE_S: Final = {"http": 4.0, "https": 15.0}
_SOON_S: Final = 1.0  # after a failure
_STOPPING: Final = "llmproxy is shutting down"


class Figures(NamedTuple):
    """How a pool stands, and what has happened since it was made."""

    open: int = 0  # idle or busy
    idle: int = 0
    opening: int = 0
    waiting: int = 0  # for a place below the limit
    opened_total: int = 0
    failed_total: int = 0  # to be opened
    refused_total: int = 0  # waited for a place in vain
    repeated_total: int = 0  # requests sent once more because a kept connection had died


class Terms(NamedTuple):
    """What holds for every pool."""

    limit: int | None = None  # connections to one backend
    wait_s: float = 1.0  # for a place below the limit
    outbox: Outbox | None = None  # what requests leave through


class _Waiter(NamedTuple):
    """Who waits for a place: with a connection in it, or None for a place to open one in."""

    turn: asyncio.Future[Connection | None]
    fresh: bool  # a kept connection is of no use


class Pool:
    """Connections to one backend.

    Owns the idle ones; all that are open, with the address each leads to; those not to be used again; the number of
    places promised to connections that are being opened; who waits; the addresses seen last, and when to look again;
    the timer that closes what was idle for too long; and the counts.
    """

    def __init__(self, backend: Backend, ways: Ways, terms: Terms, tasks: Tasks) -> None:
        self.backend = backend
        self.repeated_total = 0
        self._ways = ways
        self._terms = terms
        self._tasks = tasks
        self.outbox = terms.outbox or Outbox()
        self._idle_s = _IDLE_S[backend.scheme]
        self._idle: dict[Connection, None] = {}
        self._open: dict[Connection, Address | None] = {}
        self._retired: set[Connection] = set()
        self._opening = 0
        self._waiters: deque[_Waiter] = deque()
        # An address is looked up never again, a name when its first connection is used again.
        self._look_at = 0.0 if literal(*target(backend)) is None else math.inf
        self._seen: AbstractSet[Address | None] = frozenset()
        self._failed: set[Address | None] = set()
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False
        self._opened_total = 0
        self._failed_total = 0
        self._refused_total = 0

    def take(self, now: float) -> Connection | None:
        """The connection that was idle for the shortest time, if there is one."""
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.is_open and connection.idle_since + self._idle_s > now:
                if now >= self._look_at:
                    self._look_again(now)
                return connection
            self._drop(connection)
        return None

    async def connect(self, timeouts: Timeouts, started: float, *, fresh: bool) -> Connection:
        """A connection when none is idle; a new one if `fresh`. Raises BackendUnreachable, a timeout, or Overloaded."""
        if self._closed:
            raise Overloaded(_STOPPING, code="shutting_down")
        if self._is_full():
            connection = await self._wait_for_place(timeouts, started, fresh=fresh)
            if connection is not None:
                return connection
        else:
            self._opening += 1
        try:
            return await self._dial(timeouts, started)
        except GatewayError:
            self._failed_total += 1
            raise
        finally:
            self._opening -= 1
            self._offer_places()

    @property
    def figures(self) -> Figures:
        """How it stands."""
        return Figures(
            open=len(self._open),
            idle=len(self._idle),
            opening=self._opening,
            waiting=len(self._waiters),
            opened_total=self._opened_total,
            failed_total=self._failed_total,
            refused_total=self._refused_total,
            repeated_total=self.repeated_total,
        )

    async def close(self) -> None:
        """Close every connection; what they carried ends with an error, and so does all waiting."""
        self._closed = True
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
        while self._waiters:
            turn = self._waiters.popleft().turn
            if not turn.done():
                turn.set_exception(Overloaded(_STOPPING, code="shutting_down"))
        for connection in list(self._open):
            connection.shut(BackendBroken(_STOPPING, code="shutting_down"))
        if self._open:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    # What a connection tells.

    def made(self, connection: Connection) -> None:
        """A new connection is open."""
        self._open[connection] = None
        self._opened_total += 1

    def free(self, connection: Connection) -> None:
        """Keep a connection that can carry the next exchange, or hand it to who waits."""
        if self._closed or (self._retired and connection in self._retired):
            self._drop(connection)
            return
        if self._waiters and self._hand_over(connection):
            return
        connection.idle_since = connection.loop.time()
        self._idle[connection] = None
        if self._sweep_handle is None:
            self._sweep_handle = connection.loop.call_later(self._idle_s, self._sweep)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        address = self._open.pop(connection, None)
        self._retired.discard(connection)
        if connection in self._idle:
            del self._idle[connection]
        elif address is not None:
            self._doubt(address)
        self._offer_places()
        if self._emptied is not None and not self._open and not self._emptied.done():
            self._emptied.set_result(None)

    # Inside: opening.

    async def _dial(self, timeouts: Timeouts, started: float) -> Connection:
        loop = asyncio.get_running_loop()
        limit_s = timeouts.connect_s
        if timeouts.total_s is not None:
            limit_s = min(limit_s, started + timeouts.total_s - loop.time())
        made: list[Connection] = []

        def make() -> Connection:
            made.append(Connection(self.backend, self))
            return made[-1]

        try:
            async with asyncio.timeout(limit_s):
                connection, address = await dial(self.backend, self._ways, limit_s, make)
                made.remove(connection)
        except TimeoutError as error:
            names, place = self._ways.names, target(self.backend)
            names.forget(*place)
            looking_up = names.is_asking(*place)
            raise too_late(self.backend, timeouts, started, loop.time(), looking_up=looking_up) from error
        finally:
            # uvloop does not tell the end of a connection that was given up in the moment in which it was made.
            for unwanted in made:
                unwanted.abort()
                self.lost(unwanted)
        if self._closed:
            connection.abort()
            raise Overloaded(_STOPPING, code="shutting_down")
        if connection in self._open:
            self._open[connection] = address
        return connection

    # Inside: places.

    def _is_full(self) -> bool:
        limit = self._terms.limit
        return limit is not None and len(self._open) + self._opening >= limit

    async def _wait_for_place(self, timeouts: Timeouts, started: float, *, fresh: bool) -> Connection | None:
        """A connection, or None when a new one may be opened, whose place is counted already. Raises Overloaded."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._terms.wait_s
        if timeouts.total_s is not None:
            deadline = min(deadline, started + timeouts.total_s)
        waiter = _Waiter(loop.create_future(), fresh)
        self._waiters.append(waiter)
        if fresh and self._idle:
            # The oldest, whose place is needed for a new one.
            self._drop(next(iter(self._idle)))
        try:
            async with asyncio.timeout_at(deadline):
                return await self._turn(waiter)
        except TimeoutError:
            self._refused_total += 1
            busy = f"all {self._terms.limit} connections to {self.backend} stayed busy"
            cure = "try again, or raise max_connections_per_backend"
            raise BackendFull(f"{busy}; {cure}", retry_after_s=1.0) from None

    async def _turn(self, waiter: _Waiter) -> Connection | None:
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            self._decline(waiter)
            raise

    def _decline(self, waiter: _Waiter) -> None:
        """One who waited has left, perhaps on its turn: then the next one has it."""
        turn = waiter.turn
        if turn.cancelled() or not turn.done():
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        elif turn.exception() is None:
            connection = turn.result()
            if connection is not None:
                self.free(connection)
            else:
                self._opening -= 1
                self._offer_places()

    def _hand_over(self, connection: Connection) -> bool:
        """Give a connection to who waits for one, or its place to who needs another; False when nobody is left."""
        while self._waiters:
            waiter = self._waiters[0]
            if waiter.turn.done():
                self._waiters.popleft()
            elif waiter.fresh:
                self._drop(connection)  # its place is offered when it is closed
                return True
            else:
                self._waiters.popleft()
                waiter.turn.set_result(connection)
                return True
        return False

    def _offer_places(self) -> None:
        """Let those who wait open connections, as far as there is room."""
        while self._waiters and not self._is_full():
            turn = self._waiters.popleft().turn
            if not turn.done():
                self._opening += 1
                turn.set_result(None)

    # Inside: what has grown old.

    def _sweep(self) -> None:
        """Close what was idle for too long, and come again while anything is idle."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._sweep_handle = None
        for connection in list(self._idle):
            due_s = connection.idle_since + self._idle_s - now
            if due_s > 0:
                self._sweep_handle = loop.call_later(due_s, self._sweep)
                return
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        """Close a connection that nothing is wrong with."""
        self._idle.pop(connection, None)
        if connection in self._open:
            self._open[connection] = None  # so that its end says nothing about its address
        connection.abort()

    def _look_again(self, now: float) -> None:
        """Have the name looked up in the background: its connections may outlive its addresses."""
        self._look_at = now + FRESH_S
        self._tasks.spawn(self._look(), f"look up {self.backend}")

    async def _look(self) -> None:
        try:
            found = await self._ways.names.addresses(*target(self.backend))
        except (OSError, UnicodeError):
            return  # who opens a connection is told
        self._seen = frozenset(found)
        used = set(self._open.values()) - {None}
        gone = used - self._seen
        self._retire(gone if gone == used else gone & self._failed)
        self._failed.clear()

    def _doubt(self, address: Address) -> None:
        """A connection to this address did not end idle: perhaps its name leads elsewhere by now."""
        if self._look_at == math.inf:
            return
        if self._seen and address not in self._seen:
            self._retire({address})
        else:
            self._failed.add(address)
            self._look_at = min(self._look_at, asyncio.get_running_loop().time() + _SOON_S)

    def _retire(self, addresses: AbstractSet[Address | None]) -> None:
        """No connection to these addresses carries another exchange."""
        for connection in [each for each, address in self._open.items() if address in addresses]:
            if connection in self._idle:
                self._drop(connection)
            else:
                self._retired.add(connection)
