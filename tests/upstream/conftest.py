"""Every dialogue of this room is held on both event loops that the proxy may run on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

from proxy_cli.upstream.client import Upstream


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The standard loop, and the one that is used where it is installed."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A room with its default settings, closed in the end."""
    room = Upstream()
    yield room
    await room.close()
