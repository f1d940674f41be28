"""A single value of the file: its text as written, and what YAML would make of it.

YAML 1.1 turns `2024-10-21` into a date, `0123` into 83 and `no` into False. A `Scalar` keeps the text, so that the
declaration of a setting decides what the value is; `kind` only says what it looks like.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from proxy_cli.shapes import Json

Kind = Literal["text", "int", "float", "bool", "null"]

_TRUE = frozenset(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"))
_FALSE = frozenset(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
# The letters that anything but text can begin with: most values are told apart by their first letter.
_FIRST = frozenset("0123456789+-.~tTfFyYnNoO")
_DIGITS = r"[0-9]+(?:_[0-9]+)*"
_WHOLE = re.compile(rf"[-+]?{_DIGITS}")
_NUMBER = re.compile(rf"[-+]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][-+]?[0-9]+)?")
_OTHER_BASE = re.compile(r"[-+]?0(?:x[0-9a-fA-F_]+|b[01_]+)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_NOT_FINITE = re.compile(r"[-+]?\.?(?:inf|infinity|nan)", re.IGNORECASE)
# A number to base 60, by the patterns of YAML 1.1 for whole and broken ones.
_SEXAGESIMAL = re.compile(r"[-+]?(?:[1-9][0-9_]*(?::[0-5]?[0-9])+|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)")
# Longer runs of digits are names or keys; Python itself refuses to convert more than 4300.
_LONGEST_NUMBER = 64


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value as written; `quoted` when quotes, a block or a `!!str` say that it is text."""

    text: str
    quoted: bool
    kind: Kind
    replaced: bool = False  # it came from a variable of the environment

    def plain(self) -> Json:
        """The value as Python knows it: str, int, float, bool or None."""
        match self.kind:
            case "null":
                return None
            case "bool":
                return self.text in _TRUE
            case "int":
                return int(self.text.replace("_", ""), 0)
            case "float":
                # JSON has no infinity: such a value stays the text that was written.
                value = float(self.text.replace("_", "")) if _NUMBER.fullmatch(self.text) else math.inf
                return value if math.isfinite(value) else self.text
            case _:
                return self.text


def kind_of(text: str) -> Kind:
    """What an unquoted text looks like; dates, base 60 and numbers with a leading zero count as text."""
    if text and text[0] not in _FIRST:
        return "text"
    if text in _NULL:
        return "null"
    if text in _TRUE or text in _FALSE:
        return "bool"
    if len(text) > _LONGEST_NUMBER or _LEADING_ZERO.fullmatch(text):
        return "text"
    if _WHOLE.fullmatch(text) or (_OTHER_BASE.fullmatch(text) and text[-1] != "_"):
        return "int"
    if _NUMBER.fullmatch(text) or (text.lstrip("+-").startswith(".") and _NOT_FINITE.fullmatch(text)):
        return "float"
    return "text"


def is_sexagesimal(text: str) -> bool:
    """Whether YAML 1.1 reads this as a number to base 60: `22:22` is 1342."""
    return ":" in text and _SEXAGESIMAL.fullmatch(text) is not None


def base_60(text: str) -> str:
    """What YAML 1.1 makes of such a number: `22:22` is 1342."""
    sign = "-" if text.startswith("-") else ""
    value = 0.0
    for digits in text.lstrip("+-").replace("_", "").split(":"):
        value = value * 60 + float(digits)
    return f"{sign}{value:.15g}"


def has_leading_zero(text: str) -> bool:
    """Whether YAML 1.1 may read this as an octal number: `0123` is 83."""
    return text.startswith(("0", "-0", "+0")) and _LEADING_ZERO.fullmatch(text) is not None


def number(text: str) -> float:
    """The number that a text stands for; a ValueError with a sentence for what is not one, or not finite."""
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("not a finite number")
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError("a number that starts with zero is ambiguous; leave the zero out")
    value = float(text.replace("_", ""))
    if not math.isfinite(value):
        raise ValueError("not a finite number: it is too large")
    return value


def whole(text: str) -> int:
    """The whole number that a text stands for (`1e3` is 1000); a ValueError with a sentence for all else."""
    value = number(text)
    if _WHOLE.fullmatch(text) and len(text) <= _LONGEST_NUMBER:
        return int(text.replace("_", ""))
    if not value.is_integer():
        raise ValueError("not a whole number")
    if abs(value) >= 2**63:
        raise ValueError("too large a number")
    return int(value)


def plain(tree: Json) -> Json:
    """A tree of scalars as plain Python values."""
    if isinstance(tree, Scalar):
        return tree.plain()
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [plain(value) for value in tree]
    return tree
