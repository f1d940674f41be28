"""What a backend's error says, in whichever of the usual shapes it says it.

It owns the reading of foreign error bodies. The rule to keep: the caller gets the backend's status and words, and
never its markup, its stack of proxies' HTML, or a key that it has repeated.
"""

import html
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from proxy_cli.errors import BackendBroken, BackendError, GatewayError, StreamOptionsRefused
from proxy_cli.providers.body import adds_stream_usage
from proxy_cli.providers.headers import is_credential, reply_headers
from proxy_cli.secret import Scrubber, Secret
from proxy_cli.shapes import Call, Deployment, Headers, Json, first_header

_LONGEST_TEXT: Final = 300
_LONGEST_MESSAGE: Final = 4000
_LONGEST_WAIT_S: Final = 86400.0

_KINDS: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    408: "timeout_error",
    429: "rate_limit_error",
}
# What is never closed hides all that follows: so a page is read once, however often it opens something.
_HIDDEN: Final = re.compile(
    r"<(script|style|head)\b.*?(?:</\1\s*>|(?=<body\b)|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.IGNORECASE
)
_TAG: Final = re.compile(r"<[^<>]*>?")
_EVENT: Final = re.compile(rb"\s*(?:event:[^\r\n]*[\r\n]+)?data:([^\r\n]+)")
_STREAM_OPTIONS: Final = re.compile(r"stream_options|include_usage")


class _Said(NamedTuple):
    message: str
    kind: str | None = None
    code: str | None = None
    param: str | None = None


def failure(call: Call, deployment: Deployment, status: int, headers: Headers, body: bytes) -> GatewayError:
    """The error that a reply with status 300 or more means."""
    if status < 400:
        return _redirected(deployment, status, headers)
    scrubber = Scrubber(_secrets(deployment))
    scrub = scrubber.scrub
    # Before anything is cut short: half a key would not be recognised any more.
    said = _said(scrubber.scrub_bytes(body))
    message = scrub(said.message)[:_LONGEST_MESSAGE] or f"{deployment.backend} answered {status} without a message"
    refused = status in (400, 422) and adds_stream_usage(call) and _STREAM_OPTIONS.search(message)
    return (StreamOptionsRefused if refused else BackendError)(
        status,
        message,
        kind=scrub(said.kind) if said.kind else _kind(status),
        code=scrub(said.code) if said.code else None,
        param=scrub(said.param) if said.param else None,
        retry_after_s=_retry_after_s(headers),
        headers=tuple((name, scrub(value)) for name, value in reply_headers(headers) if name != "content-type"),
    )


def not_json(deployment: Deployment, status: int, headers: Headers, body: bytes) -> BackendBroken:
    """The error for a good status with a body that is not the JSON it should be."""
    kind = (first_header(headers, "content-type") or "no content type").partition(";")[0]
    text = _plain(_text(scrubbed(deployment, body)))
    what = f"a body that is not JSON ({kind}): {text}" if text else "an empty body"
    return BackendBroken(f"{deployment.backend} answered {status} with {what}", code="upstream_invalid_json")


def scrubbed(deployment: Deployment, data: bytes) -> bytes:
    """A backend's own words without the secrets that it was sent."""
    return Scrubber(_secrets(deployment)).scrub_bytes(data)


def _secrets(deployment: Deployment) -> list[Secret]:
    own = [deployment.api_key] if deployment.api_key else []
    values = [value for name, value in deployment.headers if is_credential(name)]
    # Of "Bearer abc" a backend may repeat either the whole or the last word.
    return own + [Secret(text) for value in values for text in (value, value.rpartition(" ")[2])]


def _redirected(deployment: Deployment, status: int, headers: Headers) -> BackendBroken:
    try:
        to = urlsplit(first_header(headers, "location") or "")
        where = f" to {to.scheme}://{to.hostname}{f':{to.port}' if to.port else ''}" if to.hostname else ""
    except ValueError:
        where = ""
    return BackendBroken(
        f"{deployment.backend} answered {status}, a redirect{where}; redirects are not followed: "
        f"set api_base to the final address",
        code="upstream_redirect",
    )


def _kind(status: int) -> str:
    return _KINDS.get(status) or ("invalid_request_error" if status < 500 else "backend_error")


def _said(body: bytes) -> _Said:
    # Asked for a stream, some servers send their refusal as its first event.
    event = _EVENT.match(body)
    try:
        value = msgspec.json.decode(event[1] if event else body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Said(_plain(_text(body)))
    return _of_value(value)


def _of_value(value: Json, depth: int = 0) -> _Said:
    """The words in an error body: OpenAI's envelope, the same without it, FastAPI's `detail`, or a list of such."""
    match value:
        case str():
            return _Said(_plain(value))
        case {"error": (dict() | list() | str()) as inner} if inner and depth < 4:
            said = _of_value(inner, depth + 1)
            return said if said.message else _Said(_shown(value))
        case {"message": str() as message} if message:
            return _Said(message, _word(value.get("type")), _word(value.get("code")), _word(value.get("param")))
        case {"detail": (dict() | list() | str()) as inner} if inner and depth < 4:
            return _of_value(inner, depth + 1)
        case [{"msg": str()}, *_]:
            return _Said("; ".join(_validation(item) for item in value if isinstance(item, dict)))
        case [first, *_] if depth < 4:
            return _of_value(first, depth + 1)
    return _Said(_shown(value))


def _validation(item: dict[str, Json]) -> str:
    """One entry of FastAPI's `detail`: where and what."""
    place = item.get("loc")
    where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
    return f"{where}: {item.get('msg')}" if where else str(item.get("msg"))


def _shown(value: Json) -> str:
    """A body of no known shape, as it is, cut short."""
    return _cut(msgspec.json.encode(value).decode(errors="replace")) if value else ""


def _word(value: Json) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _text(body: bytes) -> str:
    return body[: 64 * 1024].decode("utf-8", errors="replace")


def _plain(text: str) -> str:
    """Text without markup, on one line, cut short."""
    if "<" in text:
        text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
        # An escaped tag is one as soon as it is read: &lt;script&gt;
        text = _TAG.sub(" ", html.unescape(text))
    return _cut(" ".join(text.split()))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _retry_after_s(headers: Headers) -> float | None:
    """How long the backend asks to wait: `retry-after-ms`, seconds, or a date, measured against the reply's own."""
    milliseconds = _number(first_header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, _LONGEST_WAIT_S)
    given = first_header(headers, "retry-after")
    seconds = _number(given)
    if seconds is None:
        until, now = _date(given), _date(first_header(headers, "date"))
        seconds = max((until - now).total_seconds(), 0.0) if until and now else None
    return None if seconds is None else min(seconds, _LONGEST_WAIT_S)


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d{1,12}(\.\d{0,6})?\s*", text, re.ASCII):
        return None
    return float(text)


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    # A date without a zone cannot be compared with one that has it.
    return found if found and found.tzinfo else None
