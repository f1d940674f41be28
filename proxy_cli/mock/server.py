"""The mock backend: an OpenAI-compatible server whose every answer, delay and failure is asked for.

It is for examples, tests and users' own CI, never for production. It owns the HTTP side: which path is which
operation, how an answer goes out and how it is broken on request, and the journal of what came in. What is
answered is decided in `answers.py`, which fault is asked for in `faults.py`.
"""

import asyncio
import logging
import signal
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import Final

from aiohttp import web

from proxy_cli.mock import chat, media
from proxy_cli.mock.answers import Asked, dumps, error_body, lines, whole
from proxy_cli.mock.body import decoded, form, is_form, text_of_body
from proxy_cli.mock.faults import NO_FAULTS, Faults, asked
from proxy_cli.mock.journal import Journal, Seen
from proxy_cli.shapes import Json, Operation

logger = logging.getLogger(__name__)

_MAX_BODY_BYTES: Final = 256 * 1024 * 1024
_DEFAULT_MODELS: Final = ("mock-model",)
_SPECIAL: Final = "mock-"  # the names that are faults are served whatever the list of models says
_PREFIXES: Final = ("", "/v1", "/openai/v1", "/openai/deployments/{deployment}")
_HEADERS: Final = {"x-ratelimit-limit-requests": "1000", "x-ratelimit-remaining-requests": "999"}
_KINDS: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the backend as a whole behaves."""

    models: tuple[str, ...] = ()  # none named: any name is served
    gap_s: float = 0.0  # between two events of a stream
    faults: Faults = NO_FAULTS  # what every request suffers
    key: str | None = None  # then callers must send it


class _Refused(Exception):
    """An error answer, ready to be sent."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.status = status
        self.body = error_body(message, kind, code or status)
        self.headers = dict(headers or {})


class _Broken(Exception):
    """The connection was broken on request; nothing more can be sent."""


class MockBackend:
    """The server's state: its options, its journal, and how often each fault was already met."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._met: Counter[Faults] = Counter()
        self.journal = Journal()

    def app(self) -> web.Application:
        """The application with every path."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        for operation in Operation:
            for prefix in _PREFIXES:
                app.router.add_post(f"{prefix}/{operation.value}", partial(self._answer, operation))
        for prefix in _PREFIXES[:-1]:
            app.router.add_get(f"{prefix}/models", self._models)
        app.router.add_get("/mock/requests", self._requests)
        app.router.add_delete("/mock/requests", self._clear)
        app.router.add_get("/mock/picture.png", _picture)
        app.router.add_get("/health", _health)
        return app

    async def _answer(self, operation: Operation, request: web.Request) -> web.StreamResponse:
        seen = self.journal.begin(request)
        try:
            response = await self._respond(await self._understand(operation, request, seen), request, seen)
        except _Refused as refusal:
            response = web.json_response(refusal.body, status=refusal.status, headers=refusal.headers, dumps=dumps)
        except (AttributeError, LookupError, TypeError, ValueError) as problem:
            # The fields of a request are read where they are used; one of another shape is the caller's slip.
            logger.debug("the request is shaped oddly", exc_info=problem)
            words = f"a field of the request is not shaped as {operation.value} takes it"
            response = web.json_response(_Refused(400, words).body, status=400, dumps=dumps)
        except _Broken:
            # aiohttp finds the connection closed, and leaves it at that.
            return web.Response()
        except (asyncio.CancelledError, ConnectionError):
            seen.abort()
            raise
        finally:
            seen.finished = True
        seen.status = response.status
        return response

    async def _understand(self, operation: Operation, request: web.Request, seen: Seen) -> Asked:
        try:
            body = await _body(request, seen)
            body.setdefault("model", request.match_info.get("deployment", ""))
            seen.body = body
            self._check_key(seen)
            text = text_of_body(operation, body)
            faults, text = asked(self._options.faults, str(body["model"]), request.headers.items(), text)
        except ValueError as problem:
            raise _Refused(400, str(problem)) from problem
        self._check_model(str(body["model"]))
        return Asked(operation, body, text, self._remaining(faults), f"{request.scheme}://{request.host}")

    async def _respond(self, wanted: Asked, request: web.Request, seen: Seen) -> web.StreamResponse:
        faults = wanted.faults
        await asyncio.sleep(faults.delay_s)
        if faults.drop:
            raise _broken(request, faults)
        if faults.status is not None and faults.status != 200:
            headers = {"retry-after": faults.retry_after} if faults.retry_after else {}
            raise _Refused(faults.status, f"mock error {faults.status}", headers=headers)
        if faults.refuse_stream_options and "stream_options" in wanted.body:
            raise _Refused(400, "Unrecognized request argument supplied: stream_options", code="unknown_argument")
        if wanted.stream:
            return await self._stream(wanted, request, seen)
        return await _plain(wanted, request)

    async def _stream(self, wanted: Asked, request: web.Request, seen: Seen) -> web.StreamResponse:
        faults = wanted.faults
        gap_s = self._options.gap_s if faults.gap_s is None else faults.gap_s
        response = web.StreamResponse(headers={**_HEADERS, "content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        seen.status = response.status
        for line in lines(wanted):
            if seen.events_sent == faults.cut:
                raise _broken(request, faults)
            if seen.events_sent and gap_s:
                await asyncio.sleep(gap_s)
            await response.write(line)
            seen.events_sent += 1
        if faults.cut is not None:
            raise _broken(request, faults)
        await response.write_eof()
        return response

    def _remaining(self, faults: Faults) -> Faults:
        """The faults, unless they were to happen a number of times and have."""
        if faults.times is None:
            return faults
        self._met[faults] += 1
        return faults if self._met[faults] <= faults.times else NO_FAULTS

    def _check_key(self, seen: Seen) -> None:
        key = self._options.key
        given = seen.headers.get("api-key") or seen.headers.get("authorization", "").removeprefix("Bearer ")
        if key is not None and given != key:
            raise _Refused(401, "Incorrect API key provided.", code="invalid_api_key")

    def _check_model(self, model: str) -> None:
        models = self._options.models
        if models and model not in models and not model.startswith(_SPECIAL):
            raise _Refused(404, f"The model `{model}` does not exist.", code="model_not_found")

    async def _models(self, request: web.Request) -> web.Response:
        seen = self.journal.begin(request)
        seen.finished, seen.status = True, 200
        data = [
            {"id": name, "object": "model", "created": chat.CREATED, "owned_by": "mock"}
            for name in self._options.models or _DEFAULT_MODELS
        ]
        return web.json_response({"object": "list", "data": data}, dumps=dumps)

    async def _requests(self, _request: web.Request) -> web.Response:
        return web.json_response([seen.as_json() for seen in self.journal.all()], dumps=dumps)

    async def _clear(self, _request: web.Request) -> web.Response:
        self.journal.clear()
        return web.Response(status=204)


@asynccontextmanager
async def serving(
    backend: MockBackend, host: str, port: int, ssl_context: SSLContext | None = None
) -> AsyncIterator[int]:
    """The backend on an open port, which is the value; port 0 takes a free one. Raises OSError."""
    # Cancelling handlers is how an abort is seen: at once, not at the next write.
    runner = web.AppRunner(backend.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def serve_until_signal(backend: MockBackend, host: str, port: int, announce: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is told the port once it is open. Raises OSError."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with serving(backend, host, port) as bound:
        announce(bound)
        await ended.wait()


async def _body(request: web.Request, seen: Seen) -> Json:
    if is_form(request):
        return await form(request)  # a ValueError of aiohttp's reader says what is wrong with the form
    data = await request.read()
    seen.keep(data)
    return decoded(data)


async def _plain(wanted: Asked, request: web.Request) -> web.StreamResponse:
    content_type, body = whole(wanted)
    headers = {**_HEADERS, "content-type": content_type}
    cut = wanted.faults.cut
    if cut is None:
        return web.Response(body=body, headers=headers)
    response = web.StreamResponse(headers={**headers, "content-length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: min(cut, len(body) - 1)])
    raise _broken(request, wanted.faults)


def _broken(request: web.Request, faults: Faults) -> _Broken:
    """Close the caller's connection in the middle of things."""
    transport = request.transport
    if transport is not None and faults.reset:
        raw = transport.get_extra_info("socket")
        # Lingering for zero seconds is how a socket is told to answer with RST.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if transport is not None:
        transport.close()
    return _Broken()


async def _picture(_request: web.Request) -> web.Response:
    return web.Response(body=media.picture(), content_type="image/png")


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})
