"""Calls played against backends that are functions, with a clock that only this moves."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from proxy_cli.errors import GatewayError
from proxy_cli.routing.fleet import Fleet
from proxy_cli.routing.router import Router
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Table
from proxy_cli.routing.turns import Attempts, Step
from proxy_cli.shapes import Call, Deployment
from tests.routing.test_table import deployment

Backends = Callable[[Deployment], GatewayError | None]


@dataclass
class Played:
    """What became of one call."""

    attempts: Attempts
    asked: list[str] = field(default_factory=list)  # ids, in order
    steps: list[Step] = field(default_factory=list)
    begun_s: list[float] = field(default_factory=list)  # when each attempt was made
    failure: Any = None  # the GatewayError that the caller gets, if any

    @property
    def waits(self) -> list[float]:
        """The pauses, without those of no length."""
        return [step.wait_s for step in self.steps if step.wait_s]


class Stage:
    """A table, a fleet and a router, at a moment of our choice."""

    def __init__(
        self,
        deployments: Iterable[Deployment],
        rules: Rules | None = None,
        *,
        seed: int = 0,
        active: int = 1000,  # calls under way, of which the budget for retries is a share
        before: int = 1000,  # calls that went well before
        **more,
    ) -> None:
        self.now_s = 100.0
        self.active = active
        self.rules = rules or Rules(rests=False)
        self.fleet = Fleet(self.rules, clock=self.clock, random=Random(seed))
        table = Table(list(deployments), **more)
        self.router = Router(
            table, self.fleet, self.rules, random=Random(seed), clock=self.clock, active=lambda: self.active
        )
        self.router.budget.calls = before

    def clock(self) -> float:
        """The time, as a clock gives it."""
        return self.now_s

    def play(self, call: Call, backends: Backends, *, lasting_s: float = 0.0) -> Played:
        """One call from its first attempt to its end, in the order in which the gateway does things."""
        call = msgspec.structs.replace(call, received_s=self.now_s)
        attempts = self.router.attempts(call)
        played = Played(attempts)
        failure: GatewayError | None = None
        while True:
            try:
                step = attempts.next(failure)
            except GatewayError as final:
                played.failure = final
                return played
            played.steps.append(step)
            self.now_s += step.wait_s
            failure = self._ask(step.order[0], played, backends, lasting_s)
            if failure is None:
                attempts.answered()
                return played

    def _ask(self, asked: Deployment, played: Played, backends: Backends, lasting_s: float) -> GatewayError | None:
        played.attempts.took(asked)
        played.asked.append(asked.id)
        played.begun_s.append(self.now_s)
        state = self.fleet.state(asked)
        trial = state.begin()
        self.now_s += lasting_s
        failure = backends(asked)
        if failure is None:
            state.succeeded(waited_s=lasting_s, stream=False)
        else:
            state.failed(failure)
        state.end(trial)
        return failure


def group(name: str, count: int, **more) -> list[Deployment]:
    """So many deployments of one name: a1, a2, ..."""
    return [deployment(name, id=f"{name}{number}", **more) for number in range(1, count + 1)]


def scripted(*failures: GatewayError | None) -> Backends:
    """Backends that fail so, one attempt after the other, and then answer."""
    left = list(failures)
    return lambda _: left.pop(0) if left else None
