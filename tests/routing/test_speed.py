"""How fast a deployment answers: newer answers weigh more, failures never count as fast."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.routing.speed import Speed

WAITS = st.floats(0.001, 1000)


def test_nothing_is_known_before_the_first_answer():
    """A deployment that was never asked is neither fast nor slow."""
    speed = Speed()

    assert (speed.first_s, speed.token_s, speed.answer_s, speed.p95_s, speed.samples) == (0, 0, 0, 0, 0)


def test_the_first_sample_is_the_average():
    """One answer says all there is to say, of each kind for itself."""
    speed = Speed()

    speed.began(2.0)
    speed.answered(3.0)
    speed.wrote(10, 5.0)

    assert (speed.first_s, speed.answer_s, speed.token_s, speed.samples) == (2.0, 3.0, 0.5, 2)


@given(st.lists(WAITS, min_size=1, max_size=200))
def test_an_average_stays_within_what_was_seen(waits):
    """Whatever comes, an average lies between the fastest and the slowest sample."""
    speed = Speed()

    for wait in waits:
        speed.began(wait)
        speed.answered(wait)
        speed.wrote(1, wait)

    for average in (speed.first_s, speed.answer_s, speed.token_s):
        assert min(waits) * 0.999 <= average <= max(waits) * 1.001


def test_a_change_is_believed_within_twenty_answers():
    """A server that has become ten times slower is known to be slow after twenty answers."""
    speed = Speed()
    for _ in range(100):
        speed.began(0.1)

    for _ in range(20):
        speed.began(1.0)

    assert speed.first_s > 0.9


@given(st.lists(WAITS, min_size=1, max_size=64))
def test_the_percentile_is_a_wait_that_few_exceed(waits):
    """Of up to 64 recent first bytes, at most one in twenty came later, and one came then."""
    speed = Speed()

    for wait in waits:
        speed.began(wait)

    assert speed.p95_s in waits
    assert sum(wait > speed.p95_s for wait in waits) <= len(waits) / 20
    assert sum(wait >= speed.p95_s for wait in waits) > len(waits) / 20


def test_the_percentile_forgets_what_is_long_ago():
    """After 64 newer streams nothing of the older ones is left in it."""
    speed = Speed()
    random = Random(1)
    for _ in range(64):
        speed.began(random.uniform(50, 60))
    assert speed.p95_s > 50

    for _ in range(64):
        speed.began(random.uniform(1, 2))

    assert 1 <= speed.p95_s <= 2


@pytest.mark.row("U-30")
def test_a_time_limit_that_ran_out_makes_slower_and_is_no_answer():
    """Who lets time limits run out is slower than was thought, also with a short limit, and has answered nothing."""
    speed = Speed()
    speed.timed_out(60.0)
    assert speed.samples == 0
    assert speed.first_s >= 60.0
    assert speed.token_s > 0
    assert speed.p95_s == 0

    speed = Speed()
    speed.began(10.0)
    before = speed.first_s
    speed.timed_out(0.5)
    assert speed.first_s > before
