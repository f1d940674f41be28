"""Comments that were not meant as such: ` #` ends a value, and in a key or password it cuts it.

A comment that people write has a space after its `#`; one that cuts a secret has none.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from proxy_cli.config.compose import Span
from proxy_cli.config.privacy import holds_password, is_secret_name
from proxy_cli.config.problem import Path, Place, Problem, Severity, dotted
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.text import Text
from proxy_cli.config.tree import Mapping, Tree

_MOST_TOLD: Final = 1000
_CUT: Final = re.compile(r"(?<=[ \t])#(?=[^\s#!])")
_SETTING: Final = re.compile(r"\s*(?:- +)*(?P<quote>[\"']?)(?P<key>[\w.-]+)(?P=quote)\s*:\s+(?P<value>[^#]*)$")
_FROM_VARIABLE: Final = "os.environ/"
_PASSWORD_BEGUN: Final = re.compile(r"://[^/\s@]*:(?!\d*$)[^/\s]*$")


def cut_values(root: Mapping, text: Text, spans: Sequence[Span], file: str) -> list[Problem]:
    """A warning for each secret whose value a comment seems to cut."""
    places = [
        (line, mark)
        for line, mark in islice(_suspects(text), _MOST_TOLD)
        if not _is_inside(text.starts[line - 1] + mark, spans)
    ]
    if not places:
        return []
    paths = {spot: path for path, spot in _lines(root)}
    return [
        Problem(
            Place(file, line, mark + 1),
            "a comment cuts the value: YAML reads nothing after a blank and #",
            "quote the whole value, or put a space after the # of a comment",
            dotted(paths.get(line, ())),
            Severity.WARNING,
        )
        for line, mark in places
    ]


def _suspects(text: Text) -> Iterator[tuple[int, int]]:
    last = 0
    for found in _CUT.finditer(text.whole):
        line, column = text.spot(found.start())
        setting = _SETTING.match(text.line(line)[: column - 1])
        if line != last and setting is not None and _is_cut(setting["key"], setting["value"].strip()):
            yield line, column - 1
        last = line


def _is_inside(index: int, spans: Sequence[Span]) -> bool:
    """Whether a character belongs to a quoted text or a block; spans come in the order of the text."""
    before = bisect_right(spans, index, key=lambda span: span.start) - 1
    return before >= 0 and index < spans[before].end


def _is_cut(key: str, value: str) -> bool:
    if value.startswith((_FROM_VARIABLE, '"', "'", "|", ">", "*", "&", "[", "{")):
        return False
    return is_secret_name(key) or bool(_PASSWORD_BEGUN.search(value)) or holds_password(value)


def _lines(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, int]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield (*path, key), tree.key_spot(key)[0]
            yield from _lines(value, (*path, key))
    elif not isinstance(tree, Scalar):
        for index, value in enumerate(tree):
            yield from _lines(value, (*path, index))
