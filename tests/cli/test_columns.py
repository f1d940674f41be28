"""Columns: what stands below each other does so in every script, and no cell can act on a terminal."""

import pytest

from proxy_cli.cli.columns import columns, places


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("gpt-4o", 6), ("日本語", 6), ("ｱｲｳ", 3), ("が", 2), ("e\u0301", 1), ("🦙", 2)],
)
def test_letters_take_the_places_a_terminal_gives_them(text, expected):
    """A full-width letter takes two places, a combining mark none."""
    assert places(text) == expected


def test_cells_of_a_column_begin_at_the_same_place():
    """Every cell begins below the one above it, whatever stands before it; no line ends in blanks."""
    lines = columns([("model", "provider"), ("日本語モデル", "openai"), ("x", "")])

    assert lines == ["model         provider", "日本語モデル  openai", "x"]


@pytest.mark.row("A-40")
def test_cells_are_escaped_before_they_are_measured():
    """A line end or an escape sequence in a name is shown as text."""
    assert columns([("a\nb", "x"), ("\x1b[2J", "y")]) == [r"a\nb     x", r"\x1b[2J  y"]


def test_no_rows_are_no_lines():
    """An empty table prints nothing."""
    assert columns([]) == []
