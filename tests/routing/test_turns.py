import msgspec
import pytest

from proxy_cli.errors import (
    BackendBroken,
    BackendError,
    BackendFull,
    BackendTimeout,
    BackendUnreachable,
    CallerTimeout,
    ConnectTimeout,
    Overloaded,
    RateLimited,
)
from proxy_cli.routing.fleet import Operator
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Alias
from proxy_cli.routing.turns import ALL_REST
from proxy_cli.shapes import Controls, Target
from tests.routing.calls import call
from tests.routing.stage import Stage, group, scripted


def asking(**controls):
    return call(controls=Controls(**controls))


@pytest.mark.row("U-24")
def test_a_backend_that_fails_twice_is_asked_a_third_time():
    """500, 500, 200: the caller sees the answer."""
    played = Stage(group("a", 1)).play(call(), scripted(BackendError(500, "no"), BackendError(500, "no")))

    assert played.failure is None
    assert played.asked == ["a1", "a1", "a1"]
    assert (played.attempts.made, played.attempts.retries) == (3, 2)
    assert len(played.waits) == 2


@pytest.mark.row("U-01")
def test_another_deployment_is_asked_at_once():
    """While the name has another deployment, nobody waits for the one that failed."""
    played = Stage(group("a", 2)).play(call(), scripted(BackendUnreachable("refused")))

    assert sorted(played.asked) == ["a1", "a2"]
    assert not played.waits
    assert not played.attempts.maybe_duplicate


@pytest.mark.row("U-25")
@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_is_wrong_with_a_request_is_said_once(status):
    """Nobody else would take it either."""
    played = Stage(group("a", 3)).play(call(), scripted(BackendError(status, "no")))

    assert len(played.asked) == 1
    assert played.failure.status == status


@pytest.mark.row("U-25")
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_not_tried_twice(status):
    """Another deployment has another key; the same one says the same again."""
    refused = BackendError(status, "no")

    assert Stage(group("a", 1)).play(call(), scripted(refused)).failure is refused
    played = Stage(group("a", 2)).play(call(), scripted(refused))
    assert (len(set(played.asked)), played.failure) == (2, None)


@pytest.mark.parametrize(
    "failure",
    [BackendBroken("broke off"), BackendTimeout("no reply"), BackendError(504, "a server gave up on the model")],
)
def test_what_may_have_reached_a_model_goes_to_another_deployment_only(failure):
    """The model may be at work on it still: the same one is not asked again, and another one is told of."""
    alone = Stage(group("a", 1)).play(call(), scripted(failure))
    assert (alone.asked, alone.failure) == (["a1"], failure)

    played = Stage(group("a", 2)).play(call(), scripted(failure))
    assert (sorted(played.asked), played.failure) == (["a1", "a2"], None)
    assert played.attempts.maybe_duplicate


def test_what_may_be_at_work_is_not_asked_under_another_name_either():
    """A fallback that leads to the same deployment by an alias, or with other fields, is passed over."""
    shorter = Target("a", {"messages": msgspec.Raw(b"[]")})
    stage = Stage(group("a", 1), aliases={"other": Alias("a")})

    played = stage.play(asking(fallbacks=(Target("other"), shorter)), scripted(BackendTimeout("no reply")))

    assert played.asked == ["a1"]
    assert [name for name, _ in played.attempts.errors] == ["a", "other", "a"]


def test_one_that_was_asked_beside_the_first_is_not_asked_again():
    """Both were slow and the first has failed: the third is next."""
    stage = Stage(group("a", 3))
    attempts = stage.router.attempts(call())
    first, second, third = attempts.next().order
    attempts.took(first)
    attempts.took_too(second)

    step = attempts.next(BackendUnreachable("refused"))

    assert step.order == (third,)
    assert (attempts.made, attempts.maybe_duplicate) == (2, True)


def test_the_callers_limit_holds_for_all_attempts_together():
    """What the first attempt and the pause have taken is not there any more for the second."""
    rules = Rules(rests=False, retry_after_s=2.0, fallbacks={"a": (Target("b"),)}, retries=1)
    stage = Stage([*group("a", 1), *group("b", 1)], rules)

    played = stage.play(asking(timeout_s=10.0), scripted(*[BackendError(500, "no")] * 2), lasting_s=3.0)

    assert [step.call.controls.timeout_s for step in played.steps] == [10.0, 5.0, 2.0]
    assert [step.call.received_s for step in played.steps] == played.begun_s


@pytest.mark.parametrize("failure", [BackendUnreachable("refused"), ConnectTimeout("no connection")])
def test_where_nothing_was_sent_the_same_deployment_may_be_asked_again(failure):
    """A connection that was not made has cost nobody anything."""
    played = Stage(group("a", 1)).play(call(), scripted(failure))

    assert (played.asked, played.failure) == (["a1", "a1"], None)
    assert not played.attempts.maybe_duplicate


def test_the_callers_own_limit_ends_it():
    """Who has waited as long as he would is not served any more."""
    played = Stage(group("a", 2)).play(call(), scripted(CallerTimeout("2 s")))

    assert len(played.asked) == 1
    assert played.failure.status == 408


def test_no_attempt_is_made_after_the_callers_time():
    """Whatever failed: once his time is over, there is nobody to answer."""
    played = Stage(group("a", 3)).play(asking(timeout_s=5.0), scripted(BackendError(500, "no")), lasting_s=5.0)

    assert len(played.asked) == 1


def test_a_full_pool_sends_the_call_elsewhere_and_not_back():
    """Who has waited for a connection once does not stand in that line again."""
    full = BackendFull("no connection is free")

    assert Stage(group("a", 1)).play(call(), scripted(full)).failure is full
    assert Stage(group("a", 2)).play(call(), scripted(full)).failure is None


def test_a_call_without_a_place_goes_to_the_fallback():
    """A queue that takes nobody in has been asked for every deployment of the name already."""
    stage = Stage([*group("a", 2), *group("b", 1)], Rules(rests=False, fallbacks={"a": (Target("b"),)}))
    attempts = stage.router.attempts(call())
    attempts.next()

    step = attempts.next(RateLimited("the queue is full", retry_after_s=3))

    assert [each.id for each in step.order] == ["b1"]
    assert (attempts.made, attempts.retries, attempts.fallbacks) == (0, 0, 1)


def test_a_call_without_a_place_is_refused_with_the_wait_where_there_is_no_fallback():
    """The refusal is handed on as it is."""
    attempts = Stage(group("a", 2)).router.attempts(call())
    attempts.next()

    with pytest.raises(RateLimited) as refused:
        attempts.next(RateLimited("the queue is full", retry_after_s=3))

    assert refused.value.retry_after_s == 3


def test_an_upload_that_cannot_be_sent_again_ends_with_the_failure_before():
    """That a part of it is gone is our trouble; why it had to be sent again is the answer."""
    first = BackendError(503, "overloaded")
    gone = BackendBroken("not kept", code="upload_not_kept")
    played = Stage(group("a", 2)).play(call(), scripted(first, gone))

    assert played.failure is first


@pytest.mark.row("U-22")
def test_a_short_wait_that_a_backend_asks_for_is_waited():
    """`Retry-After: 2`, and there is nobody else."""
    played = Stage(group("a", 1)).play(call(), scripted(BackendError(429, "slow down", retry_after_s=2.0)))

    assert played.failure is None
    assert played.waits == [pytest.approx(2.0)]


@pytest.mark.row("U-22")
@pytest.mark.parametrize(("asked_s", "limit_s"), [(120.0, None), (999_999.0, None), (30.0, 10.0)])
def test_a_long_wait_is_handed_to_the_caller(asked_s, limit_s):
    """A wait of more than a minute, or beyond the call's own time, is the caller's to make."""
    slow = BackendError(429, "slow down", retry_after_s=asked_s)
    played = Stage(group("a", 1)).play(asking(timeout_s=limit_s), scripted(slow))

    assert (played.asked, played.failure) == (["a1"], slow)
    assert played.failure.retry_after_s == asked_s


@pytest.mark.row("U-22")
def test_nobody_waits_long_who_has_somewhere_else_to_go():
    """Half a minute would be waited if there were no fallback."""
    rules = Rules(rests=False, fallbacks={"a": (Target("b"),)})
    slow = BackendError(429, "slow down", retry_after_s=30.0)

    played = Stage([*group("a", 1), *group("b", 1)], rules).play(call(), scripted(slow))

    assert (played.asked, played.waits) == (["a1", "b1"], [])


def test_of_deployments_that_ask_for_a_wait_the_one_that_is_free_first_is_asked():
    """Both are limited: the shorter wait counts."""
    waits = {"a1": 20.0, "a2": 1.0}
    limited = set(waits)

    def backends(asked):
        if asked.id in limited:
            limited.remove(asked.id)
            return BackendError(429, "slow down", retry_after_s=waits[asked.id])
        return None

    played = Stage(group("a", 2)).play(call(), backends)

    assert played.asked[2:] == ["a2"]
    assert played.waits == [pytest.approx(1.0)]


def test_the_shortest_pause_that_is_configured_is_kept():
    """`retry_after` is the least that lies between two tries."""
    played = Stage(group("a", 1), Rules(rests=False, retry_after_s=4.0)).play(call(), scripted(BackendError(500, "no")))

    assert played.waits == [4.0]


def test_a_pause_that_does_not_fit_a_deployments_time_is_not_begun():
    """The deployment's own limit is the time of a call that has none."""
    failure = BackendError(500, "no")
    rules = Rules(rests=False, retry_after_s=4.0)

    assert Stage(group("a", 1, timeout_s=3.0), rules).play(call(), scripted(failure)).failure is failure
    assert Stage(group("a", 1, timeout_s=5.0), rules).play(call(), scripted(failure)).failure is None


def test_a_prompt_that_is_too_long_goes_at_once_to_the_name_that_takes_longer_ones():
    """It would be refused again: no retry, and not the other fallbacks."""
    rules = Rules(rests=False, context_window_fallbacks={"a": (Target("long"),)}, fallbacks={"a": (Target("b"),)})
    too_long = BackendError(400, "prompt is too long: 9 tokens > 8 maximum")

    played = Stage([*group("a", 2), *group("b", 1), *group("long", 1)], rules).play(call(), scripted(too_long))

    assert played.asked[1:] == ["long1"]
    assert (played.attempts.retries, played.attempts.fallbacks) == (0, 1)
    assert played.steps[-1].call.model == "long"


def test_refused_content_goes_at_once_to_the_name_for_it():
    """A filter of another model may think otherwise."""
    rules = Rules(rests=False, content_policy_fallbacks={"a": (Target("free"),)}, fallbacks={"a": (Target("b"),)})
    refused = BackendError(400, "no", code="content_filter")

    played = Stage([*group("a", 2), *group("b", 1), *group("free", 1)], rules).play(call(), scripted(refused))

    assert played.asked[1:] == ["free1"]


def test_a_fallback_has_retries_of_its_own_and_fallbacks_of_its_own():
    """a fails, then b, each as often as is allowed, then what stands in for b."""
    rules = Rules(rests=False, retries=1, fallbacks={"a": (Target("b"),), "b": (Target("c"),)})
    stage = Stage([*group("a", 1), *group("b", 1), *group("c", 1)], rules)

    played = stage.play(call(), scripted(*[BackendError(500, "no")] * 4))

    assert played.asked == ["a1", "a1", "b1", "b1", "c1"]
    assert (played.attempts.retries, played.attempts.fallbacks) == (2, 2)
    assert [name for name, _ in played.attempts.errors] == ["a", "b"]


def test_the_caller_hears_what_the_name_he_asked_for_has_said():
    """What went wrong with a stand-in is kept beside it, and so is the shortest wait."""
    rules = Rules(rests=False, retries=0, fallbacks={"a": (Target("b"),)})
    first = BackendError(503, "a is overloaded", retry_after_s=70.0)
    second = BackendError(429, "b is limited", retry_after_s=65.0)

    played = Stage([*group("a", 1), *group("b", 1)], rules).play(call(), scripted(first, second))

    assert played.failure is first
    assert played.failure.retry_after_s == 65.0
    assert played.attempts.errors == (("a", "a is overloaded"), ("b", "b is limited"))


def test_a_fallback_that_does_not_exist_is_passed_over_and_named():
    """The next one is asked; the sentence about the unknown one is kept."""
    fallbacks = (Target("missing"), Target("b"))
    stage = Stage([*group("a", 1), *group("b", 1)], Rules(rests=False, retries=0))

    played = stage.play(asking(fallbacks=fallbacks), scripted(BackendError(500, "no")))

    assert played.asked == ["a1", "b1"]
    assert "missing" in dict(played.attempts.errors)["missing"]


@pytest.mark.row("C-44")
def test_a_fallback_that_does_not_exist_leaves_the_failure_as_it_was():
    """The backend's words are worth more to the caller than that we know no such name."""
    failure = BackendError(500, "no")

    played = Stage(group("a", 1)).play(asking(fallbacks=(Target("missing"),), retries=0), scripted(failure))

    assert played.failure is failure


@pytest.mark.parametrize(
    ("name", "fallback", "status"),
    [
        ("mock_testing_fallbacks", "b", 500),
        ("mock_testing_context_fallbacks", "long", 400),
        ("mock_testing_content_policy_fallbacks", "free", 400),
        ("mock_testing_rate_limit_error", "b", 429),
    ],
)
def test_a_failure_that_a_request_asks_for_leads_to_its_fallback_without_asking_anybody(name, fallback, status):
    """So that one can see what the fallbacks do; without one, the failure comes back."""
    rules = Rules(
        rests=False,
        fallbacks={"a": (Target("b"),)},
        context_window_fallbacks={"a": (Target("long"),)},
        content_policy_fallbacks={"a": (Target("free"),)},
    )
    names = [*group("a", 1), *group("b", 1), *group("long", 1), *group("free", 1)]
    asked = asking(mock_failures=frozenset({name}))

    assert Stage(names, rules).play(asked, scripted()).asked == [f"{fallback}1"]
    alone = Stage(names).play(asked, scripted())
    assert (alone.asked, alone.failure.status) == ([], status)


def test_a_request_may_want_no_fallbacks():
    """`disable_fallbacks` leaves the name its retries."""
    rules = Rules(rests=False, retries=1, fallbacks={"a": (Target("b"),)})
    failures = scripted(*[BackendError(500, "no")] * 2)

    played = Stage([*group("a", 1), *group("b", 1)], rules).play(asking(no_fallbacks=True), failures)

    assert played.asked == ["a1", "a1"]
    assert played.failure is not None


@pytest.mark.row("U-23")
@pytest.mark.parametrize(("status", "told"), [(429, 429), (503, 503), (500, 503)])
def test_where_all_rest_the_refusal_says_for_how_long(status, told):
    """The least bad one was asked and failed too: the caller gets the shortest wait, and why."""
    stage = Stage(group("a", 2), Rules(allowed_fails=0, rest_s=30.0, retries=1))

    failures = [BackendError(status, "enough for now") for _ in range(3)]
    stage.play(call(), scripted(*failures[:2]))
    stage.now_s += 10.0
    played = stage.play(asking(retries=0), scripted(failures[2]))

    assert played.failure.status == told
    assert (played.failure.code, played.failure.kind) == (ALL_REST, ALL_REST)
    assert 0 < played.failure.retry_after_s <= 60.0
    assert "enough for now" in played.failure.message


@pytest.mark.row("U-23")
def test_a_backend_that_is_alone_keeps_its_words_and_gets_the_wait():
    """There is nobody else to speak of."""
    stage = Stage(group("a", 1), Rules(allowed_fails=0, rest_s=30.0, retries=0))
    failure = BackendError(500, "no")

    played = stage.play(call(), scripted(failure))

    assert played.failure is failure
    assert played.failure.retry_after_s == pytest.approx(30.0)


def test_a_refusal_to_choose_leads_to_the_fallback():
    """An operator has taken all deployments of the name out: what stands in for it is asked."""
    stage = Stage([*group("a", 1), *group("b", 1)], Rules(fallbacks={"a": (Target("b"),)}))
    stage.fleet.set_operator("a1", Operator.DISABLED, None)

    assert stage.play(call(), scripted()).asked == ["b1"]
    alone = stage.play(asking(no_fallbacks=True), scripted())
    assert isinstance(alone.failure, Overloaded)


def test_the_call_of_a_fallback_is_sent_with_its_fields():
    """`{model, temperature}` asks another name, and otherwise."""
    stage = Stage([*group("a", 1), *group("b", 1)], Rules(rests=False, retries=0))
    target = Target("b", {"temperature": msgspec.Raw(b"0")})

    played = stage.play(asking(fallbacks=(target,)), scripted(BackendError(500, "no")))

    assert played.steps[-1].call.body == b'{"model": "a","temperature":0}'


def test_what_became_of_calls_is_added_up_by_name():
    """Retries of each name, those that the budget refused, and whether the names that stood in have helped."""
    rules = Rules(rests=False, retries=1, fallbacks={"a": (Target("b"), Target("c"))})
    stage = Stage([*group("a", 1), *group("b", 1), *group("c", 1)], rules)
    no, wrong = BackendError(500, "no"), BackendError(400, "wrong")

    stage.play(call(), scripted(no, no, no, no))
    stage.play(asking(retries=0), scripted(no, wrong))

    tally = stage.router.tally
    assert tally.retries == {"a": 1, "b": 1}
    assert tally.good_fallbacks == {("a", "c"): 2}
    assert tally.failed_fallbacks == {("a", "b"): 2}
    assert tally.refused_retries == {}


def test_retries_that_are_too_many_are_added_up():
    """An operator sees that a fleet is so ill that retries are left out."""
    stage = Stage(group("a", 1), Rules(rests=False), active=0, before=0)

    for _ in range(4):
        stage.play(call(), scripted(*[BackendError(500, "no")] * 9))

    tally = stage.router.tally
    assert (tally.retries["a"], tally.refused_retries["a"]) == (3, 3)
