"""Answers on their way out: a whole body, or a stream whose head goes with its first event in one segment.

The client that leaves is noticed below (the handler is cancelled); what this room owes is that the answer is closed
whatever happens, and that a stream which has begun ends with one event that says why.
"""

import logging
from collections.abc import Iterable

from aiohttp import web
from multidict import CIMultiDict

from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError
from proxy_cli.gateway import Answer
from proxy_cli.server import compat
from proxy_cli.server.problems import INTERNAL, Problems
from proxy_cli.shapes import Call, Headers, Record

logger = logging.getLogger(__name__)

# Hops in front must neither hold events back nor change them.
STREAM_HEADERS: Headers = (
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
)


class EventStream(web.StreamResponse):
    """A streamed response whose head waits for the first bytes."""

    _send_headers_immediately = False


def multidict(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """Headers as aiohttp wants them."""
    return CIMultiDict(headers)


def plain(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> web.Response:
    """A whole response."""
    return web.Response(status=status, headers=multidict(headers), body=body)


async def stream(
    request: web.BaseRequest,
    call: Call,
    answer: Answer,
    headers: Headers,
    *,
    problems: Problems,
    record: Record,
    clock: Clock,
) -> web.StreamResponse:
    """Relay a stream to its end; what fails on the way becomes its last event."""
    assert answer.relay is not None
    response = EventStream(status=answer.status, headers=multidict((*headers, *STREAM_HEADERS)))
    if request.version >= (1, 1):
        response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        while data := await answer.relay.next():
            if record.first_byte_s is None:
                record.first_byte_s = clock()
            record.bytes_out += len(data)
            await response.write(compat.usage_event(data) if problems.compat_litellm else data)
    except GatewayError as failure:
        record.error = failure.message
        await response.write(problems.event(failure, call.operation))
    except ConnectionError:
        raise
    except Exception:  # the request boundary of a response that has begun
        logger.exception("request %s failed in its stream", call.request_id)
        record.error = INTERNAL.message
        await response.write(problems.event(INTERNAL, call.operation))
    await response.write_eof()
    return response
