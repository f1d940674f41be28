from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import BackendError, InvalidRequest, Overloaded, Unauthenticated
from proxy_cli.routing.choice import choose
from proxy_cli.routing.fleet import Fleet, Operator, Probed
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.strategies import STRATEGIES
from proxy_cli.shapes import Controls
from tests.routing.calls import asking, call
from tests.routing.test_table import deployment

STRATEGY_NAMES = ["simple-shuffle", "power-of-two", *STRATEGIES]
LIMITED = BackendError(429, "slow down", retry_after_s=20.0)


class Scene:
    """Deployments of one name, a fleet that knows them, and a clock to turn."""

    def __init__(self, *found, rules=None, seed=7):
        self.now_s = 1000.0
        self.random = Random(seed)
        self.rules = rules or Rules()
        self.fleet = Fleet(self.rules, clock=lambda: self.now_s, random=Random(1))
        self.found = found

    def choose(self, asked=None, tried=()):
        return choose(
            asked or call(), self.found, self.fleet, self.rules, random=self.random, now_s=self.now_s, tried=tried
        )

    def order(self, asked=None, tried=()):
        return [each.id for each in self.choose(asked, tried).order]

    def why(self, asked=None):
        """Why not, by id, of all that are not in the order."""
        return {each.deployment.id: each.why for each in self.choose(asked).candidates if not each.kept}

    def rest(self, name, for_s=20.0):
        self.ask(name, BackendError(429, "slow down", retry_after_s=for_s))

    def ask(self, name, failure=None):
        """One attempt, from its begin to its end."""
        state = self.fleet.state(next(each for each in self.found if each.id == name))
        trial = state.begin()
        if failure is None:
            state.succeeded(waited_s=0.1, stream=True)
        else:
            state.failed(failure)
        state.end(trial)


def pair(**more):
    return deployment("a", id="one", **more), deployment("a", id="two", **more)


def test_one_deployment_is_the_choice():
    """Where there is one and nothing is said against it, it is asked."""
    choice = Scene(deployment("a", id="only")).choose()

    assert [each.id for each in choice.order] == ["only"]
    assert choice.soonest_s is None
    assert [(each.deployment.id, each.kept, each.why) for each in choice.candidates] == [("only", True, "")]


def test_the_choice_of_one_is_made_once():
    """The usual request costs no more than a look at its deployment."""
    scene = Scene(deployment("a", id="only"))

    assert scene.choose() is scene.choose()


def test_one_deployment_that_rests_is_asked_all_the_same():
    """Nothing else could answer; how long it still rests is told, for the refusal."""
    scene = Scene(deployment("a", id="only"))
    scene.rest("only", 20.0)

    choice = scene.choose()

    assert [each.id for each in choice.order] == ["only"]
    assert choice.soonest_s == pytest.approx(20.0)


def test_those_that_rest_are_left_out():
    """While others work, nobody is sent to one that rests, and it is said how long it does."""
    scene = Scene(*pair())
    scene.rest("one", 20.0)

    assert scene.order() == ["two"]
    assert scene.why() == {"one": "it rests for 20.0 s more after 429 backend_error: slow down"}

    scene.now_s += 21

    assert set(scene.order()) == {"one", "two"}


@pytest.mark.row("U-23")
def test_where_all_rest_the_one_that_is_soonest_back_is_asked_alone():
    """The least bad one is better than no answer; the shortest wait is told for the refusal."""
    scene = Scene(*pair())
    scene.rest("one", 60.0)
    scene.rest("two", 10.0)

    choice = scene.choose()

    assert [each.id for each in choice.order] == ["two"]
    assert choice.soonest_s == pytest.approx(10.0)
    assert scene.why() == {"one": "it rests for 60.0 s more after 429 backend_error: slow down"}


def test_where_all_rest_the_one_that_was_not_tried_is_asked():
    """The same call is not sent to the same resting deployment twice while there is another."""
    scene = Scene(*pair())
    scene.rest("one", 60.0)
    scene.rest("two", 10.0)

    assert scene.order(tried={"two"}) == ["one"]


def test_one_that_was_found_to_be_down_is_left_out():
    """A probe's word saves a call the time to find out."""
    scene = Scene(*pair())
    scene.fleet.set_probed("one", Probed.DOWN, "refused")

    assert scene.order() == ["two"]
    assert scene.why() == {"one": "a probe has found it down: refused"}


def test_one_that_was_found_to_be_down_is_asked_when_nothing_else_is_left():
    """A probe may be wrong; a refusal that nobody has tried for is worse."""
    scene = Scene(*pair())
    scene.fleet.set_probed("one", Probed.DOWN, "refused")
    scene.rest("two", 300.0)

    choice = scene.choose()

    assert [each.id for each in choice.order] == ["two"]

    scene.fleet.set_probed("two", Probed.DRAINING, "shutting down")
    assert scene.order() == ["one"]
    assert scene.choose().soonest_s == pytest.approx(10.0)


@pytest.mark.parametrize("probed", [Probed.LOADING, Probed.BUSY])
def test_one_that_loads_or_is_busy_comes_last(probed):
    """It can be asked, but whoever is ready goes first, whatever the order says."""
    scene = Scene(deployment("a", id="one", order=1), deployment("a", id="two", order=2))
    scene.fleet.set_probed("one", probed, "")

    assert scene.order() == ["two", "one"]


@pytest.mark.parametrize("word", [Operator.DRAINING, Operator.DISABLED])
def test_what_an_operator_takes_out_is_never_asked(word):
    """Not even when all others rest."""
    scene = Scene(*pair())
    scene.fleet.set_operator("one", word, None)
    scene.rest("two")

    assert scene.order() == ["two"]
    assert scene.why() == {"one": f"an operator has set it to {word}"}


def test_where_operators_have_taken_out_all_the_refusal_says_how_long():
    """503 with the time until the first comes back by itself."""
    scene = Scene(*pair())
    scene.fleet.set_operator("one", Operator.DISABLED, None)
    scene.fleet.set_operator("two", Operator.DRAINING, scene.now_s + 30)

    with pytest.raises(Overloaded, match="an operator has taken every deployment of 'a'") as caught:
        scene.choose()

    assert caught.value.retry_after_s == pytest.approx(30.0)

    scene.now_s += 31
    assert scene.order() == ["two"]


def test_a_lone_deployment_that_an_operator_took_out_is_refused():
    """The short way for one deployment hears the operator too."""
    scene = Scene(deployment("a", id="only"))
    scene.fleet.set_operator("only", Operator.DISABLED, None)

    with pytest.raises(Overloaded):
        scene.choose()


def test_lower_orders_go_first():
    """Tier by tier, those without an order after all that have one; in a tier by chance."""
    scene = Scene(
        deployment("a", id="none"),
        deployment("a", id="second", order=2),
        deployment("a", id="first", order=1),
        deployment("a", id="also first", order=1),
    )

    orders = {tuple(scene.order()) for _ in range(50)}

    assert orders == {("first", "also first", "second", "none"), ("also first", "first", "second", "none")}


def test_the_next_tier_serves_while_the_first_rests():
    """A tier that rests as a whole is no reason to fail."""
    scene = Scene(deployment("a", id="first", order=1), deployment("a", id="second", order=2))
    scene.rest("first")

    assert scene.order() == ["second"]


def test_what_was_tried_comes_last():
    """Another try goes to another deployment first, also of a later tier."""
    scene = Scene(deployment("a", id="first", order=1), deployment("a", id="second", order=2))

    assert scene.order(tried={"first"}) == ["second", "first"]


def test_tags_leave_only_those_that_match():
    """With tag filtering on, the others are no candidates, and it is said why."""
    scene = Scene(
        deployment("a", id="free", tags=("free",)),
        deployment("a", id="paid", tags=("paid",)),
        rules=Rules(by_tags=True),
    )
    asked = call(controls=Controls(tags=("free",)))

    assert scene.order(asked) == ["free"]
    assert scene.why(asked) == {"paid": "its tags are not those that the request asks for"}


def test_tags_are_nothing_where_filtering_is_off():
    """Without enable_tag_filtering a tag is for bookkeeping."""
    scene = Scene(*pair(tags=("free",)))

    assert len(scene.order(call(controls=Controls(tags=("gold",))))) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_tags_that_nobody_has_are_refused_whether_they_rest_or_not(count):
    """What a request may use does not depend on what happens to be up."""
    scene = Scene(*pair(tags=("free",))[:count], rules=Rules(by_tags=True))
    scene.rest("one")

    with pytest.raises(Unauthenticated):
        scene.choose(call(controls=Controls(tags=("gold",))))


def test_tags_are_heard_also_while_their_deployment_rests():
    """The one deployment a request may use is asked when it rests, and no other instead of it."""
    scene = Scene(
        deployment("a", id="free", tags=("free",)),
        deployment("a", id="paid", tags=("paid",)),
        rules=Rules(by_tags=True),
    )
    scene.rest("free")

    assert scene.order(call(controls=Controls(tags=("free",)))) == ["free"]


def test_a_prompt_too_long_for_all_is_refused_only_with_checks():
    """enable_pre_call_checks is what turns the check on."""
    asked = call(asking("word " * 2000))

    with pytest.raises(InvalidRequest, match="takes at most 1000"):
        Scene(deployment("a", window=1000), rules=Rules(checks_calls=True)).choose(asked)

    assert len(Scene(deployment("a", window=1000)).order(asked)) == 1


def test_a_long_prompt_waits_for_the_one_window_that_is_large_enough():
    """While the only deployment that could take it rests, it is asked all the same: the others cannot."""
    scene = Scene(
        deployment("a", id="small", window=1000),
        deployment("a", id="large", window=9000),
        rules=Rules(checks_calls=True),
    )
    scene.rest("large")

    assert scene.order(call(asking("word " * 2000))) == ["large"]


def test_the_candidates_tell_the_scores():
    """A dry run shows what the strategy thought of each."""
    scene = Scene(*pair(), rules=Rules(strategy="least-busy"))
    scene.fleet.state(scene.found[0]).begin()

    assert [(each.deployment.id, each.score) for each in scene.choose().candidates] == [("two", 0), ("one", 1)]


def test_one_that_has_rested_comes_back_slowly():
    """After a rest a deployment gets more and more of its share for ten seconds, and then all of it."""
    scene = Scene(*pair())
    scene.rest("one", 5.0)
    scene.now_s += 6
    scene.ask("one")

    shares = []
    for _ in range(4):
        shares.append(sum(scene.order()[0] == "one" for _ in range(1000)) / 1000)
        scene.now_s += 4

    assert shares[0] < 0.1
    assert 0.1 < shares[1] < 0.3
    assert 0.3 < shares[2] < 0.5
    assert 0.45 < shares[3] < 0.55


def test_one_that_has_rested_does_not_get_all_because_it_has_nothing_to_do():
    """Where the best is taken, it would be the best whenever it may be: its share is a part of a fair one."""
    found = [deployment("a", id=name) for name in ("one", "two", "three", "four")]
    scene = Scene(*found, rules=Rules(strategy="least-busy"))
    scene.rest("one", 5.0)
    scene.now_s += 6
    scene.ask("one")
    for each in found[1:]:
        scene.fleet.state(each).begin()

    scene.now_s += 5  # half of the slow start: half of a quarter
    share = sum(scene.order()[0] == "one" for _ in range(2000)) / 2000
    scene.now_s += 10

    assert 0.09 < share < 0.16
    assert {scene.order()[0] for _ in range(50)} == {"one"}


def test_one_that_has_rested_alone_in_its_tier_is_asked_at_once():
    """The slow start is among equals: it sends nobody to a later tier."""
    scene = Scene(deployment("a", id="first", order=1), deployment("a", id="second", order=2))
    scene.rest("first", 5.0)
    scene.now_s += 6
    scene.ask("first")

    assert {scene.order()[0] for _ in range(100)} == {"first"}


SAID = st.tuples(
    st.none() | st.floats(1, 300),  # rests
    st.sampled_from(Operator),
    st.sampled_from(Probed),
    st.none() | st.integers(1, 3),  # order
    st.booleans(),  # tried
    st.sampled_from([(), ("x",), ("y",), ("x", "y")]),  # tags
)


@given(
    st.lists(SAID, min_size=1, max_size=6),
    st.sampled_from(STRATEGY_NAMES),
    st.sampled_from([(), ("x",), ("!x",), ("&y",)]),
    st.booleans(),
    st.integers(),
)
def test_whatever_is_said_of_them_the_choice_keeps_its_promises(drawn, strategy, tags, by_tags, seed):
    """Nobody comes twice; all are accounted for; no operator's or tag's word is passed over; who works goes alone
    before who rests; and where all rest there is one, with the shortest wait.
    """
    found = [
        deployment("a", id=str(index), order=said[3], tags=said[5], weight=float(index % 3))
        for index, said in enumerate(drawn)
    ]
    scene = Scene(*found, rules=Rules(strategy=strategy, by_tags=by_tags), seed=seed)
    rests = {str(index): said[0] for index, said in enumerate(drawn) if said[0] is not None}
    for index, said in enumerate(drawn):
        scene.fleet.set_operator(str(index), said[1], None)
        scene.fleet.set_probed(str(index), said[2], "")
    for name, for_s in rests.items():
        scene.rest(name, for_s)
    tried = {str(index) for index, said in enumerate(drawn) if said[4]}
    allowed = {
        str(index)
        for index, said in enumerate(drawn)
        if said[1] is Operator.ACTIVE and not (by_tags and "!x" in tags and "x" in said[5])
    }
    try:
        choice = scene.choose(call(controls=Controls(tags=tags)), tried)
    except Overloaded:
        assert not allowed or by_tags
        return
    except Unauthenticated:
        assert by_tags
        return

    order = [each.id for each in choice.order]
    well = {name for name in allowed if name not in rests and drawn[int(name)][2] not in (Probed.DOWN, Probed.DRAINING)}
    assert len(order) == len(set(order)) > 0
    assert set(order) <= allowed
    assert sorted(each.deployment.id for each in choice.candidates) == [each.id for each in found]
    assert all(each.kept == (each.deployment.id in order) and each.kept != bool(each.why) for each in choice.candidates)
    if choice.soonest_s is None:
        assert set(order) <= well
        assert [name in tried for name in order] == sorted(name in tried for name in order)
        assert by_tags or set(order) == well
    else:
        assert len(order) == 1
        assert by_tags or not well
        if not by_tags:
            assert choice.soonest_s == pytest.approx(min(rests.get(name, 10.0) for name in allowed))


class Servers:
    """Eight servers in virtual time: one ten times slower, one that answers 429 at once, six as they should be."""

    def __init__(self, strategy, *, seed=3):
        self.scene = Scene(*(deployment("a", id=str(number)) for number in range(8)), rules=Rules(strategy=strategy))
        self.scene.random = Random(seed)
        self.chance = Random(seed)
        self.under_way = []  # (moment of the end, id, trial, waited)
        self.picked = {str(number): 0 for number in range(8)}

    def run(self, picks, *, callers=200, stream=True):
        """Each of so many callers asks again as soon as it has an answer, and elsewhere after a 429."""
        scene = self.scene
        asked = call(stream=stream)
        for _ in range(picks):
            if len(self.under_way) >= callers:
                self._end_one()
            first = scene.choose(asked).order[0]
            self.picked[first.id] += 1
            trial = scene.fleet.state(first).begin()
            if first.id == "7":
                scene.fleet.state(first).failed(BackendError(429, "slow down"))
                scene.fleet.state(first).end(trial)
                continue
            waited_s = self.chance.uniform(0.5, 1.5) * (10.0 if first.id == "6" else 1.0)
            self.under_way.append((scene.now_s + waited_s, first, trial, waited_s))

    def _end_one(self):
        ended = min(self.under_way, key=lambda each: each[0])
        self.under_way.remove(ended)
        moment_s, deployment, trial, waited_s = ended
        self.scene.now_s = max(self.scene.now_s, moment_s)
        state = self.scene.fleet.state(deployment)
        state.succeeded(waited_s=waited_s, stream=True)
        state.end(trial)


@pytest.mark.row("U-30")
@pytest.mark.parametrize("strategy", ["simple-shuffle", "least-busy", "latency-based-routing", "power-of-two"])
def test_bad_servers_get_little_of_the_traffic(strategy):
    """A server ten times slower, and one that answers 429 at once, each get less than 5 % of 10,000 calls."""
    servers = Servers(strategy)

    servers.run(10_000)

    assert servers.picked["6"] < 500, servers.picked
    assert servers.picked["7"] < 500, servers.picked
    assert servers.picked["6"] + servers.picked["7"] < 500, servers.picked
    assert min(servers.picked[str(number)] for number in range(6)) > 1000, servers.picked


def test_a_region_is_heeded_whatever_the_rules_check():
    """A prompt that may not leave it is sent nowhere else, also where there is one deployment only."""
    eu, us = deployment("a", id="eu", region="eu"), deployment("a", id="us", region="us")
    inside = call(asking("hi"), controls=Controls(region="eu"))

    assert Scene(eu, us).order(inside) == ["eu"]
    assert Scene(eu, us).why(inside) == {"us": "it is in another region"}
    with pytest.raises(InvalidRequest, match="in the region 'eu'"):
        Scene(us).choose(inside)
