"""Deployments with `mock_response`: answers without a backend, and on demand its errors.

A text is what the model says; an object is the whole body, as it is; the name of one of LiteLLM's exceptions is the
error of that kind, as a backend would have sent it.
"""

from collections.abc import Callable
from typing import Final

from proxy_cli.errors import BackendError, BackendTimeout, BackendUnreachable, GatewayError, RateLimited
from proxy_cli.providers import mock_replies
from proxy_cli.providers.base import StreamReader
from proxy_cli.providers.compatible import OpenAICompatible
from proxy_cli.shapes import Call, Deployment, Headers, LocalReply, Operation, PlainAnswer
from proxy_cli.wire.splice import object_fields
from proxy_cli.wire.usage import answer_usage

_JSON: Final = (("content-type", "application/json"),)
_EVENTS: Final = (("content-type", "text/event-stream; charset=utf-8"),)
_SOUND: Final = (("content-type", "audio/wav"),)
_STREAMED: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES})


class Mock:
    """Answers by itself."""

    __slots__ = ("_dialect",)

    def __init__(self) -> None:
        self._dialect = OpenAICompatible()

    def prepare(self, call: Call, deployment: Deployment, *, ask_usage: bool) -> LocalReply:  # noqa: ARG002 - as all
        """The reply itself, or the error that the deployment is there to show, raised."""
        wanted = deployment.mock_response
        if isinstance(wanted, dict):
            return _as_it_is(call, wanted)
        text = wanted if isinstance(wanted, str) else mock_replies.encode(wanted).decode()
        if error := _error(text):
            raise error
        if call.operation is Operation.SPEECH:
            sound = mock_replies.silence()
            return LocalReply(200, _SOUND, sound, (sound,))
        if call.stream and call.operation in _STREAMED:
            return LocalReply(200, _EVENTS, chunks=mock_replies.events(call, text))
        return LocalReply(200, _JSON, mock_replies.encode(mock_replies.body(call, text)))

    def read(self, call: Call, deployment: Deployment, status: int, headers: Headers, body: bytes) -> PlainAnswer:  # noqa: ARG002 - as all
        """The body as it is, and the usage in it."""
        fields = object_fields(body) or {}
        return PlainAnswer(status, headers, body, answer_usage(fields))

    def stream_reader(self, call: Call, deployment: Deployment) -> StreamReader:
        """A reader as for any other backend."""
        return self._dialect.stream_reader(call, deployment)

    def reply_headers(self, headers: Headers) -> Headers:
        """There is no provider whose headers they could be."""
        return headers


def _as_it_is(call: Call, body: dict[str, object]) -> LocalReply:
    if call.stream and call.operation is Operation.CHAT:
        return LocalReply(200, _EVENTS, chunks=mock_replies.chat_events(body))
    whole = mock_replies.encode(body)
    return LocalReply(200, _JSON, whole, (whole,))


def _error(text: str) -> GatewayError | None:
    """The error that a text names: `litellm.RateLimitError`, with words of one's own after a colon."""
    name, _, words = text.partition(":")
    make = _ERRORS.get(name.strip().removeprefix("litellm.")) if name.startswith("litellm.") else None
    return make(words.strip() or f"mock_response: {name.strip()}") if make else None


def _backend(status: int, kind: str, code: str | None = None) -> Callable[[str], GatewayError]:
    return lambda message: BackendError(status, message, kind=kind, code=code)


_INVALID: Final = "invalid_request_error"
_ERRORS: Final[dict[str, Callable[[str], GatewayError]]] = {
    "APIConnectionError": BackendUnreachable,
    "APIError": _backend(500, "backend_error"),
    "AuthenticationError": _backend(401, "authentication_error", "invalid_api_key"),
    "BadGatewayError": _backend(502, "backend_error"),
    "BadRequestError": _backend(400, _INVALID),
    "ContentPolicyViolationError": _backend(400, _INVALID, "content_policy_violation"),
    "ContextWindowExceededError": _backend(400, _INVALID, "context_length_exceeded"),
    "InternalServerError": _backend(500, "backend_error"),
    "NotFoundError": _backend(404, _INVALID, "model_not_found"),
    "PermissionDeniedError": _backend(403, "permission_error"),
    "RateLimitError": RateLimited,
    "ServiceUnavailableError": _backend(503, "overloaded_error"),
    "Timeout": BackendTimeout,
    "UnprocessableEntityError": _backend(422, _INVALID),
}
