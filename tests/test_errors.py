import inspect

import pytest

from proxy_cli import errors

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.GatewayError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_knows_a_status_and_a_kind(kind):
    """Nothing reaches a caller without them."""
    error = kind(502, "words") if issubclass(kind, errors.BackendError) else kind("words")

    assert 400 <= error.status <= 599
    assert error.kind
    assert error.message == str(error) == "words"


def test_only_what_reached_no_model_is_asked_elsewhere():
    """Whatever may have reached a model is not sent a second time."""
    elsewhere = {kind for kind in CLASSES if kind.elsewhere}

    nothing_was_sent = (errors.BackendUnreachable, errors.ConnectTimeout, errors.BackendFull, errors.Unpriced)
    assert all(issubclass(kind, nothing_was_sent) for kind in elsewhere)
    assert errors.BackendUnreachable in elsewhere


def test_a_backends_error_keeps_what_it_said():
    """Status, type, code and wait are the backend's own."""
    error = errors.BackendError(429, "slow down", kind="tokens", code="rate", retry_after_s=2)

    assert (error.status, error.kind, error.code, error.retry_after_s) == (429, "tokens", "rate", 2)


def test_the_budgets_status_is_a_setting():
    """LiteLLM's versions answer differently."""
    assert errors.BudgetExceeded("x").status == 422
    assert errors.BudgetExceeded("x", status=429).status == 429


def test_an_error_that_was_dealt_with_holds_no_frames():
    """Neither it nor what led to it; what they say stays."""

    def fail():
        try:
            raise OSError("no route")
        except OSError as cause:
            raise errors.BackendUnreachable("gone") from cause

    with pytest.raises(errors.BackendUnreachable) as caught:
        fail()
    error = caught.value

    errors.forget_frames(error)

    assert error.__traceback__ is None
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None
    assert (error.message, str(error.__cause__)) == ("gone", "no route")
