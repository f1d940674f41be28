"""What the rules make of one call, told and not done."""

import msgspec
import pytest

from proxy_cli.errors import BackendError
from proxy_cli.routing.account import KINDS, Limit, Next, chain, has_place, limits
from proxy_cli.routing.kinds import Kind
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Table
from proxy_cli.shapes import Controls, Target, Usage
from tests.routing.calls import asking, call
from tests.routing.fleets import Hands, deployment, fleet
from tests.routing.stage import Stage
from tests.routing.test_table import deployment as named

TABLE = Table([named("a"), named("b"), named("c"), named("long")])
RULES = Rules(
    retries=0,
    rests=False,
    fallbacks={"a": (Target("b"), Target("nobody")), "b": (Target("c"), Target("a"))},
    context_window_fallbacks={"a": (Target("long"),)},
)
FAILURES = {
    Kind.INTERNAL: BackendError(500, "it broke"),
    Kind.CONTEXT_WINDOW: BackendError(400, "too long", code="context_length_exceeded"),
    Kind.CONTENT_POLICY: BackendError(400, "not wanted", code="content_policy_violation"),
}


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_names_told_are_those_that_are_asked(kind):
    """In the same order as a call whose every attempt fails in that way goes through them."""
    asked = []

    def fails(deployment):
        asked.append(deployment.group)
        return FAILURES[kind]

    Stage(TABLE.deployments, RULES).play(call(model="a"), fails)
    told = chain(kind, call(model="a"), "a", TABLE, RULES)

    assert asked == ["a", *(each.model for each in told if not each.why_not)]


def test_a_name_that_would_be_passed_over_is_told_with_the_reason():
    """It is in the list, and nothing behind it is."""
    told = chain(Kind.INTERNAL, call(model="a"), "a", TABLE, RULES)

    assert [each.model for each in told] == ["b", "c", "nobody"]
    assert "no model named 'nobody'" in told[2].why_not


def test_the_fields_that_a_fallback_changes_are_told_by_name():
    """And a caller who wants no fallbacks has none."""
    rules = Rules(fallbacks={"a": (Target("b", {"temperature": msgspec.Raw(b"0")}),)})

    assert chain(Kind.INTERNAL, call(), "a", TABLE, rules) == (Next("b", ("temperature",)),)
    assert chain(Kind.INTERNAL, call(controls=Controls(no_fallbacks=True)), "a", TABLE, rules) == ()


def test_limits_say_what_is_in_use_and_what_is_free():
    """Only those that a deployment has; one that is over its limit has nothing left."""
    hands = Hands()
    states = fleet(hands)
    limited = deployment("a", max_parallel=1, rpm=5, tpm=100)
    state = states.state(limited)
    state.begin()
    state.begin()
    state.used(Usage(prompt_tokens=30, completion_tokens=20), 1.0)

    found = limits(limited, state)

    assert found == (Limit("max_parallel_requests", 1, 2), Limit("rpm", 5, 2), Limit("tpm", 100, 50))
    assert [each.free for each in found] == [0, 3, 50]
    assert limits(deployment("b"), states.state(deployment("b"))) == ()


@pytest.mark.parametrize(
    ("in_use", "waiting", "fits"),
    [((0, 0), 0, True), ((1, 0), 0, True), ((2, 0), 0, False), ((0, 0), 1, False), ((0, 91), 0, False)],
)
def test_a_call_has_a_place_where_it_fits_and_nobody_waits(in_use, waiting, fits):
    """Of tokens it needs as many as its prompt is estimated to have."""
    limited = deployment("a", max_parallel=2, tpm=100)
    found = (Limit("max_parallel_requests", 2, in_use[0]), Limit("tpm", 100, in_use[1]))

    assert has_place(call(asking("x" * 30)), limited, found, waiting) is fits


def test_a_deployment_without_limits_always_has_a_place():
    """And a prompt that is larger than the limit of a minute passes when nothing else was used."""
    limited = deployment("a", tpm=10)

    assert has_place(call(), deployment("b"), (), 5)
    assert has_place(call(asking("x" * 3000)), limited, (Limit("tpm", 10, 0),), 0)
