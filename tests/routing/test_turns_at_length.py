"""Any course of attempts, and long ones: what holds whatever fails."""

from collections.abc import Callable
from functools import partial

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
    GatewayError,
)
from proxy_cli.routing.retries import is_doubtful
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Controls, Target
from tests.routing.calls import call
from tests.routing.stage import Stage, group, scripted
from tests.routing.test_table import deployment

MAKERS: list[Callable[[], GatewayError]] = [
    *(partial(BackendError, status, "no") for status in (400, 401, 404, 408, 409, 429, 500, 502, 503, 504, 529)),
    partial(BackendError, 429, "slow down", retry_after_s=2.0),
    partial(BackendError, 503, "slow down", retry_after_s=100.0),
    partial(BackendError, 400, "maximum context length is 8"),
    partial(BackendBroken, "broke off"),
    partial(BackendTimeout, "no reply"),
    partial(BackendUnreachable, "refused"),
    partial(ConnectTimeout, "no connection"),
    partial(BackendFull, "no connection is free"),
]
FAILURES = st.one_of(*[st.builds(make) for make in MAKERS], st.none())
COUNTS = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2))
RINGS = {"a": (Target("b"), Target("c")), "b": (Target("a"), Target("c")), "c": (Target("a"),), "*": (Target("b"),)}


@pytest.mark.row("C-45")
@given(COUNTS, st.integers(0, 3), st.lists(FAILURES, max_size=40), st.integers(0, 99), st.booleans(), st.booleans())
def test_attempts_are_bounded_and_never_repeat_what_may_be_under_way(counts, retries, failures, seed, rests, limited):
    """Whatever fails, and however fallbacks lead in a ring.

    At most (retries + 1) attempts a name; who may have worked on the call is not asked again, and nobody is asked again
    without a pause; no attempt is made after the call's time; and the figures say what was done.
    """
    names = [each for name, count in zip("abc", counts, strict=True) for each in group(name, count)]
    stage = Stage(names, Rules(rests=rests, retries=retries, fallbacks=RINGS), seed=seed)
    limit_s = 6.0 if limited else None
    started_s = stage.now_s

    played = stage.play(call(controls=Controls(timeout_s=limit_s)), scripted(*failures), lasting_s=0.1)

    asked = played.asked
    assert len(asked) <= (retries + 1) * 3
    assert len(asked) == played.attempts.made == 1 + played.attempts.retries + played.attempts.fallbacks
    for index, (name, failure) in enumerate(zip(asked, failures, strict=False)):
        assert not (failure and is_doubtful(failure) and name in asked[index + 1 :])
    for index, step in enumerate(played.steps):
        assert step.wait_s > 0 or asked[index] not in asked[:index]
    assert limit_s is None or played.begun_s[-1] < started_s + limit_s


@pytest.mark.row("U-24")
@pytest.mark.parametrize(("count", "active", "lasting_s"), [(1, 1, 0.0), (1, 400, 0.001), (3, 400, 0.0), (3, 1, 0.05)])
def test_a_sick_fleet_gets_few_retries(count, active, lasting_s):
    """500 for ever, a thousand calls: at most 1.2 attempts a call, and three."""
    stage = Stage(group("a", count), active=active, before=0)

    made = sum(
        stage.play(call(), lambda _: BackendError(500, "no"), lasting_s=lasting_s).attempts.made for _ in range(1000)
    )

    assert 1190 <= made <= 1.2 * 1000 + 3


@pytest.mark.row("U-24")
def test_a_lonely_caller_of_a_flaky_server_has_all_his_retries():
    """500, 500, 200, time and again: a retry that helped is not counted where few calls are under way."""
    stage = Stage(group("a", 1), active=1, before=0)

    for _ in range(50):
        assert stage.play(call(), scripted(*[BackendError(500, "no")] * 2)).failure is None


def test_many_callers_of_a_flaky_server_have_a_fifth():
    """What helps one of them would be three times the work for a server that fails because it has too much."""
    stage = Stage(group("a", 1), active=1000, before=0)

    made = [stage.play(call(), scripted(*[BackendError(500, "no")] * 2)).attempts.made for _ in range(500)]

    assert sum(made) <= 1.2 * 500 + 3


def test_retries_come_back_with_time():
    """Ten seconds after the last one, a lonely caller gets his three again."""
    stage = Stage(group("a", 1), Rules(rests=False, retries=3), active=1, before=0)

    def made():
        return stage.play(call(), lambda _: BackendError(500, "no")).attempts.made

    assert made() == 4
    assert made() < 3
    stage.now_s += 10.0
    assert made() == 4


def test_a_wait_is_never_longer_than_the_longest_pause():
    """Full jitter: from nothing up to a quarter of a second that doubles."""
    played = Stage(group("a", 1), Rules(rests=False, retries=3)).play(call(), scripted(*[BackendError(500, "no")] * 3))

    assert all(0 <= wait_s <= 0.25 * 2**index for index, wait_s in enumerate(played.waits))
    assert len(set(played.waits)) == 3


def tiers():
    """A first choice, and another one that is asked when that fails."""
    return [deployment("a", id="ill", order=1), deployment("a", id="well", order=2)]


def ill_is_ill(asked):
    """The first choice answers 500, the other one well."""
    return BackendError(500, "no") if asked.id == "ill" else None


def test_a_crowd_goes_on_to_a_server_that_is_known_to_be_well():
    """No budget stands between callers and a healthy server: it gets no more than all the calls."""
    stage = Stage(tiers(), active=50, before=0)
    stage.fleet.state(stage.router.table.deployments[1]).succeeded(waited_s=0.1, stream=False)

    played = [stage.play(call(), ill_is_ill) for _ in range(50)]

    assert [each.failure for each in played] == [None] * 50
    assert sum(each.attempts.made for each in played) == 100


def test_a_crowd_does_not_fall_on_a_server_that_has_just_failed():
    """What is not known to be well may be the next to fall: a fifth of the calls goes on."""
    stage = Stage(tiers(), active=50, before=0)
    other = stage.fleet.state(stage.router.table.deployments[1])
    other.succeeded(waited_s=0.1, stream=False)
    other.failed(BackendError(500, "no"))

    played = [stage.play(call(), ill_is_ill) for _ in range(50)]

    assert sum(each.attempts.made for each in played) <= 1.2 * 50 + 3
