import pytest

from proxy_cli.errors import UnknownModel
from proxy_cli.routing.table import Alias
from tests.routing.calls import call
from tests.routing.stage import Stage, group, scripted


def test_a_name_gets_the_attempts_of_its_deployments():
    """The first of them says who may be asked, and sends the call as it came."""
    stage = Stage([*group("a", 2), *group("b", 1)])
    asked = call()

    step = stage.router.attempts(asked).next()

    assert {each.id for each in step.order} == {"a1", "a2"}
    assert (step.call is asked, step.wait_s) == (True, 0.0)


def test_an_alias_gets_the_attempts_of_its_target_under_its_own_name():
    """The caller's name stays the caller's."""
    stage = Stage(group("b", 1), aliases={"a": Alias("b")})

    played = stage.play(call(), scripted())

    assert (played.asked, played.steps[0].call.model) == (["b1"], "a")


def test_an_unknown_name_has_none():
    """It is said at once, with the near names."""
    with pytest.raises(UnknownModel, match="did you mean 'b'"):
        Stage(group("b", 1)).router.attempts(call(model="B"))


def test_every_call_pays_into_the_budget_for_retries():
    """A fifth of a retry for each call that is begun."""
    stage = Stage(group("a", 1), before=0)

    for _ in range(5):
        stage.router.attempts(call())

    assert [stage.router.budget.take(1000, stage.now_s) for _ in range(5)] == [True] * 4 + [False]
