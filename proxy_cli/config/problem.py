"""What is wrong with a setting, where it stands, and how to cure it.

A problem is one line that an editor can jump to. It repeats names, never values that may be secret.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from proxy_cli.config.privacy import HIDDEN, is_secret_name, shown
from proxy_cli.shapes import Json

Path = tuple[str | int, ...]

_PLAIN_NAME = re.compile(r"[^\s.\[\]\"']+")
_CLOSE_ENOUGH = 0.75
# In a short word one wrong letter weighs more: `rpn` is 0.67 of `rpm`.
_CLOSE_ENOUGH_SHORT = 0.65
_SHORT = 4


class Severity(StrEnum):
    """Errors keep the proxy from starting, warnings do so with `--strict`, notes only tell."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A spot in a file; line and column count from 1, as editors do."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def dotted(path: Iterable[str | int]) -> str:
    """A path as it is read aloud: `model_list[1].litellm_params.modle`."""
    text = ""
    private = False  # below `api_key` nothing is a name of ours: a key may have slipped one level down
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        name = HIDDEN if private else shown(step)
        private = private or is_secret_name(step)
        if _PLAIN_NAME.fullmatch(name):
            text += f".{name}" if text else name
        else:
            text += f'["{name}"]'
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with its place and its cure; sorts by place."""

    place: Place
    message: str
    cure: str = ""
    path: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        kind = "" if self.severity is Severity.ERROR else f"{self.severity}: "
        path = f"{self.path}: " if self.path else ""
        cure = f" - {self.cure}" if self.cure else ""
        return f"{self.place}: {kind}{path}{self.message}{cure}"

    def __lt__(self, other: "Problem") -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[Place, str, str]:
        return self.place, self.path, self.message

    def as_json(self) -> dict[str, Json]:
        """The problem for machines: `check --json`."""
        return {
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "severity": str(self.severity),
            "path": self.path,
            "message": self.message,
            "cure": self.cure,
        }


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant, or None when nothing is close."""
    by_lower = {name.lower(): name for name in known}
    cutoff = _CLOSE_ENOUGH_SHORT if len(word) <= _SHORT else _CLOSE_ENOUGH
    close = difflib.get_close_matches(word.lower().replace("-", "_"), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None
