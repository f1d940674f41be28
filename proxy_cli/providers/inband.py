"""A failure that a backend tells as the first event of a stream whose status said that all was well.

vLLM and SGLang do so. Until something of an answer has gone to the caller, it is what it would have been as a status.
"""

import re
from typing import Final

import msgspec

from proxy_cli.errors import GatewayError
from proxy_cli.providers.refusals import failure
from proxy_cli.shapes import Call, Deployment, Json
from proxy_cli.wire.sse import data_of

_STATUSES: Final = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "timeout_error": 408,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "overloaded_error": 503,
    "service_unavailable": 503,
}
_UNKNOWN: Final = 500
_DIGITS: Final = re.compile("[45][0-9][0-9]")
_NAMES: Final = ("code", "status", "status_code", "type")


def in_band_failure(call: Call, deployment: Deployment, event: bytes) -> GatewayError:
    """The error that an event tells of, with the status that fits its words."""
    data = data_of(event) or b""
    return failure(call, deployment, _status(data), (), data)


def _status(data: bytes) -> int:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _UNKNOWN
    inner = value.get("error") if isinstance(value, dict) else None
    told = inner if isinstance(inner, dict) else value if isinstance(value, dict) else {}
    found = [_as_status(told.get(name)) for name in _NAMES]
    return next((status for status in found if status is not None), _UNKNOWN)


def _as_status(word: Json) -> int | None:
    """A word of an error as a status: a number that is one, or the name of a kind of error."""
    if isinstance(word, str):
        return int(word) if _DIGITS.fullmatch(word) else _STATUSES.get(word.lower())
    return word if isinstance(word, int) and 400 <= word <= 599 else None
