import json

import pytest

from proxy_cli import errors
from proxy_cli.secret import Scrubber, Secret
from proxy_cli.server.problems import Problems
from proxy_cli.shapes import Operation

KEY = "sk-provider-key-0123456789"
PROBLEMS = Problems(Scrubber([Secret(KEY)]))


def test_an_error_is_told_in_openais_envelope():
    """Four fields, as OpenAI's clients read them."""
    error = errors.InvalidRequest("no", code="odd", param="model")

    assert json.loads(PROBLEMS.body(error)) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "model", "code": "odd"}
    }


@pytest.mark.row("A-39")
def test_a_known_secret_is_scrubbed_from_a_backends_words():
    """A backend that echoes our key does not hand it to the caller, neither in the body nor in a header."""
    error = errors.BackendError(401, f"Incorrect API key provided: {KEY}", headers=(("llm_provider-x", KEY),))

    assert KEY not in PROBLEMS.body(error).decode()
    assert KEY not in str(PROBLEMS.headers(error))


def test_a_wait_is_told_in_whole_seconds():
    """Retry-After is rounded up, so that nobody comes too early."""
    headers = PROBLEMS.headers(errors.RateLimited("slow", retry_after_s=1.2))

    assert ("retry-after", "2") in headers


def test_a_stream_ends_with_an_error_event_and_the_end_mark():
    """After the first byte the error is the last event, and clients that wait for [DONE] get it."""
    event = PROBLEMS.event(errors.BackendBroken("cut"), Operation.CHAT)

    first, second, rest = event.split(b"\n\n")
    assert json.loads(first.removeprefix(b"data: "))["error"]["code"] == "upstream_truncated"
    assert (second, rest) == (b"data: [DONE]", b"")


def test_a_responses_stream_ends_with_its_own_error_event():
    """The Responses dialect has an event type for it."""
    event = PROBLEMS.event(errors.BackendBroken("cut"), Operation.RESPONSES)

    assert event.startswith(b"event: error\ndata: {")
    assert json.loads(event.split(b"data: ")[1])["type"] == "error"


@pytest.mark.parametrize(
    ("error", "ours", "theirs"),
    [
        (errors.BackendUnreachable("x"), 502, 500),
        (errors.BackendTimeout("x"), 504, 408),
        (errors.Unauthenticated("x"), 401, 400),
        (errors.Unauthenticated("x", code="missing_api_key"), 401, 401),
        (errors.UnknownModel("x"), 400, 400),
    ],
)
def test_litellms_own_statuses_are_a_setting(error, ours, theirs):
    """`compat: litellm` answers as LiteLLM does, and gives the status as the code."""
    compat = Problems(Scrubber([]), compat_litellm=True)

    assert PROBLEMS.status(error) == ours
    assert compat.status(error) == theirs
    assert json.loads(compat.body(error))["error"]["code"] == str(theirs)


def test_a_header_value_cannot_be_split():
    """A line break in a backend's header ends up percent-encoded."""
    error = errors.BackendError(400, "no", headers=(("llm_provider-x", "a\r\nset-cookie: b"),))

    assert dict(PROBLEMS.headers(error))["llm_provider-x"] == "a%0D%0Aset-cookie: b"


@pytest.mark.row("P-01")
def test_a_key_in_the_wrong_place_is_not_said_again():
    """In the place of a model's name, or by a backend that was told it by somebody else."""
    envelope = PROBLEMS.envelope(errors.NotFound("the model 'sk-abcdefghij1234567890' does not exist here"))

    assert envelope["error"]["message"] == "the model 'sk-***' does not exist here"
