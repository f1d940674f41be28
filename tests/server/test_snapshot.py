"""One configuration at work."""

import asyncio

from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy
from tests.server.conftest import chat, seed_like


async def test_snapshot_is_at_rest_when_none_of_its_requests_is_under_way():
    """So that what only old requests need can be closed."""
    async with running_backend() as backend, running_proxy(seed_like(backend.url)) as proxy:
        before = proxy.server.snapshot.is_at_rest
        asking = asyncio.ensure_future(proxy.post("/v1/chat/completions", json=chat("[[mock delay=0.3]]")))
        async with asyncio.timeout(3):
            while not backend.requests:
                await asyncio.sleep(0.01)
        meanwhile = proxy.server.snapshot.is_at_rest
        async with await asking as response:
            await response.read()
        await asyncio.sleep(0.05)

        assert (before, meanwhile, proxy.server.snapshot.is_at_rest) == (True, False, True)
