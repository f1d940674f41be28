"""The fleet behind llmproxy's own heart: gateway, router, rests and places, with the servers instead of connections."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import msgspec

from bench.fleet import SERVERS, Broken, Fleet, Full, Refused, crowd, told
from bench.virtual import run
from proxy_cli.access.budgets import ProcessBudget
from proxy_cli.answer import Answer
from proxy_cli.errors import BackendBroken, BackendUnreachable, GatewayError
from proxy_cli.gateway import Gateway
from proxy_cli.providers.table import provider_for
from proxy_cli.routing import fleet as routing
from proxy_cli.routing.queue import Places
from proxy_cli.routing.router import Router
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Table
from proxy_cli.shapes import Backend, Call, Deployment, Headers, Operation, Record, UpstreamRequest

_EVENTS: Headers = (("content-type", "text/event-stream"),)
_JSON: Headers = (("content-type", "application/json"),)
_EVENT = (
    b'data: {"id":"x","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
)
_END = b"data: [DONE]\n\n"
_WHOLE = msgspec.json.encode(
    {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 20, "total_tokens": 21},
    }
)
_FULL = b'{"error":{"message":"full","type":"rate_limit_error"}}'


class Reply:
    """What a server sends, as an exchange of the upstream room would give it."""

    def __init__(self, status: int, headers: Headers, pieces: AsyncGenerator[bytes, None]) -> None:
        self.status = status
        self.headers = headers
        self._pieces = pieces
        self._waits: asyncio.Future[bytes] | None = None
        self._closed = False

    async def chunk(self) -> bytes:
        """The next piece; empty at the end."""
        if self._closed:
            return b""
        self._waits = asyncio.ensure_future(anext(self._pieces, b""))
        try:
            return await self._waits
        except asyncio.CancelledError:
            if self._closed:
                raise BackendBroken("closed") from None
            self._waits.cancel()
            raise
        except Broken:
            raise BackendBroken("broken off") from None

    async def read(self) -> bytes:
        """The whole body."""
        pieces = []
        while piece := await self.chunk():
            pieces.append(piece)
        return b"".join(pieces)

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        """Each piece as it comes."""
        while piece := await self.chunk():
            sink(piece)

    def pause(self) -> None:
        """Nobody pauses here."""

    def resume(self) -> None:
        """Nobody pauses here."""

    def close(self) -> None:
        """Let go of the server."""
        self._closed = True
        if self._waits is not None and not self._waits.done():
            self._waits.cancel()


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _stream(events: AsyncIterator[int]) -> AsyncGenerator[bytes, None]:
    async for _ in events:
        yield _EVENT
    yield _END


async def _whole(events: AsyncIterator[int]) -> AsyncGenerator[bytes, None]:
    async for _ in events:
        pass
    yield _WHOLE


class Upstream:
    """Sends requests to the servers of the model."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def send(self, request: UpstreamRequest) -> Reply:
        """The reply of the server that the request names."""
        try:
            events = await self._fleet.open(request.backend.host)
        except Refused:
            raise BackendUnreachable(f"{request.backend} refuses connections") from None
        except Full:
            return Reply(429, _JSON, _once(_FULL))
        except Broken:
            raise BackendBroken("broken off before the reply") from None
        return Reply(200, _EVENTS, _stream(events)) if request.stream else Reply(200, _JSON, _whole(events))


async def simulated(strategy: str, callers: int, seconds: float, seed: int, **more: Any) -> dict[str, Any]:
    """One run."""
    loop = asyncio.get_running_loop()
    servers = Fleet(random.Random(seed))
    rules = Rules(strategy=strategy, **more)
    fleet = routing.Fleet(rules, clock=loop.time, random=random.Random(seed + 1))
    table = Table(tuple(_deployment(name) for name in SERVERS))
    active = 0
    router = Router(table, fleet, rules, random=random.Random(seed + 2), clock=loop.time, active=lambda: active)
    gateway = Gateway(
        router=router,
        places=Places(fleet, rules, clock=loop.time),
        providers=provider_for,
        upstream=Upstream(servers),  # type: ignore[arg-type]
        budget=ProcessBudget(None, 422),
        clock=loop.time,
    )

    async def ask(streams: bool) -> AsyncIterator[object]:
        nonlocal active
        call = _call(streams, loop.time())
        active += 1
        try:
            answer = await gateway.answer(call)
        except BaseException:
            active -= 1
            raise
        return pieces(call, answer)

    async def pieces(call: Call, answer: Answer) -> AsyncIterator[object]:
        nonlocal active
        try:
            while answer.relay is not None and (piece := await answer.relay.next()):
                yield piece
        except GatewayError as failure:
            answer.failure = failure
            raise
        finally:
            active -= 1
            gateway.settle(call, answer, Record(request_id=call.request_id, route=""))
            answer.close()

    return told(await crowd(ask, callers=callers, seconds=seconds, seed=seed), servers)


def _deployment(name: str) -> Deployment:
    return Deployment(id=name, group="m", model="m", provider="openai", backend=Backend("http", name, 80))


def _call(streams: bool, now_s: float) -> Call:
    body = msgspec.json.encode({"model": "m", "stream": streams, "messages": [{"role": "user", "content": "Hi"}]})
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return Call(
        request_id="r",
        operation=Operation.CHAT,
        model="m",
        body=body,
        fields=fields,
        stream=streams,
        received_s=now_s,
    )


def result(strategy: str, *, callers: int = 200, seconds: float = 600.0, seed: int = 1, **more: Any) -> dict[str, Any]:
    """One run in virtual time."""
    return run(simulated(strategy, callers, seconds, seed, **more))
