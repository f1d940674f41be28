"""Which headers cross: from the caller to a backend, and from a backend to the caller.

The rule to keep: a credential never crosses, in neither direction. What goes to the backend is a short list, longer
only where a deployment says so; what comes back is marked as the backend's by a prefix.
"""

import re
from functools import lru_cache
from typing import Final

from proxy_cli import __version__
from proxy_cli.shapes import Call, Deployment, Headers, Operation, first_header

_AGENT: Final = ("user-agent", f"llmproxy/{__version__}")
_TRACE: Final = frozenset({"traceparent", "tracestate", "baggage"})
_ORGANIZATION: Final = "openai-organization"

_FORWARDED: Final = ("x-", "anthropic-", "openai-")
# Ours, the proxies' before us, and the client library's own, which some backends refuse.
_NEVER_FORWARDED: Final = ("x-litellm-", "x-llmproxy-", "x-forwarded-", "x-real-ip", "x-stainless-", _ORGANIZATION)
_CREDENTIAL: Final = re.compile(r"key|auth|token|secret|cookie|password|credential")
# Clients send a handful of different headers; what somebody makes up is not kept.
_MOST_KNOWN: Final = 32
_LONGEST_KNOWN: Final = 4096

# Below this many characters it is a placeholder, such as `None` or `dummy`, and may stand anywhere.
_SHORT: Final = 8

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_RETURNED: Final = _HOP_BY_HOP | {"set-cookie", "set-cookie2", "content-length", "content-encoding"}


class _Known(dict[tuple[str | None, str | None, Operation, bool], Headers]):
    """The headers of earlier requests to one deployment, by all that they depend on."""


def request_headers(call: Call, deployment: Deployment, credentials: Headers) -> Headers:
    """The headers for a backend: what the call needs, its traces, the key, and what the deployment adds, which wins."""
    sent = dict(reversed(call.headers))  # the first of each name
    of_caller = deployment.forward_client_headers or deployment.forward_organization or not _TRACE.isdisjoint(sent)
    if of_caller or not isinstance(call.body, bytes):
        return _put_together(call, deployment, credentials)
    known = deployment.worked_out.get(_Known)
    if known is None:
        known = deployment.worked_out[_Known] = _Known()
    key = (sent.get("content-type"), sent.get("accept"), call.operation, call.stream)
    headers = known.get(key)
    if headers is None:
        headers = _put_together(call, deployment, credentials)
        if len(known) < _MOST_KNOWN and sum(len(value) for _, value in headers) < _LONGEST_KNOWN:
            known[key] = headers
    return headers


def _put_together(call: Call, deployment: Deployment, credentials: Headers) -> Headers:
    own = {name for name, _ in deployment.headers}
    headers = [("content-type", _content_type(call)), ("accept", _accept(call)), _AGENT, *credentials]
    organization = _organization(call, deployment)
    if organization:
        headers.append((_ORGANIZATION, organization))
    headers += _passed_on(call.headers, everything=deployment.forward_client_headers)
    return (*((name, value) for name, value in headers if name not in own), *deployment.headers)


def bearer(deployment: Deployment) -> Headers:
    """The key as most services take it; nothing where there is none."""
    return (("authorization", f"Bearer {deployment.api_key.reveal()}"),) if deployment.api_key else ()


def is_credential(name: str) -> bool:
    """Whether a header by this name holds what opens something."""
    return _CREDENTIAL.search(name) is not None


def reply_headers(headers: Headers) -> Headers:
    """A backend's headers for the caller: `llm_provider-<name>`; limits, id and first content type as they are."""
    return _returned(headers, first_header(headers, "content-type"))


def json_headers(headers: Headers) -> Headers:
    """The same for a body that was read as JSON: some servers label theirs as text, and clients believe the label."""
    kind = first_header(headers, "content-type") or ""
    return _returned(headers, kind if "json" in kind else "application/json")


def _returned(headers: Headers, kind: str | None) -> Headers:
    kept = [] if kind is None else [("content-type", kind)]
    for name, value in headers:
        text = value if value.isascii() else _utf8(value)
        for each in _names_returned(name):
            kept.append((each, text))  # noqa: PERF401 - a list made for one or two pairs costs more
    return tuple(kept)


@lru_cache(maxsize=1024)
def _names_returned(name: str) -> tuple[str, ...]:
    """What the caller sees a backend's header as."""
    if name in _NOT_RETURNED:
        return ()
    marked = f"llm_provider-{name}"
    return (name, marked) if name.startswith("x-ratelimit-") or name == "request-id" else (marked,)


def _utf8(value: str) -> str:
    """A header that was read byte by byte (RFC 9110, section 5.5) as the UTF-8 that it will be written in."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def _content_type(call: Call) -> str:
    if not isinstance(call.body, bytes):
        return call.body.content_type
    given = first_header(call.headers, "content-type") or ""
    # What was read as JSON is sent as JSON, also where curl called it a form.
    return given if "json" in given.lower() else "application/json"


def _accept(call: Call) -> str:
    given = first_header(call.headers, "accept")
    if given:
        return given
    if call.stream:
        return "text/event-stream"
    return "*/*" if call.operation in (Operation.SPEECH, Operation.TRANSCRIPTIONS) else "application/json"


def _organization(call: Call, deployment: Deployment) -> str | None:
    given = first_header(call.headers, _ORGANIZATION) if deployment.forward_organization else None
    return given or deployment.organization


def _passed_on(headers: Headers, *, everything: bool) -> Headers:
    """Those of the caller's headers that reach a backend: its traces, and on demand what is forwarded."""
    chosen = [pair for pair in headers if pair[0] in _TRACE or (everything and _is_forwarded(pair[0]))]
    if not chosen:
        return ()
    keys = [key for name, value in headers if is_credential(name) if len(key := value.rpartition(" ")[2]) >= _SHORT]
    # A key that the caller wrote into a second header, where nobody looks for one, is a key all the same.
    return tuple(pair for pair in chosen if not any(key in pair[1] for key in keys))


def _is_forwarded(name: str) -> bool:
    return name.startswith(_FORWARDED) and not name.startswith(_NEVER_FORWARDED) and not is_credential(name)
