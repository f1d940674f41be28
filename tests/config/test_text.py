"""From bytes to text, with the place of all that is none."""

import pytest

from proxy_cli.config.text import Text, code_point, decode


def told(data: bytes) -> list[str]:
    return [str(problem) for problem in decode(data, "c.yaml")[1]]


@pytest.mark.row("C-36")
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_decoded_by_its_mark(codec):
    """The byte order mark itself is no part of the text."""
    text, problems = decode("a: 日本🙂\n".encode(codec), "c.yaml")

    assert text.whole == "a: 日本🙂\n"
    assert problems == []


@pytest.mark.row("C-36")
@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_both_byte_orders_are_known_by_their_mark(mark):
    """Little and big endian, as the mark says."""
    codec = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"

    assert decode(mark + "a: b".encode(codec), "c.yaml")[0].whole == "a: b"


@pytest.mark.row("C-37")
@pytest.mark.parametrize(
    ("codec", "sample", "offset", "place", "guess"),
    [
        ("latin-1", "a: 1\nb: café\n", 11, "2:7", ""),
        ("cp932", "a: 1\n# ひらがな カタカナ\n", 7, "2:3", "; the file looks like Shift_JIS"),
        ("euc_jp", "# あいうえお\na: 1\n", 2, "1:3", "; the file looks like EUC-JP"),
    ],
)
def test_another_encoding_is_told_with_offset_line_and_cure(codec, sample, offset, place, guess):
    """The first byte that is no UTF-8, and what the file may be instead."""
    data = sample.encode(codec)

    assert told(data) == [
        f"c.yaml:{place}: byte 0x{data[offset]:02x} at offset {offset} is not UTF-8{guess} - save as UTF-8"
    ]


@pytest.mark.row("C-37")
def test_half_a_character_of_utf16_is_told_by_its_offset():
    """The byte order mark counts in offsets, as in a hex editor."""
    assert told(b"\xff\xfea\x00:\x00 \x00b\x00\x00") == [
        "c.yaml:1:5: byte 0x00 at offset 10 is not UTF-16 - save as UTF-8"
    ]


def test_reading_goes_on_past_a_wrong_byte():
    """The rest of the file is still looked at."""
    assert decode(b"a: \xff\nb: 1\n", "c.yaml")[0].whole == "a: \ufffd\nb: 1\n"


@pytest.mark.row("C-38")
@pytest.mark.parametrize(
    ("letter", "words"),
    [("\0", "U+0000 at 2:3 (control character)"), ("\x07", "U+0007 at 2:3"), ("\x1b", "U+001B at 2:3"),
     ("\x7f", "U+007F at 2:3"), ("\x80", "U+0080 at 2:3"), ("\uffff", "U+FFFF at 2:3"),
     ("\ufeff", "U+FEFF at 2:3 (zero width no-break space)")],
)  # fmt: skip
def test_characters_that_yaml_forbids_are_told_by_code_point_and_place(letter, words):
    """Nobody can see them, so the message names them."""
    (line,) = told(f"a: 1\nb:{letter} 2\n".encode())

    assert line.startswith("c.yaml:2:3: ")
    assert words in line


def test_a_file_full_of_control_characters_is_told_shortly():
    """Twenty are enough to see what kind of file this is."""
    assert len(told(b"\x01" * 1000)) == 20


def test_lines_and_columns_count_characters():
    """A spot is what an editor shows, whatever the width of a letter in bytes."""
    text = Text("日本: 1\r\nb\rc\x85d\n")

    assert [text.spot(index) for index in (0, 4, 7, 9, 11, 13)] == [(1, 1), (1, 5), (2, 1), (3, 1), (4, 1), (5, 1)]
    assert [text.line(number) for number in range(7)] == ["", "日本: 1", "b", "c", "d", "", ""]


def test_a_code_point_has_a_name():
    """Number, place and the name that a search finds."""
    assert code_point("\u00a0", (2, 1)) == "U+00A0 at 2:1 (no-break space)"
