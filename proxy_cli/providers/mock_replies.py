"""The replies that `mock_response` makes up: for each endpoint a body of OpenAI's shape, and for streams its events.

Everything follows from the request, so the same request has the same answer; nothing is measured, and the usage is
always 10 and 20 tokens.
"""

import base64
import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from proxy_cli.shapes import Call, Json, Operation

CREATED: Final = 1677610602  # a provider has no clock; this is what OpenAI's own model list shows
_USAGE: Final = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
_PIECE: Final = 8  # characters in one event
_DIMENSIONS: Final = 1536
_MOST_DIMENSIONS: Final = 16384
_MOST_CHOICES: Final = 128
_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

encode = msgspec.json.Encoder().encode


def body(call: Call, text: str) -> dict[str, Json]:
    """The whole reply to a call."""
    return _BODIES[call.operation](call, text)


def events(call: Call, text: str) -> tuple[bytes, ...]:
    """The same as a stream, for the endpoints that have one here: chat, completions and responses."""
    match call.operation:
        case Operation.CHAT:
            return chat_events(_chat(call, text))
        case Operation.COMPLETIONS:
            return tuple(_completion_events(call, text))
        case Operation.RESPONSES:
            return tuple(_response_events(call, text))
    return (_event(body(call, text)),)


def chat_events(reply: dict[str, Json]) -> tuple[bytes, ...]:
    """The events of any chat completion; a body that is none of those is one event."""
    if not isinstance(reply.get("choices"), list):
        return (_event(reply), b"data: [DONE]\n\n")
    head = {name: value for name, value in reply.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    made = [
        _event({**head, "choices": [{"index": choice.get("index", 0), "delta": delta, "finish_reason": reason}]})
        for choice in reply["choices"]
        for delta, reason in _deltas(choice)
    ]
    if "usage" in reply:
        made.append(_event({**head, "choices": [], "usage": reply["usage"]}))
    return (*made, b"data: [DONE]\n\n")


def silence() -> bytes:
    """A tenth of a second of nothing, as a WAV file."""
    samples = bytes(1600)
    head = struct.pack("<4sI8sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16)
    return head + struct.pack("<4sI", b"data", len(samples)) + samples


def field(call: Call, name: str) -> Json:
    """The value of a field of the request; None where there is none."""
    raw = call.fields.get(name)
    return None if raw is None else msgspec.json.decode(raw)


def _deltas(choice: dict[str, Json]) -> Iterator[tuple[dict[str, Json], str | None]]:
    message = dict(choice.get("message") or {})
    text = message.pop("content", None)
    calls = message.pop("tool_calls", None)
    yield {"role": "assistant", **message, "content": "" if isinstance(text, str) else None}, None
    for piece in _pieces(text if isinstance(text, str) else ""):
        yield {"content": piece}, None
    for index, each in enumerate(calls or ()):
        yield {"tool_calls": [{"index": index, **each}]}, None
    yield {}, choice.get("finish_reason") or "stop"


def _pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def _event(data: dict[str, Json]) -> bytes:
    return b"data: " + encode(data) + b"\n\n"


def _count(call: Call, name: str, usual: int, most: int) -> int:
    value = field(call, name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most else usual


def _chat(call: Call, text: str) -> dict[str, Json]:
    message = {"role": "assistant", "content": text}
    return {
        "id": f"chatcmpl-{call.request_id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": call.shown_model,
        "choices": [
            {"index": index, "message": message, "finish_reason": "stop"}
            for index in range(_count(call, "n", 1, _MOST_CHOICES))
        ],
        "usage": _USAGE,
    }


def _completion(call: Call, text: str) -> dict[str, Json]:
    return {
        "id": f"cmpl-{call.request_id}",
        "object": "text_completion",
        "created": CREATED,
        "model": call.shown_model,
        "choices": [
            {"index": index, "text": text, "logprobs": None, "finish_reason": "stop"}
            for index in range(_count(call, "n", 1, _MOST_CHOICES))
        ],
        "usage": _USAGE,
    }


def _completion_events(call: Call, text: str) -> Iterator[bytes]:
    whole = _completion(call, text)
    head = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    for choice in whole["choices"]:
        for piece in _pieces(text):
            yield _event({**head, "choices": [{**choice, "text": piece, "finish_reason": None}]})
        yield _event({**head, "choices": [{**choice, "text": ""}]})
    yield _event({**head, "choices": [], "usage": _USAGE})
    yield b"data: [DONE]\n\n"


def _embeddings(call: Call, _text: str) -> dict[str, Json]:
    given = field(call, "input")
    # A list of numbers is one text in tokens; any other list is several texts.
    several = isinstance(given, list) and not (given and isinstance(given[0], int))
    packed = field(call, "encoding_format") == "base64"
    size = _count(call, "dimensions", _DIMENSIONS, _MOST_DIMENSIONS)
    return {
        "object": "list",
        "model": call.shown_model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _embedding(text, size, packed=packed)}
            for index, text in enumerate(given if several else [given])
        ],
        "usage": {"prompt_tokens": 10, "total_tokens": 10},
    }


def _embedding(text: Json, size: int, *, packed: bool) -> list[float] | str:
    """A vector of length one that follows from the text alone; packed as little-endian floats in base64 on demand."""
    noise = hashlib.shake_256(encode(text)).digest(4 * size)
    raw = [value / 2**31 for value in struct.unpack(f"<{size}i", noise)]
    length = sum(value * value for value in raw) ** 0.5 or 1.0
    vector = [round(value / length, 8) for value in raw]
    return base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if packed else vector


def _moderation(call: Call, _text: str) -> dict[str, Json]:
    given = field(call, "input")
    verdict = {"flagged": False, "categories": {}, "category_scores": {}}
    return {
        "id": f"modr-{call.request_id}",
        "model": call.shown_model,
        "results": [verdict] * (len(given) if isinstance(given, list) else 1),
    }


def _image(call: Call, text: str) -> dict[str, Json]:
    picture = {"url": text} if text.startswith(("http://", "https://", "data:")) else {"b64_json": _PIXEL}
    return {"created": CREATED, "data": [picture] * _count(call, "n", 1, _MOST_CHOICES)}


def _transcript(_call: Call, text: str) -> dict[str, Json]:
    return {"text": text}


def _rerank(call: Call, _text: str) -> dict[str, Json]:
    documents = field(call, "documents")
    number = len(documents) if isinstance(documents, list) else 0
    return {
        "id": f"rerank-{call.request_id}",
        "results": [
            {"index": index, "relevance_score": round(1 / (index + 1), 6)}
            for index in range(min(number, _count(call, "top_n", number, number)))
        ],
        "meta": {"billed_units": {"search_units": 1}},
    }


def _response(call: Call, text: str) -> dict[str, Json]:
    return {
        "id": f"resp_{call.request_id}",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "model": call.shown_model,
        "output": [
            {
                "id": f"msg_{call.request_id}",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }
        ],
        "usage": {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30},
    }


def _response_events(call: Call, text: str) -> Iterator[bytes]:
    whole = _response(call, text)
    started = {**whole, "status": "in_progress", "output": [], "usage": None}
    item = f"msg_{call.request_id}"
    steps: list[dict[str, Json]] = [
        {"type": "response.created", "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": {**whole["output"][0], "content": []}},
        *(
            {
                "type": "response.output_text.delta",
                "item_id": item,
                "output_index": 0,
                "content_index": 0,
                "delta": piece,
            }
            for piece in _pieces(text)
        ),
        {"type": "response.output_text.done", "item_id": item, "output_index": 0, "content_index": 0, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": whole["output"][0]},
        {"type": "response.completed", "response": whole},
    ]
    for number, step in enumerate(steps):
        yield f"event: {step['type']}\n".encode() + _event({**step, "sequence_number": number})


_BODIES: Final[dict[Operation, Callable[[Call, str], dict[str, Json]]]] = {
    Operation.CHAT: _chat,
    Operation.COMPLETIONS: _completion,
    Operation.EMBEDDINGS: _embeddings,
    Operation.MODERATIONS: _moderation,
    Operation.IMAGE_GENERATIONS: _image,
    Operation.IMAGE_EDITS: _image,
    Operation.IMAGE_VARIATIONS: _image,
    Operation.SPEECH: _transcript,
    Operation.TRANSCRIPTIONS: _transcript,
    Operation.TRANSLATIONS: _transcript,
    Operation.RERANK: _rerank,
    Operation.RESPONSES: _response,
}
