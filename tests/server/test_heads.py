"""The grammar of heads that the fast lane reads."""

import pytest

from proxy_cli.server.heads import may_become_plain, read_head
from proxy_cli.server.strict import HEAD

PLAIN = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:4000\r\nAuthorization:Bearer sk-1 \r\n"
    b"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n"
)


def test_a_plain_head_is_read():
    """Names come in lower case, values without the blanks around them."""
    head = read_head(PLAIN)

    assert head is not None
    assert (head.method, head.target, head.length, head.closes) == ("POST", "/v1/chat/completions", 12, False)
    assert head.fields == {
        "host": "localhost:4000",
        "authorization": "Bearer sk-1",
        "content-type": "application/json",
        "content-length": "12",
    }
    assert head.headers == tuple(head.fields.items())
    assert head.is_json


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_json_in_utf_8_is_json(kind):
    """However it is spelt."""
    head = read_head(PLAIN.replace(b"application/json", kind.encode()))

    assert head is not None
    assert head.is_json


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"application/json", b"multipart/form-data; boundary=x"),
        (b"application/json", b"application/json; charset=shift_jis"),
        (b"Content-Type", b"X-Other"),
        (b"Content-Length: 12", b"Content-Length: 0"),
        (b"Content-Length: 12", b"Content-Length: 12\r\nExpect: 100-continue"),
    ],
)
def test_another_body_is_not_taken_for_json(old, new):
    """A form, another charset, no body, or one that waits for an invitation."""
    head = read_head(PLAIN.replace(old, new))

    assert head is not None
    assert not head.is_json


@pytest.mark.parametrize(("value", "closes"), [(b"close", True), (b"Close", True), (b"keep-alive", False)])
def test_connection_says_whether_more_follows(value, closes):
    """`close` ends the connection after this request."""
    head = read_head(PLAIN.replace(b"Host", b"Connection: " + value + b"\r\nHost"))

    assert head is not None
    assert head.closes is closes


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"HTTP/1.1", b"HTTP/1.1 "),
        (b"HTTP/1.1", b"HTTP/2.0"),
        (b"POST", b"post"),
        (b"POST /", b"POST  /"),
        (b"/v1/chat/completions", b"http://localhost/v1/chat/completions"),
        (b"/v1/chat/completions", b"/v1/chat completions"),
        (b"/v1/chat/completions", b"/" + b"a" * 9000),
        (b"/v1/chat/completions", "/v1/チャット".encode()),
        (b"Host: localhost:4000\r\n", b""),
        (b"localhost:4000", b""),
        (b"localhost:4000", b"localhost:4000/#@attacker"),
        (b"localhost:4000", b"localhost:99999"),
        (b"Host:", b"Host :"),
        (b"Host:", b" Host:"),
        (b"Host:", b"Host: a\r\nHost:"),
        (b"Host:", b"X-Empty\r\nHost:"),
        (b"Host:", b"X: a\r\n b\r\nHost:"),
        (b"Host:", b"X: a\nHost:"),
        (b"Host:", b"X: a\rHost:"),
        (b"Host:", b"X: a\0b\r\nHost:"),
        (b"Host:", b"X: \xff\r\nHost:"),
        (b"Host:", b"X: " + b"a" * 17000 + b"\r\nHost:"),
        (b"Host:", b"".join(b"X-%d: a\r\n" % number for number in range(100)) + b"Host:"),
        (b"Host:", b"Connection: upgrade\r\nHost:"),
        (b"Host:", b"Connection: close, x\r\nHost:"),
        (b"Host:", b"Upgrade: websocket\r\nHost:"),
        (b"Host:", b"Transfer-Encoding: chunked\r\nHost:"),
        (b"Host:", b"Content-Encoding: gzip\r\nHost:"),
        (b"Content-Length: 12", b"Content-Length: 12\r\nContent-Length: 12"),
        (b"Content-Length: 12", b"Content-Length: +12"),
        (b"Content-Length: 12", b"Content-Length: 0x12"),
        (b"Content-Length: 12", b"Content-Length: 1_2"),
        (b"Content-Length: 12", b"Content-Length: 12, 12"),
        (b"Content-Length: 12", b"Content-Length: "),
        (b"Content-Length: 12", b"Content-Length: 9999999999999999"),
    ],
)
def test_a_head_that_two_readers_might_read_differently_is_not_read(old, new):
    """Nothing is guessed: a full reader of HTTP has to answer it."""
    assert old in PLAIN
    assert read_head(PLAIN.replace(old, new, 1)) is None


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", PLAIN[:-2], PLAIN + b"x"])
def test_what_is_not_one_whole_head_is_not_read(data):
    """A request line alone names no host; bytes before or after the head are not part of it."""
    assert read_head(data) is None


@pytest.mark.parametrize(
    ("more", "is_all"),
    [
        (b"", True),
        (b"Content-Length: 0\r\n", True),
        (b"Content-Length: 1\r\n", False),
        (b"Expect: 100-continue\r\n", False),
    ],
)
def test_a_head_may_be_all_of_a_request(more, is_all):
    """No body follows, and nobody waits to be invited to send one."""
    head = read_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n")

    assert head is not None
    assert head.is_all is is_all


def test_whatever_a_plain_head_begins_with_may_become_one():
    """However a client's packets are cut, nobody is sent elsewhere for it."""
    assert all(may_become_plain(PLAIN[:end]) for end in range(1, len(PLAIN)))


@pytest.mark.parametrize(
    "begun",
    [
        b"get / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"GET http://elsewhere/ HTTP/1.1\r\n",
        b"GET / HTTP/1.1\nHost: a\n",
        b"GET / HTTP/1.1\r\rHost",
        b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD.total_bytes,
    ],
)
def test_what_cannot_become_a_plain_head_is_told_at_once(begun):
    """It need not be whole to be known for something else: no wait for an end that may never come."""
    assert not may_become_plain(begun)
