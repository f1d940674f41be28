"""Message heads: what is written, what is understood, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import BackendBroken
from proxy_cli.shapes import Backend
from proxy_cli.upstream.head import check_size, reply_head, request_head
from tests.upstream.dialogue import Pieces, request_to

BACKEND = Backend("http", "llm", 8000)


def test_head_carries_the_fields_and_the_framing():
    """Host, length and accepted codings are ours, the rest is the request's, in its order."""
    head = request_head(request_to(BACKEND, b'{"a":1}', headers=(("authorization", "Bearer k"), ("x-a", "1"))))

    assert head == (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: llm:8000\r\nauthorization: Bearer k\r\nx-a: 1\r\n"
        b"content-length: 7\r\naccept-encoding: gzip, deflate, br, zstd\r\n\r\n"
    )


def test_stream_is_asked_for_without_a_coding():
    """A coding would hold events back."""
    head = request_head(request_to(BACKEND, stream=True))

    assert b"\r\naccept-encoding: identity\r\n" in head


@pytest.mark.parametrize(("length", "field"), [(None, b"transfer-encoding: chunked"), (9, b"content-length: 9")])
def test_body_that_is_read_later_is_framed_by_its_length_or_in_chunks(length, field):
    """A known length is announced; otherwise there are chunks."""
    head = request_head(request_to(BACKEND, Pieces(length=length)))

    assert b"\r\n" + field + b"\r\n" in head


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection", "accept-encoding"])
def test_fields_that_frame_a_message_are_never_taken_over(name):
    """What a caller or a config says about the connection cannot end up twice in the head."""
    head = request_head(request_to(BACKEND, headers=((name, "smuggled"),)))

    assert b"smuggled" not in head


def test_header_that_is_not_ascii_goes_out_as_the_bytes_it_came_in():
    """UTF-8 and odd bytes, decoded with surrogates, are restored."""
    value = "日本 ".encode() + b"\xff"

    head = request_head(request_to(BACKEND, headers=(("x-title", value.decode("utf-8", "surrogateescape")),)))

    assert b"\r\nx-title: " + value + b"\r\n" in head


@pytest.mark.row("H-29", "A-23")
@pytest.mark.parametrize(
    "bad", ["\r", "\n", "\r\n", "\0", "\x7f", "a\r\nevil: 1", "a\r\nevil: 1\r\n\r\nGET / HTTP/1.1"]
)
def test_line_breaks_and_control_characters_in_a_value_are_refused_without_the_value(bad):
    """Nothing can be smuggled in by a header value, and the message does not repeat it."""
    with pytest.raises(ValueError, match="'x-a'") as refusal:
        request_head(request_to(BACKEND, headers=(("x-a", f"secret{bad}"),)))

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "名"])
def test_a_name_that_is_no_token_is_refused(name):
    """A header name is a token, or the request is not sent."""
    with pytest.raises(ValueError, match="is no name for a header"):
        request_head(request_to(BACKEND, headers=((name, "x"),)))


@pytest.mark.parametrize("target", ["/a b", "/a\r\nx: y", "/日本", ""])
def test_a_target_that_is_not_encoded_is_refused(target):
    """A request line has three words."""
    request = request_to(BACKEND)

    with pytest.raises(ValueError, match="percent-encode"):
        request_head(type(request)(backend=BACKEND, target=target, headers=(), body=b"", timeouts=request.timeouts))


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=20)), max_size=5))
def test_head_has_as_many_lines_as_it_was_given_fields_whatever_they_hold(headers):
    """Either a head is refused, or a reader finds in it no line beyond those that were meant."""
    try:
        head = request_head(request_to(BACKEND, headers=tuple(headers)))
    except ValueError:
        return

    lines = head.split(b"\r\n")
    assert len(lines) <= len(headers) + 6
    assert lines[-2:] == [b"", b""]
    assert b"" not in lines[:-2]
    assert head.count(b"\n") == head.count(b"\r") == len(lines) - 1


def test_reply_framing_is_read_from_its_fields():
    """A length, chunks, or the end of the connection."""
    sized = reply_head(BACKEND, "POST", 200, "1.1", [("content-length", "12")])
    in_chunks = reply_head(BACKEND, "POST", 200, "1.1", [("transfer-encoding", "Chunked")])
    bare = reply_head(BACKEND, "POST", 200, "1.0", [])

    assert (sized.length, sized.ends_by_close) == (12, False)
    assert (in_chunks.chunked, in_chunks.ends_by_close) == (True, False)
    assert bare.ends_by_close


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 204), ("POST", 304)])
def test_reply_that_never_has_a_body_has_length_zero(method, status):
    """Whatever its fields say about the body that another request would have got."""
    head = reply_head(BACKEND, method, status, "1.1", [("content-length", "9"), ("content-encoding", "gzip")])

    assert (head.length, head.coding) == (0, None)


@pytest.mark.row("U-20")
def test_coding_that_is_undone_here_leaves_no_trace_in_the_headers():
    """Neither the coding nor the length of the coded body is shown."""
    fields = [("content-encoding", "GZIP"), ("content-length", "5"), ("x-a", "1")]

    head = reply_head(BACKEND, "POST", 200, "1.1", fields)

    assert (head.coding, head.length, head.headers) == ("gzip", 5, (("x-a", "1"),))


@pytest.mark.row("U-17", "U-20")
@pytest.mark.parametrize(
    ("status", "version", "fields", "what"),
    [
        (200, "2.0", [], "HTTP/2.0"),
        (101, "1.1", [], "status 101"),
        (99, "1.1", [], "status 99"),
        (999, "1.1", [], "status 999"),
        (200, "1.1", [("transfer-encoding", "gzip")], "transfer coding 'gzip'"),
        (200, "1.1", [("transfer-encoding", "gzip, chunked")], "transfer coding"),
        (200, "1.1", [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], "transfer coding"),
        (200, "1.1", [("content-encoding", "compress")], "content coding 'compress'"),
        (200, "1.1", [("content-encoding", "gzip"), ("content-encoding", "gzip")], "'gzip, gzip'"),
        (200, "1.1", [("content-encoding", "gzip, gzip")], "'gzip, gzip'"),
    ],
)
def test_reply_head_that_cannot_be_trusted_is_refused(status, version, fields, what):
    """A version, status or coding that we cannot vouch for is an error that names it."""
    with pytest.raises(BackendBroken, match=what) as refusal:
        reply_head(BACKEND, "POST", status, version, fields)

    assert refusal.value.code == "upstream_invalid_response"


@pytest.mark.row("U-17")
@pytest.mark.parametrize(("fields", "fits"), [(256, True), (257, False)])
def test_number_of_fields_is_limited(fields, fits):
    """256 header fields are enough."""
    many = [("a", "b")] * fields

    if fits:
        check_size(BACKEND, many, 10_000)
    else:
        with pytest.raises(BackendBroken, match="256 header fields"):
            check_size(BACKEND, many, 10_000)


@pytest.mark.row("U-17")
@pytest.mark.parametrize(("length", "fits"), [(65_000, True), (66_000, False)])
def test_size_of_all_fields_is_limited(length, fits):
    """64 KiB of headers are enough; a long body that came along does not count."""
    fields = [("a", "b" * length)]

    if fits:
        check_size(BACKEND, fields, 1_000_000)
    else:
        with pytest.raises(BackendBroken, match="bytes of headers") as refusal:
            check_size(BACKEND, fields, length + 100)
        assert refusal.value.code == "upstream_header_too_large"
