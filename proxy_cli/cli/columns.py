"""Rows of text in columns that stand below each other, also where a letter takes two places, as a Japanese one does.

Cells come from files that others may have written: they are escaped here, and no terminal acts on them.
"""

import unicodedata
from collections.abc import Sequence

from proxy_cli.telemetry.escape import one_line


def columns(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, two blanks between their cells."""
    rows = [[one_line(cell) for cell in row] for row in table]
    widths = [max(map(places, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - places(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def places(text: str) -> int:
    """How many places of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_places(letter) for letter in text)


def _places(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
