"""The pools' figures in the metrics: gauges as they are, counters that only grow."""

from collections.abc import Mapping

from proxy_cli.server.gauges import PoolGauges
from proxy_cli.telemetry.metrics import Metrics
from proxy_cli.upstream.pool import Figures
from tests.telemetry.test_exposition import samples

HOST = "http://h:1"


class Pools:
    """Pools whose figures are set by hand."""

    def __init__(self) -> None:
        self.now: dict[str, Figures] = {}

    def figures(self) -> Mapping[str, Figures]:
        return self.now


def told(metrics: Metrics) -> dict[str, float]:
    """Samples of the backend by name and state."""
    return {
        "/".join((key[0].removeprefix("llmproxy_upstream_"), *key[3:])): value
        for key, value in samples(metrics.exposition()).items()
        if key[1:3] == ("backend", HOST)
    }


def test_connections_are_told_by_their_state():
    """Idle, busy and opening ones, and who waits; over all pools there are."""
    first, second, metrics = Pools(), Pools(), Metrics()
    first.now[HOST] = Figures(open=5, idle=2, opening=1, waiting=3)
    second.now[HOST] = Figures(open=1)
    metrics.watch(PoolGauges(lambda: (first, second), metrics))

    found = told(metrics)

    assert found == {"connections/state/idle": 2, "connections/state/busy": 4, "connections/state/opening": 1,
                     "waiting": 3}  # fmt: skip


def test_what_has_happened_is_counted_once():
    """Totals of a pool become counters, also when a new configuration brings new pools."""
    first, second, metrics = Pools(), Pools(), Metrics()
    pools = [first]
    metrics.watch(PoolGauges(lambda: pools, metrics))

    first.now[HOST] = Figures(opened_total=3, failed_total=2, refused_total=1, repeated_total=4)
    told(metrics)
    first.now[HOST] = Figures(opened_total=4, failed_total=2, refused_total=1, repeated_total=5)
    told(metrics)
    pools[:] = [second]
    second.now[HOST] = Figures(opened_total=1)

    found = told(metrics)
    assert found["connections_opened_total"] == 5
    assert found["connect_failures_total"] == 2
    assert found["pool_full_total"] == 1
    assert found["retries_total"] == 5


def test_a_pool_that_is_gone_has_no_connections():
    """Gauges of a backend that no configuration names any more end at zero."""
    pools, metrics = Pools(), Metrics()
    metrics.watch(PoolGauges(lambda: (pools,), metrics))
    pools.now[HOST] = Figures(open=2, idle=2)
    assert told(metrics)["connections/state/idle"] == 2

    pools.now.clear()

    assert told(metrics)["connections/state/idle"] == 0
