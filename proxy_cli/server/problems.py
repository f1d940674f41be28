"""The only place that turns an error into a response: status, headers, and the envelope of the caller's dialect.

A traceback never reaches a caller; a secret we know of is scrubbed even from a backend's own words.
"""

import math
from dataclasses import dataclass
from typing import Final

import msgspec

from proxy_cli.errors import GatewayError, Unauthenticated
from proxy_cli.secret import Scrubber
from proxy_cli.server import compat
from proxy_cli.shapes import Headers, Json, Operation, header_text
from proxy_cli.telemetry.masking import without_keys

INTERNAL: Final = GatewayError(
    "an internal error happened here; the log of the proxy has the details under this request's id"
)
_DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Problems:
    """How errors are told. `compat_litellm`: LiteLLM's own statuses and code texts."""

    scrubber: Scrubber
    compat_litellm: bool = False

    def status(self, error: GatewayError) -> int:
        """The HTTP status of an error."""
        return compat.status(error) if self.compat_litellm else error.status

    def envelope(self, error: GatewayError) -> Json:
        """OpenAI's error object."""
        if self.compat_litellm:
            told = compat.envelope(error)
        else:
            told = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}
        # A key that was put in the wrong place, or that a backend was told of otherwise, is none that we know.
        return {"error": {**told, "message": without_keys(self.scrubber.scrub(told["message"]))}}

    def body(self, error: GatewayError) -> bytes:
        """The envelope as the body of a response."""
        return msgspec.json.encode(self.envelope(error))

    def headers(self, error: GatewayError) -> Headers:
        """What goes with the status: the wait, the allowed methods, a backend's rate limits."""
        headers = [(name, header_text(self.scrubber.scrub(value))) for name, value in error.headers]
        if error.retry_after_s is not None:
            headers = [(name, value) for name, value in headers if name != "retry-after"]
            headers.append(("retry-after", str(max(0, math.ceil(error.retry_after_s)))))
        if isinstance(error, Unauthenticated):
            headers.append(("www-authenticate", "Bearer"))
        return tuple(headers)

    def event(self, error: GatewayError, operation: Operation) -> bytes:
        """The terminal event of a stream that has already begun."""
        if operation is Operation.RESPONSES:
            fields = {**self.envelope(error)["error"], "type": "error"}
            return b"event: error\ndata: " + msgspec.json.encode(fields) + b"\n\n"
        data = b"data: " + self.body(error) + b"\n\n"
        return data if self.compat_litellm else data + _DONE
