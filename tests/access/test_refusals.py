"""The words of a refusal."""

import math

import pytest

from proxy_cli.access import refusals
from proxy_cli.callers import Scope

AT = 1_795_435_200.0  # 2026-11-23 12:00:00 UTC
DIGEST = "ab" * 32


def test_a_limit_per_minute_says_all_that_litellm_says():
    """Scope, kind, limit, what remains and when it resets: in the message, and for programs in the headers."""
    scope = Scope(kind="key", id=DIGEST, name="my-key")

    refused = refusals.too_fast(scope, "requests", 60, 4.2, AT)

    assert refused.status == 429
    assert refused.message == (
        "Rate limit exceeded for api_key: my-key. Limit type: requests, Current limit: 60, Remaining: 0. "
        "Limit resets at: 2026-11-23 12:00:05 UTC"
    )
    assert dict(refused.headers) == {
        "rate_limit_type": "requests",
        "retry-after": "5",
        "reset_at": "2026-11-23 12:00:05 UTC",
    }


def test_parallel_requests_end_nobody_knows_when():
    """A second's wait is named, and no moment."""
    refused = refusals.too_many(Scope(kind="team", id="t1"), 3)

    assert "for team: t1. Limit type: max_parallel_requests, Current limit: 3" in refused.message
    assert dict(refused.headers) == {"rate_limit_type": "max_parallel_requests", "retry-after": "1"}


def test_a_spent_budget_says_what_was_spent_and_when_it_begins_anew():
    """Amounts are in USD, without rounding; what is set aside for others is told apart."""
    scope = Scope(kind="team", id="t1", name="blue", max_nano=50_000_000)

    refused = refusals.too_dear(scope, 30_000_001, 5_000_000, 40_000_000, AT, 400)

    assert refused.status == 400
    assert refused.message == (
        "Budget has been exceeded! Team=t1 Current cost: 0.030000001, Max budget: 0.05, of team: blue; 0.005 is set "
        "aside for requests under way; this request may cost 0.04: lower its max_tokens; the budget begins anew at "
        "2026-11-23 12:00:00 UTC"
    )


def test_a_budget_that_is_used_up_gives_no_advice():
    """Where nothing is left, and for ever, a smaller request would not pass either."""
    refused = refusals.too_dear(Scope(kind="proxy", id="", max_nano=10), 10, 0, 99, math.inf, 422)

    assert refused.message == "Budget has been exceeded! Current cost: 0.00000001, Max budget: 0.00000001, of proxy"


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        (Scope(kind="key", id=DIGEST), "api_key"),
        (Scope(kind="key", id=DIGEST, name="mine"), "api_key: mine"),
        (Scope(kind="key_window", id=f"{DIGEST}/1d"), "api_key"),
        (Scope(kind="key_model", id=f"{DIGEST}/gpt-4o"), "model_per_key: gpt-4o"),
        (Scope(kind="team_model", id="t1/gpt-4o"), "model_per_team: t1/gpt-4o"),
        (Scope(kind="team_member", id="t1/u1"), "team_member: t1/u1"),
        (Scope(kind="tag", id="blue"), "tag: blue"),
    ],
)
def test_scopes_are_called_by_name_and_keys_never_by_their_digest(scope, shown):
    """LiteLLM's word for the kind, and what people call it."""
    assert refusals.shown(scope) == shown
