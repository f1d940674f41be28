"""Lines that are not YAML and that people know from elsewhere: merge conflicts, Markdown's fences, other comments.

They are looked for only where a file could not be read, so that text in quotes or blocks may hold them.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from proxy_cli.config.text import Text
from proxy_cli.config.tree import Spot


class Mark(NamedTuple):
    """A line that was not meant for YAML: where, what it is, and what to do."""

    spot: Spot
    message: str
    cure: str


_MOST_TOLD: Final = 20
# They spoil the whole file, wherever the reader gave up.
_ANYWHERE: Final = (
    (
        re.compile(r"^(?:<{7} .*|={7}|>{7} .*)$", re.MULTILINE),
        "a mark of a merge conflict",
        "keep one side, remove the marks",
    ),
    (re.compile(r"^```.*$", re.MULTILINE), "a fence of Markdown", "remove the line"),
    (
        re.compile(r"\A\s*(?=\[[A-Za-z_][\w.-]*\][ \t]*\r?\n\s*[\w.-]+[ \t]*=)"),
        "this is TOML or INI, not YAML",
        "write sections and settings as key: value; llmproxy init writes an example",
    ),
)
_NEAR: Final = (
    (re.compile(r"\s*()//"), "// begins no comment in YAML", "write # instead"),
    (re.compile(r"\s*()-[A-Za-z_]\w*:(?:\s|$)"), "there is no space after the dash", 'write "- "'),
    (
        re.compile(r"\s*()\* [A-Za-z_]\w*:(?:\s|$)"),
        "an entry of a list begins with a dash",
        'write "- " instead of "* "',
    ),
)


def marks(text: Text, first: int, last: int) -> Iterator[Mark]:
    """What stands in the file, and what stands in these lines, from the first to the last."""
    for pattern, message, cure in _ANYWHERE:
        for found in islice(pattern.finditer(text.whole), _MOST_TOLD):
            yield Mark(text.spot(found.end() if not found.group().strip() else found.start()), message, cure)
    for number in range(first, last + 1):
        line = text.line(number)
        for pattern, message, cure in _NEAR:
            if (near := pattern.match(line)) is not None:
                yield Mark((number, near.start(1) + 1), message, cure)
