"""What a lane knows of others: who answers its requests, who reads what it does not, and whose connection it is.

Protocols only. `server/front.py` is the house, a snapshot the desk, aiohttp's handler the guest, a lane the tenant.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from proxy_cli.outbox import Outbox
from proxy_cli.server.counter import Counter
from proxy_cli.server.heads import Head
from proxy_cli.server.inference import Inference
from proxy_cli.server.routes import Match


class Desk(Protocol):
    """What answers requests; another one after the configuration was read anew."""

    @property
    def counter(self) -> Counter:
        """The request boundary."""

    @property
    def inference(self) -> Inference:
        """What answers a request for a model."""


class Guest(Protocol):
    """aiohttp's handler of a connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Here is a connection."""

    def data_received(self, data: bytes) -> None:
        """Here are bytes of it."""

    def eof_received(self) -> bool | None:
        """The client has said all."""

    def pause_writing(self) -> None:
        """It takes no more for now."""

    def resume_writing(self) -> None:
        """It takes more."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone."""

    def given(self) -> None:
        """The connection is its own from now on, and with it the time that passes there."""


class Tenant(Protocol):
    """A connection, as whoever looks after its time knows it."""

    due_s: float  # when patience with the client ends
    stall_due_s: float  # when a client that takes nothing is cut off

    def look_at(self, now_s: float) -> None:
        """Something has taken its time."""

    def close_when_idle(self) -> None:
        """Close it now, or after the request that is under way."""

    def cut_off(self) -> None:
        """End it now."""


class House(Protocol):
    """Whose connection it is: the front."""

    keepalive_s: float
    outbox: Outbox  # what whole responses leave through
    desk: Desk  # what answers a request that begins now
    draining: bool  # the server is about to stop

    def match(self, head: Head) -> Match | None:
        """The route of a request that the lane answers itself."""

    def guest(self, returned: Callable[[bool], None]) -> Guest:
        """A handler for what the lane does not read; after each answer `returned` is told whether it takes another."""

    def entered(self, lane: Tenant) -> None:
        """A connection begins."""

    def left(self, lane: Tenant) -> None:
        """A connection has ended."""
