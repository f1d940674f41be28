"""The simulated fleet: what the router promises of bad servers, in a few minutes of virtual time."""

import pytest

from bench import fleet_ours
from bench.fleet import BAD
from bench.simulate import Run, table


def assert_kept(found, *, share):
    """No failure that a sound server could have prevented, few calls more than requests, little for the bad ones."""
    assert found["failed"] == {}
    assert found["whole"] > 0.95 * found["requests"]
    assert found["upstream"] <= 1.2 * found["requests"] + 3
    assert sum(found["shares"][name] for name in BAD) < share, found["shares"]


@pytest.mark.row("U-30")
@pytest.mark.parametrize("strategy", ["simple-shuffle", "power-of-two"])
def test_bad_servers_get_little_and_nobody_suffers(strategy):
    """One ten times slower, one that says 429 at once, one that dies each minute, one that stalls in its streams."""
    found = fleet_ours.result(strategy, callers=24, seconds=240.0)

    # In the first minutes each of them has to show what it is.
    assert_kept(found, share=0.25)


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.row("U-24")
@pytest.mark.parametrize("strategy", ["simple-shuffle", "least-busy", "latency-based-routing", "power-of-two"])
def test_ten_minutes_of_two_hundred_callers(strategy):
    """Bad servers keep under 5 % of the traffic together."""
    assert_kept(fleet_ours.result(strategy), share=0.05)


def test_a_run_is_a_row_of_the_table():
    """Routers stand beside each other by name."""
    found = fleet_ours.result("simple-shuffle", callers=4, seconds=5.0)

    text = table([Run("llmproxy", "simple-shuffle", found)])

    assert text.splitlines()[2].startswith("| llmproxy | simple-shuffle | ")
    assert len({line.count("|") for line in text.splitlines()}) == 1
