"""The head of the usual reply, read in one go, where the parser would call us for each of its fields.

An allow-list and nothing else: a short HTTP/1.1 head, whole in the first bytes that came, of a reply whose body has a
length, no coding and a connection that stays. Whatever differs in anything is left to the parser, which also knows what
to refuse. Pure but for what it remembers: most fields of a head are those of the head before.
"""

import re
from functools import lru_cache
from typing import Final, cast

from proxy_cli.upstream.head import MAX_FIELDS, ReplyHead

# What is remembered is bounded by both: by 4 MiB, if a backend sends the longest of heads without repeating itself.
_MAX_BYTES: Final = 4096
_KEPT_LINES: Final = 1024

_STATUS: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_BODILESS: Final = frozenset({204, 304})
_FIELD: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)"
)
# They change what the rest of the reply means.
_LEFT_TO_THE_PARSER: Final = frozenset(
    {"content-encoding", "proxy-connection", "trailer", "transfer-encoding", "upgrade"}
)


def quick_head(data: bytes) -> tuple[ReplyHead, bytes] | None:
    """The head that these bytes begin with, and what came of the body; nothing where the parser must tell."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end or len(head) > _MAX_BYTES:
        return None
    lines = head.split(b"\r\n")
    status = _status(lines[0])
    fields = tuple(map(_field, lines[1:]))
    if status is None or None in fields or len(fields) > MAX_FIELDS:
        return None
    headers = cast("tuple[tuple[str, str], ...]", fields)
    by_name = dict(headers)
    length = by_name.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or len(length) > 15:
        return None
    if len(by_name) != len(headers) and sum(name == "content-length" for name, _ in headers) > 1:
        return None
    return ReplyHead(status, headers, int(length), False, None), body


@lru_cache(64)
def _status(line: bytes) -> int | None:
    match = _STATUS.fullmatch(line)
    status = int(match[1]) if match else None
    return None if status in _BODILESS else status


@lru_cache(_KEPT_LINES)
def _field(line: bytes) -> tuple[str, str] | None:
    match = _FIELD.fullmatch(line)
    if match is None:
        return None
    name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1")
    if name in _LEFT_TO_THE_PARSER or (name == "connection" and value.lower() != "keep-alive"):
        return None
    return name, value
