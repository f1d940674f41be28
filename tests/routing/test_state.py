"""One deployment as it is known: its attempts, its rests, its figures."""

import logging
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy_cli.errors import (
    BackendError,
    BackendFull,
    BackendTimeout,
    BackendUnreachable,
    CallerTimeout,
    InvalidRequest,
)
from proxy_cli.routing.breaker import TRIAL_S
from proxy_cli.routing.fleet import Fleet, Operator, Probed
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Usage
from tests.routing.fleets import Hands, deployment, fleet

CALLERS = (
    BackendError(400, "bad field"),
    BackendError(404, "no such model"),
    BackendError(422, "unreadable"),
    BackendError(400, "this model's maximum context length is 10 tokens"),
    CallerTimeout("1 s has passed"),
    InvalidRequest("not here"),
    BackendFull("no connection is free"),
)
BACKENDS = (BackendError(500, "broken"), BackendUnreachable("refused"), BackendTimeout("no reply within 5 s"))
REFUSED = BackendError(401, "wrong key")
LIMITS = (BackendError(429, "slow", retry_after_s=120.0), BackendError(429, "slow", retry_after_s=0.0))


class Lives(RuleBasedStateMachine):
    """Any course of attempts, ends and waits, beside a plain account of what was promised.

    1. What a caller has caused, and an end that says nothing, changes nothing.
    2. After the rest exactly one attempt is the trial; until it has ended the others see a rest, then the next is one.
    3. It rests after five failures in a row, at once after a 429 or a refused key, and when a trial fails; never longer
       than the cap of its cause.
    4. A success closes it, if an attempt has begun since the rest did.
    """

    def __init__(self):
        super().__init__()
        self.clock = Hands()
        self.state = Fleet(Rules(), clock=self.clock, random=Random(0)).state(deployment())
        self.under_way = []  # the number of each attempt, and its turn
        self.turns = 0
        self.row = 0
        self.until_s = None  # of the rest; None: closed
        self.begun_since = 0
        self.trial = None

    def account(self):
        """How long it should rest now."""
        if self.until_s is None:
            return 0.0
        if self.clock.now_s < self.until_s:
            return self.until_s - self.clock.now_s
        return TRIAL_S if self.trial else 0.0

    def end(self, attempt):
        self.under_way.remove(attempt)
        self.state.end(attempt[0])
        if attempt == self.trial or not self.under_way:
            self.trial = None

    @rule(seconds=st.sampled_from([0.1, 0.9, 3.0, 20.0, 70.0, 400.0, 1000.0]))
    def wait(self, seconds):
        self.clock.turn(seconds)

    @rule()
    def begin(self):
        is_trial = self.until_s is not None and self.account() == 0
        number = self.state.begin()
        assert bool(number) is is_trial
        self.turns += 1
        self.begun_since += 1
        self.under_way.append((number, self.turns))
        if is_trial:
            self.trial = self.under_way[-1]

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def leave(self, data):
        self.end(data.draw(st.sampled_from(self.under_way)))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), failure=st.sampled_from(CALLERS))
    def fail_by_the_caller(self, data, failure):
        before = self.state.told()
        assert not self.state.failed(failure)
        assert self.state.told() == before
        self.end(data.draw(st.sampled_from(self.under_way)))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), failure=st.sampled_from((*BACKENDS, *LIMITS, REFUSED)))
    def fail_by_the_backend(self, data, failure):
        self.row += 1
        is_closed = self.until_s is None
        is_over = not is_closed and self.clock.now_s >= self.until_s and self.begun_since
        must = is_over or (is_closed and (self.row >= 5 or failure in (*LIMITS, REFUSED)))
        rests = self.state.failed(failure)
        assert rests or not must
        if rests:
            if is_closed or is_over or failure is REFUSED:
                self.row = self.begun_since = 0
                self.trial = None
            self.until_s = self.clock.now_s + self.state.rests_s(self.clock.now_s)
            assert self.until_s > self.clock.now_s
        self.end(data.draw(st.sampled_from(self.under_way)))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), stream=st.booleans())
    def succeed(self, data, stream):
        self.state.succeeded(waited_s=0.5, stream=stream)
        self.row = 0
        if self.until_s is not None and self.begun_since:
            self.until_s = self.trial = None
        self.end(data.draw(st.sampled_from(self.under_way)))

    @invariant()
    def rests_as_accounted_and_within_the_cap(self):
        rests_s = self.state.rests_s(self.clock.now_s)
        assert rests_s == pytest.approx(self.account())
        assert rests_s <= (900 if self.state.out_of_service else 300)

    @invariant()
    def counts_what_is_under_way(self):
        assert self.state.in_flight == self.state.all_in_flight() == len(self.under_way)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.fixture
def clock():
    return Hands()


def test_a_cancelled_trial_is_given_back_while_others_are_under_way(clock):
    """A caller who leaves during the trial does not keep the others waiting for attempts that began before."""
    state = fleet(clock).state(deployment())
    state.begin()
    state.failed(BackendError(429, "slow", retry_after_s=2.0))
    clock.turn(2.0)
    trial = state.begin()
    assert state.rests_s(clock()) > 0

    state.end(trial)

    assert state.in_flight == 1
    assert state.rests_s(clock()) == 0


def test_a_trial_ends_with_all_that_is_under_way(clock):
    """Also when its number was not handed back, an end of all is an end of the trial."""
    state = fleet(clock).state(deployment())
    state.begin()
    state.failed(BackendError(429, "slow", retry_after_s=2.0))
    state.end()
    clock.turn(2.0)
    state.begin()

    state.end()

    assert state.begin() > 0


@pytest.mark.row("U-25")
@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_takes_out_of_service_with_one_warning(clock, caplog, status):
    """The first refusal takes it out and says what to look at; the next say nothing, and no word of it shows a key."""
    state = fleet(clock).state(deployment())

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert state.failed(BackendError(status, "Incorrect API key provided: sk-abcdef"))
            clock.turn(state.rests_s(clock()))
            state.end(state.begin())
            state.begin()

    [line] = [record.getMessage() for record in caplog.records]
    assert state.out_of_service
    assert "'g' (http://h, id a)" in line
    assert f"status {status}" in line
    assert "check its api_key" in line
    assert "sk-" not in line + state.last_failure


def test_a_key_that_works_again_ends_it_and_the_next_refusal_warns_anew(clock, caplog):
    """One answer brings it back; a later refusal is another matter."""
    state = fleet(clock).state(deployment())
    with caplog.at_level(logging.WARNING):
        state.failed(BackendError(401, "no"))
        clock.turn(60)
        state.begin()
        state.succeeded(waited_s=0.1, stream=False)
        assert not state.out_of_service
        assert state.rests_s(clock()) == 0

        state.failed(BackendError(401, "no"))

    assert len(caplog.records) == 2


def test_where_rests_are_switched_off_there_are_none(clock, caplog):
    """disable_cooldowns: failures are noted and never lead to a rest; a wrong key is still told, once."""
    state = fleet(clock, rests=False).state(deployment())

    for failure in (*BACKENDS * 10, *LIMITS, BackendError(401, "no"), BackendError(401, "no")):
        assert not state.failed(failure)

    assert state.rests_s(clock()) == 0
    assert state.last_failure.startswith("401")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "out of service" not in caplog.text


def test_switching_rests_off_ends_those_under_way(clock):
    """A reload with disable_cooldowns wakes what rests."""
    these = fleet(clock)
    state = these.state(deployment())
    state.failed(LIMITS[0])
    assert state.rests_s(clock()) == 120

    these.rules = Rules(rests=False)

    assert state.rests_s(clock()) == 0


def test_the_deployments_own_settings_hold(clock):
    """allowed_fails and cooldown_time of the entry decide when and how long it rests."""
    state = fleet(clock, allowed_fails=9).state(deployment(allowed_fails=1, rest_s=33.0))

    assert not state.failed(BACKENDS[0])
    assert state.failed(BACKENDS[0])

    assert state.rests_s(clock()) == 33


def test_a_failure_is_kept_in_a_line(clock):
    """What the backend said last is told in few words, however many it used."""
    state = fleet(clock).state(deployment())

    state.failed(BackendError(503, "x" * 5000, code="loading"))

    assert state.last_failure.startswith("503 loading: xxx")
    assert len(state.last_failure) <= 201


def test_a_status_that_is_the_code_too_is_said_once(clock):
    """Some backends give it as both."""
    state = fleet(clock).state(deployment())

    state.failed(BackendError(500, "out of memory", code="500"))

    assert state.last_failure == "500: out of memory"
    assert state.last_failure_s == clock()


def test_time_limits_make_slow_and_quick_errors_do_not_make_fast(clock):
    """An instant 500 leaves the speed as it was; a timer that ran out makes it worse."""
    state = fleet(clock).state(deployment(timeout_s=30.0))
    state.succeeded(waited_s=2.0, stream=True)

    state.failed(BACKENDS[0])
    assert (state.speed.first_s, state.speed.samples) == (2.0, 1)

    state.failed(BackendTimeout("no reply within 30 s"))
    assert state.speed.first_s > 2.0


def test_tokens_and_requests_are_of_the_last_sixty_seconds(clock):
    """A minute later half of what was counted is still in sight after thirty seconds, and nothing after two minutes."""
    state = fleet(clock).state(deployment())
    for _ in range(10):
        state.begin()
        state.used(Usage(prompt_tokens=30, completion_tokens=10), 2.0)
        state.used(None, 2.0)
        state.end()
    assert (state.requests_in_minute(), state.tokens_in_minute()) == (10, 400)

    clock.turn(90)
    assert (state.requests_in_minute(), state.tokens_in_minute()) == (5, 200)
    state.begin()
    assert (state.requests_in_minute(), state.tokens_in_minute()) == (6, 200)

    clock.turn(120)
    assert (state.requests_in_minute(), state.tokens_in_minute()) == (0, 0)


def test_only_plain_answers_tell_how_long_a_token_takes(clock):
    """A stream, whose time is the reader's too, and an answer without tokens say nothing of it."""
    state = fleet(clock).state(deployment())

    state.used(Usage(completion_tokens=10), 0.0)
    state.used(Usage(prompt_tokens=10), 5.0)
    assert state.speed.token_s == 0

    state.used(Usage(completion_tokens=10), 5.0)
    state.used(Usage(completion_tokens=10), 0.0)
    assert state.speed.token_s == 0.5


def test_what_is_told_names_all_and_is_plain_json(clock):
    """People see how it is, in values that can be written down."""
    state = fleet(clock).state(deployment())
    state.begin()
    state.failed(LIMITS[0])
    state.say_operator(Operator.DRAINING, clock() + 10)
    state.say_probed(Probed.BUSY, "all slots are taken")

    told = state.told()

    assert told["in_flight"] == 1
    assert told["rests_s"] == 120
    assert told["last_failure"].startswith("429")
    assert (told["operator"], told["operator_for_s"]) == ("draining", 10)
    assert (told["probed"], told["probed_why"]) == ("busy", "all slots are taken")
    assert told["requests_in_minute"] == 1


def test_it_is_plain_until_something_is_said_against_it(clock):
    """A rest, an operator's word and a look that finds it down each speak against it; busy does not."""
    state = fleet(clock).state(deployment())
    assert state.is_plain(clock())

    state.say_probed(Probed.BUSY, "")
    assert state.is_plain(clock())
    state.say_probed(Probed.DOWN, "refused")
    assert not state.is_plain(clock())
    state.say_probed(Probed.READY, "")
    state.say_operator(Operator.DISABLED, None)
    assert not state.is_plain(clock())
    state.say_operator(Operator.ACTIVE, None)
    assert state.is_plain(clock())
    state.failed(LIMITS[0])
    assert not state.is_plain(clock())
