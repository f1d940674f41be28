"""Which fault a caller asks the mock backend for, and how that is said.

One table declares every control. A control may stand in three places, the later ones winning: a special model
name (`mock-status-429`), a header (`x-mock-status: 429`), or a directive in the text of the request
(`[[mock status=429 delay=0.5]]`, or JSON: `[[mock {"status": 429}]]`). The third is there because a proxy passes on
neither headers nor, always, the model's name. A control that is not known is refused, never skipped.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

HEADER_PREFIX: Final = "x-mock-"
_DIRECTIVE: Final = re.compile(r"\[\[mock\b(.*?)\]\]", re.DOTALL)
_MODEL: Final = re.compile(r"mock-([a-z]+(?:-[a-z]+)*)(?:-([0-9.]+))?")


class BadControl(ValueError):
    """A control that is not known, or whose value cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What one request is to suffer; the default is nothing."""

    status: int | None = None
    retry_after: str | None = None
    delay_s: float = 0.0
    gap_s: float | None = None
    cut: int | None = None
    drop: bool = False
    reset: bool = False
    events: int | None = None
    size: int | None = None
    error_event: int | None = None
    no_done: bool = False
    no_usage: bool = False
    invalid_json: bool = False
    refuse_stream_options: bool = False
    reasoning: str | None = None
    tool: str | None = None
    times: int | None = None


NO_FAULTS: Final = Faults()


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number


def _status(text: str) -> int:
    number = int(text)
    if not 200 <= number <= 599:
        raise ValueError(text)
    return number


def _switch(text: str) -> bool:
    words = {"": True, "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


@dataclass(frozen=True, slots=True)
class Control:
    """One word of the directive: the field it sets, how its value is read, and what it does."""

    field: str
    read: Callable[[str], Any]
    value: str  # how --help writes the value; empty for a switch
    help: str


CONTROLS: Final[Mapping[str, Control]] = {
    "status": Control("status", _status, "N", "answer with this HTTP status and an error body"),
    "retry_after": Control("retry_after", str, "S", "the Retry-After header of that answer"),
    "delay": Control("delay_s", _seconds, "S", "wait this long before the head of the answer"),
    "gap": Control("gap_s", _seconds, "S", "wait this long between two events of a stream"),
    "cut": Control("cut", _count, "K", "break the connection after K events (plain answers: after K bytes)"),
    "drop": Control("drop", _switch, "", "close the connection without any answer"),
    "reset": Control("reset", _switch, "", "with cut or drop: break it by RST instead of FIN"),
    "events": Control("events", _count, "N", "the answer is `1 2 3 ... N `, one event for each"),
    "size": Control("size", _count, "N", "the answer is N characters long"),
    "error_event": Control("error_event", _count, "K", "an error event inside the stream, after K events"),
    "no_done": Control("no_done", _switch, "", "end the stream without its end mark"),
    "no_usage": Control("no_usage", _switch, "", "count no tokens"),
    "invalid_json": Control("invalid_json", _switch, "", "an answer (or one event) that is not JSON"),
    "refuse_stream_options": Control("refuse_stream_options", _switch, "", "answer stream_options with 400"),
    "reasoning": Control("reasoning", str, "TEXT", "a reasoning_content before the answer"),
    "tool": Control("tool", str, "NAME", "call this one of the tools offered"),
    "times": Control("times", _count, "N", "only the first N requests with this very directive suffer"),
}


def asked(defaults: Faults, model: str, headers: Iterable[tuple[str, str]], text: str) -> tuple[Faults, str]:
    """What the request asks for, and the text without its directives. Raises BadControl."""
    found: dict[str, Any] = {}
    found.update(_from_model(model))
    for name, value in headers:
        if name.lower().startswith(HEADER_PREFIX):
            found.update(_read(name.lower().removeprefix(HEADER_PREFIX), value.strip()))
    for directive in _DIRECTIVE.findall(text):
        found.update(_from_directive(directive.strip()))
    return replace(defaults, **found), _DIRECTIVE.sub("", text).strip() if "[[mock" in text else text


def faults_of(directive: str) -> Faults:
    """The faults that a directive without its brackets asks for. Raises BadControl."""
    return replace(NO_FAULTS, **_from_directive(directive.strip()))


def _from_model(model: str) -> dict[str, Any]:
    match = _MODEL.fullmatch(model)
    if match is None or match[1].replace("-", "_") not in CONTROLS:
        return {}
    return _read(match[1], match[2] or "")


def _from_directive(directive: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in _pairs(directive):
        found.update(_read(name, value))
    return found


def _pairs(directive: str) -> list[tuple[str, str]]:
    try:
        if directive.startswith("{"):
            values = json.loads(directive)
            return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()]
        words = [word.partition("=") for word in shlex.split(directive)]
    except ValueError as error:
        raise BadControl(f"cannot read the directive [[mock {directive}]]: {error}") from error
    return [(name, value) for name, _, value in words]


def _read(name: str, value: str) -> dict[str, Any]:
    control = CONTROLS.get(name.replace("-", "_"))
    if control is None:
        raise BadControl(f"no mock control named {name!r}; known: {', '.join(CONTROLS)}")
    try:
        return {control.field: control.read(value)}
    except ValueError as error:
        raise BadControl(f"the mock control {name} does not take the value {value!r}") from error
