"""A request's head, read from its bytes by an allow-list: what nearly all clients send, and nothing else.

Pure. Owns the grammar of the heads that the fast lane reads itself. It refuses nothing: of a head outside of the
grammar it only says so, and whoever reads HTTP in full answers that request. Rule: the grammar is narrower than
RFC 9112's, so that a head has one meaning for every reader: printable ASCII, each name once, one Host, a length in
digits, no coding.
"""

import re
from typing import Final, NamedTuple

from proxy_cli.server.strict import HEAD, is_host
from proxy_cli.shapes import Headers

END: Final = b"\r\n\r\n"
_PLAIN: Final = re.compile(
    rb"([A-Z]{1,16}+) (/[!-~]*+) HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[ \t]*+[!-~ \t]*+\r\n)++\r\n"
).fullmatch
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


def read_head(data: bytes) -> Head | None:
    """The head that is `data`, up to and with its empty line; None where a full reader of HTTP has to look at it."""
    found = _PLAIN(data)
    if found is None or len(data) > HEAD.total_bytes or len(found[2]) > HEAD.target_bytes:
        return None
    first, *lines = data[:-4].decode("ascii").split("\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip(" \t")))
        if len(line) > HEAD.line_bytes:
            return None
    fields = dict(headers)
    if len(fields) != len(headers) or len(headers) > HEAD.fields or not _MORE.isdisjoint(fields):
        return None
    closes = _PERSISTENCE.get(fields.get("connection", "keep-alive").lower())
    length = fields.get("content-length", "0")
    if closes is None or _LENGTH(length) is None or not is_host(fields.get("host", "").encode()):
        return None
    method, target, _ = first.split(" ")
    return Head(method, target, tuple(headers), fields, int(length), closes)
