"""A `.env` file."""

import pytest

from proxy_cli.config.dotenv import dotenv


@pytest.fixture
def read(tmp_path):
    """Write a file and read it."""

    def run(text, environ=None):
        file = tmp_path / ".env"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        found, problems = dotenv(file, environ or {})
        return found, [str(problem).replace(f"{tmp_path}/", "") for problem in problems]

    return run


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A=b", "b"),
        ("  A = b  ", "b"),
        ("A=", ""),
        ("A='b # c'", "b # c"),
        ('A="b # c" # comment', "b # c"),
        ("A=b # comment", "b"),
        ("A=b#c", "b#c"),
        ("A=# comment", ""),
        ("A='it\\n'", "it\\n"),
        (r'A="two\nlines \"and\" \\ \d"', 'two\nlines "and" \\ \\d'),
        ('A="two\nlines"', "two\nlines"),
        ("A=日本語", "日本語"),
        ("A=${B}/x", "outer/x"),
        ('A="${B}"', "outer"),
        ("A='${B}'", "${B}"),
        (r'A="\${B}"', "${B}"),
        ("A=${NOPE:-else}", "else"),
        ("A=pa$$word", "pa$$word"),
    ],
)
def test_a_line_sets_a_variable(read, line, value):
    """Comments, `export`, quotes, and references to what is set already."""
    assert read(line, {"B": "outer"}) == ({"A": value}, [])


def test_lines_follow_each_other(read):
    """Blank lines and comments between them, all kinds of line ends, a mark at the start."""
    found, problems = read('\ufeff# first\r\nA=1\r\n\r\n  # more\nB="x\ny"\nC=${A}3\n')

    assert found == {"A": "1", "B": "x\ny", "C": "13"}
    assert problems == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nnonsense\nB=2\n", ".env:2:1: expected NAME=value"),
        ("A=1\n1X=2\nB=2\n", ".env:2:1: expected NAME=value"),
        ("A=1\nX='hunter22\nB=2\n", ".env:2:1: a quote is not closed"),
        ('A=1\nX="hunter22" y\nB=2\n', ".env:2:1: there is text after the closing quote"),
        ("A=1\nX=hunter22\0\nB=2\n", ".env:2:1: the value of X holds a NUL"),
    ],
)
def test_a_slip_is_said_with_its_line_and_without_its_value(read, text, said):
    """The other lines count."""
    found, problems = read(text)

    assert said in problems[0]
    assert "hunter22" not in problems[0]
    assert found["A"] == "1"
    assert found["B"] == "2"


def test_a_file_that_is_not_utf8_is_said(read):
    """With the line of the first wrong byte."""
    assert read(b"A=1\nB=\xff\n") == ({}, [".env:2:1: the file is not UTF-8 - save it as UTF-8"])


def test_no_file_is_no_problem(tmp_path):
    """Most folders have none."""
    assert dotenv(tmp_path / ".env") == ({}, [])


def test_a_folder_of_that_name_is_said(tmp_path):
    """Nothing is read from it, and nothing hangs."""
    (tmp_path / ".env").mkdir()

    found, problems = dotenv(tmp_path / ".env")

    assert found == {}
    assert "a directory" in str(problems[0])
