"""aiohttp's server with our own answer to what is not HTTP.

Its built-in page shows parts of the bad header, which may hold a key; ours says what is wrong and echoes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from proxy_cli.errors import GatewayError, InvalidRequest
from proxy_cli.server.problems import INTERNAL, Problems

logger = logging.getLogger(__name__)


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = ("_problems",)

    def __init__(
        self,
        manager: "Listener",
        *,
        loop: asyncio.AbstractEventLoop,
        problems: Problems,
        keepalive_timeout: float,
        max_headers: int,
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=keepalive_timeout,
            access_log=None,  # type: ignore[arg-type]  # its own type forgets that None turns it off
            max_line_size=16 * 1024,
            max_field_size=16 * 1024,
            max_headers=max_headers,
            # A refused upload is read a little longer, so that its sender sees the refusal before a reset.
            lingering_time=2.0,
        )
        self._problems = problems

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's signature
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """The response to a request that could not be read, or that our own boundary let fall."""
        if isinstance(exc, HttpProcessingError):
            error: GatewayError = InvalidRequest("the request is not valid HTTP/1.1", code="invalid_http")
            logger.info("a request from %s is not valid HTTP", request.remote)
        else:
            error = INTERNAL
            logger.error("a request from %s failed", request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun; only closing the connection is left")
        body = self._problems.body(error)
        response = web.Response(status=self._problems.status(error), body=body, content_type="application/json")
        response.force_close()
        return response


class Listener(web.Server):
    """Makes a Connection for each client. A client that leaves cancels its handler."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        problems: Problems,
        keepalive_timeout_s: float = 75.0,
        max_headers: int = 100,
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._problems = problems
        self._keepalive_timeout_s = keepalive_timeout_s
        self._max_headers = max_headers

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            problems=self._problems,
            keepalive_timeout=self._keepalive_timeout_s,
            max_headers=self._max_headers,
        )
