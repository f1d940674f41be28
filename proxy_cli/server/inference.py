"""Requests for a model: a Call to the gateway, its Answer to whoever sends it to the caller.

Nothing is decided here. It puts the headers on an answer, and sees that what an answer used is settled however it ends.
"""

from aiohttp import web

from proxy_cli import __version__
from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError
from proxy_cli.gateway import Answer, Gateway
from proxy_cli.relay import Relay
from proxy_cli.server.admission import Admission
from proxy_cli.server.calls import Calls
from proxy_cli.server.problems import Problems
from proxy_cli.server.reply import Outgoing, Outlet, Sent
from proxy_cli.server.routes import Visit
from proxy_cli.shapes import Call, Headers, Record, header_text
from proxy_cli.telemetry.tap import Tap


class Inference:
    """Answers every route that asks a model. Owns the set of streams under way."""

    def __init__(
        self,
        gateway: Gateway,
        calls: Calls,
        *,
        problems: Problems,
        clock: Clock,
        admission: Admission,
        tap: Tap | None = None,
    ) -> None:
        self._gateway = gateway
        self.calls = calls
        self._problems = problems
        self._clock = clock
        self._admission = admission
        self._tap = tap
        self._streams: set[Relay] = set()

    async def answer(self, visit: Visit) -> web.StreamResponse:
        """One request that aiohttp has read, to the last byte of its answer."""
        return await self.respond(await self.calls.read(visit), visit.record, visit.own_headers, visit.outlet)

    @property
    def streams(self) -> int:
        """How many streams are under way."""
        return len(self._streams)

    def end_streams(self, reason: GatewayError) -> None:
        """End every stream with an event that says why."""
        for relay in list(self._streams):
            relay.stop(reason)

    async def respond(self, call: Call, record: Record, own: Headers, outlet: Outlet[Sent]) -> Sent:
        """One call, to the last byte of its answer. Raises the GatewayError that the caller should see."""
        record.model, record.stream = call.model, call.stream
        try:
            answer = await self._gateway.answer(call)
            try:
                return await self._send(call, record, own, answer, outlet)
            finally:
                answer.close()
        except GatewayError as failure:
            if failure.model_id:
                record.deployment = self._gateway.router.table.by_id(failure.model_id)
            raise
        finally:
            if not isinstance(call.body, bytes):
                call.body.close()

    async def _send(self, call: Call, record: Record, own: Headers, answer: Answer, outlet: Outlet[Sent]) -> Sent:
        record.deployment, record.attempts, record.status = answer.deployment, answer.attempts, answer.status
        record.waited_s = answer.waited_s
        headers = (*own, *answer.headers, *self._own_headers(call, answer))
        if answer.relay is None:
            self._settle(record, call, answer)
            record.bytes_out = len(answer.body)
            if record.cost_usd:
                headers = (*headers, ("x-litellm-response-cost", repr(record.cost_usd)))
            self._show(call, answer, headers)
            return outlet.whole(answer.status, headers, answer.body)
        self._show(call, answer, headers)
        outgoing = Outgoing(call, answer, answer.relay, headers, record, self._problems, self._clock)
        self._streams.add(answer.relay)
        moved = record.has_place and self._admission.begin_stream()
        record.has_place = record.has_place and not moved
        try:
            return await outlet.stream(outgoing)
        finally:
            self._streams.discard(answer.relay)
            if moved:
                self._admission.end_stream()
            # Also when the caller has left: what was used until then is spent.
            self._settle(record, call, answer)

    def _settle(self, record: Record, call: Call, answer: Answer) -> None:
        record.usage = answer.usage
        record.cost_usd = self._gateway.settle(call, answer)

    def _show(self, call: Call, answer: Answer, headers: Headers) -> None:
        if self._tap:
            self._tap.client_reply(call.request_id, answer.status, headers, None if answer.relay else answer.body)

    def _own_headers(self, call: Call, answer: Answer) -> Headers:
        deployment = answer.deployment
        total_ms = (self._clock() - call.received_s) * 1000
        headers = [
            ("x-litellm-model-id", header_text(deployment.id)),
            ("x-litellm-model-group", header_text(deployment.group)),
            ("x-litellm-model-name", header_text(str(deployment.params.get("model", deployment.model)))),
            ("x-litellm-version", __version__),
            ("x-litellm-attempted-retries", str(answer.attempts - 1)),
            ("x-litellm-attempted-fallbacks", "0"),
            ("x-litellm-response-duration-ms", f"{total_ms:.1f}"),
            ("x-litellm-overhead-duration-ms", f"{max(0.0, total_ms - answer.waited_s * 1000):.3f}"),
        ]
        if deployment.mock_response is None:
            headers.append(("x-litellm-model-api-base", header_text(f"{deployment.backend}{deployment.base_path}")))
        if call.controls.unused:
            headers.append(("x-llmproxy-not-yet-supported", header_text(", ".join(call.controls.unused))))
        return tuple(headers)
