"""Message heads: the request's as bytes to write, the reply's as what its framing means.

Pure: no connection, no clock. Refuses whatever could be read as two messages by somebody else: a line break or a
NUL in a header, a transfer coding other than chunked, a content coding that was not asked for.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple, cast

from proxy_cli.errors import BackendBroken
from proxy_cli.shapes import Backend, Headers, UpstreamRequest
from proxy_cli.upstream.decoding import DECODERS

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 256

# What a connection is, and how a message is cut out of it, is for this room to say: such fields of a request are
# replaced, wherever they came from.
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_IN_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_LINE: Final = re.compile(r"[A-Z]+ [!-~]+ HTTP/1\.1")
_DECODED: Final = {name: name for name in DECODERS} | {"x-gzip": "gzip"}
_BODILESS: Final = frozenset({204, 304})
# Most messages to a backend have the fields of the one before, or most of them. Long values are not worth keeping.
_KEPT_HEADS: Final = 64
_KEPT_LINES: Final = 1024
_KEPT_LENGTH: Final = 512
_ASK_PLAIN: Final = b"accept-encoding: identity\r\n\r\n"
_ASK_CODED: Final = f"accept-encoding: {', '.join(DECODERS)}\r\n\r\n".encode()


def request_head(request: UpstreamRequest) -> bytes:
    """The request line and header fields as they are written. Raises ValueError for what must not be written."""
    length = len(request.body) if isinstance(request.body, bytes) else request.body.length
    opening = _opening(request.method, request.target, request.backend)
    lines = _lines(request.headers)
    if opening is None or lines is None:
        raise ValueError(_unwritable(request))
    framing = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
    # Events must come as they are sent, so a stream is asked for without a coding that holds bytes back.
    return b"".join((opening, lines, framing, _ASK_PLAIN if request.stream else _ASK_CODED))


@lru_cache(_KEPT_LINES)
def _opening(method: str, target: str, backend: Backend) -> bytes | None:
    """The request line and the host; nothing for what must not be written."""
    line = f"{method} {target} HTTP/1.1"
    host = backend.authority
    if _REQUEST_LINE.fullmatch(line) is None or _BAD_IN_VALUE.search(host):
        return None
    return f"{line}\r\nhost: {host}\r\n".encode()


@lru_cache(_KEPT_HEADS)
def _lines(headers: Headers) -> bytes | None:
    """All header fields as they are written; nothing if one must not be."""
    lines = [_kept_line(field) if len(field[1]) <= _KEPT_LENGTH else _line(field) for field in headers]
    return None if None in lines else b"".join(cast("list[bytes]", lines))


def _line(field: tuple[str, str]) -> bytes | None:
    """One header field as it is written, empty for one that is replaced; nothing for what must not be written."""
    name, value = field
    if name.lower() in _OURS:
        return b""
    if _NAME.fullmatch(name) is None or _BAD_IN_VALUE.search(value):
        return None
    # A caller's header that is not ASCII was decoded from UTF-8, with odd bytes as surrogates: back to its bytes.
    return f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")


_kept_line: Final = lru_cache(_KEPT_LINES)(_line)


def _unwritable(request: UpstreamRequest) -> str:
    """Which part of a request must not be written; never the value itself, which may be a key."""
    for name, value in request.headers:
        if _NAME.fullmatch(name) is None:
            return f"{name!r} is no name for a header to {request.backend}"
        if _BAD_IN_VALUE.search(value):
            return f"the header {name!r} to {request.backend} holds a line break or a control character: remove it"
    return f"the request line to {request.backend} is not printable ASCII without spaces: percent-encode its path"


class ReplyHead(NamedTuple):
    """The head of a final reply, and how its body is delimited."""

    status: int
    headers: Headers  # as the reader of the body should see them: without a content coding that is undone here
    length: int | None  # of the body as it is sent; None: not known before it ends
    chunked: bool
    coding: str | None  # a name in DECODERS

    @property
    def ends_by_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return self.length is None and not self.chunked


def reply_head(backend: Backend, method: str, status: int, version: str, fields: list[tuple[str, str]]) -> ReplyHead:
    """The meaning of a reply's head. Raises BackendBroken for one that cannot be trusted."""
    if version not in ("1.1", "1.0"):
        raise _invalid(backend, f"HTTP/{version}")
    if not 200 <= status <= 599:
        raise _invalid(backend, f"the status {status}")
    length, chunked, coding = None, False, None
    for name, value in fields:
        if name == "content-length":
            length = int(value)
        elif name == "transfer-encoding":
            if chunked or value.lower() != "chunked":
                raise _invalid(backend, f"the transfer coding {value[:40]!r}")
            chunked = True
        elif name == "content-encoding" and value.lower() != "identity":
            coding = _coding(backend, value, coding)
    if method == "HEAD" or status in _BODILESS:
        return ReplyHead(status, tuple(fields), 0, False, None)
    if coding:
        # The length is that of the coded body: wrong for whoever reads the decoded one.
        fields = [field for field in fields if field[0] not in ("content-encoding", "content-length")]
    return ReplyHead(status, tuple(fields), length, chunked, coding)


def check_size(backend: Backend, fields: list[tuple[str, str]], read_bytes: int) -> None:
    """Raise BackendBroken when a reply's head has too many fields, or is too long; `read_bytes` may hold more."""
    if len(fields) > MAX_FIELDS:
        raise head_too_large(backend, f"more than {MAX_FIELDS} header fields")
    # Mostly what was read is already below the limit, body and all, and nothing needs to be added up.
    if read_bytes > MAX_HEAD_BYTES and sum(len(name) + len(value) + 4 for name, value in fields) > MAX_HEAD_BYTES:
        raise head_too_large(backend, f"more than {MAX_HEAD_BYTES} bytes of headers")


def head_too_large(backend: Backend, what: str) -> BackendBroken:
    """The error for a head that goes on and on."""
    return BackendBroken(f"{backend} replied with {what}", code="upstream_header_too_large")


def _coding(backend: Backend, value: str, before: str | None) -> str:
    name = _DECODED.get(value.lower())
    if name is None or before is not None:
        whole = f"{before}, {value}" if before else value
        raise _invalid(backend, f"the content coding {whole[:40]!r}, which was not asked for")
    return name


def _invalid(backend: Backend, what: str) -> BackendBroken:
    return BackendBroken(f"{backend} replied with {what}", code="upstream_invalid_response")
