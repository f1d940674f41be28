"""All deployments as they are: one `State` for each, for as long as the process lives, whatever the configuration.

A reload brings another table and other rules; what is known of a deployment is kept under its id. Ids that no table
names any more are forgotten by `keep`, but for those that still have something under way. With shared memory the
processes of one server know of each other what must be right across them; `figures.py` says how.
"""

from collections.abc import Collection, Iterator
from random import Random

from proxy_cli.clock import Clock
from proxy_cli.routing.figures import Figures
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.state import Common, State
from proxy_cli.routing.words import Operator, Probed
from proxy_cli.shapes import Deployment
from proxy_cli.shared import Shared

__all__ = ["Fleet", "Operator", "Probed", "State"]


class Fleet:
    """The states of all deployments. Owned by the process; a snapshot of the configuration borrows it."""

    __slots__ = ("_common", "_figures", "_states")

    def __init__(self, rules: Rules, *, clock: Clock, random: Random, shared: Shared | None = None) -> None:
        self._figures = Figures(shared, clock)
        self._common = Common(rules, clock=clock, random=random, figures=self._figures)
        self._states: dict[str, State] = {}

    @property
    def rules(self) -> Rules:
        """What the configuration says; a reload puts others here."""
        return self._common.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._common.rules = rules

    def state(self, deployment: Deployment) -> State:
        """What is known of a deployment; made when it is first asked for."""
        # Kept with the deployment too, under the fleet it belongs to, so that a request finds it by one look.
        kept: State | None = deployment.worked_out.get(State)
        if kept is not None and kept.common is self._common:
            return kept
        state = self._named(deployment.id)
        state.deployment = deployment
        deployment.worked_out[State] = state
        return state

    def states(self) -> Iterator[State]:
        """Those of all deployments that were asked for or spoken of by now."""
        return iter(tuple(self._states.values()))

    def is_plain(self, deployment: Deployment, now_s: float) -> bool:
        """Whether nothing at all is said against asking a deployment."""
        return self.state(deployment).is_plain(now_s)

    def is_quiet(self, deployment: Deployment) -> bool:
        """Whether it is seen at one look that nothing is said against asking a deployment; False says nothing."""
        state: State | None = deployment.worked_out.get(State)
        return state is not None and state.common is self._common and state.is_quiet

    def keep(self, ids: Collection[str]) -> None:
        """Forget the deployments that are not among these, unless something of them is still under way."""
        gone = [name for name, state in self._states.items() if name not in ids and not state.in_flight]
        for name in gone:
            del self._states[name]

    def enter(self, number: int) -> None:
        """Called first in a forked worker: it writes figures of its own from now on."""
        self._figures.enter(number)
        for state in self._states.values():
            state.settle()

    def set_operator(self, name: str, word: Operator, until_s: float | None) -> None:
        """What an operator wants of a deployment, in all processes; until a moment, or until he says otherwise."""
        self._named(name).say_operator(word, until_s)

    def operator(self, name: str) -> tuple[Operator, float | None]:
        """The newest word of an operator that still holds, and until when."""
        return self._named(name).operator()

    def set_probed(self, name: str, probed: Probed, why: str) -> None:
        """What a look from outside has found, for all processes; `why` is known to this one alone."""
        self._named(name).say_probed(probed, why)

    def probed(self, name: str) -> tuple[Probed, str]:
        """What the latest look has found, and why."""
        return self._named(name).probed()

    def _named(self, name: str) -> State:
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = State(name, self._common)
        return state
