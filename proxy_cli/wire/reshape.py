"""A completion told in the other form: whole where events came, as events where it came whole.

Some servers stream whatever they are asked, and some never do. Owns: which field of a delta is put behind what came
before it, and which takes its place. Refuses: events without their end mark, which are not the whole answer.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from proxy_cli.errors import BackendBroken, GatewayError
from proxy_cli.shapes import Json
from proxy_cli.wire.splice import decoded, encode
from proxy_cli.wire.sse import Events, data_of

_DONE: Final = b"[DONE]"
_CHUNK: Final = "chat.completion.chunk"
_WHOLE: Final = "chat.completion"
# Texts that are told once, and not in pieces.
_NAMES: Final = frozenset({"role", "id", "type", "name", "finish_reason"})


def as_events(body: bytes) -> tuple[bytes, ...] | None:
    """The events that would have told a whole completion; None for what is none."""
    whole = _object(body)
    if whole is None or not isinstance(choices := whole.pop("choices", None), list):
        return None
    if not all(isinstance(choice, dict) for choice in choices):
        return None
    usage = whole.pop("usage", None)
    if whole.get("object") == _WHOLE:
        whole["object"] = _CHUNK
    told = [{**whole, "choices": [part]} for choice in choices for part in _parts(choice)]
    if usage is not None:
        told.append({**whole, "choices": [], "usage": usage})
    return (*(b"data: " + encode(event) + b"\n\n" for event in told), b"data: " + _DONE + b"\n\n")


def as_whole(stream: bytes, failure: Callable[[bytes], GatewayError]) -> bytes | None:
    """The completion that a whole stream tells; None for a stream of something else.

    Raises BackendBroken for one without its end mark, and what `failure` makes of an event that is an error.
    """
    events = Events()
    whole: dict[str, Json] = {}
    choices: dict[int, dict[str, Json]] = {}
    is_done = False
    for event in [*events.feed(stream), events.rest()]:
        data = data_of(event)
        is_done = is_done or (data is not None and data.strip() == _DONE)
        if is_done or data is None or (told := _object(data)) is None:
            continue
        if told.get("error") is not None:
            raise failure(event)
        for choice in told.pop("choices", None) or ():
            if isinstance(choice, dict):
                at = choice.get("index")
                _join(choices.setdefault(at if isinstance(at, int) else 0, {}), choice)
        whole = told | {name: value for name, value in whole.items() if value is not None and name != "usage"}
    if not is_done:
        raise BackendBroken("the backend ended the stream before its end mark", code="upstream_truncated")
    if not choices:
        return None
    if whole.get("object") == _CHUNK:
        whole["object"] = _WHOLE
    return encode(whole | {"choices": [_settled(_whole(choices[at]), at) for at in sorted(choices)]})


def _object(data: bytes) -> dict[str, Json] | None:
    try:
        value = decoded(msgspec.Raw(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parts(choice: dict[str, Json]) -> list[dict[str, Json]]:
    """A choice as deltas: what it says, and that it ends. One of a text completion is its own delta."""
    message = choice.pop("message", None)
    if not isinstance(message, dict):
        return [choice]
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [
            {"index": at, **call} if isinstance(call, dict) else call for at, call in enumerate(calls)
        ]
    end = {"index": choice.get("index", 0), "delta": {}, "finish_reason": choice.get("finish_reason")}
    return [{**choice, "delta": message, "finish_reason": None}, end]


class _Text:
    """A text that comes in pieces, which are joined once."""

    __slots__ = ("pieces",)

    def __init__(self, first: str) -> None:
        self.pieces = [first]


class _Row:
    """A list that comes in pieces; entries that bear an index are pieces of the entry that bore it before."""

    __slots__ = ("entries", "places")

    def __init__(self) -> None:
        self.entries: list[Json] = []
        self.places: dict[int, dict[str, Json]] = {}

    def add(self, entries: list[Json]) -> None:
        """Put entries, or more of them, behind those that came before."""
        for entry in entries:
            index = entry.get("index") if isinstance(entry, dict) else None
            if not isinstance(index, int):
                self.entries.append(entry)
                continue
            if index not in self.places:
                self.places[index] = {}
                self.entries.append(self.places[index])
            _join(self.places[index], entry)


def _join(so_far: dict[str, Json], more: dict[str, Json]) -> None:
    """Put a piece of an object behind what came of it before."""
    for name, value in more.items():
        before = so_far.get(name)
        match value:
            case dict():
                inner = so_far[name] = before if isinstance(before, dict) else {}
                _join(inner, value)
            case list():
                row = so_far[name] = before if isinstance(before, _Row) else _Row()
                row.add(value)
            case str() if isinstance(before, _Text) and name not in _NAMES:
                before.pieces.append(value)
            case str():
                so_far[name] = _Text(value)
            case None if before is not None:
                pass
            case _:
                so_far[name] = value


def _whole(value: Json) -> Json:
    """What was put together, as plain JSON."""
    match value:
        case _Text():
            return "".join(value.pieces)
        case _Row():
            return [_whole(entry) for entry in value.entries]
        case dict():
            return {name: _whole(each) for name, each in value.items()}
    return value


def _settled(choice: dict[str, Json], at: int) -> dict[str, Json]:
    """A choice that has been put together, as a whole answer has it."""
    delta = choice.pop("delta", None)
    settled = {"index": at, **choice, "finish_reason": choice.get("finish_reason")}
    if isinstance(delta, dict):
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                call.pop("index", None)
        settled["message"] = {"role": "assistant", "content": None, **delta}
    return settled
