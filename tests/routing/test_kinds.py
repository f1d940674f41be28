import pytest

from proxy_cli.errors import (
    BackendBroken,
    BackendError,
    BackendFull,
    BackendTimeout,
    BackendUnreachable,
    CallerTimeout,
    ConnectTimeout,
    Forbidden,
    GatewayError,
    InvalidRequest,
    Overloaded,
    RateLimited,
    UnsupportedParameter,
)
from proxy_cli.routing.kinds import Kind, blames_backend, kind_of, policy_name


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Kind.BAD_REQUEST),
        (401, Kind.AUTHENTICATION),
        (402, Kind.AUTHENTICATION),
        (403, Kind.AUTHENTICATION),
        (404, Kind.NOT_FOUND),
        (408, Kind.TIMEOUT),
        (409, Kind.CONFLICT),
        (422, Kind.BAD_REQUEST),
        (429, Kind.RATE_LIMIT),
        (500, Kind.INTERNAL),
        (501, Kind.INTERNAL),
        (502, Kind.BAD_GATEWAY),
        (503, Kind.UNAVAILABLE),
        (504, Kind.TIMEOUT),
        (529, Kind.UNAVAILABLE),
        (599, Kind.INTERNAL),
    ],
)
def test_a_status_says_what_kind_of_failure_it_is(status, kind):
    """Every status that a backend answers has one kind."""
    assert kind_of(BackendError(status, "no")) is kind


@pytest.mark.parametrize(
    ("failure", "kind", "blamed"),
    [
        (BackendUnreachable("refused"), Kind.CONNECTION, True),
        (ConnectTimeout("no connection"), Kind.CONNECTION, True),
        (BackendTimeout("no reply"), Kind.TIMEOUT, True),
        (BackendBroken("broke off"), Kind.BAD_GATEWAY, True),
        (BackendBroken("we stop", code="shutting_down"), Kind.CALLER, False),
        (BackendBroken("gone", code="upload_not_kept"), Kind.CALLER, False),
        (BackendFull("no place"), Kind.FULL, False),
        (Overloaded("no place"), Kind.FULL, False),
        (RateLimited("the queue is full"), Kind.FULL, False),
        (CallerTimeout("too late"), Kind.CALLER, False),
        (Forbidden("not by these tags"), Kind.CALLER, False),
        (UnsupportedParameter("logprobs"), Kind.BAD_REQUEST, False),
        (InvalidRequest("too long", code="context_length_exceeded"), Kind.CONTEXT_WINDOW, False),
        (GatewayError("what"), Kind.CALLER, False),
    ],
)
def test_a_failure_without_an_answer_has_its_kind_and_only_the_backends_own_blames_it(failure, kind, blamed):
    """What we or the caller have ended says nothing about the backend."""
    assert (kind_of(failure), blames_backend(kind_of(failure))) == (kind, blamed)


@pytest.mark.parametrize(
    "failure",
    [
        BackendError(400, "too much", code="context_length_exceeded"),
        BackendError(400, "too much", kind="exceed_context_size_error"),
        BackendError(400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
        BackendError(400, "the request exceeds the available context size. try increasing the context size"),
        BackendError(400, "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it"),
        BackendError(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        BackendError(500, "the input length exceeds the context length"),
        BackendError(400, "The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
        BackendError(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        BackendError(422, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"),
        BackendError(400, "Input is too long for requested model."),
    ],
)
def test_a_prompt_that_is_too_long_is_known_however_it_is_said(failure):
    """Each server has words of its own for it."""
    assert kind_of(failure) is Kind.CONTEXT_WINDOW


@pytest.mark.parametrize(
    "failure",
    [
        BackendError(400, "filtered", code="content_filter"),
        BackendError(400, "no", code="content_policy_violation"),
        BackendError(
            400, "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        ),
        BackendError(400, "Output blocked by content filtering policy"),
        BackendError(400, "Your request was rejected as a result of our safety system."),
        BackendError(400, "Input data may contain inappropriate content."),
    ],
)
def test_a_prompt_that_is_not_wanted_is_known_however_it_is_said(failure):
    """A filter's refusal is not a malformed request."""
    assert kind_of(failure) is Kind.CONTENT_POLICY


@pytest.mark.parametrize(
    "failure",
    [
        BackendError(400, "'messages' must be a list"),
        BackendError(400, "the parameter context is unknown"),
        BackendError(400, "max_tokens is too large"),
    ],
)
def test_other_refusals_are_bad_requests(failure):
    """Words that only look like it do not send a request to another model."""
    assert kind_of(failure) is Kind.BAD_REQUEST


def test_words_about_the_context_do_not_make_a_rate_limit_something_else():
    """A 429 is a 429, whatever its message mentions."""
    assert kind_of(BackendError(429, "maximum context length per minute")) is Kind.RATE_LIMIT


def test_kinds_have_the_names_that_policies_use():
    """`retry_policy` and `allowed_fails_policy` name kinds as LiteLLM does."""
    named = {policy_name(kind) for kind in Kind}

    assert {
        "BadRequestError",
        "AuthenticationError",
        "NotFoundError",
        "TimeoutError",
        "RateLimitError",
        "ContentPolicyViolationError",
        "InternalServerError",
        "ServiceUnavailableError",
        "BadGatewayError",
    } <= named


@pytest.mark.row("U-25")
@pytest.mark.parametrize(("status", "blamed"), [(400, False), (401, True), (403, True), (404, False), (422, False)])
def test_of_the_refusals_only_those_of_our_key_blame_the_backend(status, blamed):
    """A caller's malformed request never takes a deployment out; a key that is refused does."""
    assert blames_backend(kind_of(BackendError(status, "no"))) is blamed
