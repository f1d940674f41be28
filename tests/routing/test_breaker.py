"""When a deployment rests and for how long, by the numbers that are promised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import (
    BackendBroken,
    BackendError,
    BackendFull,
    BackendTimeout,
    BackendUnreachable,
    CallerTimeout,
    InvalidRequest,
    RateLimited,
)
from proxy_cli.routing.breaker import HALF_LIFE_S, LEAST_TRUST, TRIAL_S, Breaker, Cause, Fault, judged, rest_s
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Backend, Deployment

USUAL = Fault()
START_S = 1000.0


def deployment(**fields):
    return Deployment(id="a", group="g", model="m", provider="openai", backend=Backend("http", "h", 80), **fields)


def opened(fault=USUAL, *, chance=0.0):
    """A breaker that five such failures have opened."""
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(START_S, fault, chance)
    assert breaker.until_s
    return breaker


def tried_again(breaker, fault=USUAL, *, chance=0.0):
    """The trial after the rest fails: how long the next rest is."""
    now_s = breaker.until_s
    assert breaker.begin(now_s)
    assert breaker.failed(now_s, fault, chance)
    return breaker.rests_s(now_s)


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (BackendError(500, "broken"), Cause.FAILURES),
        (BackendError(503, "loading"), Cause.FAILURES),
        (BackendUnreachable("refused"), Cause.FAILURES),
        (BackendBroken("broke off"), Cause.FAILURES),
        (BackendTimeout("no reply within 5 s"), Cause.FAILURES),
        (BackendError(429, "slow down"), Cause.LIMITED),
        (BackendError(401, "wrong key"), Cause.REFUSED),
        (BackendError(403, "not for you"), Cause.REFUSED),
    ],
)
def test_failures_of_the_backend_count(failure, cause):
    """What the backend has caused is its fault, and says which kind of rest it leads to."""
    fault = judged(failure, deployment(), Rules())

    assert fault is not None
    assert fault.cause is cause


@pytest.mark.row("U-25")
@pytest.mark.parametrize(
    "failure",
    [
        BackendError(400, "bad field"),
        BackendError(404, "no such model"),
        BackendError(422, "cannot be read"),
        BackendError(400, "maximum context length is 4096 tokens"),
        BackendError(400, "no", code="content_filter"),
        CallerTimeout("the caller's limit of 1 s has passed"),
        InvalidRequest("not here"),
        RateLimited("the queue is full"),
        BackendFull("64 connections are open"),
    ],
)
def test_what_the_caller_or_we_have_caused_is_nobodys_fault(failure):
    """Wrong requests, callers without patience and limits of ours never count against a backend."""
    assert judged(failure, deployment(), Rules(allowed_fails=0)) is None


def test_an_operator_may_have_wrong_requests_counted():
    """A policy that names a kind has it counted, also where it usually does not."""
    rules = Rules(allowed_fails_policy={"BadRequestErrorAllowedFails": 3})

    fault = judged(BackendError(400, "bad field"), deployment(), rules)

    assert fault == Fault(counted_as="BadRequestError", allowed=3)
    assert judged(BackendError(404, "no such model"), deployment(), rules) is None


@pytest.mark.parametrize(
    ("fields", "rules", "expected"),
    [
        ({}, {}, ("", None)),
        ({}, {"allowed_fails": 3}, ("", 3)),
        (
            {},
            {"allowed_fails": 3, "allowed_fails_policy": {"InternalServerErrorAllowedFails": 9}},
            ("InternalServerError", 9),
        ),
        ({"allowed_fails": 1}, {"allowed_fails_policy": {"InternalServerErrorAllowedFails": 9}}, ("", 1)),
        (
            {"allowed_fails": 1, "allowed_fails_policy": {"InternalServerErrorAllowedFails": 7}},
            {"allowed_fails": 3},
            ("InternalServerError", 7),
        ),
        ({"allowed_fails_policy": {"TimeoutErrorAllowedFails": 7}}, {"allowed_fails": 3}, ("", 3)),
    ],
)
def test_the_narrowest_limit_of_failures_holds(fields, rules, expected):
    """The deployment's word comes before the router's, and a kind's before all kinds'."""
    fault = judged(BackendError(500, "broken"), deployment(**fields), Rules(**rules))

    assert fault is not None
    assert (fault.counted_as, fault.allowed) == expected


@pytest.mark.parametrize(
    ("fault", "expected_s"),
    [
        (Fault(fixed_s=7.0, asked_s=20.0, usual_s=9.0), 7.0),
        (Fault(asked_s=20.0, usual_s=9.0), 20.0),
        (Fault(cause=Cause.LIMITED, asked_s=120.0), 120.0),
        (Fault(cause=Cause.LIMITED, asked_s=999999.0), 300.0),
        (Fault(cause=Cause.LIMITED, asked_s=0.0), 1.0),
        (Fault(usual_s=9.0), 9.0),
        (Fault(), 1.0),
        (Fault(cause=Cause.LIMITED), 5.0),
        (Fault(cause=Cause.REFUSED, fixed_s=1.0, asked_s=2.0), 60.0),
    ],
)
@pytest.mark.row("U-22")
def test_who_says_how_long_a_rest_is(fault, expected_s):
    """The deployment's setting, then Retry-After up to 300 s, the router's, the growth; a wrong key has its own."""
    assert rest_s(fault, 0, 0.0) == expected_s


@given(st.sampled_from(Cause), st.integers(0, 10), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1e6)))
def test_no_rest_is_longer_than_its_cap(cause, step, chance, asked_s):
    """60 s for failures, 300 s where the backend asks for more, 15 minutes for a wrong key; and none is no rest."""
    lasts_s = rest_s(Fault(cause=cause, asked_s=asked_s), step, chance)

    most_s = 900 if cause is Cause.REFUSED else 60 if asked_s is None else 300
    assert 0 < lasts_s <= most_s


@given(st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_rests_grow_to_a_minute(chances):
    """Each failed trial about doubles the rest, with up to a quarter taken off by chance, until a minute is reached."""
    breaker = opened(chance=chances[0])

    rests = [breaker.rests_s(START_S), *(tried_again(breaker, chance=chance) for chance in chances[1:])]

    for step, (lasts_s, chance) in enumerate(zip(rests, chances, strict=True)):
        assert lasts_s == pytest.approx(min(2**step, 60) * (1 - chance / 4))


@pytest.mark.row("U-25")
def test_a_wrong_key_rests_a_minute_then_ever_longer():
    """One refusal is enough; the rests double from 60 s to 15 minutes."""
    wrong_key = Fault(cause=Cause.REFUSED)
    breaker = Breaker()
    assert breaker.failed(START_S, wrong_key, 0.5)

    rests = [breaker.rests_s(START_S), *(tried_again(breaker, wrong_key) for _ in range(5))]

    assert rests == [60, 120, 240, 480, 900, 900]


def test_a_wrong_key_outweighs_another_reason_to_rest():
    """A deployment that rests for a second and then refuses the key is out for a minute."""
    breaker = opened()

    assert breaker.failed(START_S, Fault(cause=Cause.REFUSED), 0.0)

    assert (breaker.rests_s(START_S), breaker.cause) == (60, Cause.REFUSED)


def test_four_failures_are_not_enough():
    """Only the fifth in a row opens; a success between them begins the count anew."""
    breaker = Breaker()
    for _ in range(4):
        assert not breaker.failed(START_S, USUAL, 0.0)

    breaker.succeeded(START_S)
    for _ in range(4):
        assert not breaker.failed(START_S, USUAL, 0.0)

    assert breaker.failed(START_S, USUAL, 0.0)


@pytest.mark.parametrize(
    ("ends", "opens"),
    [
        ("ggggggggbb", False),  # 80 % of ten
        ("gggggggbbb", True),
        ("bgbggbb", False),  # too few to say anything
        ("bgbggbgbgb", True),
        ("gggg" * 10 + "bbbb" + "g" + "bbbb" + "g" + "bb", False),
        ("gggg" * 10 + "bbbb" + "g" + "bbbb" + "g" + "bbb", True),
    ],
)
def test_too_small_a_share_of_successes_opens(ends, opens):
    """Less than 80 % good of at least ten opens, though no five failures came in a row."""
    breaker = Breaker()

    told = [breaker.succeeded(START_S) if end == "g" else breaker.failed(START_S, USUAL, 0.0) for end in ends]

    assert told == [False] * (len(ends) - 1) + [opens]


def test_the_share_is_of_the_last_ten_seconds():
    """Failures of more than ten seconds ago do not count with those of now."""
    breaker = Breaker()
    for turn in range(4):
        now_s = START_S + 11 * turn
        for _ in range(4):
            breaker.succeeded(now_s)
        assert not breaker.failed(now_s, USUAL, 0.0)
        assert not breaker.failed(now_s, USUAL, 0.0)

    assert breaker.rested == 0


def test_one_limit_is_enough():
    """A 429 opens at once, for as long as it asks."""
    breaker = Breaker()

    assert breaker.failed(START_S, Fault(cause=Cause.LIMITED, asked_s=30.0), 0.9)

    assert breaker.rests_s(START_S + 10) == 20


def test_a_limit_during_a_rest_makes_it_longer_only_when_it_asks_for_more():
    """A later Retry-After extends the rest, an earlier one does not, and neither makes the next one grow."""
    breaker = Breaker()
    breaker.failed(START_S, Fault(cause=Cause.LIMITED, asked_s=30.0), 0.0)
    step = breaker.step

    assert not breaker.failed(START_S, Fault(cause=Cause.LIMITED, asked_s=10.0), 0.0)
    assert breaker.failed(START_S, Fault(cause=Cause.LIMITED, asked_s=40.0), 0.0)

    assert (breaker.rests_s(START_S), breaker.step) == (40, step)


def test_stragglers_of_the_same_bad_moment_change_nothing():
    """Attempts that began before it opened and fail later do not lengthen the rest, nor open it again."""
    breaker = opened()
    until_s = breaker.until_s

    assert not breaker.failed(START_S + 0.5, USUAL, 0.0)
    assert not breaker.failed(until_s + 5, USUAL, 0.0)

    assert (breaker.until_s, breaker.rested) == (until_s, 1)


def test_a_success_of_long_ago_does_not_wake():
    """An attempt that began before it opened says nothing by its success."""
    breaker = opened()

    assert not breaker.succeeded(START_S + 0.5)

    assert breaker.rests_s(START_S + 0.5) > 0


def test_one_success_closes_and_shrinks_the_growth():
    """The trial's success lets everybody in; the next rest is shorter than one more in the row would have been."""
    breaker = opened()
    for _ in range(4):
        last_s = tried_again(breaker)
    now_s = breaker.until_s
    breaker.begin(now_s)

    assert breaker.succeeded(now_s)

    assert breaker.rests_s(now_s) == 0
    for _ in range(5):
        breaker.failed(now_s + 1, USUAL, 0.0)
    assert breaker.rests_s(now_s + 1) < last_s


def test_a_calm_minute_forgets_the_growth():
    """Whoever was well for more than a minute begins with the shortest rest again."""
    breaker = opened()
    for _ in range(6):
        tried_again(breaker)
    now_s = breaker.until_s
    breaker.begin(now_s)
    breaker.succeeded(now_s)

    for _ in range(5):
        breaker.failed(now_s + 61, USUAL, 0.0)

    assert breaker.rests_s(now_s + 61) == 1


def test_exactly_one_trial_is_let_through():
    """After the rest one attempt is the trial; until it has ended the others see a rest; then there is another."""
    breaker = opened()
    now_s = breaker.until_s
    assert breaker.rests_s(now_s) == 0

    trial = breaker.begin(now_s)
    assert trial
    assert breaker.begin(now_s) == 0
    assert breaker.rests_s(now_s + 100) == TRIAL_S
    breaker.ended(0)
    breaker.ended(trial + 1)
    assert breaker.rests_s(now_s + 100) == TRIAL_S

    breaker.ended(trial)
    assert breaker.rests_s(now_s + 100) == 0
    assert breaker.begin(now_s + 100)


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_allowed_failures_are_of_one_minute(allowed):
    """With a limit, the failure after it opens; what was counted in another minute does not."""
    fault = Fault(allowed=allowed, usual_s=5.0)
    breaker = Breaker()
    for _ in range(allowed):
        assert not breaker.failed(60.0, fault, 0.0)

    for _ in range(allowed):
        assert not breaker.failed(120.0, fault, 0.0)

    assert breaker.failed(179.0, fault, 0.0)
    assert breaker.rests_s(179.0) == 5


def test_kinds_with_limits_of_their_own_are_counted_apart():
    """Failures of one kind do not use up what is allowed of another."""
    limited = Fault(cause=Cause.LIMITED, counted_as="RateLimitError", allowed=2)
    broken = Fault(counted_as="InternalServerError", allowed=1)
    breaker = Breaker()

    results = [breaker.failed(START_S, fault, 0.0) for fault in (limited, limited, broken, limited)]

    assert results == [False, False, False, True]


def test_a_rest_of_no_time_is_none():
    """A cooldown_time of 0 never opens."""
    breaker = Breaker()

    assert not any(breaker.failed(START_S, Fault(fixed_s=0.0), 0.0) for _ in range(20))

    assert breaker.until_s == 0


def test_what_another_process_found_is_taken_over():
    """A rest heard of has its end and a trial after it; word that it works ends it."""
    breaker = Breaker()

    breaker.adopt(START_S + 8, 3, Cause.REFUSED, START_S)
    assert (breaker.rests_s(START_S), breaker.cause) == (8, Cause.REFUSED)
    assert breaker.begin(START_S + 8)
    assert breaker.rests_s(START_S + 8) == TRIAL_S

    breaker.adopt(0.0, 1, Cause.FAILURES, START_S + 9)
    assert (breaker.rests_s(START_S + 9), breaker.cause) == (0, Cause.FAILURES)


def test_one_that_falls_again_and_again_is_trusted_ever_less():
    """A quarter of its share for each fall, never none of it; and the memory fades."""
    breaker = Breaker()
    told = [breaker.trust(START_S)]
    for _ in range(6):
        for _ in range(5):
            breaker.failed(START_S, USUAL, 0.0)
        told.append(breaker.trust(START_S))
        breaker.adopt(0.0, 0, Cause.FAILURES, START_S)

    assert told == [1.0, 0.25, 0.0625, LEAST_TRUST, LEAST_TRUST, LEAST_TRUST, LEAST_TRUST]
    assert breaker.trust(START_S + 2 * HALF_LIFE_S) == pytest.approx(0.25**1.5)
    assert breaker.trust(START_S + 30 * HALF_LIFE_S) == pytest.approx(1.0, abs=0.001)


def test_one_that_is_asked_for_too_much_is_trusted_all_the_same():
    """A limit is no sickness."""
    breaker = Breaker()

    assert breaker.failed(START_S, Fault(cause=Cause.LIMITED), 0.0)
    assert breaker.trust(START_S) == 1.0
