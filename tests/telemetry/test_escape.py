"""Escaping: nothing of others' text can act on a terminal or begin a line; what reads well stays."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.telemetry.escape import json_line, one_line, whole_characters

JAPANESE = "日本の都道府県名、ｶﾀｶﾅ　全角空白🗾👨‍👩‍👧"


@pytest.mark.row("A-40")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\nc", "a\\nb\\r\\nc"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\x9b31m"),
        ("null\x00del\x7f", "null\\x00del\\x7f"),
        ("one\u2028two\u2029three\x85four", "one\\u2028two\\u2029three\\x85four"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("half \ud83d", "half \\ud83d"),
        (JAPANESE, JAPANESE),
    ],
)
def test_one_line_escapes_what_could_act_and_nothing_else(text, shown):
    """Line ends, ANSI escapes, direction marks and half characters are spelled out; Japanese stays as it is."""
    assert one_line(text) == shown


@pytest.mark.row("A-40")
@given(st.text())
def test_one_line_leaves_no_control_character(text):
    """Whatever comes in, what goes out is one line without control characters or surrogates."""
    shown = one_line(text)

    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}


@pytest.mark.row("A-40")
@given(st.dictionaries(st.text(), st.text()))
def test_json_line_is_the_same_json_on_one_line(values):
    """Escaping JSON that was encoded changes how it is written, never what it says."""
    line = json_line(json.dumps(values, ensure_ascii=False))

    assert json.loads(line) == values
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r'{"a": "\u65e5\u672c"}', '{"a": "日本"}'),
        (r"\ud83d\uddfe", "🗾"),
        (r"\\u65e5 and \\\u65e5", r"\\u65e5 and \\日"),
        (r"\u001b[31m \u202e \u0041 \ud83d", r"\u001b[31m \u202e \u0041 \ud83d"),
        (r"\"quoted\" \n", r"\"quoted\" \n"),
    ],
)
def test_whole_characters_shows_only_harmless_escapes_as_characters(text, shown):
    """`\\u65e5` reads as its character; an escaped backslash, a control character or half a pair stays as written."""
    assert whole_characters(text) == shown


@given(st.text())
def test_whole_characters_never_changes_what_json_means(text):
    """The text is still JSON of the same value."""
    assert json.loads(whole_characters(json.dumps(text))) == text
