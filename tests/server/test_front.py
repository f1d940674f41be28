"""The front: how connections end with the server."""

import asyncio

from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.server.conftest import seed_like
from tests.server.test_lane import connected, get, post

REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def test_a_connection_that_is_idle_ends_with_the_server(backend):
    """Whether it was the lane's or a guest's last."""
    async with running_proxy(seed_like(backend.url)) as proxy:
        async with connected(proxy) as fresh, connected(proxy) as used, connected(proxy) as lent:
            used.send(post())
            lent.send(get())
            assert [(await client.response())[0] for client in (used, lent)] == [200, 200]

            await proxy.server.stop()

            async with asyncio.timeout(2):
                assert [await client.is_closed() for client in (fresh, used, lent)] == [True, True, True]


async def test_a_request_that_is_under_way_is_answered_before_the_end():
    """And told that its connection ends with it."""
    async with (
        RawBackend([REQUEST, 0.3, REPLY]) as raw,
        running_proxy(seed_like(f"{raw.backend}/v1")) as proxy,
        connected(proxy) as client,
    ):
        client.send(post())
        while not raw.connections or not raw.connections[0].requests:
            await asyncio.sleep(0.01)

        await proxy.server.stop()

        status, headers, body = await client.response()
        assert (status, headers["connection"], body) == (200, "close", b"{}")
        assert await client.is_closed()
