"""Every dialogue of this room is held on both event loops that the proxy may run on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from proxy_cli.upstream.client import Upstream
from tests.fakes.certificates import Certificate, self_signed


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The standard loop, and the one that is used where it is installed."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(autouse=True)
async def nothing_fails_unseen() -> AsyncIterator[None]:
    """What a callback raises reaches no test, but the event loop."""
    seen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    yield
    assert not seen


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A room with its default settings, closed in the end."""
    room = Upstream()
    yield room
    await room.close()


@pytest.fixture(scope="module")
def certificate(require, tmp_path_factory) -> Callable[..., Certificate]:
    """`certificate("IP:127.0.0.1")`: a new self-signed certificate for these names."""
    openssl = require("openssl")

    def make(names: str, *, days: int = 2) -> Certificate:
        folder: Path = tmp_path_factory.mktemp("certificate")
        return self_signed(openssl, folder, names, days=days)

    return make


@pytest.fixture(scope="module")
def own(certificate: Callable[..., Certificate]) -> Certificate:
    """A certificate for the address that the tests use."""
    return certificate("IP:127.0.0.1,DNS:localhost,DNS:llm.test")


@pytest.fixture(scope="module")
def other(certificate: Callable[..., Certificate]) -> Certificate:
    """A certificate for another name."""
    return certificate("DNS:llm.example")
