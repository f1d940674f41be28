"""What the mock backend answers to chat and text completions: always the same answer to the same request.

The answer echoes the last user message, so that a test can see its own words come back; tokens are counted as
pieces of four characters.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proxy_cli.mock.faults import Faults
from proxy_cli.shapes import Json

CREATED: Final = 1_700_000_000  # a fixed day: the same request always gets the same bytes
_PIECE: Final = 4  # characters in a token of ours
_DEPTH: Final = 8  # how deep an example of a JSON schema goes
_EXAMPLES: Final[dict[str, Json]] = {
    "string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer before it is put into a format."""

    id: str
    model: str
    pieces: tuple[str, ...]
    reasoning: str | None = None
    tool: tuple[str, str] | None = None  # its name and its arguments as JSON
    choices: int = 1
    usage: Json = None

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(self.pieces)

    @property
    def finish_reason(self) -> str:
        """Why it ends."""
        return "tool_calls" if self.tool else "stop"


def pieces_of(text: str) -> tuple[str, ...]:
    """The text in tokens of ours; joined they are the text again."""
    return tuple(text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def text_of(content: Json) -> str:
    """The text of a message's content, be it a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part if isinstance(part, str) else part.get("text", "") for part in content if part]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def last_user_text(messages: Json) -> str:
    """What is echoed: the last message of a user, or of a tool when that came later."""
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") in ("user", "tool", None):
            return text_of(message.get("content"))
    return ""


def reply(body: Json, text: str, faults: Faults) -> Reply:
    """The answer to a body that says `text`, its directives taken out."""
    tool = _tool_call(body, text, faults)
    pieces = () if tool else _pieces(body, text, faults)
    choices = body.get("n") if isinstance(body.get("n"), int) else 1
    count = len(pieces_of(tool[1])) if tool else len(pieces)
    return Reply(
        id=hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24],
        model=str(body.get("model", "")),
        pieces=pieces,
        reasoning=faults.reasoning,
        tool=tool,
        choices=max(1, choices),
        usage=None if faults.no_usage else usage(text, count * max(1, choices), faults.reasoning),
    )


def usage(text: str, completion_tokens: int, reasoning: str | None = None) -> Json:
    """The count of tokens in OpenAI's format."""
    prompt_tokens = len(pieces_of(text))
    thought = len(pieces_of(reasoning or ""))
    counted: Json = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens + thought,
        "total_tokens": prompt_tokens + completion_tokens + thought,
    }
    if thought:
        counted["completion_tokens_details"] = {"reasoning_tokens": thought}
    return counted


def example(schema: Json, depth: int = _DEPTH) -> Json:
    """A value that a JSON schema allows, the same each time."""
    if not isinstance(schema, dict) or depth == 0:
        return None
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    for many in ("anyOf", "oneOf", "allOf"):
        if schema.get(many):
            return example(schema[many][0], depth - 1)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [example(schema["items"], depth - 1)] if "items" in schema else []
    if kind == "object":
        return {name: example(value, depth - 1) for name, value in schema.get("properties", {}).items()}
    return _EXAMPLES.get(kind)


def _pieces(body: Json, text: str, faults: Faults) -> tuple[str, ...]:
    if faults.events is not None:
        return tuple(f"{number} " for number in range(1, faults.events + 1))
    if faults.size is not None:
        return pieces_of("0123456789" * (faults.size // 10) + "0123456789"[: faults.size % 10])
    wanted = body.get("response_format")
    match wanted.get("type") if isinstance(wanted, dict) else None:
        case "json_object":
            text = json.dumps({"echo": text}, ensure_ascii=False)
        case "json_schema":
            text = json.dumps(example(wanted["json_schema"].get("schema")), ensure_ascii=False)
    pieces = pieces_of(text or "ok")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    return pieces[:limit] if isinstance(limit, int) and limit > 0 else pieces


def _tool_call(body: Json, text: str, faults: Faults) -> tuple[str, str] | None:
    """The call that the prompt asks for: by directive, by `tool_choice`, or because it names the tool."""
    tools = dict(_tools(body.get("tools") or ()))
    choice = body.get("tool_choice")
    if not tools or choice == "none":
        return None
    forced = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
    named = next((name for name in tools if name in text), None)
    name = faults.tool or forced or named or (next(iter(tools)) if choice == "required" else None)
    if name not in tools:
        return None
    return name, json.dumps(example(tools[name]), ensure_ascii=False)


def _tools(tools: Sequence[Json]) -> Iterator[tuple[str, Json]]:
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, dict) else {}
        if function.get("name"):
            yield function["name"], function.get("parameters") or {}


def chat_completion(reply: Reply) -> Json:
    """A whole `chat.completion`."""
    message: Json = {"role": "assistant", "content": None if reply.tool else reply.text}
    if reply.reasoning is not None:
        message["reasoning_content"] = reply.reasoning
    if reply.tool:
        message["tool_calls"] = [{"id": _call_id(reply), "type": "function", "function": _function(*reply.tool)}]
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
        for index in range(reply.choices)
    ]
    return _with_usage({**_head(reply, "chat.completion"), "choices": choices}, reply)


def chat_chunks(reply: Reply, *, with_usage: bool) -> Iterator[Json]:
    """The events of a chat stream, in order."""
    head = _head(reply, "chat.completion.chunk")
    for index in range(reply.choices):
        yield _chunk(head, index, {"role": "assistant", "content": ""})
    for delta in _deltas(reply):
        for index in range(reply.choices):
            yield _chunk(head, index, delta)
    for index in range(reply.choices):
        yield _chunk(head, index, {}, reply.finish_reason)
    if with_usage and reply.usage:
        yield {**head, "choices": [], "usage": reply.usage}


def completion(reply: Reply) -> Json:
    """A whole `text_completion`."""
    choices = [_text_choice(index, reply.text, "stop") for index in range(reply.choices)]
    return _with_usage({**_head(reply, "text_completion"), "choices": choices}, reply)


def completion_chunks(reply: Reply, *, with_usage: bool) -> Iterator[Json]:
    """The events of a text stream, in order."""
    head = _head(reply, "text_completion")
    for piece in reply.pieces:
        for index in range(reply.choices):
            yield {**head, "choices": [_text_choice(index, piece, None)]}
    for index in range(reply.choices):
        yield {**head, "choices": [_text_choice(index, "", "stop")]}
    if with_usage and reply.usage:
        yield {**head, "choices": [], "usage": reply.usage}


def _deltas(reply: Reply) -> Iterator[Json]:
    for piece in pieces_of(reply.reasoning or ""):
        yield {"reasoning_content": piece}
    if reply.tool:
        name, arguments = reply.tool
        yield {"tool_calls": [{"index": 0, "id": _call_id(reply), "type": "function", "function": _function(name, "")}]}
        for piece in pieces_of(arguments):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
    for piece in reply.pieces:
        yield {"content": piece}


def _head(reply: Reply, kind: str) -> Json:
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {
        "id": f"{prefix}-{reply.id}", "object": kind, "created": CREATED, "model": reply.model,
        "system_fingerprint": "mock",
    }  # fmt: skip


def _chunk(head: Json, index: int, delta: Json, finish_reason: str | None = None) -> Json:
    return {**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}


def _text_choice(index: int, text: str, finish_reason: str | None) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}


def _with_usage(answer: Json, reply: Reply) -> Json:
    return {**answer, "usage": reply.usage} if reply.usage else answer


def _call_id(reply: Reply) -> str:
    return f"call_{reply.id}"


def _function(name: str, arguments: str) -> Json:
    return {"name": name, "arguments": arguments}
