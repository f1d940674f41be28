"""The pace of a body, and how one is read."""

import pytest

from proxy_cli.server.body import BODY, Pace


@pytest.mark.row("H-18")
def test_a_body_that_does_not_begin_is_late():
    """After ten seconds its rate is zero."""
    pace = Pace(100.0)

    assert not pace.late(109.9)
    assert pace.late(110.0)


@pytest.mark.row("H-18")
def test_a_trickle_is_late():
    """One byte a second keeps no connection open."""
    pace = Pace(0.0)
    for second in range(10):
        assert not pace.late(second)
        pace.saw(1, second)

    assert pace.late(10.0)


@pytest.mark.row("H-18")
def test_a_stall_is_late_however_much_came_before():
    """Nothing for half a minute is the end of it."""
    pace = Pace(0.0)
    pace.saw(100_000_000, 5.0)
    pace.saw(0, 20.0)

    assert not pace.late(34.9)
    assert pace.late(35.0)


def test_a_slow_but_steady_body_has_five_minutes():
    """It is the rate that counts until then."""
    pace = Pace(0.0)
    for second in range(1, 300):
        pace.saw(BODY.rate_bytes_per_s * 2, second)
        assert not pace.late(second)

    assert pace.due_s() == BODY.total_s


def test_our_own_pauses_do_not_count():
    """A backend that takes its time is not the client's fault."""
    pace = Pace(0.0)
    pace.saw(10, 1.0)
    pace.paused(500.0)

    assert not pace.late(505.0)
    assert pace.late(510.0)
