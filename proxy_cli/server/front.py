"""The front: makes a lane for each client, and looks after the time of all of them.

Owns the set of lanes and the one timer that looks at them; a lane only says until when it is patient. Waiting is told
in seconds, so a look a second is enough: ten thousand idle connections cost a millisecond then, and no timer each.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy_cli.outbox import Outbox
from proxy_cli.server.connection import Listener
from proxy_cli.server.heads import Head
from proxy_cli.server.house import Desk, Guest, Tenant
from proxy_cli.server.lane import Lane
from proxy_cli.server.routes import Match

_LOOK_S: Final = 1.0


class Front:
    """A protocol factory: one lane for each connection, and aiohttp's handlers for what lanes do not read."""

    def __init__(self, desk: Desk, guests: Listener, *, keepalive_s: float, outbox: Outbox) -> None:
        self.outbox = outbox
        self.desk = desk  # answers requests that begin now: another one after a reload
        self._guests = guests
        self._loop = asyncio.get_running_loop()
        self._lanes: set[Tenant] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._at_rest: asyncio.Future[None] | None = None
        self.keepalive_s = keepalive_s
        self.draining = False

    def __call__(self) -> Lane:
        return Lane(self, self._loop)

    def __len__(self) -> int:
        """How many connections there are, without those of guests for good."""
        return len(self._lanes)

    def match(self, head: Head) -> Match | None:
        """The route of a request that a lane answers itself."""
        counter = self.desk.counter
        if head.is_json:
            return counter.hot(head.method, head.target)
        return counter.probe(head.method, head.target) if head.is_all else None

    def guest(self, returned: Callable[[bool], None]) -> Guest:
        """A handler for what a lane does not read."""
        return self._guests.lend(returned)

    def entered(self, lane: Tenant) -> None:
        """A connection begins."""
        self._lanes.add(lane)
        if self._handle is None:
            self._handle = self._loop.call_later(_LOOK_S, self._look)

    def left(self, lane: Tenant) -> None:
        """A connection has ended, or is a guest's."""
        self._lanes.discard(lane)
        if self._at_rest is not None and not self._lanes and not self._at_rest.done():
            self._at_rest.set_result(None)

    def drain(self) -> None:
        """Close what is idle; what is not ends with its request."""
        self.draining = True
        for lane in list(self._lanes):
            lane.close_when_idle()

    async def shutdown(self, patience_s: float) -> None:
        """Come back when all lanes have ended; those that have not by then are cut off."""
        self.drain()
        if self._lanes:
            self._at_rest = self._loop.create_future()
            await asyncio.wait((self._at_rest,), timeout=patience_s)
        for lane in list(self._lanes):
            lane.cut_off()
        if self._handle is not None:
            self._handle.cancel()

    def _look(self) -> None:
        now_s = self._loop.time()
        for lane in list(self._lanes):
            if now_s >= lane.due_s or now_s >= lane.stall_due_s:
                lane.look_at(now_s)
        self._handle = self._loop.call_later(_LOOK_S, self._look) if self._lanes else None
