"""The upstream room's one door: a request to a backend goes in, a reply whose head has come comes out."""

import asyncio
import ssl

from proxy_cli.errors import BackendBroken
from proxy_cli.shapes import UpstreamReply, UpstreamRequest
from proxy_cli.upstream.connect import tls_context
from proxy_cli.upstream.connection import EMPTY
from proxy_cli.upstream.exchange import Exchange
from proxy_cli.upstream.head import request_head
from proxy_cli.upstream.pool import Pool


class Upstream:
    """Sends requests to backends over kept connections. Owns the pool, and through it every connection."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        pool_limit: int | None = None,
        pool_wait_s: float = 5.0,
        max_body_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        """A room with no connection yet.

        `tls`: how backends are checked, made by `connect.tls_context`; by default against the system's certificates.
        `pool_limit`: connections to one backend. `max_body_bytes`: what `read` of a reply may come to, decoded.
        """
        self._pool = Pool(tls or tls_context(True, None), pool_limit, pool_wait_s)
        self._max_body_bytes = max_body_bytes

    async def send(self, request: UpstreamRequest) -> UpstreamReply:
        """Come back when the reply's head is here; the reply must be closed.

        Raises BackendUnreachable, ConnectTimeout or Overloaded when nothing was sent; BackendBroken, BackendTimeout
        or CallerTimeout when something was; ValueError for a header that must not be written.
        """
        started = asyncio.get_running_loop().time()
        head = request_head(request)
        # A body that is read once cannot be sent twice, so it does not go over a connection that may be dead already.
        fresh = not isinstance(request.body, bytes)
        while True:
            connection = await self._pool.acquire(request.backend, request.timeouts, started, fresh=fresh)
            was_kept = connection.reused
            exchange = Exchange(request, started, self._max_body_bytes)
            exchange.start(connection, head)
            try:
                await exchange.wait_for_head()
            except BackendBroken as failure:
                # The backend may close a kept connection just as we write. Nothing of a reply came, so nothing was
                # answered; asked once more, on a connection that it cannot have given up yet.
                if fresh or not was_kept or failure.code != EMPTY:
                    raise
                fresh = True
            else:
                return exchange

    async def close(self) -> None:
        """Close every connection, idle or busy; who still waits gets an error."""
        await self._pool.close()
