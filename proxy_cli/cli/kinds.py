"""What the value of an option or a variable may be, and the one sentence for everything else.

A kind reads a text the same way wherever it comes from. A sentence repeats the value, shortened, but never one that
may hold a key.
"""

import json
import math
import re
from typing import Final

import click

_LONGEST_SHOWN: Final = 40
_YES: Final = {"1", "true", "t", "yes", "y", "on"}
_NO: Final = {"0", "false", "f", "no", "n", "off"}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def shown(text: str) -> str:
    """A value as a message repeats it: short, on one line."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


class Kind(click.ParamType):  # type: ignore[type-arg]  # generic in the newest Click only
    """Base of all: reads a text, or raises ValueError with the sentence."""

    def read(self, text: str) -> object:
        """The value in a text."""
        raise NotImplementedError

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """What Click calls; a value that was read already stays as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self.read(value)
        except ValueError as problem:
            return self.fail(str(problem), param, ctx)


class Text(Kind):
    """A text that is not empty: an empty one is mostly a shell variable that nobody has set."""

    name = "text"

    def read(self, text: str) -> str:
        """The text as it is."""
        if not text.strip():
            raise ValueError("the value is empty")
        return text


class OptionalText(Kind):
    """Any text; empty where the option stands alone."""

    name = "text"

    def read(self, text: str) -> str:
        """The text as it is."""
        return text


class Number(Kind):
    """A whole number or an amount, within bounds."""

    name = "number"

    def __init__(self, low: float, high: float = math.inf, *, whole: bool = True, above: bool = False) -> None:
        self.low, self.high, self.whole = low, high, whole
        self.above = above  # the lower bound itself is too little

    def read(self, text: str) -> int | float:
        """The number in a text."""
        try:
            number = int(text) if self.whole else float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and self.low <= number <= self.high) or (self.above and number == self.low):
            raise ValueError(f"{shown(text)} is not {self.wanted()}")
        return number

    def wanted(self) -> str:
        """What is asked for, in words."""
        kind = "a whole number" if self.whole else "a number"
        if self.above:
            return f"{kind} above {self.low:g}"
        if math.isinf(self.high):
            return f"{kind} of {self.low:g} or more"
        return f"{kind} from {self.low:g} to {self.high:g}"


class Switch(Kind):
    """Yes or no, as people write it in variables."""

    name = "boolean"

    def read(self, text: str) -> bool:
        """Yes or no."""
        word = text.strip().lower()
        if word not in _YES | _NO:
            raise ValueError(f"{shown(text)} is neither true nor false")
        return word in _YES


class HeadersObject(Kind):
    """HTTP headers as a JSON object; what is wrong is told by its place, for keys stand in headers."""

    name = "json"

    def read(self, text: str) -> dict[str, str]:
        """The headers by name."""
        try:
            found = json.loads(text)
        except json.JSONDecodeError as problem:
            # From None: the original carries the whole text, and with it the keys.
            place = f"line {problem.lineno}, column {problem.colno}"
            raise ValueError(f"""not JSON at {place}: {problem.msg}; write '{{"X-Team": "search"}}'""") from None
        if not isinstance(found, dict):
            raise ValueError("the JSON must be an object of header names and texts")
        for name, value in found.items():
            self._check(name, value)
        return found

    @staticmethod
    def _check(name: str, value: object) -> None:
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{shown(name)} cannot be the name of a header")
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError(f"the value of {shown(name)} must be a text on one line")


class KeyAssignment(Kind):
    """NAME=VALUE for a provider's key; the value never shows in a sentence."""

    name = "name=value"

    def read(self, text: str) -> tuple[str, str]:
        """The variable's name and its value."""
        name, equals, secret = text.partition("=")
        if not equals or not _VARIABLE_NAME.fullmatch(name):
            raise ValueError("give a variable's name and its value, as in OPENAI_API_KEY=sk-...")
        if not secret or not secret.isprintable():
            raise ValueError(f"the value of {name} must be a text on one line")
        return name, secret
