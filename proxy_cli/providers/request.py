"""One HTTP request to a backend, put together from a call and a deployment."""

from collections.abc import Callable
from typing import Final

from proxy_cli.providers.body import request_body
from proxy_cli.providers.headers import request_headers
from proxy_cli.shapes import Call, Deployment, Headers, Operation, Timeouts, UpstreamRequest

_DEFAULTS: Final = Timeouts()
_STREAM_DEFAULTS: Final = Timeouts(total_s=None)


class _Fixed:
    """What is the same in every request to one deployment."""

    __slots__ = ("credentials", "limits", "targets")

    def __init__(self, deployment: Deployment, credentials: Callable[[Deployment], Headers]) -> None:
        self.credentials = credentials(deployment)
        self.targets: dict[Operation, str] = {}
        self.limits: dict[bool, Timeouts] = {}  # of a stream, of all else


def request_to(
    call: Call,
    deployment: Deployment,
    *,
    target: Callable[[Operation, Deployment], str],
    credentials: Callable[[Deployment], Headers],
    ask_usage: bool,
) -> UpstreamRequest:
    """The request to a path on the deployment's backend. Raises UnsupportedParameter.

    `target` and `credentials` are asked once for each deployment and operation.
    """
    fixed = deployment.worked_out.get(_Fixed)
    if fixed is None:
        fixed = deployment.worked_out[_Fixed] = _Fixed(deployment, credentials)
    path = fixed.targets.get(call.operation)
    if path is None:
        path = fixed.targets[call.operation] = target(call.operation, deployment)
    return UpstreamRequest(
        backend=deployment.backend,
        target=path,
        headers=request_headers(call, deployment, fixed.credentials),
        body=request_body(call, deployment, ask_usage=ask_usage),
        timeouts=_limits(call, deployment, fixed),
        stream=call.stream,
    )


def _limits(call: Call, deployment: Deployment, fixed: _Fixed) -> Timeouts:
    asked = call.controls
    if asked.timeout_s is not None or asked.stream_timeout_s is not None:
        return timeouts(call, deployment)
    limits = fixed.limits.get(call.stream)
    if limits is None:
        limits = fixed.limits[call.stream] = timeouts(call, deployment)
    return limits


def timeouts(call: Call, deployment: Deployment) -> Timeouts:
    """The caller's limit, else the deployment's, else ours.

    A stream is limited to its first byte, not as a whole; and who waits longer for that waits as long for the next.
    """
    asked = call.controls
    limit_s = (asked.stream_timeout_s if call.stream else None) or asked.timeout_s
    by_caller = limit_s is not None
    if limit_s is None:
        limit_s = (deployment.stream_timeout_s if call.stream else None) or deployment.timeout_s
    if limit_s is None:
        return _STREAM_DEFAULTS if call.stream else _DEFAULTS
    return Timeouts(
        connect_s=min(_DEFAULTS.connect_s, limit_s),
        first_byte_s=limit_s,
        total_s=None if call.stream else limit_s,
        gap_s=max(_DEFAULTS.gap_s or 0, limit_s) if call.stream else _DEFAULTS.gap_s,
        set_by_caller=by_caller,
    )
