from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import BackendError
from proxy_cli.routing.fleet import Fleet
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.strategies import STRATEGIES, Contest, Entrant, ranked
from proxy_cli.shapes import Usage
from tests.routing.calls import asking, call
from tests.routing.test_table import deployment

NAMES = ["simple-shuffle", "power-of-two", *STRATEGIES]


class Scene:
    """Deployments of one name, a fleet that knows them, and a clock to turn."""

    def __init__(self, *found, rules=None, seed=7):
        self.now_s = 1000.0
        self.random = Random(seed)
        self.rules = rules or Rules()
        self.fleet = Fleet(self.rules, clock=lambda: self.now_s, random=Random(1))
        self.found = found

    def state(self, name):
        return self.fleet.state(next(each for each in self.found if each.id == name))

    def busy(self, name, count):
        for _ in range(count):
            self.state(name).begin()

    def answered(self, name, first_s=None, token_s=None, times=1):
        """So fast has it answered, streams or whole answers."""
        for _ in range(times):
            if first_s is not None:
                self.state(name).succeeded(waited_s=first_s, stream=True)
            if token_s is not None:
                self.state(name).succeeded(waited_s=token_s * 100, stream=False)
                self.state(name).used(Usage(completion_tokens=100), token_s * 100)

    def ranked(self, strategy, asked=None, args=None):
        """Ids, best first, and their scores."""
        rules = Rules(strategy=strategy, strategy_args=args or {})
        entrants = [Entrant(each, self.fleet.state(each)) for each in self.found]
        order, scores = ranked(entrants, Contest(asked or call(), rules, self.random))
        return [each.deployment.id for each in order], list(scores)

    def firsts(self, strategy, count=2000, **more):
        """How often each comes first."""
        return Counter(self.ranked(strategy, **more)[0][0] for _ in range(count))


def three(**more):
    return [deployment("a", id=name, **more) for name in ("one", "two", "three")]


STREAM = call(stream=True)


def test_weights_decide_how_often_one_comes_first():
    """A weight of 3 comes first three times as often as a weight of 1."""
    scene = Scene(deployment("a", id="heavy", weight=3.0), deployment("a", id="light", weight=1.0))

    assert 0.70 < scene.firsts("simple-shuffle", 4000)["heavy"] / 4000 < 0.80


def test_a_weight_of_zero_comes_last():
    """A deployment with no weight is asked only when nothing else is left."""
    scene = Scene(deployment("a", id="none", weight=0.0), deployment("a", id="some", weight=0.01))

    assert scene.firsts("simple-shuffle", 200) == {"some": 200}


def test_a_shuffle_leaves_a_strikingly_slow_one_behind():
    """Where nobody asked for another split, ten times as slow gets a small part of an equal share."""
    scene = Scene(*three())
    for name, first_s in (("one", 0.1), ("two", 0.12), ("three", 1.2)):
        scene.answered(name, first_s=first_s)

    assert scene.firsts("simple-shuffle", asked=STREAM)["three"] < 0.08 * 2000


@pytest.mark.parametrize("strategy", ["simple-shuffle", "latency-based-routing"])
def test_the_slowest_still_gets_a_chance_to_show_better(strategy):
    """A server that was a thousand times slower once is asked now and then: else nobody would learn that it is well."""
    scene = Scene(*three())
    for name, first_s in (("one", 0.1), ("two", 0.12), ("three", 100.0)):
        scene.answered(name, first_s=first_s)

    assert 0 < scene.firsts(strategy, asked=STREAM)["three"] < 0.05 * 2000


def test_a_shuffle_keeps_a_split_that_is_written():
    """A canary's share is what its operator says, also while it is slow."""
    scene = Scene(deployment("a", id="old", weight=9.0), deployment("a", id="canary", weight=1.0))
    scene.answered("old", first_s=0.1)
    scene.answered("canary", first_s=2.0)

    assert 0.07 < scene.firsts("simple-shuffle", asked=STREAM)["canary"] / 2000 < 0.13


def test_somewhat_slower_is_equal_for_a_shuffle():
    """Twice as slow is what servers are: the shuffle stays even."""
    scene = Scene(*three())
    for name, first_s in (("one", 0.1), ("two", 0.15), ("three", 0.2)):
        scene.answered(name, first_s=first_s)

    assert min(scene.firsts("simple-shuffle", asked=STREAM).values()) > 0.28 * 2000


def test_streams_and_whole_answers_are_measured_apart():
    """Slow to begin is no matter for whole answers, which are compared by the token."""
    scene = Scene(*three())
    for name, first_s in (("one", 5.0), ("two", 0.1), ("three", 0.1)):
        scene.answered(name, first_s=first_s, token_s=0.01)

    assert scene.firsts("simple-shuffle", asked=call())["one"] > 0.28 * 2000
    assert scene.firsts("simple-shuffle", asked=STREAM)["one"] < 0.08 * 2000


def test_the_least_busy_goes_first():
    """The fewest calls under way."""
    scene = Scene(*three())
    scene.busy("one", 3)
    scene.busy("three", 1)

    assert scene.ranked("least-busy") == (["two", "three", "one"], [0, 1, 3])


def test_the_least_busy_of_equals_is_drawn():
    """Ties are broken at random: nobody is always the first to be hit."""
    scene = Scene(*three())
    scene.busy("one", 1)

    firsts = scene.firsts("least-busy")

    assert firsts["one"] == 0
    assert abs(firsts["two"] - firsts["three"]) < 250


@pytest.mark.parametrize("asked", [STREAM, call()])
def test_the_fastest_goes_first(asked):
    """By the first byte for streams, by the token for whole answers."""
    scene = Scene(*three())
    for name, factor in (("one", 3), ("two", 1), ("three", 2)):
        scene.answered(name, first_s=0.1 * factor, token_s=0.01 * factor)

    firsts = scene.firsts("latency-based-routing", asked=asked)

    assert firsts["two"] > 0.95 * 2000
    assert firsts["one"] > 0


def test_the_fastest_is_not_flooded():
    """What is under way counts: a fast one that has much to do is no faster than the next."""
    scene = Scene(*three())
    for name, first_s in (("one", 0.1), ("two", 0.15), ("three", 1.0)):
        scene.answered(name, first_s=first_s)
    scene.busy("one", 4)

    assert scene.firsts("latency-based-routing", asked=STREAM)["two"] > 0.95 * 2000


def test_a_buffer_makes_near_ones_equal():
    """With lowest_latency_buffer 0.5 all within half more than the best share the calls."""
    scene = Scene(*three())
    for name, first_s in (("one", 0.1), ("two", 0.14), ("three", 0.2)):
        scene.answered(name, first_s=first_s)

    firsts = scene.firsts("latency-based-routing", asked=STREAM, args={"lowest_latency_buffer": 0.5})

    assert firsts["one"] > 800
    assert firsts["two"] > 800
    assert firsts["three"] < 40


def test_an_unknown_one_is_tried_at_once_and_one_call_at_a_time():
    """At the start all get a call to show how fast they are; until it is answered, no second one."""
    scene = Scene(*three())
    scene.answered("one", first_s=0.001)
    scene.answered("two", first_s=0.001)

    assert scene.ranked("latency-based-routing", asked=STREAM)[0][0] == "three"

    scene.busy("three", 1)

    assert scene.firsts("latency-based-routing", asked=STREAM)["three"] < 0.05 * 2000


def test_quick_errors_are_not_taken_for_speed():
    """A server that has only failed, however fast, gets no more than the explorer's calls."""
    scene = Scene(*three())
    scene.answered("one", first_s=2.0)
    scene.answered("two", first_s=2.5)
    scene.state("three").failed(BackendError(500, "broken"))

    assert scene.firsts("latency-based-routing", asked=STREAM)["three"] < 0.05 * 2000


@pytest.mark.parametrize("strategy", ["usage-based-routing", "usage-based-routing-v2"])
def test_the_most_headroom_goes_first(strategy):
    """The smallest used part of rpm or tpm, whichever is nearer its end."""
    scene = Scene(
        deployment("a", id="requests", rpm=10),
        deployment("a", id="tokens", tpm=1000),
        deployment("a", id="both", rpm=100, tpm=100_000),
    )
    for name in ("requests", "tokens", "both"):
        scene.busy(name, 5)
    scene.state("tokens").used(Usage(prompt_tokens=300), 0.0)

    assert scene.ranked(strategy)[0] == ["both", "tokens", "requests"]


def test_a_full_minute_falls_over_to_the_others():
    """A deployment at its limit comes after all that are not, and after the minute it is back."""
    scene = Scene(deployment("a", id="small", rpm=2), deployment("a", id="large", rpm=100))
    scene.busy("large", 90)
    assert scene.ranked("usage-based-routing-v2")[0] == ["small", "large"]

    scene.busy("small", 2)
    assert scene.ranked("usage-based-routing-v2")[0] == ["large", "small"]

    scene.now_s += 180
    assert sorted(scene.ranked("usage-based-routing-v2")[1]) == [0.01, 0.5]


def test_the_tokens_of_this_call_count_for_the_headroom():
    """A long prompt does not go where only a short one has room."""
    scene = Scene(deployment("a", id="small", tpm=1000), deployment("a", id="large", tpm=50_000))
    scene.state("large").used(Usage(prompt_tokens=10_000), 0.0)

    assert scene.ranked("usage-based-routing-v2", asked=call(asking("hi")))[0] == ["small", "large"]
    assert scene.ranked("usage-based-routing-v2", asked=call(asking("word " * 1000)))[0] == ["large", "small"]


def test_without_limits_the_fewest_tokens_go_first():
    """Where nobody wrote a limit, the tokens of the minute are evened out."""
    scene = Scene(*three())
    scene.state("one").used(Usage(prompt_tokens=30), 0.0)
    scene.state("two").used(Usage(prompt_tokens=20), 0.0)

    assert scene.ranked("usage-based-routing-v2")[0] == ["three", "two", "one"]


def test_the_cheapest_goes_first_and_the_unknown_last():
    """A token in and one out, by the prices at hand; free is a price, nothing known is none."""
    scene = Scene(
        deployment("a", id="unknown"),
        deployment("a", id="dear", rates={"input_cost_per_token": 1e-5, "output_cost_per_token": 2e-5}),
        deployment("a", id="cheap", rates={"input_cost_per_token": 2e-5, "output_cost_per_token": 1e-6}),
        deployment("a", id="free", rates={"input_cost_per_token": 0, "output_cost_per_token": 0}),
    )

    order, scores = scene.ranked("cost-based-routing")

    assert order == ["free", "cheap", "dear", "unknown"]
    assert scores == [0, pytest.approx(2.1e-5), pytest.approx(3e-5), float("inf")]


def test_the_cheapest_falls_over_when_its_minute_is_full():
    """What has no room in this minute is no bargain."""
    scene = Scene(
        deployment("a", id="dear", rates={"input_cost_per_token": 1e-5}),
        deployment("a", id="free", rates={"input_cost_per_token": 0}, rpm=1),
    )
    scene.busy("free", 1)

    assert scene.ranked("cost-based-routing")[0] == ["dear", "free"]


def test_a_round_goes_round():
    """Each in turn, whoever was asked longest ago."""
    scene = Scene(*three())
    seen = []
    for _ in range(9):
        scene.now_s += 0.001
        first = scene.ranked("round-robin")[0][0]
        scene.busy(first, 1)
        seen.append(first)

    assert set(seen[:3]) == {"one", "two", "three"}
    assert seen[3:] == seen[:6]


def test_the_better_of_two_goes_first():
    """The load times the pace decides between the two that were drawn, so the worst of three is never first."""
    scene = Scene(*three())
    for name, first_s in (("one", 0.1), ("two", 0.1), ("three", 0.3)):
        scene.answered(name, first_s=first_s)
    scene.busy("one", 5)

    firsts = scene.firsts("power-of-two", asked=STREAM)

    assert firsts["one"] == 0
    assert firsts["two"] > firsts["three"] > 0


@pytest.mark.parametrize("strategy", NAMES)
def test_asking_for_an_order_changes_nothing(strategy):
    """A dry run is no request: the same figures and the same chance give the same order again."""
    first, second = (Scene(*three(rpm=10)) for _ in range(2))
    for _ in range(5):
        second.ranked(strategy)
    second.random = Random(7)

    assert first.ranked(strategy) == second.ranked(strategy)


@given(
    st.sampled_from(NAMES),
    st.lists(
        st.tuples(
            st.floats(0, 10),
            st.integers(0, 5),
            st.none() | st.floats(0.001, 100),
            st.none() | st.integers(1, 10),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
    st.integers(),
)
def test_an_order_is_a_permutation(strategy, drawn, stream, seed):
    """Whatever is known of whom, everybody is in the order once, and the scores say who is better."""
    found = [deployment("a", id=str(index), weight=each[0], rpm=each[3]) for index, each in enumerate(drawn)]
    scene = Scene(*found, seed=seed)
    for index, (_, under_way, pace_s, _, fails) in enumerate(drawn):
        scene.busy(str(index), under_way)
        if pace_s is not None:
            scene.answered(str(index), first_s=pace_s, token_s=pace_s)
        if fails:
            scene.state(str(index)).failed(BackendError(500, "broken"))

    order, scores = scene.ranked(strategy, asked=call(stream=stream))

    assert sorted(order) == sorted(each.id for each in found)
    assert strategy == "power-of-two" or scores == sorted(scores)
