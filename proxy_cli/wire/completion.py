"""Streams of OpenAI's dialects on their way through: chat, completions, and the Responses API.

Owns: what is changed in an event: the model's name and nothing else; which event is dropped: the usage chunk that only
we asked for; and what is noted beside it: usage, the end mark, an error inside the stream.
Refuses: to understand the rest. An event that is no JSON, a comment, a vendor's own event passes as its bytes.
Rule: half an event never goes out, for what follows it would be read as its second half. An error inside the stream is
an end of it: nothing need follow, and no second error is made up.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from proxy_cli.shapes import Fields, Json, Usage
from proxy_cli.wire.splice import decoded, edit, encode, is_null, is_text, object_fields, only_model, rename_model
from proxy_cli.wire.sse import Events, data_of, events_of, with_data
from proxy_cli.wire.usage import answer_usage, later

_DONE: Final = b"[DONE]"
_EMPTY_LISTS: Final = ([b"[]"], [b"[", b"]"])
_QUOTE: Final = 0x22
_LF: Final = 0x0A
_CR: Final = 0x0D
_OPENED: Final = b"data: {"
_SMALL: Final = 400  # bytes; empty choices are never more, and a small value is cheap and safe to decode
_DONE_EVENT: Final = b"data: [DONE]\n\n"
_TEXT: Final = re.compile(rb'(?:content|text)": ?"([^"\\\r\n]*)"')
_ENDS: Final = {b'"response.completed"', b'"response.failed"', b'"response.incomplete"'}


class _Frame(NamedTuple):
    """An event but for what one of its strings holds, and what its beginning becomes."""

    head: bytes
    tail: bytes
    new_head: bytes
    start: int  # of the string's text
    end: int  # of the same, counted from the end of the event


class _EventReader:
    """What the readers of both dialects do alike: cut into events, count them, see the end mark."""

    def __init__(self, scrub: Callable[[bytes], bytes] | None) -> None:
        self.usage: Usage | None = None
        self.finished = False
        self.error_event: bytes | None = None
        self._events = Events()
        self._count = 0
        self._bytes = 0
        self._scrub = scrub  # takes secrets out of what a backend says of its failure

    @property
    def seen(self) -> tuple[int, int]:
        """Events with data, and bytes, so far."""
        return self._count, self._bytes

    def feed(self, data: bytes) -> bytes:
        """What goes on to the caller. Raises BackendBroken for an event that is too large."""
        self._bytes += len(data)
        block = self._events.block(data)
        if block is None:
            events = self._events.feed(data)
        elif (passed := self._alike(block)) is not None:
            return passed
        else:
            events = events_of(block)
        self._count += sum(map(_has_data, events))
        return b"".join([self._passed(event) for event in events])

    def _alike(self, block: bytes) -> bytes | None:
        """What becomes of whole events in one piece that are all of the usual kind; None if one may not be."""
        raise NotImplementedError

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
        # The bytes of an event up to its model's name, those from it on, and what they become. Most events of a stream
        # begin alike (id, created, model), or end alike where a server writes the model behind the choices: those need
        # no decoding to be renamed.
        self._head = self._new_head = b""
        self._tail = self._new_tail = b""
        self._frame: _Frame | None = None
        self._is_between = False  # no part of an event is held

    def feed(self, data: bytes) -> bytes:
        """What goes on to the caller. Raises BackendBroken for an event that is too large."""
        if self._frame is not None and self._is_between:
            head, tail, new_head, start, end = self._frame
            # Slices are compared, and single bytes looked for, several times as fast as `startswith` and `in` do it.
            if data[:start] == head and data[end:] == tail:
                # Without a quote and a line end a text is nothing more.
                text = data[start:end]
                if not (_QUOTE in text or _LF in text or _CR in text):
                    self._bytes += len(data)
                    self._count += 1
                    return new_head + data[start:]
        passed = super().feed(data)
        self._is_between = self._events.is_between
        return passed

    def end(self) -> bytes:
        """A last event that lacks only its blank line, and the mark that an error left out; half events are dropped."""
        out = self._last()
        if self.error_event is not None and not self.finished:
            self.finished = True
            return out + _DONE_EVENT
        return out

    def _alike(self, block: bytes) -> bytes | None:
        if not block:
            return b""
        count = block.count(b"\n") // 2
        renamed = self._with_new_ends(block, count)
        if renamed is not None:
            self._count += count
        return renamed

    def _with_new_ends(self, block: bytes, count: int) -> bytes | None:
        """So many plain events of one line each with the asked name, if all begin or all end as an earlier one did."""
        if self._head and block.startswith(self._head):
            return self._with_new_heads(block, count)
        if self._tail and block.endswith(self._tail) and block.startswith(_OPENED) and _is_plain(block):
            return self._with_new_tails(block, count)
        return None

    def _with_new_heads(self, block: bytes, count: int) -> bytes | None:
        head, new_head = self._head, self._new_head
        rest = block[len(head) :]
        if count == 1:
            if not _is_plain(rest):
                return None
            if not self._is_framed(block):
                self._frame = _frame_of(block, len(head), new_head) or self._frame
            return new_head + rest
        parts = rest.split(b"\n\n" + head)
        if len(parts) != count or not _is_plain(b"".join(parts)):
            return None
        return new_head + (b"\n\n" + new_head).join(parts)

    def _is_framed(self, event: bytes) -> bool:
        """Whether it is the text alone for which the frame was not enough."""
        frame = self._frame
        return frame is not None and event[: frame.start] == frame.head and event[frame.end :] == frame.tail

    def _with_new_tails(self, block: bytes, count: int) -> bytes | None:
        if count > 1 and not block.count(self._tail) == block.count(b"\n\n" + _OPENED) + 1 == count:
            return None
        return block.replace(self._tail, self._new_tail)

    def _passed(self, event: bytes) -> bytes:
        if event.count(b"\n") == 2 and (renamed := self._with_new_ends(event, 1)) is not None:
            return renamed
        held = self._object(event)
        if held is None:
            return event
        data, fields = held
        if not _is_plain(event) and self._noted(event, fields):
            return b""
        if self._scrub is not None and self.error_event is event:
            return self._scrub(event)
        return event if self._name is None else self._renamed(event, data, fields, self._name)

    def _noted(self, event: bytes, fields: Fields) -> bool:
        """Keep usage and error; True for the usage chunk of a caller who did not ask for it."""
        if self.error_event is None and (not is_null(fields.get("error")) or _is(fields, "object", b'"error"')):
            self.error_event = event
        usage = answer_usage(fields)
        if usage is None:
            return False
        self.usage = later(self.usage, usage)
        return not self._keep_usage and "choices" in fields and _says_nothing(fields["choices"])

    def _renamed(self, event: bytes, data: bytes, fields: Fields, name: bytes) -> bytes:
        raw = fields.get("model")
        if raw is None or not is_text(raw):
            return event
        old = bytes(raw)
        at = only_model(data, old)
        if at >= 0 and event.startswith(b"data: " + data[:at]):
            self._head = b"data: " + data[: at + len(old)]
            self._new_head = b"data: " + data[:at] + name
            # The braces of a tail close what they open and the event itself: its name stands at the top level.
            key = event.index(b'"model"')
            self._tail = event[key:]
            self._new_tail = self._new_head[key:] + event[len(self._head) :]
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

    def _alike(self, block: bytes) -> bytes | None:
        count = block.count(b"\n\n")
        # With one data line in each there is no comment and no other event without data among them.
        if block.count(b"\ndata:") + block.startswith(b"data:") != count or not _is_delta(block):
            return None
        self._count += count
        return block

    def _passed(self, event: bytes) -> bytes:
        if _is_delta(event):
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
        usage = answer_usage(inner)
        self.usage = self.usage if usage is None else later(self.usage, usage)
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


def _has_data(event: bytes) -> bool:
    return event.startswith(b"data:") or data_of(event) is not None


def _is_plain(events: bytes) -> bool:
    """Whether events of a chat tell neither an error nor a usage: many servers write `"usage":null` into each."""
    if events.find(b'"error"') >= 0:
        return False
    if events.find(b'"usage"') < 0:
        return True
    # In a string a quote is escaped, so these bytes can only be the field itself.
    return events.count(b'"usage"') == events.count(b'"usage":null') + events.count(b'"usage": null')


def _frame_of(event: bytes, start: int, new_head: bytes) -> _Frame | None:
    """The frame of an event around the first text that it holds behind `start`, where that has no escape."""
    found = _TEXT.search(event, start)
    if found is None:
        return None
    head, tail = event[: found.start(1)], event[found.end(1) :]
    return _Frame(head, tail, new_head + head[start:], len(head), -len(tail))


def _is_delta(events: bytes) -> bool:
    """Whether events of the Responses API are none of those that hold a response, an error or the end mark."""
    return events.find(b'"response"') < 0 and events.find(b'"error"') < 0 and events.find(_DONE) < 0


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
