"""All deployments as they are, for one process and for several that share memory."""

import pytest

from proxy_cli.errors import BackendError
from proxy_cli.routing.breaker import TRIAL_S
from proxy_cli.routing.fleet import Operator, Probed
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Usage
from proxy_cli.shared import Shared
from tests.routing.fleets import Hands, deployment, fleet
from tests.test_shared import in_a_child, living_child

LIMITED = BackendError(429, "slow down", retry_after_s=30.0)


@pytest.fixture
def clock():
    return Hands()


@pytest.fixture
def shared():
    return Shared(slots=4, slot_bytes=8192)


def test_a_deployment_has_one_state_whatever_the_configuration(clock):
    """A reload brings another object of the same id: what was known of it stays known, and its new settings hold."""
    these = fleet(clock)
    state = these.state(deployment("a"))
    state.begin()

    renewed = deployment("a", rest_s=44.0)

    assert these.state(renewed) is state
    assert state.in_flight == 1
    state.failed(LIMITED)
    assert state.rests_s(clock()) == 44


def test_each_fleet_has_states_of_its_own(clock):
    """A deployment that is known to two fleets has a state in each."""
    one, two = fleet(clock), fleet(clock)
    this = deployment()

    one.state(this).begin()

    assert two.state(this).in_flight == 0
    assert one.state(this).in_flight == 1


def test_new_rules_hold_for_all_at_once(clock):
    """What a reload says of rests is true for deployments that are known already."""
    these = fleet(clock)
    state = these.state(deployment())

    these.rules = Rules(allowed_fails=0, rest_s=7.0)
    state.failed(BackendError(500, "broken"))

    assert these.rules.rest_s == 7
    assert state.rests_s(clock()) == 7


def test_what_no_table_names_is_forgotten_once_nothing_is_under_way(clock):
    """A deployment that a reload took out keeps its state until its last attempt has ended."""
    these = fleet(clock)
    for name in ("a", "b", "c"):
        these.state(deployment(name))
    busy = these.state(deployment("b"))
    busy.begin()

    these.keep({"a"})
    assert sorted(state.id for state in these.states()) == ["a", "b"]

    busy.end()
    these.keep({"a"})
    assert [state.id for state in these.states()] == ["a"]


def test_an_operator_may_speak_of_what_was_never_asked(clock):
    """A word on a deployment holds from its first request on."""
    these = fleet(clock)

    these.set_operator("a", Operator.DRAINING, clock() + 60)
    these.set_probed("a", Probed.LOADING, "the model is being read")

    assert these.operator("a") == (Operator.DRAINING, clock() + 60)
    assert these.probed("a") == (Probed.LOADING, "the model is being read")
    assert not these.is_plain(deployment("a"), clock())
    assert these.operator("b") == (Operator.ACTIVE, None)


def test_attempts_of_all_living_processes_are_counted(clock, shared):
    """What is under way in another process counts while it lives, and no longer."""
    these = fleet(clock, shared=shared)
    state = these.state(deployment())
    state.begin()

    def work():
        these.enter(1)
        theirs = these.state(deployment())
        assert theirs.in_flight == 0
        assert theirs.all_in_flight() == 1
        for _ in range(3):
            theirs.begin()
        theirs.end()

    with living_child(work):
        assert state.all_in_flight() == 3
    clock.turn(1)

    assert state.all_in_flight() == state.in_flight == 1


def test_requests_and_tokens_of_all_processes_are_counted(clock, shared):
    """The minute's figures are the server's, not a process's, also after the end of one."""
    these = fleet(clock, shared=shared)
    state = these.state(deployment())
    state.begin()

    def work():
        these.enter(1)
        theirs = these.state(deployment())
        theirs.begin()
        theirs.used(Usage(prompt_tokens=5, completion_tokens=2), 1.0)
        theirs.end()

    in_a_child(work)

    assert (state.requests_in_minute(), state.tokens_in_minute()) == (2, 7)


def test_a_rest_is_known_to_all_processes(clock, shared):
    """What one process has found makes the deployment rest in all, for as long, and with one trial after it."""
    these = fleet(clock, shared=shared)
    state = these.state(deployment())
    assert state.rests_s(clock()) == 0

    def work():
        these.enter(1)
        theirs = these.state(deployment())
        theirs.begin()
        assert theirs.failed(LIMITED)
        theirs.end()

    in_a_child(work)

    assert state.rests_s(clock() + 1) == 29
    assert not these.is_plain(deployment(), clock())
    clock.turn(30)
    assert state.rests_s(clock()) == 0
    assert state.begin() > 0
    assert state.rests_s(clock()) == TRIAL_S


def test_another_processs_trial_is_ours_too(clock, shared):
    """While one process tries a deployment after its rest, the others see it rest; its success lets all in."""
    these = fleet(clock, shared=shared)
    state = these.state(deployment())
    state.begin()
    state.failed(LIMITED)
    state.end()
    clock.turn(30)
    assert state.rests_s(clock()) == 0

    def starts_a_trial():
        these.enter(1)
        assert these.state(deployment()).begin() > 0

    def succeeds():
        these.enter(2)
        theirs = these.state(deployment())
        theirs.begin()
        theirs.succeeded(waited_s=1.0, stream=False)
        theirs.end()

    with living_child(starts_a_trial):
        clock.turn(0.25)
        assert state.rests_s(clock()) == TRIAL_S
    clock.turn(0.25)
    assert state.rests_s(clock()) == 0  # the process has died in its trial

    in_a_child(succeeds)
    clock.turn(0.25)
    assert state.rests_s(clock()) == 0
    assert state.begin() == 0  # no trial: it is well


def test_a_wrong_key_is_known_to_all_and_told_by_one(clock, shared, caplog):
    """The process that met the refusal warns; the others know that it is out of service."""
    these = fleet(clock, shared=shared)
    state = these.state(deployment())

    def work():
        these.enter(1)
        these.state(deployment()).failed(BackendError(401, "no"))

    in_a_child(work)

    assert state.rests_s(clock()) == 60
    assert state.out_of_service
    assert caplog.records == []


def test_words_are_heard_in_all_processes_and_the_newest_counts(clock, shared):
    """An operator speaks to whichever process he reaches; a look is made by one for all."""
    these = fleet(clock, shared=shared)
    these.set_operator("a", Operator.DRAINING, None)

    def work():
        these.enter(1)
        assert these.operator("a") == (Operator.DRAINING, None)
        these.set_operator("a", Operator.ACTIVE, None)
        these.set_probed("a", Probed.DOWN, "refused")

    in_a_child(work)
    clock.turn(0.25)  # a new row is found within that time

    assert these.operator("a") == (Operator.ACTIVE, None)
    assert these.probed("a") == (Probed.DOWN, "")


def test_a_process_that_is_started_later_knows_what_was_said_before(clock, shared):
    """Rests and words of processes that have ended hold for those that replace them, also in the same slot."""
    these = fleet(clock, shared=shared)
    these.state(deployment())

    def first():
        these.enter(1)
        these.state(deployment()).failed(LIMITED)
        these.set_operator("b", Operator.DISABLED, None)

    def second():
        these.enter(1)
        assert these.state(deployment()).rests_s(clock()) == 30
        assert these.operator("b") == (Operator.DISABLED, None)

    in_a_child(first)
    in_a_child(second)


def test_a_trial_that_another_process_has_decided_is_over(clock, shared):
    """A trial under way here does not keep the others out after a rest that began since then."""
    these = fleet(clock, shared=shared)
    state = these.state(deployment())
    state.failed(LIMITED)
    clock.turn(30)
    trial = state.begin()

    def finds_that_it_works_and_then_not():
        these.enter(1)
        theirs = these.state(deployment())
        theirs.begin()
        theirs.succeeded(waited_s=1.0, stream=False)
        clock.turn(0.1)
        theirs.failed(LIMITED)

    def finds_no_trial():
        these.enter(2)
        theirs = these.state(deployment())
        assert theirs.rests_s(clock()) == 0
        assert theirs.begin() > 0

    in_a_child(finds_that_it_works_and_then_not)
    clock.turn(0.3)
    assert state.rests_s(clock()) > 29
    clock.turn(30)

    in_a_child(finds_no_trial)
    state.end(trial)


def test_states_may_be_made_while_they_are_gone_through(clock):
    """Whoever reads all of them may ask for more meanwhile."""
    these = fleet(clock)
    these.state(deployment("a"))

    seen = [these.state(deployment(f"{state.id}2")).id for state in these.states()]

    assert seen == ["a2"]
