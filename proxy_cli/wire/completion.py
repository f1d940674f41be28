"""Streams of OpenAI's dialects on their way through: chat, completions, and the Responses API.

Owns: what is changed in an event: the model's name and nothing else; which event is dropped: the usage chunk that only
we asked for; and what is noted beside it: usage, the end mark, an error inside the stream.
Refuses: to understand the rest. An event that is no JSON, a comment, a vendor's own event passes as its bytes.
Rule: half an event never goes out, for what follows it would be read as its second half. An error inside the stream is
an end of it: nothing need follow, and no second error is made up.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from proxy_cli.shapes import Fields, Json, Usage
from proxy_cli.wire.splice import decoded, edit, encode, is_null, is_text, object_fields, only_model, rename_model
from proxy_cli.wire.sse import Events, data_of, with_data
from proxy_cli.wire.usage import usage_of

_DONE: Final = b"[DONE]"
_EMPTY_LISTS: Final = ([b"[]"], [b"[", b"]"])
_SMALL: Final = 400  # bytes; empty choices are never more, and a small value is cheap and safe to decode
_DONE_EVENT: Final = b"data: [DONE]\n\n"
_ENDS: Final = {b'"response.completed"', b'"response.failed"', b'"response.incomplete"'}


class _EventReader:
    """What the readers of both dialects do alike: cut into events, count them, see the end mark."""

    def __init__(self, scrub: Callable[[bytes], bytes] | None) -> None:
        self.usage: Usage | None = None
        self.seen = (0, 0)
        self.finished = False
        self.error_event: bytes | None = None
        self._events = Events()
        self._scrub = scrub  # takes secrets out of what a backend says of its failure

    def feed(self, data: bytes) -> bytes:
        """What goes on to the caller. Raises BackendBroken for an event that is too large."""
        events = self._events.feed(data)
        self.seen = (self.seen[0] + len(events), self.seen[1] + len(data))
        return b"".join([self._passed(event) for event in events])

    def _passed(self, event: bytes) -> bytes:
        raise NotImplementedError

    def _last(self) -> bytes:
        """A last event that lacks only its blank line; anything less whole is dropped."""
        event = last_event(self._events.rest())
        return self._passed(event) if event else b""

    def _object(self, event: bytes) -> tuple[bytes, Fields] | None:
        """The data of an event, where it is a JSON object; None for all that passes as it is, such as the end mark."""
        data = data_of(event)
        if data is None:
            return None
        if data.strip() == _DONE:
            self.finished = True
            return None
        fields = object_fields(data)
        return None if fields is None else (data, fields)


class ChatStream(_EventReader):
    """A reader for chat and completions streams (see providers/base.py)."""

    def __init__(
        self, asked_model: str, keep_usage: bool, rename: bool, scrub: Callable[[bytes], bytes] | None = None
    ) -> None:
        super().__init__(scrub)
        self._name = encode(asked_model) if rename else None
        self._keep_usage = keep_usage
        # The bytes from the start of an event to the end of its model's name, and what they become. Most events of a
        # stream begin alike (id, created, model): those need no decoding to be renamed.
        self._head = b""
        self._new_head = b""

    def end(self) -> bytes:
        """A last event that lacks only its blank line, and the mark that an error left out; half events are dropped."""
        out = self._last()
        if self.error_event is not None and not self.finished:
            self.finished = True
            return out + _DONE_EVENT
        return out

    def _passed(self, event: bytes) -> bytes:
        plain = b'"usage"' not in event and b'"error"' not in event
        if plain and self._head and event.startswith(self._head):
            return self._new_head + event[len(self._head) :]
        held = self._object(event)
        if held is None:
            return event
        data, fields = held
        if not plain and self._noted(event, fields):
            return b""
        if self._scrub is not None and self.error_event is event:
            return self._scrub(event)
        return event if self._name is None else self._renamed(event, data, fields, self._name)

    def _noted(self, event: bytes, fields: Fields) -> bool:
        """Keep usage and error; True for the usage chunk of a caller who did not ask for it."""
        if self.error_event is None and (not is_null(fields.get("error")) or _is(fields, "object", b'"error"')):
            self.error_event = event
        usage = usage_of(fields.get("usage"))
        if usage is None:
            return False
        self.usage = usage
        return not self._keep_usage and "choices" in fields and _says_nothing(fields["choices"])

    def _renamed(self, event: bytes, data: bytes, fields: Fields, name: bytes) -> bytes:
        old = fields.get("model")
        if old is None or not is_text(old):
            return event
        at = only_model(data, old)
        if at >= 0 and event.startswith(b"data: " + data[:at]):
            self._head = b"data: " + data[: at + len(bytes(old))]
            self._new_head = b"data: " + data[:at] + name
            return self._new_head + event[len(self._head) :]
        return with_data(event, edit(data, {"model": name}, fields))


class ResponsesStream(_EventReader):
    """A reader for streams of the Responses API, whose model's name stands one level down."""

    def __init__(self, asked_model: str, rename: bool, scrub: Callable[[bytes], bytes] | None = None) -> None:
        super().__init__(scrub)
        self._asked_model = asked_model
        self._rename = rename

    def end(self) -> bytes:
        """A last event that lacks only its blank line; anything less whole is dropped."""
        out = self._last()
        self.finished = self.finished or self.error_event is not None
        return out

    def _passed(self, event: bytes) -> bytes:
        # Deltas, which are nearly all events, carry neither of the two.
        if b'"response"' not in event and b'"error"' not in event and _DONE not in event:
            return event
        held = self._object(event)
        if held is None:
            return event
        data, fields = held
        self._note_error(event, fields)
        passed = self._with_response(event, data, fields)
        return self._scrub(passed) if self._scrub is not None and self.error_event is event else passed

    def _note_error(self, event: bytes, fields: Fields) -> None:
        if self.error_event is None and (_is(fields, "type", b'"error"') or _is(fields, "type", b'"response.failed"')):
            self.error_event = event

    def _with_response(self, event: bytes, data: bytes, fields: Fields) -> bytes:
        if "response" not in fields:
            return event
        response = bytes(fields["response"])
        inner = object_fields(response)
        if inner is None:
            return event
        self.usage = usage_of(inner.get("usage")) or self.usage
        self.finished = self.finished or ("type" in fields and bytes(fields["type"]) in _ENDS)
        if not self._rename:
            return event
        return with_data(event, edit(data, {"response": rename_model(response, self._asked_model)}, fields))


def last_event(rest: bytes) -> bytes:
    """What a stream ended with, made a whole event; empty unless its data is JSON or the end mark."""
    data = data_of(rest)
    if data is None or (data.strip() != _DONE and object_fields(data) is None):
        return b""
    # A lone CR at the end was held back as half of a CRLF, yet it had ended the event.
    return rest if rest.endswith((b"\r\r", b"\n\r")) else rest.rstrip(b"\r\n") + b"\n\n"


def _says_nothing(choices: msgspec.Raw) -> bool:
    """Whether the choices of a usage chunk hold nothing for the caller: OpenAI sends none, LiteLLM an empty delta."""
    if bytes(choices).split() in _EMPTY_LISTS:
        return True
    if len(bytes(choices)) > _SMALL:
        return False
    found = decoded(choices)
    return isinstance(found, list) and all(
        isinstance(each, dict) and each.keys() <= {"index", "delta", "finish_reason", "logprobs"} and not _content(each)
        for each in found
    )


def _content(choice: dict[str, Json]) -> bool:
    return any(choice.get(name) for name in ("delta", "finish_reason", "logprobs"))


def _is(fields: Fields, name: str, value: bytes) -> bool:
    return name in fields and bytes(fields[name]) == value
