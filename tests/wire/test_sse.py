"""Event streams: however they are cut, the same events come out."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import BackendBroken
from proxy_cli.wire.sse import MAX_EVENT_BYTES, Events, data_of, events_of, with_data

RECORDED = (
    ": welcome\n\n"
    'data: {"choices":[{"delta":{"content":"日本の都道府県🗾"}}]}\n\n'
    'event: message\nid: 7\ndata: {"choices":[{"delta":{"content":"👩‍👩‍👧 é"}}]}\n\n'
    "data: first\ndata: second\n\n"
    "data:no blank\n\n\n"
    "retry: 5\n\n"
    "data: [DONE]\n\n"
).encode()
STREAMS = {
    "lf": RECORDED,
    "crlf": RECORDED.replace(b"\n", b"\r\n"),
    "cr": RECORDED.replace(b"\n", b"\r"),
    "mixed": b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\rdata: e\r\n\r\n\rdata: f\r\rdata: g\n\n",
    "bom": b"\xef\xbb\xbf" + RECORDED,
    "cut off": RECORDED + b"data: half",
}


def split(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    events = Events()
    found = [event for piece in pieces for event in events.feed(piece)]
    return found, events.rest()


def reference(stream: bytes) -> list[bytes]:
    """The data of each event, by the letter of the standard: line by line over the whole stream."""
    found, lines = [], []
    for line in re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))[:-1]:
        if line:
            lines.append(line)
            continue
        data = [
            rest.removeprefix(b" ") for name, _, rest in (line.partition(b":") for line in lines) if name == b"data"
        ]
        if data:
            found.append(b"\n".join(data))
        lines = []
    return found


@pytest.mark.row("S-13", "S-14")
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_a_stream_cut_anywhere_gives_the_same_events(stream):
    """At every byte position, and into single bytes; no character is lost on the way."""
    whole = split([stream])

    assert b"".join(whole[0]) + whole[1] == stream.removeprefix(b"\xef\xbb\xbf")
    for position in range(len(stream) + 1):
        assert split([stream[:position], stream[position:]]) == whole, position
    assert split([stream[at : at + 1] for at in range(len(stream))]) == whole
    assert split([stream[at : at + 3] for at in range(0, len(stream), 3)]) == whole


@pytest.mark.row("S-13")
@pytest.mark.parametrize("name", ["lf", "crlf", "bom"])
def test_events_of_a_recorded_stream(name):
    """Comments, fields, joined data lines and the end mark, with any line end."""
    events, rest = split([STREAMS[name]])
    data = [found.decode() for event in events if (found := data_of(event)) is not None]

    assert data == [
        '{"choices":[{"delta":{"content":"日本の都道府県🗾"}}]}',
        '{"choices":[{"delta":{"content":"👩‍👩‍👧 é"}}]}',
        "first\nsecond",
        "no blank",
        "[DONE]",
    ]
    assert not rest.strip()


@pytest.mark.row("F-02")
@given(st.text("\r\n:d a日", max_size=40).map(str.encode), st.lists(st.integers(0, 80), max_size=8), st.booleans())
def test_events_agree_with_the_standard(noise, cuts, marked):
    """Differential: any mixture of line ends, in any pieces, has the data that a plain reading of it has."""
    stream = (b"\xef\xbb\xbf" if marked else b"") + noise.replace(b"d", b"data") + b"\n\nx"
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    events, _ = split([stream[start:end] for start, end in pairwise(places)])

    assert [found for event in events if (found := data_of(event)) is not None] == reference(stream)


def test_a_last_cr_waits_for_its_lf():
    """It may be the first half of a CRLF, so the event is not given out before it is known."""
    events = Events()

    assert events.feed(b"data: a\r\n\r") == []
    assert events.feed(b"\ndata: b\r\r") == [b"data: a\r\n\r\n"]
    assert events.feed(b"data: c") == [b"data: b\r\r"]
    assert events.rest() == b"data: c"
    assert events.rest() == b""


@pytest.mark.row("S-15")
@pytest.mark.parametrize("size", [60 * 1024, 512 * 1024, 1024 * 1024, MAX_EVENT_BYTES])
def test_large_events_pass_up_to_the_cap(size):
    """In network-sized pieces, and whole."""
    event = b"data: " + b"x" * (size - 8) + b"\n\n"

    pieces = [event[at : at + 65536] for at in range(0, len(event), 65536)]

    assert split(pieces) == ([event], b"")
    assert split([event]) == ([event], b"")


@pytest.mark.row("S-15")
@pytest.mark.parametrize("end", [b"\n\n", b""])
@pytest.mark.parametrize("before", [b"", b"data: a\n\n"])
def test_an_event_past_the_cap_is_an_error(before, end):
    """It is never held without limit, and what came before it still comes out."""
    events = Events(max_event_bytes=100)
    event = b"data: " + b"x" * (101 - 6 - len(end)) + end

    first = events.feed(before)
    with pytest.raises(BackendBroken) as caught:
        [events.feed(event[at : at + 7]) for at in range(0, len(event), 7)]
    with pytest.raises(BackendBroken):
        Events(max_event_bytes=100).feed(event)

    assert first == ([before] if before else [])
    assert caught.value.code == "upstream_event_too_large"


def test_events_before_one_that_is_too_large_are_not_lost():
    """They come out first; the next piece brings the error."""
    events = Events(max_event_bytes=10)

    assert events.feed(b"data: a\n\ndata: much too long\n\n") == [b"data: a\n\n"]
    with pytest.raises(BackendBroken):
        events.feed(b"data: b\n\n")


def test_single_bytes_of_a_long_event_are_searched_once():
    """A megabyte in single bytes comes out whole; were each search over all of it, this would never end."""
    event = b"data: " + b"x" * 1_000_000 + b"\n\n"
    events = Events()

    found = [out for at in range(len(event)) for out in events.feed(event[at : at + 1])]

    assert found == [event]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data:  x\n\n", b" x"),
        (b"data\n\n", b""),
        (b"data: a\rdata: b\n\n", b"a\nb"),
        (b"data: a\ndata\ndata: b\n\n", b"a\n\nb"),
        (b": ping\n\n", None),
        (b"event: x\n\n", None),
        (b"dataset: x\n\n", None),
        (b"event: x\r\ndata: y\r\n\r\n", b"y"),
        (b"data: x", b"x"),
        (b"\n\n", None),
        (b"", None),
    ],
)
def test_data_is_read_by_the_standard(event, data):
    """One blank after the colon goes, lines are joined, other fields are not data."""
    assert data_of(event) == data


@pytest.mark.parametrize(
    ("event", "data", "changed"),
    [
        (b"data: x\n\n", b"y", b"data: y\n\n"),
        (b"event: m\r\ndata: x\r\nid: 1\r\n\r\n", b"y", b"event: m\r\ndata: y\r\nid: 1\r\n\r\n"),
        (b"data: a\ndata: b\n\n", b"y", b"data: y\n\n"),
        (b"data: x\n\n", b"y\nz", b"data: y\ndata: z\n\n"),
        (b"data:x\r\r", b"y", b"data:y\r\r"),
        (b"data:x\n\n", b" y", b"data:  y\n\n"),
        (b"data\n\n", b"y", b"data: y\n\n"),
        (b"data: {\r\ndata:a\ndata:  }\r\n\r\n", b"{\nb\n }", b"data: {\r\ndata:b\ndata:  }\r\n\r\n"),
        (b"data:a\r\ndata: b", b"x\ny\nz", b"data:x\r\ndata: y\ndata: z\n"),
        (b"data: x\r\n\n", b"y", b"data: y\r\n\n"),
        (b": ping\n\n", b"y", b": ping\n\n"),
    ],
)
def test_data_is_replaced_in_its_place(event, data, changed):
    """The other lines, the line ends and the blank after a colon, or its lack, stay."""
    assert with_data(event, data) == changed


@pytest.mark.parametrize("later", [b"\n", b"\ndata: b\r\n\r\n", b"\n" + b"x" * 70_000])
def test_a_piece_may_be_taken_as_a_block_or_as_events(later):
    """Whichever is asked, nothing is lost between the two, and a blank line that was cut is found."""
    events = Events()
    events.feed(b"data: first\n\n")

    taken = events.block(b"data: x\n\ndata: a\n")
    block = events.block(later)
    found = events.feed(later) if block is None else events_of(block)

    assert taken == b"data: x\n\n"
    assert found[0] == b"data: a\n\n"


def test_a_block_is_refused_where_its_events_are_not_told_by_line_feeds_alone():
    """Before the first event there may be a byte order mark, and a CR ends a line too."""
    events = Events(max_event_bytes=100)

    assert events.block(b"data: a\n\n") is None
    assert events.feed(b"\xef\xbb\xbfdata: a\n\n") == [b"data: a\n\n"]
    assert events.block(b"data: b\n\n") == b"data: b\n\n"
    assert events.block(b"data: " + b"c" * 100 + b"\n\n") is None
    assert events.block(b"data: c\r\rdata: d\n\n") is None
    assert events.is_between
    assert events.feed(b"data: c\r\rdata: d\n\n") == [b"data: c\r\r", b"data: d\n\n"]
    assert events.block(b"data: e\n\n") is None
    assert not events.is_between
