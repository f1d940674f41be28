"""Budgets' windows, to the second."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.access.periods import parse_period, steps_of, window_of
from proxy_cli.callers import Period


def at(text: str) -> int:
    """The unix second of a moment in UTC, written as 2026-03-08T05:00."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


# Duration, zone, a moment, the beginning and the end of its window; moments in UTC, worked out by hand.
TABLE = [
    ("1d", "UTC", "2026-11-23T12:00", "2026-11-23T00:00", "2026-11-24T00:00"),
    ("24h", "Asia/Tokyo", "2026-11-23T14:59:59", "2026-11-22T15:00", "2026-11-23T15:00"),
    ("1d", "Asia/Tokyo", "2026-11-23T15:00", "2026-11-23T15:00", "2026-11-24T15:00"),
    ("1d", "Asia/Kolkata", "2026-11-23T18:29:59", "2026-11-22T18:30", "2026-11-23T18:30"),
    ("1h", "Asia/Kolkata", "2026-11-23T00:10", "2026-11-22T23:30", "2026-11-23T00:30"),
    # Days on which the clocks are put on and back have 23 and 25 hours.
    ("1d", "America/New_York", "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00"),
    ("1d", "America/New_York", "2026-11-01T12:00", "2026-11-01T04:00", "2026-11-02T05:00"),
    ("6h", "America/New_York", "2026-11-02T04:30", "2026-11-02T04:00", "2026-11-02T05:00"),
    ("1h", "America/New_York", "2026-11-01T06:30", "2026-11-01T06:00", "2026-11-01T07:00"),
    ("30d", "America/New_York", "2026-03-15T00:00", "2026-03-01T05:00", "2026-04-01T04:00"),
    ("7d", "America/New_York", "2026-03-08T12:00", "2026-03-02T05:00", "2026-03-09T04:00"),
    # Midnight was skipped here: the day begins with the change.
    ("1d", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", "2018-11-05T02:00"),
    ("1d", "Australia/Lord_Howe", "2026-04-04T15:10", "2026-04-04T13:00", "2026-04-05T13:30"),
    # Weeks begin on Monday.
    ("7d", "UTC", "2026-11-22T23:59:59", "2026-11-16T00:00", "2026-11-23T00:00"),
    ("1w", "UTC", "2026-11-23T00:00", "2026-11-23T00:00", "2026-11-30T00:00"),
    ("weekly", "Asia/Tokyo", "2026-11-22T15:00", "2026-11-22T15:00", "2026-11-29T15:00"),
    # Months, long and short.
    ("1mo", "UTC", "2026-01-31T23:59:59", "2026-01-01T00:00", "2026-02-01T00:00"),
    ("30d", "UTC", "2026-01-31T12:00", "2026-01-01T00:00", "2026-02-01T00:00"),
    ("monthly", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
    ("1mo", "UTC", "2026-04-30T23:59:59", "2026-04-01T00:00", "2026-05-01T00:00"),
    ("1mo", "UTC", "2026-12-31T12:00", "2026-12-01T00:00", "2027-01-01T00:00"),
    ("3mo", "UTC", "2026-11-23T12:00", "2026-10-01T00:00", "2027-01-01T00:00"),
    ("1d", "UTC", "2028-02-29T12:00", "2028-02-29T00:00", "2028-03-01T00:00"),
    # What is shorter than a day is counted from midnight, and the last window ends with the day.
    ("hourly", "UTC", "2026-11-23T12:59:59", "2026-11-23T12:00", "2026-11-23T13:00"),
    ("5m", "UTC", "2026-11-23T12:04:59", "2026-11-23T12:00", "2026-11-23T12:05"),
    ("30s", "UTC", "2026-11-23T12:04:59", "2026-11-23T12:04:30", "2026-11-23T12:05"),
    ("7m", "UTC", "2026-11-23T23:57", "2026-11-23T23:55", "2026-11-24T00:00"),
    ("10h", "UTC", "2026-11-23T23:00", "2026-11-23T20:00", "2026-11-24T00:00"),
]


@pytest.mark.row("B-13")
@pytest.mark.parametrize(("text", "zone", "moment", "begin", "end"), TABLE)
def test_window_is_exact_to_the_second(text, zone, moment, begin, end):
    """Its first second is in it, the one before and its last are where they belong."""
    period = parse_period(text, zone)

    assert window_of(period, at(moment)) == (at(begin), at(end))
    assert window_of(period, at(begin)) == (at(begin), at(end))
    assert window_of(period, at(end) - 0.001) == (at(begin), at(end))
    assert window_of(period, at(begin) - 1)[1] == at(begin)
    assert window_of(period, at(end))[0] == at(end)


ZONES = [
    "UTC",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "America/New_York",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "America/Havana",
    "Pacific/Apia",
    "Australia/Lord_Howe",
]
TEXTS = ["1s", "7s", "1m", "13m", "1h", "5h", "36h", "1d", "2d", "7d", "14d", "30d", "90d", "1w", "3w", "1mo", "5mo"]


@pytest.mark.row("B-13")
@given(st.sampled_from(TEXTS), st.sampled_from(ZONES), st.integers(0, 2_000_000_000))
def test_windows_lie_side_by_side(text, zone, moment):
    """Every moment lies in exactly one window: without gaps, and without two that overlap."""
    period = Period(text, zone)

    begin, end = window_of(period, moment)

    assert begin <= moment < end
    assert window_of(period, begin) == window_of(period, end - 1) == (begin, end)
    assert window_of(period, end)[0] == end


def test_longer_numbers_of_weeks_begin_on_mondays():
    """`14d` and `2w` are the same windows."""
    assert window_of(Period("14d"), at("2026-11-23T12:00")) == window_of(Period("2w"), at("2026-11-23T12:00"))
    assert datetime.fromtimestamp(window_of(Period("14d"), at("2026-11-23T12:00"))[0], UTC).weekday() == 0


@pytest.mark.parametrize("text", ["", "d", "0d", "1", "1y", "-1d", "1.5h", "1d1h", "forever", "1 d"])
def test_what_is_no_duration_is_refused(text):
    """The message shows what was written and what may be."""
    with pytest.raises(ValueError, match="is no duration; write a number and one of s, m, h, d, w, mo"):
        parse_period(text)


def test_a_duration_of_centuries_is_refused():
    """A window whose end the calendar does not know is none."""
    with pytest.raises(ValueError, match="'999999999d' is longer than a century"):
        parse_period("999999999d")


@pytest.mark.parametrize("zone", ["Asia/Edo", "", "../../etc/passwd", "/etc/localtime"])
def test_an_unknown_zone_is_refused(zone):
    """Only a zone's name is one, not a path."""
    with pytest.raises(ValueError, match="is no time zone that this machine knows"):
        parse_period("1d", zone)


def test_a_period_keeps_what_was_written():
    """What an operator reads again is what they wrote."""
    assert parse_period("30d", "Asia/Tokyo") == Period("30d", "Asia/Tokyo")
    assert steps_of("30d") == steps_of("1mo") == (1, "month")
