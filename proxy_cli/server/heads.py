"""A request's head, read from its bytes by an allow-list: what nearly all clients send, and nothing else.

Pure. Owns the grammar of the heads that the fast lane reads itself. It refuses nothing: of a head outside of the
grammar it only says so, and whoever reads HTTP in full answers that request. Rule: the grammar is narrower than
RFC 9112's, so that a head has one meaning for every reader: printable ASCII, each name once, one Host, a length in
digits, no coding.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple, cast

from proxy_cli.server.strict import HEAD, is_host
from proxy_cli.shapes import Headers

END: Final = b"\r\n\r\n"
# Possessive throughout: a line that does not match must not cost more than its length.
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}+) (/[!-~]*+) HTTP/1\.1").fullmatch
# The same as far as it goes: the start of a method and a path, and nothing that is no HTTP.
_BEGUN: Final = re.compile(rb"[A-Z]{1,16}+(?: (?:/[!-~]*+(?: [^\0]*)?)?)?", re.DOTALL).fullmatch
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):([!-~ \t]*+)").fullmatch
# Clients say the same again and again, and so do all clients of one kind: lines are read once. Long ones are not kept.
_KEPT_LINES: Final = 1024
_KEPT_LENGTH: Final = 512
_JSON: Final = re.compile(r"application/json(?: *; *charset=\"?utf-?8\"?)?", re.IGNORECASE | re.ASCII).fullmatch
_LENGTH: Final = re.compile(r"[0-9]{1,15}").fullmatch
# With one of these there is more to do than to read a body of known length.
_MORE: Final = frozenset({"transfer-encoding", "upgrade", "content-encoding", "http2-settings", "trailer"})
_PERSISTENCE: Final = {"keep-alive": False, "close": True}


class Head(NamedTuple):
    """A head with one meaning."""

    method: str
    target: str
    headers: Headers
    fields: dict[str, str]  # the same, by name
    length: int  # of the body
    closes: bool  # the client wants no further request on this connection

    @property
    def is_json(self) -> bool:
        """Whether a body of JSON follows that nobody waits to be invited to send."""
        fields = self.fields
        return self.length > 0 and "expect" not in fields and _JSON(fields.get("content-type", "")) is not None

    @property
    def is_all(self) -> bool:
        """Whether nothing follows it, nor waits for an invitation to."""
        return self.length == 0 and "expect" not in self.fields


def may_become_plain(data: bytes) -> bool:
    """Whether more bytes can make this a head of the grammar; what cannot is answered at once by who can tell."""
    if len(data) > HEAD.total_bytes or not _BEGUN(data):
        return False
    # A line ends with both CR and LF, and neither stands elsewhere.
    ends = data.count(b"\r\n")
    return data.count(b"\n") == ends == data.count(b"\r") - data.endswith(b"\r")


def read_head(data: bytes) -> Head | None:
    """The head that is `data`, up to and with its empty line; None where a full reader of HTTP has to look at it."""
    if not data.endswith(END) or len(data) > HEAD.total_bytes:
        return None
    first, *lines = data[:-4].split(b"\r\n")
    opening = _opening(first) if len(first) <= _KEPT_LENGTH else _opened(first)
    found = [_field(line) if len(line) <= _KEPT_LENGTH else _read_field(line) for line in lines]
    if opening is None or None in found or len(found) > HEAD.fields:
        return None
    headers = tuple(cast("list[tuple[str, str]]", found))
    fields = dict(headers)
    if len(fields) != len(headers) or not _MORE.isdisjoint(fields):
        return None
    closes = _PERSISTENCE.get(fields.get("connection", "keep-alive").lower())
    length = fields.get("content-length", "0")
    if closes is None or _LENGTH(length) is None or not is_host(fields.get("host", "").encode()):
        return None
    method, target = opening
    return Head(method, target, headers, fields, int(length), closes)


def _opened(line: bytes) -> tuple[str, str] | None:
    """Method and target of a request line that is plain."""
    found = _REQUEST_LINE(line)
    if found is None or len(found[2]) > HEAD.target_bytes:
        return None
    return found[1].decode(), found[2].decode()


def _read_field(line: bytes) -> tuple[str, str] | None:
    """Name and value of a header that is plain."""
    found = _FIELD(line) if len(line) <= HEAD.line_bytes else None
    return None if found is None else (found[1].decode().lower(), found[2].decode().strip(" \t"))


_opening: Final = lru_cache(_KEPT_LINES)(_opened)
_field: Final = lru_cache(_KEPT_LINES)(_read_field)
