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
    else:
        # Before HTTP/1.1 the end of a stream is the end of its connection.
        response.force_close()
    await response.prepare(request)
    failure: GatewayError | None = None
    try:
        while data := await answer.relay.next():
            if record.first_byte_s is None:
                record.first_byte_s = clock()
            record.bytes_out += len(data)
            await response.write(compat.usage_event(data) if problems.compat_litellm else data)
            record.delivered = answer.relay.finished
        if answer.relay.failed:
            record.error = "the backend reported an error inside its stream"
    except ConnectionError:
        raise
    except GatewayError as error:
        failure = error
    except Exception:  # the request boundary of a response that has begun
        logger.exception("request %s failed in its stream", call.request_id)
        failure = INTERNAL
    if failure is not None:
        record.error = failure.message
        if not _holds_events(response):
            # In sound there is no place for words: that it was cut short is all that can be said.
            return _cut_off(request, response)
        await response.write(problems.event(failure, call.operation))
    await response.write_eof()
    return response


def _holds_events(response: web.StreamResponse) -> bool:
    return response.headers.get("content-type", "").lower().startswith("text/event-stream")


def _cut_off(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    response.force_close()
    if request.transport is not None:
        request.transport.abort()
    return response
