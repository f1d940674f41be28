"""One HTTP request to a backend, put together from a call and a deployment."""

from typing import Final

from proxy_cli.providers.body import request_body
from proxy_cli.providers.headers import request_headers
from proxy_cli.shapes import Call, Deployment, Headers, Timeouts, UpstreamRequest

_DEFAULTS: Final = Timeouts()


def request_to(
    call: Call, deployment: Deployment, *, target: str, credentials: Headers, ask_usage: bool
) -> UpstreamRequest:
    """The request for a path on the deployment's backend. Raises UnsupportedParameter."""
    return UpstreamRequest(
        backend=deployment.backend,
        target=target,
        headers=request_headers(call, deployment, credentials),
        body=request_body(call, deployment, ask_usage=ask_usage),
        timeouts=timeouts(call, deployment),
        stream=call.stream,
    )


def timeouts(call: Call, deployment: Deployment) -> Timeouts:
    """The caller's limit, else the deployment's, else ours. A stream is limited to its first byte, not as a whole."""
    asked = call.controls
    limit_s = (asked.stream_timeout_s if call.stream else None) or asked.timeout_s
    by_caller = limit_s is not None
    if limit_s is None:
        limit_s = (deployment.stream_timeout_s if call.stream else None) or deployment.timeout_s
    if limit_s is None:
        limit_s = _DEFAULTS.first_byte_s
    return Timeouts(
        connect_s=_DEFAULTS.connect_s if limit_s is None else min(_DEFAULTS.connect_s, limit_s),
        first_byte_s=limit_s,
        total_s=None if call.stream else limit_s,
        set_by_caller=by_caller,
    )
