"""What a request's head must be like before anything is decided on it.

Owns: the numbers that bound a head in size and time, and the rules of RFC 9112 and 9110 that HTTP parsers let through.
Refuses: what two servers in a row may read differently (which host, where the body ends), and every other protocol.
Rule: pure values in, an error or None out. A refusal names no value of a header, for it may hold a key; whoever gets
one closes the connection, because where the next request would begin is not sure any more.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy_cli.errors import (
    AddressTooLong,
    GatewayError,
    HeadTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    UnsupportedFraming,
    UnsupportedVersion,
)

_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a head may be, and how long it may take."""

    line_bytes: int = 16 * _KIB
    target_bytes: int = 8 * _KIB
    total_bytes: int = 64 * _KIB
    fields: int = 100
    # From the connection's start to its first byte, and from a head's first byte to its end.
    first_byte_s: float = 10.0
    complete_s: float = 10.0


HEAD: Final = HeadLimits()

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?").fullmatch
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)", re.IGNORECASE).match
_CODINGS: Final = re.compile(rb"(?:(?:x-)?gzip|(?:x-)?compress|deflate|br|zstd)(?:[ \t]*,[ \t]*[a-z-]+)*").fullmatch
_SERVED: Final = frozenset({(1, 1), (1, 0)})
_NEVER: Final = frozenset({"CONNECT", "TRACE"})
_ALLOW: Final = (("allow", "GET, HEAD, POST, OPTIONS"),)

Fields = Sequence[tuple[bytes, bytes]]


def fault(method: str, target: str, version: tuple[int, int], headers: Fields) -> GatewayError | None:
    """Why a head that the parser took is refused here; None for one that is as it should be."""
    if (found := _line_fault(method, target, version)) is not None:
        return found
    hosts: list[bytes] = []
    codings: list[bytes] = []
    size = len(target)
    for name, value in headers:
        size += len(name) + len(value) + 4
        if len(name) + len(value) > HEAD.line_bytes:
            return too_large_a_head()
        if not value.isascii() and not _is_utf8(value):
            return _invalid("a header is not UTF-8; send headers in ASCII")
        lower = name.lower()
        if lower == b"host":
            hosts.append(value)
        elif lower == b"transfer-encoding":
            codings.append(value)
    if len(headers) > HEAD.fields or size > HEAD.total_bytes:
        return too_large_a_head()
    return _host_fault(target, version, hosts) or (_framing_fault(version, headers, codings) if codings else None)


def is_host(value: bytes) -> bool:
    """Whether it is a name or an address, with or without a port: what a Host header may say."""
    found = _HOST(value)
    return found is not None and int(found[1] or 0) < 65536


def too_large_a_head() -> GatewayError:
    """The refusal of too many or too long headers."""
    return HeadTooLarge(
        f"the headers are too large: at most {HEAD.fields} of them, {HEAD.line_bytes // _KIB} KiB each and "
        f"{HEAD.total_bytes // _KIB} KiB together; send less"
    )


def too_long_an_address() -> GatewayError:
    """The refusal of a target that no path here needs."""
    return AddressTooLong(f"the request's address is longer than {HEAD.target_bytes // _KIB} KiB; send a shorter one")


def _line_fault(method: str, target: str, version: tuple[int, int]) -> GatewayError | None:
    if version not in _SERVED:
        return UnsupportedVersion("only HTTP/1.1 and HTTP/1.0 are spoken here")
    if len(target) > HEAD.target_bytes:
        return too_long_an_address()
    if method in _NEVER or target == "*":
        return MethodNotAllowed("this is no proxy for other protocols: it takes GET and POST of a path", headers=_ALLOW)
    if "#" in target:
        return _invalid("the request's address has a fragment, which is for clients alone; send it without")
    return None


def _invalid(message: str) -> GatewayError:
    return InvalidRequest(message, code="invalid_http")


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _host_fault(target: str, version: tuple[int, int], hosts: list[bytes]) -> GatewayError | None:
    if not hosts and version == (1, 0):
        return None
    if len(hosts) != 1 or not is_host(hosts[0]):
        return _invalid(
            "the request must have one Host header with a name or an address, and a port where one is meant"
        )
    if target.startswith("/"):
        return None
    # RFC 9112, section 3.2.2: every server takes the absolute form, whose host counts. Two hosts are one too many.
    named = _ABSOLUTE(target)
    if named is None or _without_port(named[1]) != _without_port(hosts[0].decode()):
        return _invalid("the request's address names another host than its Host header")
    return None


def _without_port(host: str) -> str:
    """In lower case, and without the port that plain HTTP has anyway."""
    return host.lower().removesuffix(":80")


def _framing_fault(version: tuple[int, int], headers: Fields, codings: list[bytes]) -> GatewayError | None:
    if version == (1, 0):
        # RFC 9112, section 6.1: a sender of 1.0 that says so may have meant the body to end elsewhere.
        return _invalid("Transfer-Encoding is not part of HTTP/1.0; send a Content-Length")
    if any(name.lower() == b"content-length" for name, _ in headers):
        return _invalid("the request has both Transfer-Encoding and Content-Length; send one of them")
    coding = codings[0].strip(b" \t").lower()
    if len(codings) == 1 and coding == b"chunked":
        return None
    if len(codings) == 1 and _CODINGS(coding):
        return UnsupportedFraming(
            "the only Transfer-Encoding that is read here is chunked; use Content-Encoding for gzip"
        )
    return _invalid("the Transfer-Encoding must be exactly: chunked")
