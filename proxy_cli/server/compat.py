"""LiteLLM's own ways, where ours differ by default: `general_settings.compat: litellm`.

Pure tables and small functions; `problems.py` and `reply.py` ask here. Only what a client can see is copied.
"""

import re
from typing import Final

from proxy_cli.errors import BackendError, BackendTimeout, BackendUnreachable, GatewayError, Unauthenticated
from proxy_cli.shapes import Json

_NAMES: Final = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "Timeout",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    502: "BadGatewayError",
    503: "ServiceUnavailableError",
}
_EMPTY_CHOICES: Final = re.compile(rb'"choices": ?\[\]')


def status(error: GatewayError) -> int:
    """The status that LiteLLM gives an error of this kind."""
    if isinstance(error, BackendUnreachable):
        return 500
    if isinstance(error, BackendTimeout):
        return 408
    if isinstance(error, Unauthenticated) and error.code != "missing_api_key":
        return 400
    return error.status


def envelope(error: GatewayError) -> Json:
    """The fields of LiteLLM's error object: the code is the status as text, the message names an exception."""
    told = {"message": error.message, "type": error.kind, "param": error.param, "code": str(status(error))}
    if isinstance(error, Unauthenticated):
        if error.code == "missing_api_key":
            return {**told, "message": "Authentication Error, No api key passed in.", "param": "None"}
        return {**told, "message": "No connected db.", "type": "no_db_connection"}
    if isinstance(error, BackendError):
        name = _NAMES.get(error.status, "APIError")
        return {**told, "message": f"litellm.{name}: {name}: OpenAIException - {error.message}"}
    return told


def usage_event(data: bytes) -> bytes:
    """Stream events as LiteLLM sends them: the one with the usage has a choice without content."""
    if b'"usage"' not in data:
        return data
    # Inside a string a quote is escaped, so these bytes can only be the field itself.
    return _EMPTY_CHOICES.sub(b'"choices":[{"index":0,"delta":{}}]', data)
