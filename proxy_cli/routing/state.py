"""What is known of one deployment: what it has under way, how it answers, whether it rests, what was said of it.

What is under way and the figures of the minute are each process's own, and added up when they are asked for. That it
rests or works again is said by the process that has found it and heard by all, and the newest word counts. The reads
are cheap, because a request makes several.
"""

import logging
import math
from random import Random
from typing import Any, Final

from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError
from proxy_cli.routing.breaker import TRIAL_S, Breaker, Cause, judged
from proxy_cli.routing.figures import (
    IN_FLIGHT,
    REQUESTS,
    REST_CAUSE,
    REST_SAID,
    REST_STEP,
    REST_UNTIL,
    TOKENS,
    TRIAL,
    Cells,
    Figures,
    Row,
)
from proxy_cli.routing.kinds import Kind, kind_of
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.speed import Speed
from proxy_cli.routing.words import Operator, Probed, Words
from proxy_cli.shapes import Deployment, Usage

_LOG: Final = logging.getLogger(__name__)
_USUAL_LIMIT_S: Final = 60.0  # of an attempt whose deployment sets none
_LATELY_S: Final = 60.0
_MOST_WORDS: Final = 200  # characters of a failure that are kept


class Common:
    """What the states of a fleet share."""

    __slots__ = ("clock", "figures", "random", "rules")

    def __init__(self, rules: Rules, *, clock: Clock, random: Random, figures: Figures) -> None:
        self.rules = rules
        self.clock = clock
        self.random = random
        self.figures = figures


class State:
    """One deployment. Made by its `Fleet`, and the same for as long as the process knows the deployment."""

    __slots__ = (
        "_breaker",
        "_is_shared",
        "_rest_said_s",
        "_row",
        "_warned",
        "_words",
        "begun_s",
        "common",
        "deployment",
        "failures",
        "good_s",
        "id",
        "in_flight",
        "last_failure",
        "last_failure_s",
        "speed",
    )

    def __init__(self, name: str, common: Common) -> None:
        self.id = name
        self.deployment: Deployment | None = None  # while only its name is known, from an operator
        self.common = common
        self.speed = Speed()
        self.in_flight = 0  # of this process
        self.begun_s = 0.0  # when this process last asked it
        self.good_s = -math.inf  # when it last answered this process
        self.last_failure = ""  # the last that counted, as "503 overloaded: ..."
        self.last_failure_s = 0.0
        self.failures: dict[int, int] = {}  # those that counted, by status, as this process has met them
        self._breaker = Breaker()
        self._words = Words()
        self._rest_said_s = 0.0
        self._warned = False  # that it does not take our key
        self._is_shared = common.figures.is_shared
        self._row = Row(name, common.figures)
        self._hear(self._row.cells, self._row.at)

    def settle(self) -> None:
        """Be the state of another process than before: nothing is under way yet."""
        self.in_flight = 0
        self._breaker.ended(self._breaker.trial)
        self._row.settle()
        # What a former owner of the row has said still holds.
        self._hear(self._row.cells, self._row.at)

    def begin(self) -> int:
        """An attempt starts. The number to hand to `end`: not 0 when it is the one trial after a rest."""
        now_s = self.common.clock()
        row = self._row
        self.begun_s = now_s
        self.in_flight += 1
        if now_s >= row.turns_s:
            row.turn(now_s)
        cells, at = row.cells, row.at
        cells[at] = self.in_flight
        cells[at + REQUESTS] += 1
        if not self._breaker.until_s:
            return 0
        trial = self._breaker.begin(now_s)
        if trial:
            row.cells[row.at + TRIAL] = 1.0
        return trial

    def succeeded(self, *, waited_s: float, stream: bool, usage: Usage | None = None) -> None:
        """It answered, after a wait: a stream's first bytes came, or the whole of a plain answer, with its usage."""
        now_s = self.good_s = self.common.clock()
        if stream:
            self.speed.began(waited_s)
        else:
            self.speed.answered(waited_s, usage.completion_tokens if usage else 0)
            if usage is not None:
                self._row.count(TOKENS, usage.prompt_tokens + usage.completion_tokens, now_s)
        if self._breaker.succeeded(now_s):
            self._warned = False
            self._say_rest(now_s)

    def failed(self, failure: GatewayError) -> bool:
        """It failed; counted if that is the backend's fault. True when it rests, or rests longer, because of it."""
        rules, breaker = self.common.rules, self._breaker
        fault = judged(failure, self.deployment, rules)
        if fault is None:
            return False
        now_s = self.common.clock()
        was_refused, before_s = self.out_of_service, breaker.until_s
        self._note(failure, fault.cause, now_s)
        rests = rules.rests and breaker.failed(now_s, fault, self.common.random.random())
        if breaker.until_s != before_s:
            self._say_rest(now_s)
        if fault.cause is Cause.REFUSED and not (was_refused or self._warned):
            self._warned = True
            _LOG.warning("%s", self._warning(failure, now_s))
        return rests

    def used(self, usage: Usage | None, lasted_s: float) -> None:
        """What an answer came to; `lasted_s` is the time of a whole plain answer, 0 for a stream."""
        if usage is None:
            return
        written = usage.completion_tokens
        if written > 0 and lasted_s > 0:
            self.speed.wrote(written, lasted_s)
        self._row.count(TOKENS, usage.prompt_tokens + written, self.common.clock())

    def end(self, trial: int = 0) -> None:
        """The attempt is over, however; `trial` is what its `begin` has given."""
        self.in_flight -= 1
        row, breaker = self._row, self._breaker
        row.cells[row.at] = self.in_flight
        if breaker.trial:
            # Where nothing is under way the trial is not either, whoever has forgotten to say so.
            breaker.ended(trial if self.in_flight else breaker.trial)
            row.cells[row.at + TRIAL] = 1.0 if breaker.trial else 0.0

    def all_in_flight(self) -> int:
        """Attempts under way in all living processes."""
        return self.in_flight + int(self._row.of_others(IN_FLIGHT)) if self._is_shared else self.in_flight

    def rests_s(self, now_s: float) -> float:
        """How long it still rests; 0 when it may be asked. While a trial is under way, it rests for all others."""
        if self._is_shared:
            self._listen(now_s)
        breaker = self._breaker
        if not breaker.until_s or not self.common.rules.rests:
            return 0.0
        rests_s = breaker.rests_s(now_s)
        if rests_s or not self._row.of_others(TRIAL):
            return rests_s
        return TRIAL_S

    @property
    def out_of_service(self) -> bool:
        """Whether it rests because it does not take our key."""
        return self._breaker.cause is Cause.REFUSED

    @property
    def is_on_probation(self) -> bool:
        """Whether it was made to rest, and has not shown since that it is well."""
        return self._breaker.until_s > 0.0

    @property
    def why_it_rests(self) -> str:
        """What made it rest, in few words; empty where only another process knows."""
        # A later failure of another kind does not end that, and is not what its operator has to know.
        return "a refusal of our key (401, 402 or 403)" if self.out_of_service else self.last_failure

    @property
    def rested(self) -> int:
        """How often this process has made it rest."""
        return self._breaker.rested

    @property
    def closed_s(self) -> float:
        """When it came back from its last rest; long ago where it has not rested."""
        return self._breaker.closed_s

    def trust(self, now_s: float) -> float:
        """The part of its share that it should get after its latest falls, while others are there."""
        return self._breaker.trust(now_s)

    def requests_in_minute(self) -> float:
        """Attempts of the last sixty seconds, of all processes."""
        return self._row.in_minute(REQUESTS)

    def tokens_in_minute(self) -> float:
        """Tokens of the last sixty seconds as the backends have counted them, of all processes."""
        return self._row.in_minute(TOKENS)

    def has_turn_s(self, requests: int) -> float:
        """The moment before which there were certainly more requests than these in a minute, in all processes."""
        return self._row.below_s(REQUESTS, requests + 1.0)

    def has_tokens_s(self, tokens: int) -> float:
        """Likewise for tokens."""
        return self._row.below_s(TOKENS, tokens + 1.0)

    @property
    def is_quiet(self) -> bool:
        """Whether it is seen without a look at a clock or at other processes that nothing is said against it."""
        return not (self._is_shared or self._breaker.until_s) and self._words.are_none

    def is_plain(self, now_s: float) -> bool:
        """Whether nothing is said against asking it: it does not rest, nobody has it out, no look found it down."""
        if (self._is_shared or self._breaker.until_s) and self.rests_s(now_s):
            return False
        return self._words.are_none or self._words.allow(now_s)

    def is_proven(self, now_s: float) -> bool:
        """Whether it is known to be well: it has answered lately, or a look found so, and it has not failed since."""
        if self.last_failure and now_s - self.last_failure_s < _LATELY_S:
            return False
        return self.is_plain(now_s) and (now_s - self.good_s < _LATELY_S or self._words.probed is Probed.READY)

    def operator(self) -> tuple[Operator, float | None]:
        """What an operator wants of it, and until when; None: until he says otherwise."""
        now_s = self.common.clock()
        self._listen(now_s)
        return self._words.operator(now_s)

    def probed(self) -> tuple[Probed, str]:
        """What the latest look from outside has found, and why."""
        self._listen(self.common.clock())
        return self._words.probed, self._words.why

    def say_operator(self, word: Operator, until_s: float | None) -> None:
        """Tell all processes what an operator wants."""
        self._listen(self.common.clock())
        self._words.say_operator(word, until_s, self._row)

    def say_probed(self, word: Probed, why: str) -> None:
        """Tell all processes what a look has found."""
        self._listen(self.common.clock())
        self._words.say_probed(word, why, self._row)

    def told(self) -> dict[str, Any]:
        """All of it, for people to read; no secret is in it."""
        now_s, speed = self.common.clock(), self.speed
        (operator, until_s), (probed, why) = self.operator(), self.probed()
        return {
            "id": self.id,
            "in_flight": self.all_in_flight(),
            "rests_s": round(self.rests_s(now_s), 3),
            "out_of_service": self.out_of_service,
            "rested": self.rested,
            "last_failure": self.last_failure,
            "last_failure_ago_s": round(now_s - self.last_failure_s, 3) if self.last_failure else None,
            "first_s": round(speed.first_s, 6),
            "p95_s": round(speed.p95_s, 6),
            "token_s": round(speed.token_s, 6),
            "samples": speed.samples,
            "requests_in_minute": round(self.requests_in_minute(), 1),
            "tokens_in_minute": round(self.tokens_in_minute(), 1),
            "operator": operator.value,
            "operator_for_s": None if until_s is None else round(until_s - now_s, 3),
            "probed": probed.value,
            "probed_why": why,
        }

    def _note(self, failure: GatewayError, cause: Cause, now_s: float) -> None:
        self.last_failure = _told(failure, with_words=cause is not Cause.REFUSED)
        self.last_failure_s = now_s
        self.failures[failure.status] = self.failures.get(failure.status, 0) + 1
        if kind_of(failure) is Kind.TIMEOUT:
            deployment = self.deployment
            limit_s = (deployment.stream_timeout_s or deployment.timeout_s) if deployment else None
            self.speed.timed_out(limit_s or _USUAL_LIMIT_S)

    def _say_rest(self, now_s: float) -> None:
        breaker, row = self._breaker, self._row
        cells, at = row.cells, row.at
        cells[at + TRIAL] = 0.0
        cells[at + REST_UNTIL] = breaker.until_s
        cells[at + REST_STEP] = breaker.step
        cells[at + REST_CAUSE] = breaker.cause
        self._rest_said_s = row.say(REST_SAID, self._rest_said_s)
        if breaker.until_s:
            _LOG.info("deployment %s rests for %.1f s: %s", self._name(), breaker.until_s - now_s, self.last_failure)
        else:
            _LOG.info("deployment %s works again", self._name())

    def _listen(self, now_s: float) -> None:
        """Hear what the other processes have said since."""
        for at in self._row.news(now_s):
            self._hear(self.common.figures.cells, at)

    def _hear(self, cells: Cells, at: int) -> None:
        if (said_s := cells[at + REST_SAID]) > self._rest_said_s:
            self._rest_said_s = said_s
            step, cause = int(cells[at + REST_STEP]), Cause(int(cells[at + REST_CAUSE]))
            self._breaker.adopt(cells[at + REST_UNTIL], step, cause, self.common.clock())
            self._row.cells[self._row.at + TRIAL] = 0.0
        self._words.hear(cells, at)

    def _name(self) -> str:
        deployment = self.deployment
        return f"{deployment.group!r} ({deployment.backend}, id {self.id})" if deployment else f"with id {self.id}"

    def _warning(self, failure: GatewayError, now_s: float) -> str:
        rests_s = self._breaker.rests_s(now_s)
        out = (
            f" and is out of service; it is tried again in {rests_s:.0f} s, then less and less often" if rests_s else ""
        )
        return (
            f"deployment {self._name()} does not take our key (status {failure.status}){out}: "
            "check its api_key, and what that key may use"
        )


def _told(failure: GatewayError, *, with_words: bool) -> str:
    """A failure in a line. What a backend says of a key it does not take may show parts of it, so that is left out."""
    name = failure.code or failure.kind
    # Some backends give the status once more as the code.
    what = name if name == str(failure.status) else f"{failure.status} {name}"
    if not with_words:
        return what
    words = f"{what}: {failure.message}"
    return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}…"
