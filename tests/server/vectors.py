"""Raw requests, each with what has to become of it: the classes of RFC 9112 and 9110 where servers have disagreed.

In the bytes, `<M>` is the method and `<P>` the path of the route under test, `<B>` a body that it takes, `<L>` its
length, `<X>` that in hexadecimal, and `<C>` the body as one chunk with the last chunk behind it.
"""

from typing import NamedTuple


class Vector(NamedTuple):
    """Bytes, the statuses that may answer them, and whether the connection is closed then."""

    name: str
    sent: bytes
    statuses: frozenset[int]
    closed: bool
    answers: int = 1  # when more than one request is sent
    perhaps: int = 0  # further answers, where it is open whether the first bytes are one request or two


HOST = b"Host: a\r\n"
JSON = b"Content-Type: application/json\r\n"
START = b"<M> <P> HTTP/1.1\r\n"
TOP = START + HOST + JSON
LENGTH = b"Content-Length: <L>\r\n"
PLAIN = TOP + LENGTH + b"\r\n<B>"
CHUNKED = TOP + b"Transfer-Encoding: chunked\r\n"
LARGE = b"y" * 9_000


def taken(name: str, sent: bytes, *, answers: int = 1, closed: bool = False) -> Vector:
    """A vector that is a good request."""
    return Vector(name, sent, frozenset({200}), closed, answers)


def refused(name: str, sent: bytes, *statuses: int) -> Vector:
    """A vector that is answered once, by default with 400, and the connection closed."""
    return Vector(name, sent, frozenset(statuses or {400}), closed=True)


def line(name: str, first: bytes, *statuses: int) -> Vector:
    """A request line that is refused."""
    return refused(name, first + HOST + JSON + LENGTH + b"\r\n<B>", *statuses)


def field(name: str, header: bytes, *statuses: int) -> Vector:
    """A header line that is refused in a request that is good but for it."""
    return refused(name, TOP + LENGTH + header + b"\r\n\r\n<B>", *statuses)


def host(name: str, header: bytes, *statuses: int) -> Vector:
    """Another Host than a name or an address."""
    return refused(name, START + header + JSON + LENGTH + b"\r\n<B>", *statuses)


def length(name: str, value: bytes, *statuses: int) -> Vector:
    """A Content-Length that is no plain number."""
    return refused(name, TOP + b"Content-Length: " + value + b"\r\n\r\n<B>", *statuses)


def coding(name: str, header: bytes, *statuses: int) -> Vector:
    """A Transfer-Encoding that is not exactly `chunked`."""
    return refused(name, TOP + header + b"\r\n\r\n<C>", *statuses)


def chunks(name: str, body: bytes, *statuses: int) -> Vector:
    """A chunked body that is broken."""
    return refused(name, CHUNKED + b"\r\n" + body, *statuses)


GOOD = (
    taken("a plain request", PLAIN),
    taken("a chunked body", CHUNKED + b"\r\n<C>"),
    taken("a chunked body in an odd case", TOP + b"tRANSFER-eNCODING: chunked\r\n\r\n<C>"),
    taken("a chunk extension", CHUNKED + b"\r\n<X>;a=b\r\n<B>\r\n0\r\n\r\n"),
    taken("a quoted chunk extension", CHUNKED + b'\r\n<X>;a="b"\r\n<B>\r\n0\r\n\r\n'),
    taken("a chunk size with zeros in front", CHUNKED + b"\r\n000<X>\r\n<B>\r\n0\r\n\r\n"),
    taken("a trailer", CHUNKED + b"\r\n<X>\r\n<B>\r\n0\r\nX-Sum: 1\r\n\r\n"),
    taken("an empty line in front", b"\r\n" + PLAIN),
    taken("two requests at once", PLAIN + PLAIN, answers=2),
    taken("three requests, one chunked", PLAIN + CHUNKED + b"\r\n<C>" + PLAIN, answers=3),
    taken("blanks around a value", START + b"Host: \t a \t \r\n" + JSON + LENGTH + b"\r\n<B>"),
    taken("no blank before a value", START + b"Host:a\r\n" + JSON + LENGTH + b"\r\n<B>"),
    taken("an empty header", TOP + LENGTH + b"X:\r\n\r\n<B>"),
    taken("a header twice", TOP + LENGTH + b"X: 1\r\nX: 2\r\n\r\n<B>"),
    taken("a header in UTF-8", TOP + LENGTH + "X: 日本\r\n\r\n".encode() + b"<B>"),
    taken("every token character in a name", TOP + LENGTH + b"a!#$%&'*+-.^_`|~9: x\r\n\r\n<B>"),
    taken("a query", b"<M> <P>?a=b&c HTTP/1.1\r\n" + HOST + JSON + LENGTH + b"\r\n<B>"),
    taken("an address with its host", b"<M> http://a<P> HTTP/1.1\r\n" + HOST + JSON + LENGTH + b"\r\n<B>"),
    taken("a host with a port", START + b"Host: a:4000\r\n" + JSON + LENGTH + b"\r\n<B>"),
    taken("a host that is an IPv6 address", START + b"Host: [::1]:4000\r\n" + JSON + LENGTH + b"\r\n<B>"),
    taken("Connection: close", TOP + LENGTH + b"Connection: close\r\n\r\n<B>", closed=True),
    taken("Connection: CLOSE", TOP + LENGTH + b"Connection: CLOSE\r\n\r\n<B>", closed=True),
    taken("Connection: keep-alive, x", TOP + LENGTH + b"Connection: keep-alive, x\r\n\r\n<B>"),
    taken("HTTP/1.0", b"<M> <P> HTTP/1.0\r\n" + HOST + JSON + LENGTH + b"\r\n<B>", closed=True),
    taken("HTTP/1.0 without a host", b"<M> <P> HTTP/1.0\r\n" + JSON + LENGTH + b"\r\n<B>", closed=True),
    taken("HTTP/1.0 that stays", b"<M> <P> HTTP/1.0\r\n" + HOST + JSON + LENGTH + b"Connection: keep-alive\r\n\r\n<B>"),
    taken("an upgrade to h2c, ignored", TOP + LENGTH + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n<B>"),
    taken("an upgrade to websocket, ignored", TOP + LENGTH + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n<B>"),
    taken("headers about another path", TOP + LENGTH + b"X-Original-URL: /x\r\nX-Rewrite-URL: /x\r\n\r\n<B>"),
    taken("a header about another method", TOP + LENGTH + b"X-HTTP-Method-Override: DELETE\r\n\r\n<B>"),
    taken("a header of 9 KB", TOP + LENGTH + b"X: " + LARGE + b"\r\n\r\n<B>"),
)

REQUEST_LINES = (
    line("a lower-case method", b"get <P> HTTP/1.1\r\n"),
    line("a mixed-case method", b"Post <P> HTTP/1.1\r\n"),
    line("a method that nobody knows", b"FROBNICATE <P> HTTP/1.1\r\n", 400, 405),
    line("a method with a bad character", b"GE(T <P> HTTP/1.1\r\n"),
    line("an empty method", b" <P> HTTP/1.1\r\n"),
    line("no target", b"<M> HTTP/1.1\r\n", 400, 505),
    line("two blanks before the target", b"<M>  <P> HTTP/1.1\r\n"),
    line("two blanks behind the target", b"<M> <P>  HTTP/1.1\r\n"),
    line("a tab before the target", b"<M>\t<P> HTTP/1.1\r\n"),
    line("a tab behind the target", b"<M> <P>\tHTTP/1.1\r\n"),
    line("a blank behind the version", b"<M> <P> HTTP/1.1 \r\n"),
    line("something behind the version", b"<M> <P> HTTP/1.1 x\r\n"),
    line("a blank in front", b" <M> <P> HTTP/1.1\r\n"),
    line("a bare LF behind the line", b"<M> <P> HTTP/1.1\n"),
    line("a bare CR behind the line", b"<M> <P> HTTP/1.1\r"),
    line("a bare CR inside the line", b"<M> <P>\rx HTTP/1.1\r\n"),
    line("a vertical tab for a blank", b"<M>\x0b<P> HTTP/1.1\r\n"),
    line("a NUL in the target", b"<M> <P>\x00 HTTP/1.1\r\n"),
    line("a DEL in the target", b"<M> <P>\x7f HTTP/1.1\r\n"),
    line("a target that is not ASCII", "<M> <P>日 HTTP/1.1\r\n".encode()),
    line("a target of other bytes", b"<M> <P>\xff HTTP/1.1\r\n"),
    line("a target without a slash", b"<M> x HTTP/1.1\r\n"),
    line("a target that is a host", b"<M> a:80 HTTP/1.1\r\n"),
    line("a fragment in the target", b"<M> <P>#x HTTP/1.1\r\n"),
    line("a fragment behind a query", b"<M> <P>?a#x HTTP/1.1\r\n"),
    line("an address with another host", b"<M> http://b<P> HTTP/1.1\r\n"),
    line("an address with another port", b"<M> http://a:81<P> HTTP/1.1\r\n"),
    line("an address with a user", b"<M> http://u:p@a<P> HTTP/1.1\r\n"),
    line("an address of another scheme", b"<M> ftp://a<P> HTTP/1.1\r\n"),
    line("an address without a host", b"<M> http://<P> HTTP/1.1\r\n"),
    line("an address that is a file", b"<M> file:///etc/passwd HTTP/1.1\r\n"),
    line("a target of 9 KB", b"<M> <P>?" + LARGE + b" HTTP/1.1\r\n", 414),
    line("a target of 20 KB", b"<M> <P>?" + LARGE * 2 + LARGE + b" HTTP/1.1\r\n", 414),
    line("HTTP/1.2", b"<M> <P> HTTP/1.2\r\n", 505),
    line("HTTP/2.0 in a line", b"<M> <P> HTTP/2.0\r\n", 505),
    line("HTTP/3.0 in a line", b"<M> <P> HTTP/3.0\r\n", 505),
    line("HTTP/0.9 in a line", b"<M> <P> HTTP/0.9\r\n", 505),
    line("HTTP/9.9", b"<M> <P> HTTP/9.9\r\n", 505),
    line("a version of two digits", b"<M> <P> HTTP/1.10\r\n"),
    line("a version with zeros", b"<M> <P> HTTP/01.1\r\n"),
    line("a version without a minor", b"<M> <P> HTTP/1\r\n"),
    line("a version that is no number", b"<M> <P> HTTP/1.x\r\n"),
    line("a version in lower case", b"<M> <P> http/1.1\r\n"),
    line("another protocol", b"<M> <P> HTCPCP/1.1\r\n"),
    line("a version with a blank", b"<M> <P> HTTP /1.1\r\n"),
    line("a version with a slash twice", b"<M> <P> HTTP//1.1\r\n"),
    line("RTSP", b"<M> <P> RTSP/1.0\r\n"),
    line("ICE", b"<M> <P> ICE/1.0\r\n"),
    refused("HTTP/0.9", b"GET <P>\r\n", 505),
    refused("HTTP/0.9 with a header", b"GET <P>\r\nHost: a\r\n\r\n", 505, 400),
    refused("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    refused("CONNECT of a path", b"CONNECT <P> HTTP/1.1\r\nHost: a\r\n\r\n", 405, 400),
    refused("TRACE", b"TRACE <P> HTTP/1.1\r\nHost: a\r\nCookie: s3cret\r\n\r\n", 405),
    refused("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    line("another method with *", b"<M> * HTTP/1.1\r\n", 400, 405),
    refused("the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    refused("the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 32),
    refused("the beginning of SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    refused("a PROXY line", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + PLAIN),
    refused("the beginning of PROXY 2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x01" * 12),
    refused("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400),
    refused("other bytes", bytes(range(128, 256))),
    refused("NULs", b"\x00" * 64),
    refused("an opening brace", b'{"model": "x"}\r\n\r\n'),
)

HOSTS = (
    host("no host", b""),
    host("an empty host", b"Host:\r\n"),
    host("two hosts", b"Host: a\r\nHost: b\r\n"),
    host("a host twice", b"Host: a\r\nHost: a\r\n"),
    host("hosts with a comma", b"Host: a, b\r\n"),
    host("a host with a path", b"Host: a/health?x=\r\n"),
    host("a host with a fragment and a user", b"Host: localhost:4000/#@attacker\r\n"),
    host("a host with a user", b"Host: u@a\r\n"),
    host("a host with a query", b"Host: a?b\r\n"),
    host("a host with a blank", b"Host: a b\r\n"),
    host("a host with an empty port", b"Host: a:\r\n"),
    host("a host with a port that is none", b"Host: a:x\r\n"),
    host("a host with a large port", b"Host: a:99999\r\n"),
    host("a host with a scheme", b"Host: http://a\r\n"),
    host("a host with a backslash", b"Host: a\\b\r\n"),
    host("a host that is percent-encoded", b"Host: a%00\r\n"),
    host("a host with a NUL", b"Host: a\x00\r\n"),
    host("a host that is not ASCII", "Host: 日本\r\n".encode()),
    host("an IPv6 address without brackets", b"Host: ::1\r\n"),
    host("an IPv6 address without its end", b"Host: [::1\r\n"),
    host("two hosts in an odd case", b"Host: a\r\nhOST: b\r\n"),
    refused("two hosts in HTTP/1.0", b"GET <P> HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    host("a host behind a blank line fold", b"Host:\r\n a\r\n"),
)

FIELDS = (
    field("a blank before the colon", b"X : y"),
    field("a tab before the colon", b"X\t: y"),
    field("a blank before the colon of a length", b"Content-Length : 3"),
    field("a blank in front of a name", b" X: y"),
    field("a tab in front of a name", b"\tX: y"),
    field("a folded value", b"X: y\r\n z"),
    field("a value folded by a tab", b"X: y\r\n\tz"),
    field("an empty name", b": y"),
    field("a line without a colon", b"xyz"),
    field("a name with a blank", b"X Y: z"),
    field("a name with a quote", b'X"Y: z'),
    field("a name with a parenthesis", b"X(Y): z"),
    field("a name with a slash", b"X/Y: z"),
    field("a name with a NUL", b"X\x00Y: z"),
    field("a name that is not ASCII", "Xé: z".encode()),
    field("a NUL in a value", b"X: y\x00z"),
    field("a NUL at a value's end", b"X: Bearer s3cret\x00"),
    field("a control in a value", b"X: y\x01z"),
    field("a DEL in a value", b"X: y\x7fz"),
    field("an escape in a value", b"X: \x1b[31m"),
    field("a bare CR in a value", b"X: y\rz"),
    field("a bare CR that hides a header", b"X: y\rTransfer-Encoding: chunked"),
    field("a bare LF in a value", b"X: y\nz"),
    field("a bare LF behind a header", b"X: y\nY: z"),
    field("CR CR LF behind a header", b"X: y\r\r\nY: z"),
    field("a value of other bytes", b"X: \xff\xfe"),
    field("a value in Latin-1", b"X: caf\xe9"),
    field("a header of 20 KB", b"X: " + LARGE * 2 + b"z" * 2_000, 431),
    field("a name of 20 KB", LARGE * 2 + b"z" * 2_000 + b": x", 431),
    field("101 headers", b"\r\n".join([b"X: y"] * 101), 431),
    field("5000 headers", b"\r\n".join([b"X: y"] * 5_000), 431),
    field("headers of 100 KB together", b"\r\n".join([b"X: " + LARGE] * 11), 431),
    refused("a bare LF for the empty line", TOP + LENGTH + b"\n<B>"),
    refused("bare LFs only", b"<M> <P> HTTP/1.1\nHost: a\nContent-Length: <L>\n\n<B>"),
    refused("a bare CR for the empty line", TOP + LENGTH + b"\r<B>"),
    field("two content types", b"Content-Type: application/json"),
)

FRAMING = (
    length("a length with a plus", b"+<L>"),
    length("a negative length", b"-1"),
    length("a length with a minus zero", b"-0"),
    length("a length in hexadecimal", b"0x10"),
    length("a length with an underscore", b"1_0"),
    length("a length with a point", b"3.0"),
    length("a length with an exponent", b"1e3"),
    length("a length with a comma", b"<L>, <L>"),
    length("two lengths in a line", b"<L>, 3"),
    length("a length with a blank", b"1 0"),
    length("an empty length", b""),
    length("a length that is no number", b"x"),
    length("a length in other digits", "３".encode()),
    length("a length with a NUL", b"3\x00"),
    length("a length with a semicolon", b"3;x"),
    length("a length in quotes", b'"3"'),
    length("a length over 2**64", b"18446744073709551617", 400, 413),
    length("a length of 400 digits", b"9" * 400, 400, 413),
    field("two lengths that differ", b"Content-Length: 3"),
    field("two equal lengths", b"Content-Length: <L>"),
    field("a length twice in an odd case", b"cONTENT-lENGTH: <L>"),
    field("a length and a coding", b"Transfer-Encoding: chunked"),
    field("a length and an empty coding", b"Transfer-Encoding:"),
    field("a length and an unknown coding", b"Transfer-Encoding: xchunked"),
    refused("a coding and a length", CHUNKED + b"Content-Length: 6\r\n\r\n0\r\n\r\nG"),
    refused("a length, a coding and a hidden request", TOP + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n5c\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n"),
    coding("gzip, chunked", b"Transfer-Encoding: gzip, chunked", 400, 501),
    coding("chunked, gzip", b"Transfer-Encoding: chunked, gzip"),
    coding("gzip alone", b"Transfer-Encoding: gzip", 400, 501),
    coding("deflate", b"Transfer-Encoding: deflate", 400, 501),
    coding("identity", b"Transfer-Encoding: identity", 400, 501),
    coding("identity, chunked", b"Transfer-Encoding: identity, chunked", 400, 501),
    coding("chunked twice", b"Transfer-Encoding: chunked, chunked"),
    coding("two codings", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    coding("two codings that differ", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    coding("a comma before chunked", b"Transfer-Encoding: ,chunked"),
    coding("a comma behind chunked", b"Transfer-Encoding: chunked,"),
    coding("xchunked", b"Transfer-Encoding: xchunked"),
    coding("chunkedx", b"Transfer-Encoding: chunkedx"),
    coding("chunked with a parameter", b"Transfer-Encoding: chunked;q=1"),
    coding("chunked in quotes", b'Transfer-Encoding: "chunked"'),
    coding("chunked in single quotes", b"Transfer-Encoding: 'chunked'"),
    coding("chunked behind a vertical tab", b"Transfer-Encoding: \x0bchunked"),
    coding("chunked behind a form feed", b"Transfer-Encoding: \x0cchunked"),
    coding("chunked before a NUL", b"Transfer-Encoding: chunked\x00"),
    coding("chunked, folded", b"Transfer-Encoding:\r\n chunked"),
    coding("chunked with a blank before the colon", b"Transfer-Encoding : chunked"),
    coding("chunked in a name with a blank", b"Transfer Encoding: chunked\r\nTransfer-Encoding : chunked"),
    coding("an empty coding", b"Transfer-Encoding:"),
    coding("a coding that is not ASCII", "Transfer-Encoding: сhunked".encode()),
    coding("a bare CR before a coding", b"X: y\rTransfer-Encoding: chunked"),
    coding("a bare LF before a coding", b"X: y\nTransfer-Encoding: chunked"),
    refused("chunked in HTTP/1.0", b"<M> <P> HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n<C>"),
    refused("chunked in HTTP/1.0 that stays", b"<M> <P> HTTP/1.0\r\n" + HOST
            + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n<C>"),
)  # fmt: skip

CHUNKS = (
    chunks("a chunk size that is none", b"x\r\n<B>\r\n0\r\n\r\n"),
    chunks("a negative chunk size", b"-1\r\n<B>\r\n0\r\n\r\n"),
    chunks("a chunk size with a plus", b"+<X>\r\n<B>\r\n0\r\n\r\n"),
    chunks("a chunk size with 0x", b"0x<X>\r\n<B>\r\n0\r\n\r\n"),
    chunks("a chunk size with an underscore", b"0_1\r\n<B>\r\n0\r\n\r\n"),
    chunks("a chunk size with a blank in front", b" <X>\r\n<B>\r\n0\r\n\r\n"),
    chunks("a chunk size with a blank behind", b"<X> \r\n<B>\r\n0\r\n\r\n"),
    chunks("a chunk size with a tab behind", b"<X>\t\r\n<B>\r\n0\r\n\r\n"),
    chunks("an empty chunk size", b"\r\n<B>\r\n0\r\n\r\n"),
    chunks("a chunk size over 2**64", b"fffffffffffffffff\r\n<B>\r\n0\r\n\r\n"),
    chunks("a chunk size in other digits", "３\r\n<B>\r\n0\r\n\r\n".encode()),
    chunks("a bare LF behind a chunk size", b"<X>\n<B>\r\n0\r\n\r\n"),
    chunks("a bare CR behind a chunk size", b"<X>\r<B>\r\n0\r\n\r\n"),
    chunks("a bare LF behind a chunk", b"<X>\r\n<B>\n0\r\n\r\n"),
    chunks("nothing behind a chunk", b"<X>\r\n<B>0\r\n\r\n"),
    chunks("more than the chunk size", b"1\r\n<B>\r\n0\r\n\r\n"),
    chunks("a bare LF in a chunk extension", b"<X>;a\nb\r\n<B>\r\n0\r\n\r\n"),
    chunks("a bare CR in a chunk extension", b"<X>;a\rb\r\n<B>\r\n0\r\n\r\n"),
    chunks("a NUL in a chunk extension", b"<X>;a\x00b\r\n<B>\r\n0\r\n\r\n"),
    chunks("a bare LF behind the last chunk", b"<X>\r\n<B>\r\n0\n\r\n"),
    chunks("something behind the last chunk", b"<X>\r\n<B>\r\n0\r\nx\r\n\r\n"),
    chunks("a trailer with a blank before the colon", b"<X>\r\n<B>\r\n0\r\nX : y\r\n\r\n"),
    chunks("a trailer with a NUL", b"<X>\r\n<B>\r\n0\r\nX: y\x00\r\n\r\n"),
    chunks("trailers without number", b"<X>\r\n<B>\r\n0\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", 400, 431),
)

PIPELINES = (
    Vector("a good request and then garbage", PLAIN + b"\x00\x01\x02\r\n\r\n", frozenset({200, 400}), True, perhaps=1),
    Vector("a body that is longer than its length", PLAIN + b"xyz\r\n\r\n", frozenset({200, 400}), True, perhaps=1),
    Vector("bad JSON and a good request", TOP + b"Content-Length: 1\r\n\r\n{" + PLAIN, frozenset({200, 400}), False, 2),
)

CLASSES: dict[str, tuple[Vector, ...]] = {
    "good": GOOD,
    "request lines": REQUEST_LINES,
    "hosts": HOSTS,
    "fields": FIELDS,
    "framing": FRAMING,
    "chunks": CHUNKS,
    "pipelines": PIPELINES,
}
