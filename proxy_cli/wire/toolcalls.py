"""Tool calls that a model writes into its text, because it knows no better way.

Owns: where in a text a call begins and ends, and what it says. The form asked for is
`{"tool_calls": [{"name": ..., "arguments": {...}}]}`; models also write one call without the list, OpenAI's own shape,
a list of calls, fences and tags around them, and words before and after.
Rule: text that cannot become a call is let go at once; what may be one is held until it is decided.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from proxy_cli.shapes import Json

_KEYS: Final = ("tool_calls", "tool_call", "function_call", "function", "name", "arguments", "parameters", "type", "id")


def _beginnings(words: Iterable[str]) -> str:
    """A pattern for every proper beginning of the words, the longest first."""
    found = {word[:length] for word in words for length in range(1, len(word))}
    return "|".join(re.escape(beginning) for beginning in sorted(found, key=len, reverse=True))


# What may stand around a call: a fence, a tag, a list. At most three deep, so that a search stays linear.
_AROUND = r"(?:(?:```\w*|<tool_calls?>|\[)\s*){0,3}"
_NAME = r'\{\s*"(?:' + "|".join(_KEYS) + r')"\s*'
_NAME_BEGUN = r'\{\s*(?:"(?:' + _beginnings([*_KEYS, *(f'{key}"' for key in _KEYS)]) + r")?)?"
# Either a call's first name with its colon (group 1 is its brace and on), or what may become that at the text's end.
_START = re.compile(
    rf"{_AROUND}(?:({_NAME}:)|(?:{_NAME}|{_NAME_BEGUN}|{_beginnings(['```', '<tool_calls>'])})?\Z)", re.DOTALL
)
_AFTER = re.compile(r"(?:\s+|```|</tool_calls?>|\]|,)*")
_AFTER_BEGUN = re.compile(rf"(?:{_beginnings(['```', '</tool_calls>'])})?")
_TOKEN = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_TOOL_NAME = re.compile(r"[\w.:/-]{1,256}")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call found in text; `arguments` is a JSON object as text."""

    name: str
    arguments: str


class CallText:
    """Separates a text that comes in pieces into what is said and what is called."""

    def __init__(self, names: frozenset[str] | None = None) -> None:
        self.calls: list[ToolCall] = []  # found so far
        self._names = names
        self._held = ""
        self._after_call = False  # then the fence, the tag or the comma that follows is not text either
        # A call that has begun: where its brace stands in what is held, and how far its brackets were counted.
        self._open = -1
        self._counted = 0
        self._depth = 0
        self._in_string = False

    def feed(self, piece: str) -> str:
        """The text that is certainly no call; what was called is added to `calls`."""
        self._held += piece
        out: list[str] = []
        while self._held and self._advanced(out):
            pass
        return "".join(out)

    def end(self) -> str:
        """The text is over: what was held and is no whole call is text after all."""
        held, self._held = self._held, ""
        self._open = -1
        return held

    def _advanced(self, out: list[str]) -> bool:
        """One step; False if more text is needed for the next."""
        if self._after_call:
            after = _AFTER.match(self._held)
            self._held = self._held[after.end() if after else 0 :]
            self._after_call = _AFTER_BEGUN.fullmatch(self._held) is not None
            return not self._after_call
        if self._open < 0:
            return self._found_start(out)
        end = self._object_end()
        if end < 0:
            return False
        calls = calls_in(self._held[self._open : end], self._names)
        if not calls:
            out.append(self._held[:end])
        self.calls += calls
        self._after_call = bool(calls)
        self._held = self._held[end:]
        self._open = -1
        return True

    def _found_start(self, out: list[str]) -> bool:
        found = _START.search(self._held)
        if found is None:  # cannot be: the pattern matches the empty end
            return False
        out.append(self._held[: found.start()])
        self._held = self._held[found.start() :]
        if found[1] is None:
            return False
        self._open = self._counted = found.start(1) - found.start()
        self._depth, self._in_string = 0, False
        return True

    def _object_end(self) -> int:
        """Where the object that began is closed, or -1. Each character is counted once, however the text is cut."""
        for token in _TOKEN.finditer(self._held, self._counted):
            self._counted = token.end()
            if token[0] == '"':
                self._in_string = not self._in_string
            elif not self._in_string and token[0] in "{[":
                self._depth += 1
            elif not self._in_string and token[0] in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return token.end()
        # A backslash at the very end belongs to the character that is still to come.
        half = self._counted < len(self._held) and self._held.endswith("\\")
        self._counted = len(self._held) - half
        return -1


def calls_in(text: str, names: frozenset[str] | None = None) -> list[ToolCall]:
    """The calls that a JSON object says; none unless all of it is calls (to the named tools, where they are known)."""
    try:
        # Models put line ends into strings as they are: strict=False takes them.
        value = json.loads(text, strict=False, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    wrapped = next((value[key] for key in ("tool_calls", "tool_call", "function_call") if key in value), None)
    items = [value] if wrapped is None else wrapped if isinstance(wrapped, list) else [wrapped]
    calls = [_call(item, names, bare=wrapped is None) for item in items]
    return [call for call in calls if call is not None] if None not in calls else []


def _call(item: Json, names: frozenset[str] | None, *, bare: bool) -> ToolCall | None:
    inner = item.get("function", item) if isinstance(item, dict) else None
    if not isinstance(inner, dict):
        return None
    name = inner.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name) or (names is not None and name not in names):
        return None
    # Without the word arguments, an object with a name is just an object with a name.
    arguments = inner.get("arguments", inner.get("parameters", None if bare else {}))
    if isinstance(arguments, str):
        arguments = _object(arguments)
    if not isinstance(arguments, dict):
        return None
    return ToolCall(name, json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace").decode())


def _object(text: str) -> Json:
    try:
        return json.loads(text or "{}", strict=False, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
