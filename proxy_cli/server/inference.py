"""Requests for a model: bytes to a Call, the Call to the gateway, its Answer to the caller.

Nothing is decided here. A JSON body is read whole and cut into its top-level fields once; a multipart body is passed
through while it arrives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from aiohttp import web

from proxy_cli import __version__
from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError, InvalidRequest, UnsupportedMedia
from proxy_cli.gateway import Answer, Gateway
from proxy_cli.server import body as request_body
from proxy_cli.server import reply
from proxy_cli.server.problems import Problems
from proxy_cli.server.routes import Match, Visit
from proxy_cli.shapes import Call, Controls, Headers, Operation, Record, header_text
from proxy_cli.telemetry.tap import Tap
from proxy_cli.wire import multipart
from proxy_cli.wire import request as wire_request

_MEGABYTE: Final = 1024 * 1024
_KEY: Final = "x-litellm-api-key"
# OpenAI lets these two go without a name and takes its own model then.
_SETTINGS: Final = {
    Operation.MODERATIONS: "moderation_model",
    Operation.CHAT: "completion_model",
    Operation.COMPLETIONS: "completion_model",
    Operation.EMBEDDINGS: "embedding_model",
    Operation.IMAGE_GENERATIONS: "image_generation_model",
}
_UNNAMED: Final = {Operation.MODERATIONS: "omni-moderation-latest", Operation.IMAGE_EDITS: "gpt-image-1"}

_FORMS: Final = frozenset(
    {Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS, Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may weigh, and what the settings say about every request of a kind."""

    max_body_bytes: int = 32 * _MEGABYTE
    max_upload_bytes: int = 512 * _MEGABYTE
    always_usage: bool = False  # general_settings.always_include_stream_usage
    models: Mapping[Operation, str] = field(default_factory=dict)  # general_settings.completion_model, ...
    key_header: str = ""  # general_settings.litellm_key_header_name, in lower case


class Inference:
    """Answers every route that asks a model."""

    def __init__(
        self, gateway: Gateway, *, problems: Problems, limits: Limits, clock: Clock, tap: Tap | None = None
    ) -> None:
        self._gateway = gateway
        self._problems = problems
        self._limits = limits
        self._clock = clock
        self._tap = tap

    async def answer(self, visit: Visit) -> web.StreamResponse:
        """One request for a model, to the last byte of its answer."""
        call = await self._call(visit)
        visit.record.model, visit.record.stream = call.model, call.stream
        try:
            answer = await self._gateway.answer(call)
            try:
                return await self._send(visit, call, answer)
            finally:
                answer.close()
        except GatewayError as failure:
            if failure.model_id:
                visit.record.deployment = self._gateway.router.table.by_id(failure.model_id)
            raise
        finally:
            if not isinstance(call.body, bytes):
                call.body.close()

    async def _send(self, visit: Visit, call: Call, answer: Answer) -> web.StreamResponse:
        record = visit.record
        record.deployment, record.attempts, record.status = answer.deployment, answer.attempts, answer.status
        headers = (*visit.headers, *answer.headers, *self._own_headers(call, answer))
        if answer.relay is None:
            return self._whole(record, call, answer, headers)
        self._show(call, answer, headers)
        try:
            return await reply.stream(
                visit.request, call, answer, headers, problems=self._problems, record=record, clock=self._clock
            )
        finally:
            # Also when the caller has left: what was used until then is spent.
            self._settle(record, call, answer)

    def _whole(self, record: Record, call: Call, answer: Answer, headers: Headers) -> web.StreamResponse:
        self._settle(record, call, answer)
        record.bytes_out = len(answer.body)
        if record.cost_usd:
            headers = (*headers, ("x-litellm-response-cost", repr(record.cost_usd)))
        self._show(call, answer, headers)
        return reply.plain(answer.status, headers, answer.body)

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

    async def _call(self, visit: Visit) -> Call:
        request, match, record = visit.request, visit.match, visit.record
        operation = match.route.operation
        assert operation is not None
        headers = self._headers(request)
        kind = request.headers.get("content-type", "")
        if kind[:19].lower() == "multipart/form-data":
            if operation not in _FORMS:
                raise UnsupportedMedia("a form is not read on this path; send a JSON object")
            return await self._form_call(visit, headers, operation)
        body = await request_body.read_json(request, self._limits.max_body_bytes)
        if self._tap:
            self._tap.client_request(record.request_id, request.method, request.raw_path, headers, body)
        fields = wire_request.cut(body)
        wire_request.refuse_server_fields(fields)
        if operation is Operation.CHAT and "messages" not in fields:
            raise InvalidRequest("the request has no 'messages'; send a list of messages", param="messages")
        stream = wire_request.flag(fields, "stream")
        return Call(
            request_id=record.request_id,
            operation=operation,
            model=self._model(operation, match, wire_request.text(fields, "model")),
            body=wire_request.strip_bom(body),
            fields=fields,
            stream=stream,
            wants_usage=stream and (self._limits.always_usage or wire_request.wants_usage(fields)),
            headers=headers,
            controls=_with_headers(wire_request.controls(fields), request.headers),
            received_s=record.started_s,
        )

    async def _form_call(self, visit: Visit, headers: Headers, operation: Operation) -> Call:
        request = visit.request
        if self._tap:
            self._tap.client_request(visit.record.request_id, request.method, request.raw_path, headers, b"")
        upload = await multipart.receive(
            await request_body.read_form(request, self._limits.max_upload_bytes),
            request.headers["content-type"],
            None if "content-encoding" in request.headers else request.content_length,
            max_bytes=self._limits.max_upload_bytes,
        )
        try:
            return Call(
                request_id=visit.record.request_id,
                operation=operation,
                model=self._model(operation, visit.match, upload.model),
                body=upload,
                stream=upload.fields.get("stream", "").lower() == "true",
                wants_usage=True,
                headers=headers,
                controls=_with_headers(wire_request.controls({}), request.headers),
                received_s=visit.record.started_s,
            )
        except BaseException:
            upload.close()
            raise

    def _headers(self, request: web.BaseRequest) -> Headers:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        if own := self._limits.key_header:
            # From here on a key in a header of the team's own is known for a key: shown masked, and never sent on.
            return tuple((_KEY if name == own else name, value) for name, value in headers)
        return headers

    def _model(self, operation: Operation, match: Match, named: str | None) -> str:
        # Azure's clients name the deployment in the path: it wins over the body, as it does there.
        name = self._limits.models.get(operation) or match.model or named
        if name:
            return name
        table, usual = self._gateway.router.table, _UNNAMED.get(operation, "")
        if table.any_name:
            return table.deployments[0].group
        if usual and table.knows(usual):
            return usual
        setting = _SETTINGS.get(operation)
        cure = f", or set general_settings.{setting}" if setting else ""
        raise InvalidRequest(f"the request names no 'model'; name one that GET /v1/models lists{cure}", param="model")


def _with_headers(controls: Controls, headers: Mapping[str, str]) -> Controls:
    """Time limits may also come as headers; the body's own word wins."""
    timeout, stream_timeout = headers.get("x-litellm-timeout"), headers.get("x-litellm-stream-timeout")
    if timeout is not None and controls.timeout_s is None:
        controls = replace(controls, timeout_s=_seconds("x-litellm-timeout", timeout))
    if stream_timeout is not None and controls.stream_timeout_s is None:
        controls = replace(controls, stream_timeout_s=_seconds("x-litellm-stream-timeout", stream_timeout))
    return controls


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e7:
        raise InvalidRequest(f"the header {name} must be a number of seconds above 0", param=name)
    return seconds
