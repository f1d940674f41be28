"""What the pools of connections come to, told to the metrics.

The upstream room counts for itself and knows nothing of metrics; here its figures are read, those of all that are in
use while a configuration is being replaced, and what has been counted since the last time is added.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from proxy_cli.telemetry.metrics import Metrics
from proxy_cli.upstream.pool import Figures

_NONE: Final = Figures()


class Pools(Protocol):
    """What has figures of its connections: `Upstream`."""

    def figures(self) -> Mapping[str, Figures]:
        """How the connections to each backend stand, by its address."""


class PoolGauges:
    """Tells how the connections stand, whenever it is called. Owns what it has told before."""

    def __init__(self, pools: Callable[[], Iterable[Pools]], metrics: Metrics) -> None:
        self._pools = pools
        self._metrics = metrics
        self._counted: dict[Pools, Mapping[str, Figures]] = {}
        self._known: set[str] = set()

    def __call__(self) -> None:
        now: dict[Pools, Mapping[str, Figures]] = {pools: dict(pools.figures()) for pools in self._pools()}
        for pools, figures in now.items():
            before = self._counted.get(pools, {})
            for backend, each in figures.items():
                self._count(backend, each, before.get(backend, _NONE))
        # A pool that is gone has no connections any more: its gauges say so.
        backends = {backend for figures in now.values() for backend in figures}
        for backend in self._known | backends:
            self._show(backend, [figures[backend] for figures in now.values() if backend in figures])
        self._counted, self._known = now, backends

    def _count(self, backend: str, now: Figures, before: Figures) -> None:
        for name, number in (
            ("llmproxy_upstream_connections_opened_total", now.opened_total - before.opened_total),
            ("llmproxy_upstream_connect_failures_total", now.failed_total - before.failed_total),
            ("llmproxy_upstream_pool_full_total", now.refused_total - before.refused_total),
            ("llmproxy_upstream_retries_total", now.repeated_total - before.repeated_total),
        ):
            if number > 0:
                self._metrics.count(name, backend, amount=number)

    def _show(self, backend: str, figures: list[Figures]) -> None:
        idle = sum(each.idle for each in figures)
        for state, number in (
            ("idle", idle),
            ("busy", sum(each.open for each in figures) - idle),
            ("opening", sum(each.opening for each in figures)),
        ):
            self._metrics.set("llmproxy_upstream_connections", number, backend, state)
        self._metrics.set("llmproxy_upstream_waiting", sum(each.waiting for each in figures), backend)
