from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import (
    BackendBroken,
    BackendError,
    BackendFull,
    BackendTimeout,
    BackendUnreachable,
    ConnectTimeout,
)
from proxy_cli.routing.kinds import Kind
from proxy_cli.routing.retries import (
    NEVER_S,
    Budget,
    allowed_retries,
    end_s,
    free_again_s,
    is_doubtful,
    pause_s,
    with_time_left,
)
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Controls
from tests.routing.calls import call
from tests.routing.test_table import deployment

ONE = deployment("a")


@pytest.mark.parametrize(
    ("rules", "entry", "controls", "retries"),
    [
        (Rules(), {}, {}, 2),
        (Rules(retries=5), {}, {}, 5),
        (Rules(retries=5), {"retries": 1}, {}, 1),
        (Rules(retry_policy={"DefaultRetries": 3}), {"retries": 1}, {}, 3),
        (Rules(retry_policy={"RateLimitErrorRetries": 4, "DefaultRetries": 3}), {}, {}, 4),
        (Rules(retry_policy={"TimeoutErrorRetries": 4}), {}, {}, 2),
        (
            Rules(retry_policy={"RateLimitErrorRetries": 4}, group_retry_policy={"a": {"RateLimitErrorRetries": 1}}),
            {},
            {},
            1,
        ),
        (Rules(group_retry_policy={"b": {"RateLimitErrorRetries": 1}}), {}, {}, 2),
        (Rules(retry_policy={"RateLimitErrorRetries": 4}), {"retries": 1}, {"retries": 0}, 0),
    ],
)
def test_the_most_particular_word_about_retries_counts(rules, entry, controls, retries):
    """The request's, then the policy's, by kind before in general, then the entry's, then the router's."""
    asked = call(controls=Controls(**controls))

    assert allowed_retries(Kind.RATE_LIMIT, asked, deployment("a", **entry), rules) == retries


@pytest.mark.parametrize("kind", [Kind.BAD_REQUEST, Kind.NOT_FOUND, Kind.CONTENT_POLICY, Kind.CONTEXT_WINDOW])
def test_what_is_no_use_to_retry_is_retried_only_where_a_policy_names_it(kind):
    """Neither a general number nor the request's makes a refused request a better one."""
    general = Rules(retries=5, retry_policy={"DefaultRetries": 5})

    assert allowed_retries(kind, call(controls=Controls(retries=5)), deployment("a", retries=5), general) == 0


def test_a_policy_may_have_refused_content_tried_again():
    """`ContentPolicyViolationErrorRetries: 2`: the operator wants it."""
    rules = Rules(retry_policy={"ContentPolicyViolationErrorRetries": 2})

    assert allowed_retries(Kind.CONTENT_POLICY, call(), ONE, rules) == 2
    assert allowed_retries(Kind.BAD_REQUEST, call(), ONE, rules) == 0


def test_a_reply_that_broke_off_is_an_internal_error_to_a_policy():
    """LiteLLM's retry policies have no name for it."""
    assert allowed_retries(Kind.BAD_GATEWAY, call(), ONE, Rules(retry_policy={"InternalServerErrorRetries": 4})) == 4
    assert allowed_retries(Kind.BAD_GATEWAY, call(), ONE, Rules(retry_policy={"BadGatewayErrorRetries": 1})) == 1


@pytest.mark.parametrize(
    ("failure", "doubtful"),
    [
        (BackendBroken("broke off"), True),
        (BackendTimeout("no reply"), True),
        (BackendError(504, "gave up"), True),
        (BackendError(500, "no"), False),
        (ConnectTimeout("no connection"), False),
        (BackendUnreachable("refused"), False),
        (BackendFull("no place"), False),
    ],
)
def test_only_what_may_have_reached_a_model_is_in_doubt(failure, doubtful):
    """An answer is an answer, and without a connection nothing was sent."""
    assert is_doubtful(failure) is doubtful


@pytest.mark.row("U-22")
@pytest.mark.parametrize(
    ("failure", "kind", "free_s"),
    [
        (BackendError(429, "no", retry_after_s=2.0), Kind.RATE_LIMIT, 12.0),
        (BackendError(429, "no"), Kind.RATE_LIMIT, 10.0),
        (BackendError(503, "no", retry_after_s=60.0), Kind.UNAVAILABLE, 70.0),
        (BackendError(503, "no", retry_after_s=60.1), Kind.UNAVAILABLE, NEVER_S),
        (BackendError(401, "no"), Kind.AUTHENTICATION, NEVER_S),
        (BackendFull("no place", retry_after_s=1.0), Kind.FULL, NEVER_S),
        (BackendBroken("broke off"), Kind.BAD_GATEWAY, NEVER_S),
    ],
)
def test_a_deployment_is_free_again_when_it_has_said_so_unless_that_is_too_late(failure, kind, free_s):
    """More than a minute is not waited for, and not at all for one that would say the same again."""
    assert free_again_s(failure, kind, 10.0) == free_s


@given(st.integers(0, 1000), st.integers(), st.floats(0, 5))
def test_a_pause_is_short_and_grows_to_a_limit(before, seed, least_s):
    """Never less than what is configured, never more than 8 s or that."""
    wait_s = pause_s(before, Random(seed), at_least_s=least_s)

    assert least_s <= wait_s <= max(min(0.25 * 2**before, 8.0), least_s)


@pytest.mark.parametrize(
    ("controls", "entry", "stream", "end"),
    [
        ({"timeout_s": 5.0}, {"timeout_s": 2.0}, False, 15.0),
        ({}, {"timeout_s": 2.0}, False, 12.0),
        ({}, {"timeout_s": 2.0, "stream_timeout_s": 3.0}, True, 13.0),
        ({"timeout_s": 5.0, "stream_timeout_s": 4.0}, {}, True, 14.0),
        ({"stream_timeout_s": 4.0}, {}, False, NEVER_S),
        ({}, {}, False, NEVER_S),
    ],
)
def test_a_call_ends_by_the_callers_limit_else_by_the_deployments(controls, entry, stream, end):
    """Counted from the moment at which the request was received."""
    asked = call(controls=Controls(**controls), stream=stream)
    asked = msgspec.structs.replace(asked, received_s=10.0)

    assert end_s(asked, deployment("a", **entry)) == end


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_sent_later_has_less_time_and_ends_when_it_would_have(stream):
    """Also one that is late already: no limit at all would be for ever."""
    asked = msgspec.structs.replace(call(controls=Controls(timeout_s=5.0), stream=stream), received_s=10.0)

    later, too_late = with_time_left(asked, 12.0), with_time_left(asked, 99.0)

    assert end_s(later, ONE) == end_s(asked, ONE) == 15.0
    assert (later.controls.timeout_s, later.received_s) == (3.0, 12.0)
    assert 0 < end_s(too_late, ONE) - 99.0 < 0.1


def test_a_call_without_a_limit_is_sent_as_it_is():
    """A deployment's own limit is one of each attempt."""
    asked = call()

    assert with_time_left(asked, 12.0) is asked


STEPS = st.lists(st.tuples(st.integers(0, 30), st.floats(0, 3), st.integers(0, 50)), max_size=60)


@given(STEPS)
def test_a_budget_gives_three_a_fifth_of_the_calls_and_three_in_ten_seconds(steps):
    """Whoever asks for a retry whenever he can gets no more than that, in any order of calls and pauses."""
    budget, now_s, calls, taken = Budget(0.0), 0.0, 0, 0
    for new, passed_s, active in steps:
        calls += new
        budget.calls += new
        now_s += passed_s
        while budget.take(active, now_s):
            taken += 1
        assert taken <= 3 + 0.2 * calls + 3 * now_s / 10 + 1e-6


@given(STEPS)
def test_a_budget_never_gives_more_at_once_than_a_fifth_of_what_is_under_way(steps):
    """However much was saved up before: at least three, so that a lonely caller has his retries."""
    budget, now_s = Budget(0.0), 0.0
    for new, passed_s, active in steps:
        budget.calls += new * 100
        now_s += passed_s
        taken = 0
        while budget.take(active, now_s):
            taken += 1
        assert taken <= max(3, 0.2 * active)


def test_a_budget_without_calls_fills_up_in_ten_seconds():
    """Three at once, none right after, three again later."""
    budget = Budget(0.0)

    assert [budget.take(1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(1, 9.9)
    assert [budget.take(1, 10.0) for _ in range(4)] == [True, True, True, False]


def test_what_is_given_back_fills_a_budget_to_three_and_not_beyond():
    """Only where few calls are under way."""
    budget = Budget(0.0)
    while budget.take(1, 0.0):
        pass

    budget.give_back(9, 16)
    assert not budget.take(1, 0.0)
    budget.give_back(9, 15)
    assert [budget.take(1, 0.0) for _ in range(4)] == [True, True, True, False]
