"""Start and stop of a server."""

import asyncio
import socket

import aiohttp

from proxy_cli.server.app import Server
from tests.fakes.backend import running_backend
from tests.fakes.proxy import nobody_reloads, prepared
from tests.server.conftest import chat, seed_like


async def test_stopping_lets_a_request_under_way_finish():
    """New connections are refused, the old answer comes whole."""
    async with running_backend() as backend:
        server = Server(prepared(seed_like(backend.url)), nobody_reloads)
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"
        await server.start(listener)
        async with aiohttp.ClientSession() as client:
            under_way = asyncio.ensure_future(client.post(url, json=chat("[[mock delay=0.5]]")))
            async with asyncio.timeout(3):
                while not backend.requests:
                    await asyncio.sleep(0.01)

            await server.stop()

            async with await under_way as response:
                assert response.status == 200
                await response.read()
        assert server.requests_served == 1


async def test_stopping_closes_the_connections_to_backends():
    """Nothing is left open at either side."""
    async with running_backend() as backend:
        server = Server(prepared(seed_like(backend.url)), nobody_reloads)
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"
        await server.start(listener)
        async with aiohttp.ClientSession() as client:
            async with client.post(url, json=chat()) as response:
                await response.read()

        async with asyncio.timeout(2):
            await server.stop()

    assert listener.fileno() == -1
