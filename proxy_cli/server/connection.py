"""aiohttp's server with our own answer to what is not HTTP.

Its built-in page shows parts of the bad header, which may hold a key; ours says what is wrong and echoes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from proxy_cli.errors import GatewayError, InvalidRequest, UnsupportedMedia
from proxy_cli.server.counter import new_request_id
from proxy_cli.server.problems import INTERNAL, Problems

logger = logging.getLogger(__name__)


_LONGEST_LINE: Final = 16 * 1024


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
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
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
        if isinstance(exc, ConnectionError):
            # The client has left while it was written to; the request boundary has noted it.
            raise exc
        request_id = new_request_id()
        if isinstance(exc, HttpProcessingError):
            error = _not_http(exc)
            logger.info("request %s from %s is not valid HTTP", request_id, request.remote)
        else:
            error = INTERNAL
            logger.error("request %s from %s failed", request_id, request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun; only closing the connection is left")
        headers = {"x-request-id": request_id, "content-type": "application/json"}
        response = web.Response(status=self._problems.status(error), body=self._problems.body(error), headers=headers)
        response.force_close()
        return response


def _not_http(fault: HttpProcessingError) -> GatewayError:
    match fault:
        case ContentEncodingError():
            return UnsupportedMedia("this Content-Encoding is not read here; send the body plain, in gzip or deflate")
        case LineTooLong():
            size = f"{_LONGEST_LINE // 1024} KiB"
            return InvalidRequest(f"the request's address or a header is longer than {size}", code="invalid_http")
    return InvalidRequest("the request is not valid HTTP/1.1", code="invalid_http")


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
