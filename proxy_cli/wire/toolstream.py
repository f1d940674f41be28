"""Tool calls in the text of an event stream, handed on as `tool_calls` deltas.

Owns: which text of a chat stream is held because it may become a call, for each choice, and the events made of it.
Events that carry nothing of the kind pass as their bytes. It stands behind a ChatStream, which renames and counts.
"""

from typing import Final

import msgspec

from proxy_cli.shapes import Fields, Usage
from proxy_cli.wire.completion import ChatStream, last_event
from proxy_cli.wire.splice import decoded, edit, encode, is_null, object_fields
from proxy_cli.wire.sse import Events, data_of, with_data
from proxy_cli.wire.toolcalls import CallText
from proxy_cli.wire.toolprompt import call_fields, finish_reason, text_of

_RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


class ToolPromptStream:
    """A reader (see providers/base.py) for the stream of a model whose tools stand in its prompt."""

    def __init__(self, reader: ChatStream, names: frozenset[str] | None = None, *, legacy: bool = False) -> None:
        self._reader = reader
        self._names = names
        self._legacy = legacy
        self._events = Events()
        self._choices: dict[int, _Choice] = {}
        self._last = b""  # the latest chunk: what an event of our own is modelled on

    @property
    def usage(self) -> Usage | None:
        """As the backend counted."""
        return self._reader.usage

    @property
    def finished(self) -> bool:
        """Whether the end mark was seen."""
        return self._reader.finished

    @property
    def seen(self) -> tuple[int, int]:
        """Events and bytes so far."""
        return self._reader.seen

    @property
    def error_event(self) -> bytes | None:
        """The first error inside the stream."""
        return self._reader.error_event

    def feed(self, data: bytes) -> bytes:
        """What goes on to the caller. Raises BackendBroken for an event that is too large."""
        return b"".join([self._passed(event) for event in self._events.feed(self._reader.feed(data))])

    def end(self) -> bytes:
        """What was held until the end: it is text."""
        events = self._events.feed(self._reader.end())
        rest = last_event(self._events.rest())
        out = b"".join([self._passed(event) for event in ([*events, rest] if rest else events)])
        return out + self._flushed()

    def _passed(self, event: bytes) -> bytes:
        data = data_of(event)
        if data is None:
            return event
        fields = object_fields(data)
        if fields is None:
            return self._flushed() + event if data.strip() == b"[DONE]" else event
        try:
            choices = _RAW_LIST.decode(fields["choices"]) if "choices" in fields else []
        except msgspec.DecodeError:
            return event
        if not choices:
            return event
        self._last = data
        changed = [self._choice(raw) for raw in choices]
        if all(new == [bytes(old)] for new, old in zip(changed, choices, strict=True)):
            return event
        return self._written(event, data, fields, changed)

    def _written(self, event: bytes, data: bytes, fields: Fields, changed: list[list[bytes]]) -> bytes:
        """The event once for each turn of its choices, so not at all if all of it is held; usage goes with the last."""
        turns = max(map(len, changed))
        out = []
        for turn in range(turns):
            # A choice of one turn goes with the last one: it may be the end of that choice.
            now = [turns_of[turn - turns] for turns_of in changed if len(turns_of) >= turns - turn]
            changes: dict[str, bytes | None] = {"choices": b"[" + b",".join(now) + b"]"}
            if "usage" in fields and turn < turns - 1:
                changes["usage"] = None
            out.append(with_data(event, edit(data, changes, fields)))
        return b"".join(out)

    def _choice(self, raw: msgspec.Raw) -> list[bytes]:
        """A choice as it goes on: not at all, as it is, changed, or with what was held in a turn before its end."""
        whole = bytes(raw)
        fields = object_fields(whole)
        if fields is None or "delta" not in fields:
            return [whole]
        found = decoded(fields["index"]) if "index" in fields else 0
        index = found if isinstance(found, int) else 0
        choice = self._choices.setdefault(index, _Choice(index, self._names, legacy=self._legacy))
        return choice.passed(whole, fields, self._seed())

    def _flushed(self) -> bytes:
        """An event with the text that no end of its choice has set free; empty if there is none."""
        held = [choice.rest() for choice in self._choices.values()]
        choices = [rest for rest in held if rest]
        if not choices:
            return b""
        data = edit(self._last, {"choices": b"[" + b",".join(choices) + b"]", "usage": None})
        return b"data: " + data + b"\n\n"

    def _seed(self) -> bytes:
        fields = object_fields(self._last) or {}
        return bytes(fields["id"]) if "id" in fields else self._last


class _Choice:
    """One of the answers that a stream carries."""

    def __init__(self, index: int, names: frozenset[str] | None, *, legacy: bool) -> None:
        self._index = index
        self._legacy = legacy
        self._text = CallText(names)
        self._sent = 0  # calls that the caller has

    def passed(self, whole: bytes, fields: Fields, seed: bytes) -> list[bytes]:
        delta = object_fields(bytes(fields["delta"])) or {}
        content = text_of(delta, "content") or ""
        said = self._text.feed(content)
        ends = not is_null(fields.get("finish_reason"))
        if ends:
            said += self._text.end()
        changes = self._calls(seed)
        if said == content and not changes:
            return [self._ended(whole, fields) if ends else whole]
        changes["content"] = encode(said) if said or "content" in delta else None
        kept = edit(bytes(fields["delta"]), changes, delta)
        # A delta of held text alone would say nothing.
        out = [] if not said and len(changes) == 1 and set(delta) == {"content"} else [kept]
        turns = [edit(whole, {"delta": new, "finish_reason": b"null"}, fields) for new in out]
        return [*turns, self._ended(edit(whole, {"delta": b"{}"}, fields), fields)] if ends else turns

    def rest(self) -> bytes:
        """What is still held, as a choice; empty if nothing is."""
        said = self._text.end()
        return encode({"index": self._index, "delta": {"content": said}, "finish_reason": None}) if said else b""

    def _calls(self, seed: bytes) -> dict[str, bytes | None]:
        calls = self._text.calls[self._sent :]
        # A function_call is one and no list: a second one has no place.
        if not calls or (self._legacy and self._sent):
            return {}
        first, self._sent = self._sent, len(self._text.calls)
        return dict(call_fields(calls, seed + b"%d" % self._index, legacy=self._legacy, first=first))

    def _ended(self, whole: bytes, fields: Fields) -> bytes:
        if not self._text.calls:
            return whole
        return edit(whole, {"finish_reason": finish_reason(fields.get("finish_reason"), legacy=self._legacy)})
