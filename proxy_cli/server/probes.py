"""Asking a deployment for something small, to see whether it answers.

One cheap request of the deployment's kind through the same provider and the same upstream room as any other request,
so that what it says is what callers would meet. `POST /health/test` asks one deployment at a time; callers that come
while a round is under way, in whichever process, wait for that round instead of starting their own.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from aiohttp import web

from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError, NotSupportedYet
from proxy_cli.providers.base import Provider
from proxy_cli.relay import LocalExchange
from proxy_cli.routing.table import Table
from proxy_cli.secret import Scrubber
from proxy_cli.server import reply
from proxy_cli.server.rounds import SharedRound
from proxy_cli.server.routes import Visit
from proxy_cli.server.standings import described
from proxy_cli.shapes import Call, Deployment, Headers, Json, LocalReply, Operation, Timeouts
from proxy_cli.upstream.client import Upstream
from proxy_cli.wire import multipart
from proxy_cli.wire import request as wire_request

PROBE_TIMEOUT_S: Final = 60.0
_JSON: Headers = (("content-type", "application/json"),)

# model_info.mode to what is asked. Modes that would cost real money or need a file are told apart below.
OPERATIONS: Final[Mapping[str, Operation]] = {
    "chat": Operation.CHAT,
    "completion": Operation.COMPLETIONS,
    "embedding": Operation.EMBEDDINGS,
    "moderation": Operation.MODERATIONS,
    "rerank": Operation.RERANK,
    "responses": Operation.RESPONSES,
    "audio_speech": Operation.SPEECH,
    "image_generation": Operation.IMAGE_GENERATIONS,
    "audio_transcription": Operation.TRANSCRIPTIONS,
}
_BODIES: Final[Mapping[Operation, Json]] = {
    Operation.CHAT: {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1},
    Operation.COMPLETIONS: {"prompt": "Hi", "max_tokens": 1},
    Operation.EMBEDDINGS: {"input": "Hi"},
    Operation.MODERATIONS: {"input": "Hi"},
    Operation.RERANK: {"query": "Hi", "documents": ["Hi"], "top_n": 1},
    Operation.RESPONSES: {"input": "Hi", "max_output_tokens": 16},
    Operation.SPEECH: {"input": "Hi", "voice": "alloy"},
    Operation.IMAGE_GENERATIONS: {"prompt": "a dot", "n": 1},
}
# A tenth of a second of silence: 8 kHz, 8 bits, one channel.
_SILENCE: Final = (
    b"RIFF\x44\x03\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00"
    b"data\x20\x03\x00\x00" + b"\x80" * 800
)
_BOUNDARY: Final = "llmproxy-probe"
_FORM: Final = (
    (
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="model"\r\n\r\nprobe\r\n'
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="silence.wav"\r\n'
        "content-type: audio/wav\r\n\r\n"
    ).encode()
    + _SILENCE
    + f"\r\n--{_BOUNDARY}--\r\n".encode()
)

# A server that has no such path, or whose model cannot do it, says so with one of these: then the next kind is tried.
_NOT_THIS_KIND: Final = frozenset({400, 404, 405, 415, 422, 500, 501})
_UNTOLD: Final = (Operation.CHAT, Operation.EMBEDDINGS, Operation.COMPLETIONS)


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of asking one deployment."""

    deployment: Deployment
    ok: bool
    latency_s: float
    why: str = ""  # empty when it answered
    status: int = 200
    operation: Operation = Operation.CHAT


async def probe(
    deployment: Deployment,
    upstream: Upstream,
    providers: Callable[[Deployment], Provider],
    *,
    clock: Clock,
    timeout_s: float = PROBE_TIMEOUT_S,
) -> Probe:
    """Ask a deployment for something of its kind: model_info.mode, else found out. Never raises a GatewayError."""
    if named := deployment.info.get("health_check_model"):
        deployment = replace(deployment, model=str(named).removeprefix(f"{deployment.provider}/"))
    if "*" in deployment.model:
        return Probe(deployment, ok=False, latency_s=0, why=_NO_NAME, status=400)
    if deployment.mode is not None and deployment.mode not in OPERATIONS:
        why = f"a model of mode {deployment.mode!r} cannot be asked for something small; send it a request of its own"
        return Probe(deployment, ok=False, latency_s=0, why=why, status=NotSupportedYet.status)
    operations = (OPERATIONS[deployment.mode],) if deployment.mode else _UNTOLD
    first: Probe | None = None
    for operation in operations:
        result = await _ask(deployment, operation, upstream, providers, clock=clock, timeout_s=timeout_s)
        if result.ok or result.status not in _NOT_THIS_KIND:
            return result
        first = first or result
    assert first is not None
    return first


_NO_NAME: Final = "a wildcard has no single model to ask; set model_info.health_check_model"


async def _ask(
    deployment: Deployment,
    operation: Operation,
    upstream: Upstream,
    providers: Callable[[Deployment], Provider],
    *,
    clock: Clock,
    timeout_s: float,
) -> Probe:
    started_s = clock()
    try:
        call = await _call(deployment, operation)
        try:
            await _exchange(call, deployment, upstream, providers(deployment), timeout_s)
        finally:
            if not isinstance(call.body, bytes):
                call.body.close()
    except GatewayError as error:
        return Probe(deployment, False, clock() - started_s, error.message, error.status, operation)
    return Probe(deployment, True, clock() - started_s, operation=operation)


async def _exchange(
    call: Call, deployment: Deployment, upstream: Upstream, provider: Provider, timeout_s: float
) -> None:
    request = provider.prepare(call, deployment, ask_usage=False)
    if isinstance(request, LocalReply):
        local = LocalExchange(request)
        provider.read(call, deployment, local.status, local.headers, await local.read())
        return
    timeouts = Timeouts(first_byte_s=timeout_s, total_s=timeout_s)
    answer = await upstream.send(msgspec.structs.replace(request, timeouts=timeouts))
    try:
        provider.read(call, deployment, answer.status, answer.headers, await answer.read())
    finally:
        answer.close()


async def _call(deployment: Deployment, operation: Operation) -> Call:
    """The smallest request of its kind."""
    name = deployment.group
    if operation is Operation.TRANSCRIPTIONS:
        pieces = [_FORM]

        async def read() -> bytes:
            return pieces.pop() if pieces else b""

        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        form = await multipart.receive(read, kind, len(_FORM), max_bytes=len(_FORM))
        return Call(request_id="probe", operation=operation, model=name, body=form, headers=(("content-type", kind),))
    body = msgspec.json.encode({"model": name, **_BODIES[operation]})
    return Call(request_id="probe", operation=operation, model=name, body=body, fields=wire_request.cut(body))


class Health:
    """`POST /health/test`: every deployment asked in turn. Owns the round that is under way."""

    def __init__(
        self,
        table: Table,
        upstream: Upstream,
        providers: Callable[[Deployment], Provider],
        *,
        clock: Clock,
        scrubber: Scrubber,
        shared: SharedRound,
    ) -> None:
        self._table = table
        self._upstream = upstream
        self._providers = providers
        self._clock = clock
        self._scrubber = scrubber
        self._shared = shared
        self._round: asyncio.Task[bytes] | None = None
        self._turn = asyncio.Lock()

    async def answer(self, visit: Visit) -> web.StreamResponse:
        """LiteLLM's shape; `?model=` or `?model_id=` asks only those."""
        query = visit.request.query
        name, identity = query.get("model"), query.get("model_id")
        if name is None and identity is None:
            return reply.plain(200, _JSON, await self._all())
        async with self._turn:
            probes = await self._one_by_one(self._table.find(identity if identity is not None else name or ""))
        unhealthy = (name or identity) and not any(each.ok for each in probes)
        return reply.plain(503 if unhealthy else 200, _JSON, msgspec.json.encode(self._told(probes)))

    async def _all(self) -> bytes:
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._whole_round(), name="health")
        # Shielded: a caller that leaves must not end the round for the others.
        return await asyncio.shield(self._round)

    async def close(self) -> None:
        """End a round that is under way."""
        if self._round is not None and not self._round.done():
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    async def _whole_round(self) -> bytes:
        names = "\n".join(each.id for each in self._table.deployments)
        return await self._shared.result(hashlib.sha256(names.encode()).digest(), self._ask_all)

    async def _ask_all(self) -> bytes:
        async with self._turn:
            probes = await self._one_by_one(self._table.deployments)
        return msgspec.json.encode(self._told(probes))

    async def _one_by_one(self, deployments: tuple[Deployment, ...]) -> list[Probe]:
        return [await probe(each, self._upstream, self._providers, clock=self._clock) for each in deployments]

    def _told(self, probes: list[Probe]) -> Json:
        healthy = [self._endpoint(each) for each in probes if each.ok]
        unhealthy = [self._endpoint(each) for each in probes if not each.ok]
        return {
            "healthy_endpoints": healthy,
            "unhealthy_endpoints": unhealthy,
            "healthy_count": len(healthy),
            "unhealthy_count": len(unhealthy),
        }

    def _endpoint(self, result: Probe) -> Json:
        told: dict[str, Json] = {**described(result.deployment), "latency_ms": round(result.latency_s * 1000, 1)}
        if not result.ok:
            told["error"] = self._scrubber.scrub(result.why)
            told["exception_status"] = result.status
        return told
