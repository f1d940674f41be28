"""How deployments stand and what became of calls on their way, told to the metrics.

The rooms that route count for themselves and know nothing of metrics; here their figures are read, once a second and
whenever metrics are asked for, and what has been counted since the last time is added. Names and labels are LiteLLM's
where it has the metric.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from proxy_cli.clock import Clock
from proxy_cli.hedge import Hedge
from proxy_cli.routing.fleet import Fleet, State
from proxy_cli.routing.queue import Places
from proxy_cli.routing.table import Table
from proxy_cli.routing.tally import Tally
from proxy_cli.server.standings import standing
from proxy_cli.shapes import Deployment
from proxy_cli.telemetry.metrics import Metrics

_ASKED, _LAST, _NOT_ASKED = 0, 1, 2  # LiteLLM's healthy, partial outage, complete outage
_LATE: Final = frozenset({"busy", "loading"})

Labels = tuple[str, ...]


class FleetGauges:
    """Tells how the deployments stand, whenever it is called. Owns what it has told before."""

    def __init__(
        self,
        table: Callable[[], Table],
        fleet: Fleet,
        places: Places,
        tally: Tally,
        hedge: Hedge,
        metrics: Metrics,
        *,
        clock: Clock,
    ) -> None:
        self._table = table
        self._fleet = fleet
        self._places = places
        self._tally = tally
        self._hedge = hedge
        self._metrics = metrics
        self._clock = clock
        self._counted: dict[tuple[str, Labels], int] = {}
        self._shown: dict[tuple[str, Labels], float] = {}

    def __call__(self) -> None:
        shown = dict(self._gauges())
        # One that is not configured any more has nothing under way, and nothing is wrong with it.
        for (name, labels), value in (dict.fromkeys(self._shown, 0.0) | shown).items():
            if self._shown.get((name, labels)) != value:
                self._metrics.set(name, value, *labels)
        self._shown = shown
        counted = {(name, labels): total for name, total, labels in self._totals()}
        for (name, labels), total in counted.items():
            # Where it is less than before, a deployment was forgotten and is counted from the beginning.
            before = self._counted.get((name, labels), 0)
            if grown := total - before if total >= before else total:
                self._metrics.count(name, *labels, amount=grown)
        self._counted = counted

    def _gauges(self) -> Iterator[tuple[tuple[str, Labels], float]]:
        now_s = self._clock()
        for state, deployment in self._known():
            yield ("llmproxy_deployment_in_flight", (deployment.group, state.id)), state.in_flight
            yield ("litellm_deployment_state", _described(deployment)), self._level(state, deployment, now_s)
        table = self._table()
        for lane in self._places.figures():
            if (limited := table.by_id(lane.id)) is not None:
                yield ("llmproxy_deployment_places_taken", (limited.group, lane.id)), lane.held
                yield ("llmproxy_deployment_waiting", (limited.group, lane.id)), lane.waiting

    def _known(self) -> Iterator[tuple[State, Deployment]]:
        """What is known of each, and the deployment as it is configured: a wildcard's has the name of the last call."""
        table = self._table()
        for state in self._fleet.states():
            if (deployment := table.by_id(state.id)) is not None:
                yield state, deployment

    def _level(self, state: State, deployment: Deployment, now_s: float) -> int:
        if state.is_plain(now_s):
            return _LAST if state.is_on_probation or state.probed()[0] in _LATE else _ASKED
        how = standing(deployment, self._fleet, now_s)
        return _LAST if how.healthy or how.state in _LATE else _NOT_ASKED

    def _totals(self) -> Iterator[tuple[str, int, Labels]]:
        tally = self._tally
        for state, deployment in self._known():
            name = _described(deployment)
            yield "litellm_deployment_success_responses_total", state.speed.samples, name
            for status, number in tuple(state.failures.items()):
                yield "litellm_deployment_failure_responses_total", number, (*name, str(status))
            yield "litellm_deployment_cooled_down_total", state.rested, name
        for group, number in tuple(tally.retries.items()):
            yield "llmproxy_retries_total", number, (group,)
        for group, number in tuple(tally.refused_retries.items()):
            yield "llmproxy_retries_refused_total", number, (group,)
        for names, number in tuple(tally.good_fallbacks.items()):
            yield "litellm_deployment_successful_fallbacks_total", number, names
        for names, number in tuple(tally.failed_fallbacks.items()):
            yield "litellm_deployment_failed_fallbacks_total", number, names
        for names, number in tuple(self._places.refused.items()):
            yield "llmproxy_queue_refused_total", number, names
        yield "llmproxy_hedges_total", self._hedge.second_tries, ()


class _Described(msgspec.Struct, frozen=True):
    """The labels of one deployment."""

    labels: Labels


def _described(deployment: Deployment) -> Labels:
    known: _Described | None = deployment.worked_out.get(_Described)
    if known is None:
        labels = (deployment.group, deployment.model, deployment.id, deployment.provider, deployment.api_base)
        known = deployment.worked_out[_Described] = _Described(labels)
    return known.labels
