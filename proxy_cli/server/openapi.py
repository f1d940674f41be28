"""The OpenAPI document, made from the table of routes.

Paths, methods and summaries come from the table; what a body looks like stands here, per operation. The schemas say
what is commonly sent and allow everything else, as the proxy does.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from proxy_cli.server.admin_schemas import REFUSED, described
from proxy_cli.shapes import Json, Operation

_SLOT: Final = re.compile(r"\{([a-z_]+)(?::[^{}]*)?\}")


class RouteLike(Protocol):
    """What is needed of a route."""

    @property
    def method(self) -> str: ...
    @property
    def path_template(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def tag(self) -> str: ...
    @property
    def public(self) -> bool: ...


def _text(description: str, **more: Json) -> Json:
    return {"type": "string", "description": description, **more}


def _number(description: str, **more: Json) -> Json:
    return {"type": "number", "description": description, **more}


def _whole(description: str, **more: Json) -> Json:
    return {"type": "integer", "description": description, **more}


def _switch(description: str) -> Json:
    return {"type": "boolean", "description": description}


def _list(of: Json, description: str) -> Json:
    return {"type": "array", "items": of, "description": description}


def _object(required: Sequence[str], **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": True}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_FILE: Final = {"type": "string", "format": "binary"}
_MODEL: Final = _text("A name that GET /v1/models lists.", examples=["gpt-3.5-turbo"])
_STREAM: Final = _switch("Answer as server-sent events.")
_TEXT_OR_TEXTS: Final = {"oneOf": [{"type": "string"}, {"type": "array", "items": {}}], "description": "One or many."}
_SAMPLING: Final[Mapping[str, Json]] = {
    "temperature": _number("How freely words are chosen.", minimum=0, maximum=2),
    "top_p": _number("Only words within this probability mass.", minimum=0, maximum=1),
    "max_tokens": _whole("The most tokens to answer with.", minimum=1),
    "n": _whole("How many answers.", minimum=1),
    "stop": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "seed": _whole("Asks for the same answer again."),
    "stream": _STREAM,
    "stream_options": _object((), include_usage=_switch("End the stream with its count of tokens.")),
    "user": _text("Whom the request is for."),
}

_SCHEMAS: Final[Mapping[str, Json]] = {
    "Error": _object(
        ("error",),
        error=_object(
            ("message", "type"),
            message=_text("What is wrong, and what to do."),
            type=_text("The kind of error."),
            param={"type": ["string", "null"], "description": "The field at fault."},
            code={"type": ["string", "integer", "null"], "description": "The error's own name."},
        ),
    ),
    "Message": _object(
        ("role",),
        role=_text("Who speaks.", enum=["system", "developer", "user", "assistant", "tool"]),
        content={
            "description": "A text, or a list of parts.",
            "oneOf": [{"type": "string"}, {"type": "array"}, {"type": "null"}],
        },
        tool_calls=_list({"type": "object"}, "Calls that the assistant asks for."),
        tool_call_id=_text("Which call a tool's message answers."),
    ),
    "Usage": _object(
        (),
        prompt_tokens=_whole("Tokens read."),
        completion_tokens=_whole("Tokens written."),
        total_tokens=_whole("Both."),
    ),
    "Model": _object(("id",), id=_text("The name to ask for."), object=_text("model"), owned_by=_text("Whose it is.")),
}

_REQUESTS: Final[Mapping[Operation, Json]] = {
    Operation.CHAT: _object(
        ("model", "messages"),
        model=_MODEL,
        messages=_list(_reference("Message"), "The conversation, oldest first."),
        tools=_list({"type": "object"}, "Functions that the model may call."),
        tool_choice={"description": "auto, none, required, or one function."},
        response_format={"type": "object", "description": "json_object or json_schema."},
        **_SAMPLING,
    ),
    Operation.COMPLETIONS: _object(("model", "prompt"), model=_MODEL, prompt=_TEXT_OR_TEXTS, **_SAMPLING),
    Operation.EMBEDDINGS: _object(
        ("model", "input"),
        model=_MODEL,
        input=_TEXT_OR_TEXTS,
        dimensions=_whole("The length of a vector.", minimum=1),
        encoding_format=_text("How numbers are written.", enum=["float", "base64"]),
    ),
    Operation.MODERATIONS: _object(("input",), model=_MODEL, input=_TEXT_OR_TEXTS),
    Operation.IMAGE_GENERATIONS: _object(
        ("model", "prompt"),
        model=_MODEL,
        prompt=_text("What is to be seen."),
        n=_whole("How many."),
        size=_text("Width x height."),
        response_format=_text("url or b64_json."),
    ),
    Operation.IMAGE_EDITS: _object(
        ("model", "image", "prompt"), model=_MODEL, image=_FILE, mask=_FILE, prompt=_text("What is to change.")
    ),
    Operation.IMAGE_VARIATIONS: _object(("model", "image"), model=_MODEL, image=_FILE, n=_whole("How many.")),
    Operation.SPEECH: _object(
        ("model", "input", "voice"),
        model=_MODEL,
        input=_text("What is to be said."),
        voice=_text("Whose voice."),
        response_format=_text("mp3, opus, aac, flac, wav or pcm."),
        speed=_number("1 is as usual."),
    ),
    Operation.TRANSCRIPTIONS: _object(
        ("model", "file"),
        model=_MODEL,
        file=_FILE,
        language=_text("ISO 639-1."),
        response_format=_text("json, text, srt, vtt, ..."),
    ),
    Operation.TRANSLATIONS: _object(
        ("model", "file"), model=_MODEL, file=_FILE, response_format=_text("json, text, ...")
    ),
    Operation.RERANK: _object(
        ("model", "query", "documents"),
        model=_MODEL,
        query=_text("What is looked for."),
        documents=_list({"oneOf": [{"type": "string"}, {"type": "object"}]}, "What is sorted."),
        top_n=_whole("How many to give back."),
        return_documents=_switch("Give the texts back too."),
    ),
    Operation.RESPONSES: _object(
        ("model", "input"),
        model=_MODEL,
        input=_TEXT_OR_TEXTS,
        instructions=_text("What holds for the whole conversation."),
        tools=_list({"type": "object"}, "Functions that the model may call."),
        max_output_tokens=_whole("The most tokens to answer with."),
        stream=_STREAM,
    ),
}

_RESULTS: Final = _object(("data",), data=_list({"type": "object"}, "The results."), usage=_reference("Usage"))
_CHOICES: Final = _object(
    ("choices",),
    id=_text("Of this answer."),
    model=_text("The name that was asked for."),
    choices=_list({"type": "object"}, "The answers."),
    usage=_reference("Usage"),
)
_ANSWERS: Final[Mapping[Operation, Json]] = {
    Operation.CHAT: _CHOICES,
    Operation.COMPLETIONS: _CHOICES,
    Operation.EMBEDDINGS: _RESULTS,
    Operation.MODERATIONS: _object(("results",), results=_list({"type": "object"}, "One for each input.")),
    Operation.IMAGE_GENERATIONS: _RESULTS,
    Operation.IMAGE_EDITS: _RESULTS,
    Operation.IMAGE_VARIATIONS: _RESULTS,
    Operation.TRANSCRIPTIONS: _object(("text",), text=_text("What was said.")),
    Operation.TRANSLATIONS: _object(("text",), text=_text("What was said, in English.")),
    Operation.RERANK: _object(("results",), results=_list({"type": "object"}, "Best first.")),
    Operation.RESPONSES: _object(("output",), id=_text("Of this answer."), output=_list({"type": "object"}, "Items.")),
}
_STREAMED: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES})
_FORMS: Final = frozenset(
    {Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS, Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS}
)
_ERRORS: Final[Mapping[str, str]] = {
    "400": "The request is not understood, or names no model that is known.",
    "401": "No key, or a wrong one.",
    "408": "The caller's own time limit has passed.",
    "413": "The body is too large.",
    "422": "The budget is spent.",
    "429": "The backend asks for patience.",
    "502": "The backend cannot be reached, or broke off.",
    "504": "The backend took too long.",
}


def openapi(routes: Sequence[RouteLike], *, version: str, server_root_path: str, needs_key: bool) -> Json:
    """The OpenAPI 3.1 document of these routes."""
    paths: dict[str, Json] = {}
    for_operators, schemas = described(routes)
    for route in routes:
        path = _SLOT.sub(r"{\1}", route.path_template)
        told = _operation(route, path, needs_key)
        if (more := for_operators.get((route.method, route.path_template))) is not None:
            told = _with_more(told, more)
        paths.setdefault(path, {})[route.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llmproxy",
            "version": version,
            "description": "Every model of this server behind one OpenAI-compatible API.",
        },
        "servers": [{"url": server_root_path.rstrip("/") or "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": _components(needs_key, schemas),
    }


def _with_more(told: Json, more: Json) -> Json:
    """An operation with what is known of an endpoint for operators."""
    parameters = [*told.get("parameters", ()), *more["parameters"]]
    body = {"requestBody": more["requestBody"]} if "requestBody" in more else {}
    responses = {**told["responses"], **more["refused"]}
    return {**told, **body, **({"parameters": parameters} if parameters else {}), "responses": responses}


def _components(needs_key: bool, more: Mapping[str, Json]) -> Json:
    """What paths refer to: several lead to one operation, and all fail in the same ways."""
    failed = {"application/json": {"schema": _reference("Error")}}
    schemas = {**more, **_SCHEMAS}
    for kind, schema in _REQUESTS.items():
        needed = [field for field in schema["required"] if field != "model"]
        schemas[_request_name(kind, named=False)] = schema
        schemas[_request_name(kind, named=True)] = {**schema, "required": needed}
        if kind in _ANSWERS:
            schemas[_answer_name(kind)] = _ANSWERS[kind]
    components: dict[str, Json] = {
        "schemas": schemas,
        "responses": {f"E{status}": {"description": text, "content": failed} for status, text in _ERRORS.items()},
    }
    if more:
        components["responses"][REFUSED] = {"description": "Refused; the error says why.", "content": failed}
    if needs_key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return components


def _operation(route: RouteLike, path: str, needs_key: bool) -> Json:
    kind = _kind(path) if route.method == "POST" else None
    told: dict[str, Json] = {
        "operationId": _identifier(route.method, path),
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _responses(kind, needs_key=needs_key and not route.public),
    }
    if slots := _SLOT.findall(path):
        told["parameters"] = [
            {"name": slot, "in": "path", "required": True, "schema": {"type": "string"}} for slot in slots
        ]
    if needs_key and not route.public:
        told["security"] = [{"key": []}]
    if kind is not None:
        media = "multipart/form-data" if kind in _FORMS else "application/json"
        # Where the path names the model the body need not.
        schema = _reference(_request_name(kind, named="{" in path))
        told["requestBody"] = {"required": True, "content": {media: {"schema": schema}}}
    return told


def _kind(path: str) -> Operation | None:
    """The operation of a path: the longest whose words end it, since `chat/completions` ends as `completions` does."""
    ending = [operation for operation in Operation if path.endswith(f"/{operation.value}")]
    return max(ending, key=lambda operation: len(operation.value), default=None)


def _responses(kind: Operation | None, *, needs_key: bool) -> Json:
    statuses = [status for status in _ERRORS if (needs_key if status == "401" else kind is not None)]
    failed = {status: {"$ref": f"#/components/responses/E{status}"} for status in statuses}
    return {"200": {"description": "Done.", "content": _good(kind)}, **failed}


def _good(kind: Operation | None) -> Json:
    if kind is Operation.SPEECH:
        return {"audio/*": {"schema": _FILE}}
    if kind is None:
        return {"application/json": {"schema": {}}}
    content = {"application/json": {"schema": _reference(_answer_name(kind))}}
    return {**content, "text/event-stream": {"schema": {"type": "string"}}} if kind in _STREAMED else content


def _request_name(kind: Operation, *, named: bool) -> str:
    return f"{_title(kind)}Request{'ToNamedModel' if named else ''}"


def _answer_name(kind: Operation) -> str:
    return f"{_title(kind)}Answer"


def _title(kind: Operation) -> str:
    return "".join(word.title() for word in kind.name.split("_"))


def _identifier(method: str, path: str) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")
    slash = "_slash" if words and path.endswith("/") else ""
    return f"{method.lower()}_{words or 'home'}{slash}"
