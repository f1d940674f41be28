"""One pool for each way to a backend, and the figures of all."""

import msgspec

from proxy_cli.shapes import Tls
from proxy_cli.upstream.pool import Figures
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.upstream.dialogue import OK, request_to


async def test_connections_are_shared_by_what_is_reached_alike_and_by_nothing_else(upstream, own):
    """Other TLS settings are another pool: a connection that was not checked is never used by who asks for a check."""
    async with RawBackend([REQUEST, OK] * 2, tls=own.served()) as raw:
        for tls in (Tls(False), Tls(str(own.file)), Tls(False), Tls(str(own.file))):
            backend = msgspec.structs.replace(raw.backend, tls=tls)
            await (await upstream.send(request_to(backend))).read()

        assert [len(seen.requests) for seen in raw.connections] == [2, 2]
        assert upstream.figures() == {str(raw.backend): Figures(open=2, idle=2, opened_total=2)}


async def test_figures_follow_a_request(upstream):
    """Open while it is under way, idle after it, gone at the end."""
    async with RawBackend([REQUEST, 0.05, OK]) as raw:
        name = str(raw.backend)
        answer = await upstream.send(request_to(raw.backend))
        busy = upstream.figures()[name]
        await answer.read()
        idle = upstream.figures()[name]
        await upstream.close()

        assert (busy.open, idle.open, idle.idle, idle.opened_total) == (1, 1, 1, 1)
        assert upstream.figures()[name] == Figures(opened_total=1)


async def test_nothing_is_counted_for_what_was_never_asked(upstream):
    """There is a pool for what has been called only."""
    assert upstream.figures() == {}
