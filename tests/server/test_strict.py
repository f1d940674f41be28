"""The rules for heads, as values in and an error or None out."""

import pytest

from proxy_cli.server.strict import HEAD, fault, is_host

HOST = (b"host", b"localhost:4000")


def status(method="GET", target="/v1/models", version=(1, 1), headers=(HOST,)):
    """The status that a head is refused with, or None."""
    found = fault(method, target, version, headers)
    return found and found.status


@pytest.mark.row("H-28")
@pytest.mark.parametrize(
    ("version", "expected"), [((1, 1), None), ((1, 0), None), ((0, 9), 505), ((1, 2), 505), ((2, 0), 505)]
)
def test_only_two_versions_are_spoken(version, expected):
    """All others are refused, whatever a parser makes of them."""
    assert status(version=version) == expected


@pytest.mark.row("A-10", "A-11")
@pytest.mark.parametrize(
    "value", [b"a", b"a.example.", b"a_b-c.d", b"127.0.0.1:4000", b"[::1]", b"[::1]:4000", b"localhost:65535"]
)
def test_a_name_or_an_address_is_a_host(value):
    """With a port or without."""
    assert is_host(value)


@pytest.mark.row("A-10", "A-11")
@pytest.mark.parametrize(
    "value",
    [
        *(b"", b" a", b"a b", b"a:", b"a:b", b"a:65536", b"a:123456", b"a,b", b"a/health?x=", b"localhost:4000/#@x"),
        *(b"a@b", b"a#b", b"a?b", b"a%00", b"::1", b"[::1", b"[::1]x", b"[]", b"a\xe9", "日本".encode(), b"a:\xb2"),
    ],
)
def test_what_is_no_host_is_refused_without_an_echo(value):
    """No reader may see a path, a user or a second host in it."""
    found = fault("GET", "/", (1, 1), [(b"Host", value)])

    assert found is not None
    assert found.status == 400
    assert not value.strip() or value.decode("latin-1") not in found.message.split("'")


@pytest.mark.row("A-11")
@pytest.mark.parametrize(
    ("version", "headers", "expected"),
    [((1, 1), (), 400), ((1, 0), (), None), ((1, 1), (HOST, HOST), 400), ((1, 0), (HOST, HOST), 400)],
)
def test_there_is_one_host(version, headers, expected):
    """Only HTTP/1.0 may leave it out."""
    assert status(version=version, headers=headers) == expected


@pytest.mark.row("A-11")
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://localhost:4000/x", None),
        ("HTTP://LOCALHOST:4000", None),
        ("http://other/x", 400),
        ("http://localhost/x", 400),
        ("http://u@localhost:4000/x", 400),
        ("ftp://localhost:4000/x", 400),
        ("x", 400),
        ("*", 405),
    ],
)
def test_an_absolute_address_names_the_same_host(target, expected):
    """And only an http address is one."""
    assert status(target=target) == expected


@pytest.mark.row("H-26")
@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_tunnels_and_echoes_are_not_offered(method):
    """405, with the methods there are."""
    found = fault(method, "/v1/models", (1, 1), [HOST])

    assert found is not None
    assert found.status == 405
    assert found.headers[0][0] == "allow"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((b"chunked", None), (b"Chunked", None), (b" chunked\t", None)),
        *((b"gzip, chunked", 501), (b"gzip", 501), (b"deflate,chunked", 501)),
        *((b",chunked", 400), (b"chunked,", 400), (b"chunked, chunked", 400), (b"identity", 400), (b"xchunked", 400)),
        *((b"\x0bchunked", 400), (b"chunked;q=1", 400), (b'"chunked"', 400), (b"", 400), (b"chunked, gzip", 400)),
    ],
)
def test_the_only_transfer_encoding_is_chunked(value, expected):
    """Whatever else would leave open where the body ends."""
    assert status(method="POST", headers=(HOST, (b"Transfer-Encoding", value))) == expected


def test_a_transfer_encoding_stands_alone():
    """Not twice, not beside a length, not in HTTP/1.0."""
    chunked = (b"transfer-encoding", b"chunked")

    assert status(headers=(HOST, chunked, chunked)) == 400
    assert status(headers=(HOST, chunked, (b"content-length", b"3"))) == 400
    assert status(version=(1, 0), headers=(HOST, chunked)) == 400


@pytest.mark.row("H-12")
def test_a_head_has_bounds():
    """In the target, in one header, in their number and in all."""
    large = (b"x", b"y" * (HEAD.line_bytes - 100))

    assert status(target="/" * (HEAD.target_bytes + 1)) == 414
    assert status(target="/" * HEAD.target_bytes) is None
    assert status(headers=(HOST, large)) is None
    assert status(headers=(HOST, (b"x", b"y" * HEAD.line_bytes))) == 431
    assert status(headers=(HOST, *[large] * 5)) == 431
    assert status(headers=(HOST, *[(b"x", b"y")] * 99)) is None
    assert status(headers=(HOST, *[(b"x", b"y")] * 100)) == 431


def test_headers_are_utf8():
    """Other bytes would have to be guessed at wherever they are shown or sent on."""
    assert status(headers=(HOST, (b"x-name", "日本".encode()))) is None
    assert status(headers=(HOST, (b"x-name", b"\xff\xfe"))) == 400
