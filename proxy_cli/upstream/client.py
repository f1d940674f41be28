"""The upstream room's one door: a request to a backend goes in, a reply whose head has come comes out."""

import asyncio
from collections.abc import Mapping

from proxy_cli.errors import BackendBroken, BackendUnreachable, forget_frames
from proxy_cli.outbox import Outbox
from proxy_cli.shapes import Backend, UpstreamReply, UpstreamRequest
from proxy_cli.upstream import proxy
from proxy_cli.upstream.connect import described
from proxy_cli.upstream.connection import EMPTY
from proxy_cli.upstream.exchange import MAX_STREAM_BYTES, Exchange
from proxy_cli.upstream.head import request_head
from proxy_cli.upstream.names import Resolver, system_addresses
from proxy_cli.upstream.pool import Figures, Terms
from proxy_cli.upstream.pools import Pools


class Upstream:
    """Sends requests to backends over kept connections. Owns the pools, and through them every connection."""

    def __init__(
        self,
        *,
        pool_limit: int | None = None,
        pool_wait_s: float = 1.0,
        max_body_bytes: int = 64 * 1024 * 1024,
        max_stream_bytes: int = MAX_STREAM_BYTES,
        resolve: Resolver = system_addresses,
        outbox: Outbox | None = None,
    ) -> None:
        """A room with no connection yet.

        `pool_limit`: connections to one backend; who needs one more waits for `pool_wait_s`. `max_body_bytes`: what
        `read` of a reply may come to, `max_stream_bytes`: what its pieces may, both decoded. `resolve`: where a name
        leads. `outbox`: what requests leave through, shared with whatever else writes in this process.
        """
        self._pools = Pools(Terms(pool_limit, pool_wait_s, outbox or Outbox()), resolve)
        self._max_body_bytes = max_body_bytes
        self._max_stream_bytes = max_stream_bytes
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamReply:
        """Come back when the reply's head is here; the reply must be closed.

        Raises BackendUnreachable, ConnectTimeout or Overloaded when nothing was sent; BackendBroken, BackendTimeout
        or CallerTimeout when something was; ValueError for a header that must not be written.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        started = self._loop.time()
        if request.backend.proxy is not None:
            request = proxy.relayed(request, request.backend.proxy)
        head = request_head(request)
        pool = self._pools[request.backend]
        # A body that is read once cannot be sent twice, so it does not go over a connection that may be dead already.
        fresh = not isinstance(request.body, bytes)
        while True:
            connection = None if fresh else pool.take(started)
            if connection is None:
                connection = await pool.connect(request.timeouts, started, fresh=fresh)
            was_kept = connection.reused
            exchange = Exchange(request, started, self._max_body_bytes, self._max_stream_bytes)
            exchange.start(connection, head)
            try:
                while exchange.head is None:
                    await exchange.wait()
            except BackendBroken as failure:
                # The backend may close a kept connection just as we write. Nothing of a reply came, so nothing was
                # answered; asked once more, on a connection that it cannot have given up yet.
                if fresh or not was_kept or failure.code != EMPTY:
                    raise
                fresh = True
                pool.repeated_total += 1
                forget_frames(failure)
            else:
                if exchange.status == proxy.WANTS_CREDENTIALS:
                    _refuse_proxys_word(request.backend, exchange)
                return exchange

    def figures(self) -> Mapping[str, Figures]:
        """How the connections to each backend stand, by its address."""
        return self._pools.figures

    async def close(self) -> None:
        """Close every connection, idle or busy; who still waits gets an error."""
        await self._pools.close()


def _refuse_proxys_word(backend: Backend, exchange: Exchange) -> None:
    """A proxy that does not know us is no answer of the backend."""
    if backend.proxy is not None and backend.scheme == "http":
        exchange.close()
        raise BackendUnreachable(f"cannot connect to {described(backend)}: {proxy.refusal(exchange.status)}")
