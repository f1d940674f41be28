"""Heads read without a parser: only what the parser would read the same way."""

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_cli.upstream.quick import quick_head

USUAL = (
    b"HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
    b"X-Request-ID:r1\r\nset-cookie: a=b\r\nset-cookie: c=d\r\nempty:\r\ncontent-length: 2\r\n\r\nhi"
)


class Parsed:
    """What the parser makes of the same bytes."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.complete = self.stays = False
        self.parser = httptools.HttpResponseParser(self)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.error: Exception | None = error
        else:
            self.error = None

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete, self.stays = True, self.parser.should_keep_alive()


def test_usual_head_is_read_whole():
    """Status, fields in their order with names in lower case, the length, and what came of the body."""
    quick = quick_head(USUAL)

    assert quick is not None
    head, body = quick
    assert (head.status, head.length, head.chunked, head.coding) == (200, 2, False, None)
    assert head.headers[3:] == (
        ("x-request-id", "r1"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("empty", ""),
        ("content-length", "2"),
    )
    assert body == b"hi"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(USUAL[:-6], id="cut off"),
        pytest.param(USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"), id="an older version"),
        pytest.param(USUAL.replace(b"200 OK", b"103 Early Hints"), id="interim"),
        pytest.param(USUAL.replace(b"200 OK", b"204 No Content"), id="never a body"),
        pytest.param(USUAL.replace(b"200 OK", b"600 What"), id="no such status"),
        pytest.param(USUAL.replace(b"keep-alive", b"close"), id="a connection that ends"),
        pytest.param(USUAL.replace(b"content-length: 2", b"transfer-encoding: chunked"), id="chunks"),
        pytest.param(USUAL.replace(b"content-length: 2", b"x: 2"), id="no length"),
        pytest.param(USUAL.replace(b"content-length: 2", b"content-length: +2"), id="a length with a sign"),
        pytest.param(USUAL.replace(b"content-length: 2", b"content-length: 2\r\ncontent-length: 2"), id="two lengths"),
        pytest.param(USUAL.replace(b"content-length: 2", b"content-length: " + b"9" * 30), id="no such length"),
        pytest.param(USUAL.replace(b"empty:", b"content-encoding: gzip"), id="coded"),
        pytest.param(USUAL.replace(b"empty:", b"upgrade: h2c"), id="an upgrade"),
        pytest.param(USUAL.replace(b"empty:", b" folded"), id="a folded line"),
        pytest.param(USUAL.replace(b"empty:", b"name : x"), id="a space in a name"),
        pytest.param(USUAL.replace(b"empty:", b"a: b\0c"), id="a NUL"),
        pytest.param(USUAL.replace(b"empty:", b"a: b\nc: d"), id="a bare line feed"),
        pytest.param(USUAL.replace(b"empty:", b"a: b\rc: d"), id="a bare carriage return"),
        pytest.param(USUAL.replace(b"empty:", b"x: " + b"a" * 5000), id="a long head"),
        pytest.param(USUAL.replace(b"empty:\r\n", b"a:\r\n" * 300), id="many fields"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", id="another language"),
    ],
)
def test_what_is_not_usual_is_left_to_the_parser(data):
    """It knows what such a reply means, or why it is refused."""
    assert quick_head(data) is None


LINES = st.sampled_from(
    [
        *USUAL.split(b"\r\n")[1:8],
        b"content-length: 2",
        b"Content-Length:2",
        b"content-length: 2 ",
        b"content-length: 0",
        b"x-a: \xe6\x97\xa5",
        b"x-b:\tb",
        b"x-c:  c",
        b"x-d: d\t",
        b"x-e: e\x7f",
        b": no name",
        b"no colon",
        b"Transfer-Encoding: chunked",
        b"connection: Keep-Alive, x",
        b"Proxy-Connection: close",
    ]
)


@settings(max_examples=300)
@given(
    opening=st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 404", b"HTTP/1.1 500 ", b"http/1.1 200 OK", b"HTTP/1.1  200"]
    ),
    lines=st.lists(LINES, max_size=8),
    noise=st.tuples(st.integers(0, 300), st.binary(max_size=2)),
)
def test_what_is_read_is_what_the_parser_reads(opening, lines, noise):
    """Whatever lines a head has and whatever byte is changed in it: the same fields, the same body, and no error."""
    at, byte = noise
    data = b"\r\n".join([opening, *lines, b"", b"hi"])
    data = data[:at] + byte + data[at + len(byte) :]
    quick = quick_head(data)
    if quick is None:
        return

    head, body = quick
    parsed = Parsed(data)
    assert head.headers == tuple(parsed.headers)
    assert parsed.parser.get_status_code() == head.status
    assert head.length is not None
    assert body[: head.length] == parsed.body
    if len(body) == head.length:
        assert (parsed.error, parsed.complete, parsed.stays) == (None, True, True)
