"""When a deployment rests, how long, and what lets it work again: one small state machine for each.

Closed: it is asked. Open until a moment: it rests. After that moment, until an attempt has come to an end that says
something, half-open: one real attempt, the trial, is let through, and the others see a deployment that rests. A success
closes it; a failure of the backend opens it again, for longer. Pure: the time and a chance between 0 and 1 are handed
in. What a failure means is said by `judged`; whoever caused a failure himself never changes anything here.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

from proxy_cli.errors import GatewayError
from proxy_cli.routing.kinds import Kind, blames_backend, kind_of, policy_name
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Deployment

IN_A_ROW: Final = 5  # failures, and it rests
LEAST_SEEN: Final = 10  # ends, before their share of good ones says anything
LEAST_GOOD: Final = 0.8
WINDOW_S: Final = 10.0  # of the share, in two halves: the older one is forgotten as a whole
FIRST_REST_S: Final = 1.0
LIMITED_REST_S: Final = 5.0  # the first rest after a 429 that names no time
LONGEST_REST_S: Final = 60.0
LONGEST_ASKED_S: Final = 300.0  # of a Retry-After
FIRST_OUT_S: Final = 60.0
LONGEST_OUT_S: Final = 900.0
TRIAL_S: Final = 1.0  # the wait that is told while a trial is under way: nobody knows how long it takes
_CALM_S: Final = 60.0  # without a rest, and the growth has been forgotten
_MOST_STEPS: Final = 10  # doublings; the longest rest is reached before
_JITTER: Final = 0.25  # of a growing rest, taken off
HALF_LIFE_S: Final = 300.0  # of the memory of failures that led to a rest
LEAST_TRUST: Final = 0.05


class Cause(IntEnum):
    """Why a deployment rests; the number is what processes tell each other."""

    FAILURES = 0
    LIMITED = 1  # it answered 429
    REFUSED = 2  # it does not take our key: 401 or 403


class Fault(msgspec.Struct, frozen=True, gc=False):
    """A failure that counts against the backend, and what the settings say about one of its kind."""

    cause: Cause = Cause.FAILURES
    counted_as: str = ""  # the kind that `allowed` is about, or all
    allowed: int | None = None  # a minute; None: the usual rules
    fixed_s: float | None = None  # the deployment's own cooldown_time
    asked_s: float | None = None  # what the backend asked for: Retry-After
    usual_s: float | None = None  # the router's cooldown_time


def judged(failure: GatewayError, deployment: Deployment | None, rules: Rules) -> Fault | None:
    """What a failure says of the backend; None when it says nothing, because the caller or we have caused it."""
    kind = kind_of(failure)
    if kind in (Kind.CALLER, Kind.FULL):
        return None
    counted_as, allowed = _allowed(policy_name(kind), deployment, rules)
    # What a caller did wrong counts only where a policy names it: then the operator wants it so.
    if not (counted_as or blames_backend(kind)):
        return None
    return Fault(
        cause=_CAUSES.get(kind, Cause.FAILURES),
        counted_as=counted_as,
        allowed=allowed,
        fixed_s=deployment.rest_s if deployment else None,
        asked_s=failure.retry_after_s,
        usual_s=rules.rest_s,
    )


_CAUSES: Final[Mapping[Kind, Cause]] = {Kind.RATE_LIMIT: Cause.LIMITED, Kind.AUTHENTICATION: Cause.REFUSED}


def _allowed(name: str, deployment: Deployment | None, rules: Rules) -> tuple[str, int | None]:
    """How many failures a minute are allowed, and whether of this kind alone; the deployment's word comes first."""
    policy = f"{name}AllowedFails" if name else ""
    if deployment is not None:
        if policy in deployment.allowed_fails_policy:
            return name, deployment.allowed_fails_policy[policy]
        if deployment.allowed_fails is not None:
            return "", deployment.allowed_fails
    if policy in rules.allowed_fails_policy:
        return name, rules.allowed_fails_policy[policy]
    return "", rules.allowed_fails


def rest_s(fault: Fault, step: int, chance: float) -> float:
    """How long a rest after `step` others in a row lasts."""
    if fault.cause is Cause.REFUSED:
        return float(min(FIRST_OUT_S * 2**step, LONGEST_OUT_S))
    if fault.fixed_s is not None:
        return fault.fixed_s
    if fault.asked_s is not None:
        # A backend that asks for no time at all would otherwise be asked again at once, and for ever.
        return min(max(fault.asked_s, _grown_s(FIRST_REST_S, step, chance)), LONGEST_ASKED_S)
    if fault.usual_s is not None:
        return fault.usual_s
    return _grown_s(LIMITED_REST_S if fault.cause is Cause.LIMITED else FIRST_REST_S, step, chance)


def _grown_s(first_s: float, step: int, chance: float) -> float:
    """The jitter keeps those that fell together from being tried together; it is less than what a step adds."""
    return float(min(first_s * 2**step, LONGEST_REST_S) * (1 - _JITTER * chance))


class Breaker:
    """The state of one deployment. Owned by its `State`, which hands in the time."""

    __slots__ = (
        "_bad",
        "_bad_before",
        "_begun",
        "_fails",
        "_falls",
        "_falls_s",
        "_good",
        "_good_before",
        "_minute",
        "_rolls_s",
        "_row",
        "_trials",
        "cause",
        "closed_s",
        "rested",
        "step",
        "trial",
        "until_s",
    )

    def __init__(self) -> None:
        self.until_s = 0.0  # 0: closed
        self.step = 0  # rests since it last was well, which is how long the next one is
        self.cause = Cause.FAILURES  # of the present rest
        self.trial = 0  # the number of the trial under way; 0: none
        self.rested = 0  # how often, as this process has seen it
        self._trials = 0
        self._begun = 0  # attempts since it opened: what began before says nothing of how it is now
        self.closed_s = float("-inf")  # when it last came back from a rest
        self._row = 0
        self._rolls_s = 0.0  # when the present half of the window is over
        self._minute = 0.0
        self._good = self._bad = self._good_before = self._bad_before = 0
        self._fails: dict[str, int] = {}
        self._falls = 0.0  # how often it has failed so that it rests, the older ones counted for less
        self._falls_s = 0.0  # when that was worked out

    def trust(self, now_s: float) -> float:
        """The part of its share that it should get, while others are there: a quarter for each time it fell lately.

        A server that dies once a minute is well most of the time, but calls that are under way die with it.
        """
        if not self._falls:
            return 1.0
        trust = 0.25 ** self._fallen(now_s)
        return float(max(trust, LEAST_TRUST))

    def rests_s(self, now_s: float) -> float:
        """How long it still rests; 0 when it may be asked."""
        if not self.until_s:
            return 0.0
        if now_s < self.until_s:
            return self.until_s - now_s
        return TRIAL_S if self.trial else 0.0

    def begin(self, now_s: float) -> int:
        """An attempt begins: the number of the trial that it is, 0 for a usual one."""
        if not self.until_s:
            return 0
        self._begun += 1
        if self.trial or now_s < self.until_s:
            return 0
        self._trials += 1
        self.trial = self._trials
        return self.trial

    def ended(self, trial: int) -> None:
        """An attempt is over, however: the trial, if it was that one, is given back."""
        if trial and trial == self.trial:
            self.trial = 0

    def succeeded(self, now_s: float) -> bool:
        """Count a success. True when the deployment works again because of it."""
        self._row = 0
        if now_s >= self._rolls_s:
            self._roll(now_s)
        self._good += 1
        # A success of an attempt that began before it opened says nothing of how the deployment is now.
        if not (self.until_s and self._begun):
            return False
        self._close(now_s, self.step // 2)
        return True

    def failed(self, now_s: float, fault: Fault, chance: float) -> bool:
        """Count a failure of the backend. True when the deployment rests, or rests longer, because of it."""
        if self.until_s:
            return self._failed_again(now_s, fault, chance)
        self._row += 1
        if now_s >= self._rolls_s:
            self._roll(now_s)
        self._bad += 1
        if not self._is_too_much(now_s, fault):
            return False
        if now_s - self.closed_s > _CALM_S:
            self.step = 0
        return self._open(now_s, fault, chance)

    def adopt(self, until_s: float, step: int, cause: Cause, now_s: float) -> None:
        """Take over what another process has found: a rest until a moment, or (0) that it works again."""
        if not until_s:
            self._close(now_s, step)
            return
        self.until_s, self.step, self.cause = until_s, step, cause
        self._fell(now_s, cause)
        self.trial = self._begun = 0
        self._forget()

    def _failed_again(self, now_s: float, fault: Fault, chance: float) -> bool:
        """A failure while it rests, or of the trial."""
        if fault.cause is Cause.REFUSED and self.cause is not Cause.REFUSED:
            return self._open(now_s, fault, chance)
        if now_s < self.until_s:
            # Most often one more of the failures that it rests for: no reason to rest longer, but if it asks to.
            asked_s = min(fault.asked_s or 0.0, LONGEST_ASKED_S) if fault.cause is Cause.LIMITED else 0.0
            if fault.fixed_s is not None or now_s + asked_s <= self.until_s:
                return False
            self.until_s = now_s + asked_s
            return True
        return bool(self._begun) and self._open(now_s, fault, chance)

    def _is_too_much(self, now_s: float, fault: Fault) -> bool:
        if fault.allowed is not None:
            minute = now_s // 60
            if minute != self._minute:
                self._minute = minute
                self._fails.clear()
            fails = self._fails[fault.counted_as] = self._fails.get(fault.counted_as, 0) + 1
            return fails > fault.allowed
        if fault.cause is not Cause.FAILURES or self._row >= IN_A_ROW:
            return True
        good = self._good + self._good_before
        seen = good + self._bad + self._bad_before
        return seen >= LEAST_SEEN and good < LEAST_GOOD * seen

    def _open(self, now_s: float, fault: Fault, chance: float) -> bool:
        if fault.cause is not self.cause and Cause.REFUSED in (fault.cause, self.cause):
            self.step = 0  # each has a growth of its own
        lasts_s = rest_s(fault, self.step, chance)
        if lasts_s <= 0:
            if self.until_s:
                self._close(now_s, 0)
            return False
        self.until_s = max(self.until_s, now_s + lasts_s)
        self.step = min(self.step + 1, _MOST_STEPS)
        self.cause = fault.cause
        self.trial = self._begun = 0
        self.rested += 1
        self._fell(now_s, fault.cause)
        self._forget()
        return True

    def _fallen(self, now_s: float) -> float:
        return float(self._falls * 0.5 ** ((now_s - self._falls_s) / HALF_LIFE_S))

    def _fell(self, now_s: float, cause: Cause) -> None:
        """One that is asked for too much is well: only those that fail are trusted less."""
        if cause is Cause.FAILURES:
            self._falls, self._falls_s = self._fallen(now_s) + 1.0, now_s

    def _close(self, now_s: float, step: int) -> None:
        self.until_s = 0.0
        self.step = step
        self.cause = Cause.FAILURES
        self.trial = self._begun = 0
        self.closed_s = now_s
        self._forget()

    def _forget(self) -> None:
        """What led to a rest, or was seen before it, does not lead to the next one."""
        self._row = 0
        self._good = self._bad = self._good_before = self._bad_before = 0
        self._fails.clear()

    def _roll(self, now_s: float) -> None:
        """Another half of the window: what is older than the one before is forgotten."""
        just_before = now_s < self._rolls_s + WINDOW_S / 2
        self._good_before = self._good if just_before else 0
        self._bad_before = self._bad if just_before else 0
        self._good = self._bad = 0
        self._rolls_s = now_s + WINDOW_S / 2
