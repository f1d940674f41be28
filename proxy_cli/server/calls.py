"""A request for a model as it came in, made a Call: its headers, its JSON body or its form.

A JSON body is read whole and cut into its top-level fields once; a multipart body is passed through while it arrives.
Refuses a body that does not say what the operation needs. Nothing is decided here of what becomes of the call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy_cli.errors import InvalidRequest, UnsupportedMedia
from proxy_cli.routing.table import Table
from proxy_cli.server import body as request_body
from proxy_cli.server.routes import Match, Visit
from proxy_cli.shapes import NO_CONTROLS, Call, Controls, Fields, Headers, Operation, Record
from proxy_cli.telemetry.tap import Tap
from proxy_cli.wire import multipart, steering
from proxy_cli.wire import request as wire_request

_MEGABYTE: Final = 1024 * 1024
_KEY: Final = "x-litellm-api-key"
_MAY_MAKE_UP: Final = "allow_client_mock_response"  # in a key's metadata: its requests may hold their answer
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
    permitted: frozenset[str] = frozenset()  # fields of the operator's that callers may set nevertheless
    refuses_tags: bool = False  # general_settings.reject_clientside_metadata_tags


class Calls:
    """Makes calls of requests."""

    def __init__(self, table: Table, *, limits: Limits, tap: Tap | None = None) -> None:
        self._table = table
        self._limits = limits
        self._tap = tap

    async def read(self, visit: Visit) -> Call:
        """The call of a request that aiohttp has read. Raises the GatewayError that says why it is none."""
        request, record = visit.request, visit.record
        operation = visit.match.route.operation
        assert operation is not None
        kind = request.headers.get("content-type", "")
        if kind[:19].lower() == "multipart/form-data":
            if operation not in _FORMS:
                raise UnsupportedMedia("a form is not read on this path; send a JSON object")
            return await self._form(visit, operation)
        body = await request_body.read_json(request, self._limits.max_body_bytes)
        fields = await request_body.read_fields(body)
        return self.of_json(visit.match, record, visit.headers, body, request.raw_path, fields)

    def of_json(
        self, match: Match, record: Record, headers: Headers, body: bytes, target: str, fields: Fields | None = None
    ) -> Call:
        """The call of a JSON body; `fields` where it has been cut already. Raises InvalidRequest."""
        operation = match.route.operation
        assert operation is not None
        headers = self._renamed(headers)
        if self._tap:
            self._tap.client_request(record.request_id, record.method, target, headers, body)
        if fields is None:
            fields = wire_request.cut(body)
        permitted = self._limits.permitted
        if "mock_response" in fields and record.caller.metadata.get(_MAY_MAKE_UP) is True:
            permitted |= {"mock_response"}
        wire_request.refuse_server_fields(fields, permitted)
        if operation is Operation.CHAT and "messages" not in fields:
            raise InvalidRequest("the request has no 'messages'; send a list of messages", param="messages")
        stream = wire_request.flag(fields, "stream")
        model = self._model(operation, match, wire_request.text(fields, "model"))
        controls = steering.with_headers(steering.controls(fields, model), headers)
        return Call(
            request_id=record.request_id,
            operation=operation,
            model=model,
            body=wire_request.strip_bom(body),
            fields=fields,
            stream=stream,
            wants_usage=stream and (self._limits.always_usage or wire_request.wants_usage(fields)),
            headers=headers,
            controls=controls if controls is NO_CONTROLS else self._permitted(controls),
            received_s=record.started_s,
            caller=record.caller,
        )

    async def _form(self, visit: Visit, operation: Operation) -> Call:
        request = visit.request
        headers = self._renamed(visit.headers)
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
                controls=self._permitted(steering.with_headers(NO_CONTROLS, headers)),
                received_s=visit.record.started_s,
                caller=visit.record.caller,
            )
        except BaseException:
            upload.close()
            raise

    def _permitted(self, controls: Controls) -> Controls:
        """The same, unless they hold what this proxy leaves to its configuration. Raises InvalidRequest."""
        if self._limits.refuses_tags and controls.tags:
            raise InvalidRequest("tags are set by the proxy only; take them out of the request", param="tags")
        return controls

    def _renamed(self, headers: Headers) -> Headers:
        """From here on a key in a header of the team's own is known for a key: shown masked, and never sent on."""
        own = self._limits.key_header
        return tuple((_KEY if name == own else name, value) for name, value in headers) if own else headers

    def _model(self, operation: Operation, match: Match, named: str | None) -> str:
        # Azure's clients name the deployment in the path: it wins over the body, as it does there.
        name = self._limits.models.get(operation) or match.model or named
        if name:
            return name
        table, usual = self._table, _UNNAMED.get(operation, "")
        if table.any_name:
            return table.deployments[0].group
        if usual and table.knows(usual):
            return usual
        setting = _SETTINGS.get(operation)
        cure = f", or set general_settings.{setting}" if setting else ""
        raise InvalidRequest(f"the request names no 'model'; name one that GET /v1/models lists{cure}", param="model")
