"""What libyaml could not read, in words that lead to the slip."""

import pytest

from proxy_cli.config.source import parse


def lines(source: str) -> list[str]:
    return [str(problem).removeprefix("c.yaml:") for problem in parse(source.encode(), "c.yaml")[1]]


@pytest.mark.row("C-01")
def test_a_tab_in_the_indentation_is_told_at_its_place():
    """The most common slip of all."""
    assert lines("a:\n\tb: 1\n") == ["2:1: tab character - use spaces"]
    assert lines("a:\n  \tb: 1\n") == ["2:3: tab character - use spaces"]


@pytest.mark.row("C-01")
def test_all_tabs_of_all_sections_are_told_at_once():
    """Who indents with tabs does so everywhere; tabs inside quoted text are no slip."""
    source = "a:\n\tb: 1\n\t- c: 2\n\ttext\nd: 'x\n\ty'\ne:\n\tf: 1\n"

    assert [line.split(":")[0] for line in lines(source)] == ["2", "3", "8"]


@pytest.mark.row("C-02")
@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("a: 1\nb: 'x\nc: 2\n", "2:4", "the quote that opens here is never closed"),
        ('a: 1\nb: "x\nc: 2\n', "2:4", "the quote that opens here is never closed"),
        ('a: "x\nb: "y"\nc: 1\n', "1:4", "the quote that opens here is closed on line 2 only"),
        ("a:\n  - b: 'x\n    c: 'y'\n", "2:8", "the quote that opens here is closed on line 3 only"),
        ("a: ['x, y]\nb: ['z']\n", "1:5", "the quote that opens here is closed on line 2 only"),
        ("'a: x\nb: 'y'\n", "1:1", "the quote that opens here is closed on line 2 only"),
        ("a: 'b\n---\nc: d\n", "1:4", "the quote that opens here is never closed"),
    ],
)
def test_an_unclosed_quote_is_told_where_it_opens(source, place, words):
    """The reader gives up far below; the slip is above."""
    assert lines(source)[0].startswith(f"{place}: {words}")


@pytest.mark.row("C-03")
def test_a_second_colon_gets_the_hint_to_quote():
    """The words of the parser, "mapping values", help nobody."""
    assert lines("b: x: y\n") == [
        "1:5: a second colon in one line: a value cannot hold ': ' - quote values that contain ': '"
    ]


@pytest.mark.row("C-03")
@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("a: 1\n b: 2\n", "2:2", "the value that begins on line 1 goes on to here"),
        ("m:\n  - name: a\n     params: 1\n", "3:6", "the value that begins on line 2 goes on to here"),
        ("a:\n    b: 1\n  c: 2\n", "3:3", "the indentation fits no line above"),
        ("a:\n  - b\n c: 2\n", "3:2", "the indentation fits no line above"),
        ("a:\n  - b: 1\n  c: 2\n", "3:3", "this line stands among the list entries that begin at 2:3 without a dash"),
        ("a:\n  b: 1\n  - c\n", "3:3", "a list entry among the settings that begin on line 2"),
        ("a: - b\n", "1:4", "a list entry cannot begin here"),
        ("a: 'x'\n  - b\n", "2:3", "a list entry among the settings that begin on line 1"),
    ],
)
def test_a_wrong_indentation_is_told_in_plain_words(source, place, words):
    """Where the line begins, and what it fails to fit."""
    (line,) = lines(source)

    assert line.startswith(f"{place}: {words}")
    assert " - " in line


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("model_list\n  - a: 1\n", "1:1", "a name without a colon"),
        ("a: 1\nb\nc: 2\n", "2:1", "a name without a colon"),
        ("a:b\nc: d\n", "1:1", "there is no space after the colon"),
        ("m:\n  - name:x\n    b: 1\n", "2:5", "there is no space after the colon"),
        ("a: 1\nb:c\n", "2:1", "there is no space after the colon"),
        (": b\n", "1:1", "a key is missing before the colon"),
    ],
)
def test_a_slip_at_the_colon_is_told_on_its_own_line(source, place, words):
    """Not on the next one, where the parser notices."""
    assert lines(source)[0].startswith(f"{place}: {words}")


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("a: {b: 1\nc: 2\n", "1:4", 'the "{" that opens here is not closed before line 2'),
        ("a: [1,2\nc: 2\n", "1:4", 'the "[" that opens here is not closed before line 2'),
        ("a: [b, , c]\n", "1:8", 'a value is missing before ","'),
        ("a: ]\n", "1:4", 'a value is missing before "]"'),
        ("a: {b: c}}\n", "1:10", '"}" without an opening bracket'),
        ("a: {b: {c} d}\n", "1:12", 'a comma or "}" is missing here'),
        ("a: [\n  - b\n]\n", "2:3", 'no "- " entries inside brackets'),
        ("a: {'x'y}\n", "1:8", "something follows the closing quote"),
        ("a: 'it's'\n", "1:8", "something follows the closing quote"),
        ("a: 'x' y\n", "1:8", "something follows the closing quote"),
        ("a: {b: }c\n", "1:9", "something follows a value that has ended"),
        ("a: @b\n", "1:4", 'no value begins with "@"'),
        ("a: `b`\n", "1:4", 'no value begins with "`"'),
        ("a: %b\n", "1:4", 'no value begins with "%"'),
        ("a: &\n", "1:4", 'a bare "&"'),
        ("a: |x\n  y\n", "1:5", "text on the line of | or >"),
        ("a: |0\n  y\n", "1:5", "text on the line of | or >"),
        ("a: |\n\tx\n", "2:1", "tab character"),
        ('a: "C:\\data"\n', "1:7", "unknown escape after a backslash"),
        ('a: "\\xZZ"\n', "1:7", "unknown escape after a backslash"),
        ("a: !<x\n", "1:4", "unknown tag"),
        ("a: !e!x y\n", "1:4", "unknown tag"),
        ("%YAML 2.0\n---\na: 1\n", "1:1", "a line that begins with % is not supported here"),
        ("%FOO\na: b\n", "1:1", "a line that begins with % is not supported here"),
        ("{a: 1}\nb: 2\n", "2:1", "this stands after the end of the settings"),
        ("a: ? b\n", "1:4", "a key cannot begin here"),
    ],
)
def test_brackets_quotes_and_signs_are_told_in_plain_words(source, place, words):
    """Each state of the parser has a sentence of its own, and a cure."""
    line = lines(source)[0]

    assert line.startswith(f"{place}: {words}")
    assert " - " in line


@pytest.mark.row("C-60")
def test_each_section_is_read_though_another_is_broken():
    """Reading goes on at the next key at the left margin, with the right line numbers."""
    source = "a: 1\n b: 2\nc: [1\nd: 3\nd: 4\nx: &x 1\ne:\n\tf: 1\ng: *x\n"

    assert [line.split(":")[0] for line in lines(source)] == ["2", "3", "5", "8"]


@pytest.mark.row("C-60")
def test_problems_of_values_are_told_though_the_syntax_is_broken():
    """What was read before and after the break is looked at all the same."""
    assert [line.split(":")[0] for line in lines("a: 1:30\nb: 'x' y\nc: 2:30\nd: 0123\nd: 1\n")] == [
        "1",
        "2",
        "3",
        "4",
        "5",
    ]
