"""Whether a failed attempt is made again, where, and after which pause.

Owns: how many tries a kind of failure is worth, the pause before one, and the budget that keeps retries from melting a
sick fleet. Refuses: to choose a deployment, and to sleep.
Rule: what may have reached a model is never sent to the same deployment again; it may be at work on it still.
"""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Final

import msgspec

from proxy_cli.errors import BackendBroken, BackendError, BackendTimeout, GatewayError
from proxy_cli.routing.kinds import Kind, policy_name
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Call, Deployment

NEVER_S: Final = float("inf")  # the moment at which a deployment may be asked again that may not

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 8.0
_LONGEST_ASKED_S: Final = 60.0  # of a Retry-After; beyond, another deployment or nobody is asked

_SHORTEST_S: Final = 0.001  # of a limit: none at all would be no limit

# What is tried again without anybody's saying so; the others only where a policy names them.
_RETRIED: Final = frozenset(
    {
        Kind.AUTHENTICATION,
        Kind.BAD_GATEWAY,
        Kind.CONFLICT,
        Kind.CONNECTION,
        Kind.FULL,
        Kind.INTERNAL,
        Kind.RATE_LIMIT,
        Kind.TIMEOUT,
        Kind.UNAVAILABLE,
    }
)
# What the same deployment would only say again.
_NOT_THERE: Final = frozenset({Kind.AUTHENTICATION, Kind.FULL})
# Statuses by which a server between us and the model says that it has waited long enough: the model may work on.
_GIVEN_UP: Final = frozenset({504, 524})
_DEFAULT: Final = "Default"


def allowed_retries(kind: Kind, call: Call, deployment: Deployment, rules: Rules) -> int:
    """How many tries after the first a failure of this kind is worth within one name."""
    policy = rules.group_retry_policy.get(call.model) or rules.group_retry_policy.get(deployment.group)
    policy = policy or rules.retry_policy
    named = _named(policy, kind)
    if named is None and kind not in _RETRIED:
        return 0
    said = (call.controls.retries, named, policy.get(f"{_DEFAULT}Retries"), deployment.retries)
    return max(next((each for each in said if each is not None), rules.retries), 0)


def _named(policy: Mapping[str, int], kind: Kind) -> int | None:
    """What a policy says of this kind by its name."""
    if kind is Kind.BAD_GATEWAY and "BadGatewayErrorRetries" not in policy:
        # LiteLLM has no name of its own for it here: a reply that broke off is an internal error there.
        kind = Kind.INTERNAL
    return policy.get(f"{policy_name(kind)}Retries")


def is_doubtful(failure: GatewayError) -> bool:
    """Whether a model may have worked on the call, or may still, though nothing came of it."""
    if isinstance(failure, BackendError):
        return failure.status in _GIVEN_UP
    return isinstance(failure, BackendBroken | BackendTimeout) and not failure.elsewhere


def free_again_s(failure: GatewayError, kind: Kind, now_s: float) -> float:
    """From which moment on the deployment that has failed so may be asked again for the same call."""
    if kind in _NOT_THERE or is_doubtful(failure):
        return NEVER_S
    asked_s = failure.retry_after_s or 0.0
    return now_s + asked_s if asked_s <= _LONGEST_ASKED_S else NEVER_S


def pause_s(before: int, random: Random, *, at_least_s: float) -> float:
    """How long to wait before the same deployment is asked again, after so many retries before this one."""
    # Full jitter: callers that failed together must not come back together.
    most_s = min(_FIRST_PAUSE_S * 2 ** min(before, 16), _LONGEST_PAUSE_S)
    return max(random.uniform(0.0, most_s), at_least_s)


def asked_end_s(call: Call) -> float:
    """The moment at which the caller's own limit has passed; never, where he has set none."""
    asked = call.controls
    limit_s = (asked.stream_timeout_s if call.stream else None) or asked.timeout_s
    return call.received_s + limit_s if limit_s else NEVER_S


def end_s(call: Call, deployment: Deployment) -> float:
    """The moment by which a pause must be over to be worth beginning: the caller's, else the deployment's."""
    end = asked_end_s(call)
    if end < NEVER_S:
        return end
    limit_s = (deployment.stream_timeout_s if call.stream else None) or deployment.timeout_s
    return call.received_s + limit_s if limit_s else NEVER_S


def with_time_left(call: Call, at_s: float) -> Call:
    """The call as it is sent later than it came: the caller's limit holds for all attempts together."""
    end = asked_end_s(call)
    if end == NEVER_S:
        return call
    left_s = round(max(end - at_s, _SHORTEST_S), 3)
    limited = replace(call.controls, timeout_s=left_s, stream_timeout_s=left_s)
    return msgspec.structs.replace(call, controls=limited, received_s=at_s)


class Budget:
    """How many retries this process may make: a fifth of its calls, at least three in ten seconds.

    An account that each call pays a fifth of a retry into, and each retry takes one from. It never holds more than a
    fifth of the calls under way, or three: what was saved up in good times is not spent at once in bad ones. Where
    calls are rare it is filled up to three every ten seconds, and a retry that helped is given back. So while a fleet
    is sick there are 1.2 attempts a call in the long run, and a lonely caller of a flaky server has all his retries.
    """

    __slots__ = ("_balance", "_calls", "_filled_s", "_paid", "calls")

    SHARE: Final = 0.2
    LEAST: Final = 3.0
    PERIOD_S: Final = 10.0

    def __init__(self, now_s: float) -> None:
        self.calls = 0  # counted by whoever begins one
        self._paid = 0  # how many of them have paid
        self._calls = 0  # how many have paid in this period
        self._balance = self.LEAST
        self._filled_s = now_s

    def take(self, active: int, now_s: float) -> bool:
        """Take one retry out of it, if there is one."""
        new, self._paid = self.calls - self._paid, self.calls
        self._calls += new
        self._balance += self.SHARE * new + self._for_quiet_times(now_s)
        self._balance = min(self._balance, max(self.LEAST, self.SHARE * active))
        # A fifth is not exact: five of them must make one.
        if self._balance < 1.0 - 1e-9:
            return False
        self._balance -= 1.0
        return True

    def give_back(self, count: int, active: int) -> None:
        """Of a call that was answered in the end, where few are under way: nobody is melted by so little."""
        if self.SHARE * active <= self.LEAST:
            self._balance = min(self._balance + count, max(self._balance, self.LEAST))

    def _for_quiet_times(self, now_s: float) -> float:
        """What is missing to three retries in ten seconds, once those have passed."""
        periods = (now_s - self._filled_s) / self.PERIOD_S
        if periods < 1.0:
            return 0.0
        missing = max(self.LEAST * periods - self.SHARE * self._calls, 0.0)
        self._filled_s, self._calls = now_s, 0
        return missing
