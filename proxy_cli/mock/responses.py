"""What the mock backend answers on /responses: one message or one function call, whole or as events."""

from collections.abc import Iterator

from proxy_cli.mock.chat import CREATED, Reply, last_user_text, pieces_of
from proxy_cli.shapes import Json


def input_text(value: Json) -> str:
    """What a Responses request says last, its `input` being a text or a list of items."""
    return value if isinstance(value, str) else last_user_text(value)


def response(reply: Reply, status: str = "completed") -> Json:
    """A whole `response` object."""
    return {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": reply.model,
        "output": [_item(reply, "completed")] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "metadata": {},
        "usage": _usage(reply) if status == "completed" else None,
    }


def response_events(reply: Reply) -> Iterator[Json]:
    """The events of a Responses stream in order, each with its number."""
    for number, event in enumerate(_events(reply)):
        yield {**event, "sequence_number": number}


def _events(reply: Reply) -> Iterator[Json]:
    yield {"type": "response.created", "response": response(reply, "in_progress")}
    yield {"type": "response.output_item.added", "output_index": 0, "item": _item(reply, "in_progress")}
    yield from _call_events(reply) if reply.tool else _text_events(reply)
    yield {"type": "response.output_item.done", "output_index": 0, "item": _item(reply, "completed")}
    yield {"type": "response.completed", "response": response(reply)}


def _text_events(reply: Reply) -> Iterator[Json]:
    place: Json = {"item_id": f"msg_{reply.id}", "output_index": 0, "content_index": 0}
    yield {"type": "response.content_part.added", **place, "part": _part("")}
    for piece in reply.pieces:
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": reply.text, "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": _part(reply.text)}


def _call_events(reply: Reply) -> Iterator[Json]:
    arguments = reply.tool[1] if reply.tool else ""
    place: Json = {"item_id": f"fc_{reply.id}", "output_index": 0}
    for piece in pieces_of(arguments):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **place, "arguments": arguments}


def _item(reply: Reply, status: str) -> Json:
    whole = status == "completed"
    if reply.tool:
        name, arguments = reply.tool
        return {
            "id": f"fc_{reply.id}", "type": "function_call", "status": status, "call_id": f"call_{reply.id}",
            "name": name, "arguments": arguments if whole else "",
        }  # fmt: skip
    content = [_part(reply.text)] if whole else []
    return {"id": f"msg_{reply.id}", "type": "message", "status": status, "role": "assistant", "content": content}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(reply: Reply) -> Json:
    if reply.usage is None:
        return None
    thought = reply.usage.get("completion_tokens_details", {}).get("reasoning_tokens", 0)
    return {
        "input_tokens": reply.usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": reply.usage["total_tokens"],
    }
