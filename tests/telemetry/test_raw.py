"""Raw messages made readable, cut at any byte, and never a flood."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.telemetry.raw import Pieces, body_lines, capped, header_lines


class Upload:
    length = 12_345

    async def read(self):
        return b""


def test_json_body_is_laid_out_and_readable():
    """JSON gets lines and indents; Japanese that came escaped reads as Japanese; numbers stay as they were."""
    body = rb'{"a":"\u65e5\u672c","big":1e400,"list":[0.10,-2,3]}'

    assert body_lines(body) == ["{", '  "a": "日本",', '  "big": 1e400,', '  "list": [0.10, -2, 3]', "}"]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", []),
        (b"data: 1\n\ndata: 2\n\n", ["data: 1", "", "data: 2"]),
        (b'{"not": json', ['{"not": json']),
        (b"\xff\xd8\xff\xe0", ["<4 bytes that are no text, beginning with ff d8 ff e0>"]),
        (Upload(), ["<upload of 12,345 bytes>"]),
    ],
)
def test_other_bodies_are_shown_or_described(body, shown):
    """Text is shown as it is, bytes and uploads are described."""
    assert body_lines(body) == shown


def test_long_body_is_capped_with_a_note():
    """Of a long body the first 64 KiB are shown, and how much is missing."""
    lines = body_lines(b"x " * 50_000)

    assert len(lines[0]) <= 64 * 1024
    assert lines[-1] == f"<{100_000 - 64 * 1024:,} more characters are not shown>"


def test_long_base64_is_shortened():
    """An image inside JSON does not bury the rest."""
    lines = body_lines(b'{"image":"' + b"A" * 10_000 + b'","after":"x"}')

    assert lines[1] == f'  "image": "{"A" * 32}<9,968 more characters of base64>",'
    assert lines[2] == '  "after": "x"'


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [b"[" + b"-1," * 30_000 + b'"x"]', b"A1+/ " * 1000 + b"B" * 2047 + b" " + b"C" * 500_000, b"\\" * 300_000],
)
def test_hostile_bodies_are_shown_in_bounded_time(body):
    """No body makes the search for numbers, base64 or escapes run away."""
    pieces = Pieces()

    assert body_lines(body)
    assert pieces.feed(body) + pieces.end()


@pytest.mark.row("P-06")
def test_header_lines_have_no_secrets():
    """One line a header, credentials masked."""
    assert header_lines((("authorization", "Bearer x"), ("accept", "*/*"))) == [
        "authorization: Bearer ***",
        "accept: */*",
    ]


STREAM = 'data: {"a":"日本🗾 \\u65e5\\ud83d\\uddfe \\\\u65e5"}'
SHOWN = 'data: {"a":"日本🗾 日🗾 \\\\u65e5"}'


@pytest.mark.row("S-14")
@given(st.lists(st.integers(0, len(STREAM.encode()))))
def test_pieces_show_whole_characters_wherever_they_are_cut(cuts):
    """A stream cut anywhere, inside characters and inside escapes, reads as if it came whole."""
    data, pieces = STREAM.encode(), Pieces()
    bounds = [0, *sorted(cuts), len(data)]

    shown = [line for start, end in pairwise(bounds) for line in pieces.feed(data[start:end])]

    assert "".join(shown + pieces.end()) == SHOWN


def test_pieces_end_with_what_is_left():
    """Half a character at the end of a stream is shown as the bytes it is."""
    pieces = Pieces()

    assert pieces.feed("ab日".encode()[:-1]) == ["ab"]
    assert pieces.end() == ["\\xe6\\x97"]


def test_capped_counts_characters_not_lines():
    """Short texts are only cut into lines."""
    assert capped("a\nb\n") == ["a", "b"]


def test_json_that_is_nested_too_deeply_is_shown_as_it_came():
    """What cannot be laid out is still a body."""
    assert body_lines(b"[" * 10_000) == ["[" * 10_000]
    assert body_lines(b"[" * 5_000 + b"]" * 5_000) == ["[" * 5_000 + "]" * 5_000]


def test_of_a_large_body_only_the_beginning_is_looked_at():
    """A request of megabytes is not laid out while everyone waits; its size is told."""
    body = ('{"a": "' + "あ" * 2_000_000 + '"}').encode()

    first, second, *_ = body_lines(body)

    assert first == "<the beginning of 6,000,009 bytes>"
    assert second.startswith('{"a": "あ')
