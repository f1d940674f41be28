"""A backend's name that leads elsewhere while its connections are kept and used."""

import asyncio
import socket

import pytest

from proxy_cli.errors import BackendUnreachable
from proxy_cli.shapes import Backend
from proxy_cli.upstream.client import Upstream
from proxy_cli.upstream.names import Address, Addresses
from tests.fakes.raw_backend import FIN, REQUEST, RawBackend, Script
from tests.upstream.dialogue import OK, Pieces, reply, request_to

TIMES: Script = [REQUEST, OK] * 20


class Place:
    """A name that leads to some addresses now, and to others later. Owns what it says."""

    def __init__(self, *ports: int) -> None:
        self.leads_to(*ports)

    def leads_to(self, *ports: int) -> None:
        """From now on."""
        self._addresses = tuple(Address(socket.AF_INET, ("127.0.0.1", port)) for port in ports)

    async def resolve(self, _host: str, _port: int) -> Addresses:
        """What it says now."""
        return self._addresses


async def whole(upstream: Upstream, backend: Backend, body: bytes | Pieces = b"{}") -> bytes:
    """The body of one reply."""
    return await (await upstream.send(request_to(backend, body))).read()


async def look(upstream: Upstream, backend: Backend) -> None:
    """Let so much time pass that the name is looked up, by the next request that uses a kept connection."""
    names = upstream._pools._ways.names
    names.forget(backend.host, backend.port)
    upstream._pools[backend]._look_at = 0.0
    await (await upstream.send(request_to(backend))).read()
    await asyncio.sleep(0.01)


@pytest.mark.row("U-03")
async def test_name_that_has_moved_takes_its_requests_along():
    """Although the old server still answers, and its connections are kept busy."""
    async with RawBackend(TIMES) as old, RawBackend(TIMES) as new:
        name = Place(old.backend.port)
        upstream, backend = Upstream(resolve=name.resolve), Backend("http", "llm.test", 80)
        await look(upstream, backend)
        name.leads_to(new.backend.port)

        await look(upstream, backend)
        await (await upstream.send(request_to(backend))).read()

        assert len(new.requests) == 1
        async with asyncio.timeout(1):
            await old.connections[0].closed.wait()
        await upstream.close()


@pytest.mark.row("U-03")
async def test_address_that_a_name_no_longer_has_is_left_by_all_when_one_fails():
    """That a name tells some of its addresses at a time is no reason to leave one; a failure there is."""
    failing: Script = [REQUEST, 0.05, OK, REQUEST, FIN]
    slow: Script = [REQUEST, OK, REQUEST, reply(b"whole")[:-2], 0.2, b"le"]
    async with RawBackend(slow, TIMES) as other, RawBackend([REQUEST, 0.02, OK, *TIMES], failing) as left:
        name = Place(left.backend.port)
        upstream, backend = Upstream(resolve=name.resolve), Backend("http", "llm.test", 80)
        await asyncio.gather(*(whole(upstream, backend) for _ in range(2)))
        name.leads_to(other.backend.port)
        upstream._pools._ways.names.forget("llm.test", 80)
        await whole(upstream, backend, Pieces(b"abc"))  # by a new connection, which is the most recent one
        pool = upstream._pools[backend]
        busy = await upstream.send(request_to(backend))

        await pool._look()
        kept = len(pool._open)
        await whole(upstream, backend)  # fails at the old address, and is asked once more at the new one
        await asyncio.sleep(0.02)

        assert kept == 3
        assert {address.address[1] for address in pool._open.values() if address} == {other.backend.port}
        assert await busy.read() == b"whole"
        await upstream.close()


async def test_busy_connection_to_an_address_that_is_left_ends_with_its_reply():
    """Nothing under way is broken off; only the next request goes elsewhere."""
    async with RawBackend([REQUEST, OK, REQUEST, reply(b"whole")[:-2], 0.1, b"le"]) as old, RawBackend(TIMES) as new:
        name = Place(old.backend.port)
        upstream, backend = Upstream(resolve=name.resolve), Backend("http", "llm.test", 80)
        await whole(upstream, backend)
        upstream._pools._ways.names.forget("llm.test", 80)
        upstream._pools[backend]._look_at = 0.0
        name.leads_to(new.backend.port)

        answer = await upstream.send(request_to(backend))
        await asyncio.sleep(0.02)

        assert await answer.read() == b"whole"
        assert await whole(upstream, backend) == b"hi"
        assert len(new.requests) == 1
        await upstream.close()


async def test_look_up_that_fails_leaves_kept_connections_in_use():
    """They answer; who needs a new one is told."""
    async with RawBackend(TIMES) as raw:
        name = Place(raw.backend.port)
        says: list[OSError] = []

        async def resolve(host: str, port: int) -> Addresses:
            if says:
                raise says[0]
            return await name.resolve(host, port)

        upstream, backend = Upstream(resolve=resolve), Backend("http", "llm.test", 80)
        await look(upstream, backend)
        says.append(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))

        await look(upstream, backend)
        await whole(upstream, backend)

        assert len(raw.connections) == 1
        with pytest.raises(BackendUnreachable, match=r"'llm\.test' does not resolve: Name or service not known"):
            await upstream.send(request_to(backend, Pieces(b"abc")))
        await upstream.close()
