"""What a call bears of a server that is paid by the hour."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.prices.meter import GpuMeter, meter_of
from tests.routing.test_table import deployment

DOLLAR_A_SECOND = Decimal(3600)


class Turned:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_call_alone_bears_all_its_time():
    """Two seconds at 3.6 USD an hour."""
    clock = Turned()
    meter = GpuMeter(Decimal("3.6"), clock)

    mark = meter.begin()
    clock.now_s += 2

    assert meter.end(mark) == 2_000_000


def test_calls_at_once_bear_the_busy_time_in_equal_parts():
    """One second alone, two seconds by two, one second alone: two dollars each."""
    clock = Turned()
    meter = GpuMeter(DOLLAR_A_SECOND, clock)

    first = meter.begin()
    clock.now_s += 1
    second = meter.begin()
    clock.now_s += 2
    costs = [meter.end(first)]
    clock.now_s += 1
    costs.append(meter.end(second))

    assert costs == [2_000_000_000, 2_000_000_000]


def test_idle_time_costs_nobody():
    """An hour without a call between two calls of a second."""
    clock = Turned()
    meter = GpuMeter(DOLLAR_A_SECOND, clock)

    costs = []
    for _ in range(2):
        mark = meter.begin()
        clock.now_s += 1
        costs.append(meter.end(mark))
        clock.now_s += 3600

    assert costs == [1_000_000_000, 1_000_000_000]


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 100)), max_size=40))
def test_all_parts_together_are_the_busy_time(steps):
    """Whoever comes and goes whenever: nothing is charged twice and nothing is lost but the rounding of each call."""
    clock = Turned()
    meter = GpuMeter(DOLLAR_A_SECOND, clock)
    under_way: dict[int, int] = {}
    costs: list[int] = []
    busy_ns = 0

    for who, passed_s in steps:
        if who in under_way:
            costs.append(meter.end(under_way.pop(who)))
        else:
            under_way[who] = meter.begin()
        before_ns = int(clock.now_s * 10**9)
        clock.now_s += passed_s
        busy_ns += int(clock.now_s * 10**9) - before_ns if under_way else 0
    costs.extend(meter.end(mark) for mark in under_way.values())

    assert min(costs, default=0) >= 0
    assert abs(sum(costs) - busy_ns) <= len(costs)


def test_a_clock_that_steps_back_costs_nothing():
    """No call is paid for having been asked."""
    clock = Turned()
    meter = GpuMeter(DOLLAR_A_SECOND, clock)
    mark = meter.begin()
    clock.now_s -= 5

    assert meter.end(mark) == 0


@pytest.mark.parametrize(("rates", "has_one"), [({"gpu_hour_cost": 2.5}, True), ({"input_cost_per_token": 1.0}, False)])
def test_a_deployment_has_one_meter_if_its_hours_have_a_price(rates, has_one):
    """The same each time; a changed copy has its own."""
    clock = Turned()
    priced = replace(deployment("a"), rates=rates)

    meter = meter_of(priced, clock)

    assert (meter is not None) is has_one
    assert meter_of(priced, clock) is meter
    assert meter is None or meter_of(replace(priced), clock) is not meter
