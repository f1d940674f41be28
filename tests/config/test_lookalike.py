"""Characters that look like YAML's own."""

import pytest

from proxy_cli.config.lookalike import in_key, in_line, in_value
from proxy_cli.config.source import parse


def lines(source: str) -> list[str]:
    return [str(problem) for problem in parse(source.encode(), "c.yaml")[1]]


@pytest.mark.row("C-40")
@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("a:\n\u00a0\u00a0b: 1\n", "2:1", "U+00A0 at 2:1 (no-break space) stands in the indentation"),
        ("a:\n\u3000- b: 1\n", "2:1", "U+3000 at 2:1 (ideographic space) stands in the indentation"),
        ("a: 1\n  \u00a0b: 2\n", "2:3", "U+00A0 at 2:3 (no-break space) stands in the indentation"),
        ("a:\n  - b：1\n    c: 2\n", "2:6", "U+FF1A at 2:6 (fullwidth colon) stands for the colon"),
        ("a：\n  - b: 1\n", "1:2", "U+FF1A at 1:2 (fullwidth colon) stands for the colon"),
        ("a: “b”\n", "1:4", "U+201C at 1:4 (left double quotation mark) is no quote"),
        ("a: “b: c”\n", "1:4", "U+201C at 1:4 (left double quotation mark) is no quote"),
        ("“a”: b\n", "1:1", "U+201C at 1:1 (left double quotation mark) is no quote"),
        ("a: ‘b’\n", "1:4", "U+2018 at 1:4 (left single quotation mark) is no quote"),
        ("api_\u200bkey: 1\n", "1:5", "U+200B at 1:5 (zero width space) cannot be seen"),
        ("api_key\u200b: 1\n", "1:8", "U+200B at 1:8 (zero width space) cannot be seen"),
        ("a:\n  - b: 1\n  – b: 2\n", "3:3", "U+2013 at 3:3 (en dash) stands for the dash"),
        ("a:\u00a0b\n", "1:3", "U+00A0 at 1:3 (no-break space) stands for the space after the colon"),
        ("a:\n  - b:\u3000c\n", "2:7", "U+3000 at 2:7 (ideographic space) stands for the space after the colon"),
        ("a: gpt\u200b4\n", "1:7", "U+200B at 1:7 (zero width space) cannot be seen"),
        ("a: gpt\u200b\n", "1:7", "U+200B at 1:7 (zero width space) cannot be seen"),
        ("a: \u200b\n", "1:4", "U+200B at 1:4 (zero width space) cannot be seen"),
    ],
)
def test_a_slip_is_told_by_code_point_and_place(source, place, words):
    """The reader cannot see the difference, so the message spells it out; nothing else is blamed."""
    found = lines(source)

    assert any(line.startswith(f"c.yaml:{place}: ") and words in line for line in found), found
    assert all("U+" in line or "top level" in line for line in found)


@pytest.mark.row("C-41")
@pytest.mark.parametrize(
    "source",
    ["モデル　一: あ　い\n", "👩\u200d💻: 👩\u200d💻\n", "a: 例：これ\n", 'a: "“quoted”"\n', "a: '\u00a0b'\n",
     "a: 10\u00a0000 tokens\n", "a: |\n  \u00a0x：y\n  “z”\n", "a: 1 # “comment”：\u00a0x\n", "a: it’s – fine\n"],
)  # fmt: skip
def test_writing_is_left_alone(source):
    """In text, in quotes, in blocks and in comments these characters are at home."""
    assert lines(source) == []


def test_a_key_is_looked_at_more_strictly_than_a_value():
    """A no-break space inside a value may be typography, inside a key it never is."""
    assert in_value("10\u00a0000 tokens") is None
    found = in_key("max\u00a0tokens")

    assert found is not None
    assert found.offset == 3


def test_a_broken_line_is_looked_at_without_its_comment():
    """What stands in a comment has broken nothing."""
    assert list(in_line("  - a: 1 # “x”\u00a0")) == []
    assert [found.offset for found in in_line("  – a: “x”")] == [2]


def test_very_long_lines_take_no_time():
    """Only the beginning is looked at; without that, this would take hours."""
    assert in_key("a\u00a0" * 1_000_000) == in_key("a\u00a0" * 10)
    assert list(in_line("あ\u3000" * 1_000_000 + "あ")) == list(in_line("あ\u3000" * 1_000))
