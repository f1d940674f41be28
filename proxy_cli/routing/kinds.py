"""What kind of failure an error is: the one reading of it that retries, fallbacks and rests share.

Owns: the table of statuses, the words by which backends say that a prompt is too long or not wanted, and LiteLLM's
names for the kinds. Refuses: to say what follows from a kind; that is the rule of whoever asks.
Rule: what the caller has caused, or we ourselves have refused, is never the backend's fault.
"""

import re
from enum import StrEnum
from typing import Final

from proxy_cli.errors import (
    BackendBroken,
    BackendError,
    BackendTimeout,
    BackendUnreachable,
    ConnectTimeout,
    GatewayError,
    InvalidRequest,
    Overloaded,
    RateLimited,
)


class Kind(StrEnum):
    """Why an attempt failed, as far as rules differ by it."""

    BAD_REQUEST = "bad_request"
    AUTHENTICATION = "authentication"  # our key for the backend: wrong, not allowed, or out of money
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"  # ours, or the backend's own
    RATE_LIMIT = "rate_limit"
    CONTENT_POLICY = "content_policy"
    CONTEXT_WINDOW = "context_window"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    BAD_GATEWAY = "bad_gateway"  # a reply that broke off, or is not what was asked for
    CONNECTION = "connection"  # there was none: nothing has reached the model
    FULL = "full"  # our own pool or queue for the backend
    CALLER = "caller"  # the caller's time limit, or a refusal of ours


_STATUSES: Final = {
    401: Kind.AUTHENTICATION,
    402: Kind.AUTHENTICATION,
    403: Kind.AUTHENTICATION,
    404: Kind.NOT_FOUND,
    408: Kind.TIMEOUT,
    409: Kind.CONFLICT,
    410: Kind.NOT_FOUND,
    425: Kind.CONFLICT,
    429: Kind.RATE_LIMIT,
    502: Kind.BAD_GATEWAY,
    503: Kind.UNAVAILABLE,
    504: Kind.TIMEOUT,
    522: Kind.BAD_GATEWAY,  # from here on Cloudflare's, but for 529
    523: Kind.BAD_GATEWAY,
    524: Kind.TIMEOUT,
    529: Kind.UNAVAILABLE,  # Anthropic: overloaded
}
_POLICY_NAMES: Final = {
    Kind.BAD_REQUEST: "BadRequestError",
    Kind.AUTHENTICATION: "AuthenticationError",
    Kind.NOT_FOUND: "NotFoundError",
    Kind.TIMEOUT: "TimeoutError",
    Kind.RATE_LIMIT: "RateLimitError",
    Kind.CONTENT_POLICY: "ContentPolicyViolationError",
    Kind.CONTEXT_WINDOW: "BadRequestError",
    Kind.INTERNAL: "InternalServerError",
    Kind.UNAVAILABLE: "ServiceUnavailableError",
    Kind.BAD_GATEWAY: "BadGatewayError",
    Kind.CONNECTION: "InternalServerError",
    Kind.FULL: "RateLimitError",
}
_BLAMED: Final = frozenset(
    {
        Kind.AUTHENTICATION,
        Kind.TIMEOUT,
        Kind.RATE_LIMIT,
        Kind.INTERNAL,
        Kind.UNAVAILABLE,
        Kind.BAD_GATEWAY,
        Kind.CONNECTION,
    }
)
# Of a BackendBroken: our own end, and an upload of which a part has gone and was not kept.
_OURS: Final = frozenset({"shutting_down", "upload_not_kept"})

# A prompt that is too long is a 400 nearly everywhere; Anthropic's limit of bytes is a 413, and Ollama and older
# llama.cpp call it an error of their own.
_ABOUT_THE_PROMPT: Final = frozenset({400, 413, 422, 500})
_LONG_CODES: Final = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",
        "context_window_exceeded",
        "model_max_prompt_tokens_exceeded",
    }
)
_POLICY_CODES: Final = frozenset(
    {
        "content_filter",
        "content_filter_error",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "data_inspection_failed",
        "datainspectionfailed",
        "moderation_blocked",
        "invalid_prompt",
    }
)
_LONG_WORDS: Final = re.compile(
    r"""
    maximum\ context\ length | context[ _]length[ _]exceeded   # OpenAI, vLLM, Mistral, SGLang
    | (longer|larger)\ than\ (the\ )?(model's\ )?context       # SGLang
    | exceeds?\ (the\ )?((available|maximum|configured|model's)\ )?context\ (window|size|length|limit)  # llama.cpp
    | context\ (window|size|length)\ (is\ )?(exceeded|too\ small|overflow)
    | (prompt|input|request)\ is\ too\ long                    # Anthropic, Bedrock
    | input\ token\ count\ .{0,40}exceeds\ the\ maximum        # Gemini
    | maximum\ prompt\ length\ is                              # xAI
    | reduce\ the\ length\ of\ (the|your)\ (messages|prompt|input)
    | inputs?`?\ tokens\ \+\ `?max_new_tokens`?\ must\ be      # TGI
    | range\ of\ input\ length\ should\ be                     # DashScope
    | context\ the\ overflows | context\ length\ of\ only      # LM Studio
    | too\ many\ (input\ )?tokens:                             # Cohere
    """,
    re.IGNORECASE | re.VERBOSE,
)
_POLICY_WORDS: Final = re.compile(
    r"""
    content\ (management|filtering)\ policy                    # Azure, Anthropic
    | content[ _]policy[ _]violation
    | responsible\ ?ai\ ?policy
    | violat\w+\ (of\ )?(our|the|openai's)\ (usage|content)\ polic
    | rejected\ as\ a\ result\ of\ (our|the)\ safety\ system   # OpenAI, of images
    | data\ may\ contain\ inappropriate\ content               # DashScope
    """,
    re.IGNORECASE | re.VERBOSE,
)


def kind_of(failure: GatewayError) -> Kind:
    """The kind of any failure that an attempt can end with."""
    match failure:
        case BackendError():
            return _of_answer(failure)
        case BackendUnreachable() | ConnectTimeout():
            return Kind.CONNECTION
        case BackendTimeout():
            return Kind.TIMEOUT
        case BackendBroken() if failure.code not in _OURS:
            return Kind.BAD_GATEWAY
        case Overloaded() | RateLimited() if failure.code not in _OURS:
            return Kind.FULL
        case InvalidRequest():
            return Kind.CONTEXT_WINDOW if failure.code in _LONG_CODES else Kind.BAD_REQUEST
    return Kind.CALLER


def policy_name(kind: Kind) -> str:
    """LiteLLM's name for a kind, as `...Retries` and `...AllowedFails` begin with it; empty where it has none."""
    return _POLICY_NAMES.get(kind, "")


def blames_backend(kind: Kind) -> bool:
    """Whether a failure says that the deployment is not well; a 404 or a 400 may be of the caller's making."""
    return kind in _BLAMED


def _of_answer(failure: BackendError) -> Kind:
    status = failure.status
    if status in _ABOUT_THE_PROMPT and (told := _told(failure)) is not None:
        return told
    if (known := _STATUSES.get(status)) is not None:
        return known
    return Kind.INTERNAL if status >= 500 else Kind.BAD_REQUEST


def _told(failure: BackendError) -> Kind | None:
    """What the backend's own words say of the prompt, if they say anything."""
    words = {(failure.code or "").lower(), failure.kind.lower()}
    if words & _LONG_CODES:
        return Kind.CONTEXT_WINDOW
    if words & _POLICY_CODES:
        return Kind.CONTENT_POLICY
    if _LONG_WORDS.search(failure.message):
        return Kind.CONTEXT_WINDOW
    return Kind.CONTENT_POLICY if _POLICY_WORDS.search(failure.message) else None
