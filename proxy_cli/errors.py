"""The one family of errors that a caller may see.

An error knows its status, kind, code, the field at fault, whether another deployment may do better and how long
to wait. `server/problems.py` alone turns one into a response. Foreign exceptions are translated once, at the
edge that met them. Messages say what is wrong, with the value, then what to do; never a secret.
"""

from typing import ClassVar


class GatewayError(Exception):
    """Base of all; a class exists because somebody catches it or its status differs."""

    status: int = 500
    kind: str = "internal_server_error"
    code: str | None = None
    # Whether another deployment of the same name may answer: nothing of this attempt reached a model.
    elsewhere: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else type(self).code
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers = headers
        self.model_id: str | None = None  # the deployment that was asked, where one was


class InvalidRequest(GatewayError):
    """The request cannot be understood or asks for what is not offered."""

    status = 400
    kind = "invalid_request_error"
    code = "invalid_request"


class UnknownModel(InvalidRequest):
    """No deployment goes by the name asked for."""

    code = "model_not_found"


class UnsupportedParameter(InvalidRequest):
    """The target is known not to take a field of the request."""

    code = "unsupported_parameter"


class Unauthenticated(GatewayError):
    """No key, or a wrong one."""

    status = 401
    kind = "auth_error"
    code = "invalid_api_key"


class TeamMemberRefused(GatewayError):
    """A member of a team whom it does not let do this; LiteLLM's status, though the caller is known."""

    status = 401
    kind = "team_member_permission_error"
    code = "team_member_permission_error"


class Forbidden(GatewayError):
    """A known caller who may not do this."""

    status = 403
    kind = "permission_error"
    code = "forbidden"


class ModelDenied(Forbidden):
    """A model that this caller may not ask for; the status is a setting, because LiteLLM's versions differ."""

    code = "403"  # as text, which LiteLLM's clients compare; the type says what it is

    def __init__(self, message: str, *, kind: str = "key_model_access_denied", status: int = 403) -> None:
        super().__init__(message, code=str(status), param="model")
        self.kind = kind
        self.status = status


class Unpriced(Forbidden):
    """A deployment that is not asked because what it costs is not known; another one may have a price."""

    code = "model_without_price"
    elsewhere = True


class NotFound(GatewayError):
    """No such path or object."""

    status = 404
    kind = "invalid_request_error"
    code = "not_found"


class MethodNotAllowed(GatewayError):
    """The path exists, the method does not; `headers` carries Allow."""

    status = 405
    kind = "invalid_request_error"
    code = "method_not_allowed"


class CallerTimeout(GatewayError):
    """The time limit that the caller set has passed."""

    status = 408
    kind = "timeout_error"
    code = "request_timeout"


class SlowClient(GatewayError):
    """The caller's head or body did not come in time."""

    status = 408
    kind = "timeout_error"
    code = "request_timeout"


class Conflict(InvalidRequest):
    """An object of that name is there already, or is not in a state for this."""

    status = 409
    code = "conflict"


class TooLarge(GatewayError):
    """The body is larger than the configured limit."""

    status = 413
    kind = "invalid_request_error"
    code = "request_too_large"


class AddressTooLong(InvalidRequest):
    """The request's target is longer than any path here needs."""

    status = 414
    code = "uri_too_long"


class UnsupportedMedia(GatewayError):
    """The body's content type or charset is not one we read."""

    status = 415
    kind = "invalid_request_error"
    code = "unsupported_media_type"


class ExpectationFailed(GatewayError):
    """An Expect header that we do not understand."""

    status = 417
    kind = "invalid_request_error"
    code = "expectation_failed"


class Unprocessable(InvalidRequest):
    """The body is JSON, but a field of it is not what it must be; `param` is the field."""

    status = 422
    code = "invalid_field"


class BudgetExceeded(GatewayError):
    """The money that was set aside is spent; the status is a setting, because LiteLLM's versions differ."""

    status = 422
    kind = "budget_exceeded"
    code = "422"  # as of a model that is denied

    def __init__(self, message: str, *, status: int = 422) -> None:
        super().__init__(message, code=str(status))
        self.status = status


class RateLimited(GatewayError):
    """Too much at once; try again later."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"


class HeadTooLarge(InvalidRequest):
    """Too many headers, or too long ones."""

    status = 431
    code = "headers_too_large"


class UnsupportedFraming(InvalidRequest):
    """A Transfer-Encoding that is not read here."""

    status = 501
    code = "unsupported_transfer_encoding"


class UnsupportedVersion(InvalidRequest):
    """Another version of HTTP than those that are spoken here."""

    status = 505
    code = "unsupported_http_version"


class NotSupportedYet(GatewayError):
    """Known, but not built; the message says what to do instead."""

    status = 501
    kind = "not_supported"
    code = "not_supported_yet"


class Overloaded(GatewayError):
    """No room for one more, here or at the backend."""

    status = 503
    kind = "overloaded_error"
    code = "overloaded"


class BackendFull(Overloaded):
    """The limit of connections to a backend is reached: nothing was sent, so another deployment may be asked."""

    code = "upstream_pool_full"
    elsewhere = True


class BackendError(GatewayError):
    """The backend answered with an error: its status and its words are kept."""

    kind = "backend_error"

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message, code=code, param=param, retry_after_s=retry_after_s, headers=headers)
        self.status = status
        self.kind = kind or type(self).kind


class StreamOptionsRefused(BackendError):
    """The backend does not take `stream_options`: it is asked once more without, and that is remembered."""


class BackendUnreachable(GatewayError):
    """No connection to the backend: nothing was sent, so another deployment may be asked."""

    status = 502
    kind = "backend_error"
    code = "upstream_unavailable"
    elsewhere = True


class BackendBroken(GatewayError):
    """The backend broke off or sent what is not HTTP; `code` says which way."""

    status = 502
    kind = "backend_error"
    code = "upstream_truncated"


class BackendTimeout(GatewayError):
    """One of our timers has run out; the message names the timer."""

    status = 504
    kind = "timeout_error"
    code = "upstream_timeout"


class ConnectTimeout(BackendTimeout):
    """The timer ran out before there was a connection: nothing was sent, so another deployment may be asked."""

    elsewhere = True


def forget_frames(error: BaseException | None) -> None:
    """Let an error that has been dealt with go of the frames it came through, and with it those that led to it.

    They hold the call with its whole body and most often the error again: a circle that is freed only when all of the
    process's garbage is looked for, which stops it for a third of a second while thousands of streams are open.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
