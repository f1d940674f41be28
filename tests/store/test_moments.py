"""Moments as numbers and as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.store.moments import from_iso, iso, now_us

LAST_US = 253_402_300_799_999_999  # of the year 9999


def test_a_moment_is_written_in_utc_with_microseconds():
    """The text has always the same length, so that its order is the order in time."""
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
    assert iso(1_795_402_680_123_456) == "2026-11-23T02:58:00.123456Z"


@given(st.integers(0, LAST_US))
def test_every_moment_is_read_back_as_it_was(us):
    """No microsecond is lost on the way."""
    assert from_iso(iso(us)) == us


@pytest.mark.parametrize(
    "text", ["2026-11-23T02:58:00Z", "2026-11-23 02:58:00", "2026-11-23T03:58:00+01:00", "2026-11-23T02:58:00.000"]
)
def test_other_ways_to_write_it_are_read(text):
    """A zone counts, and without one it is UTC."""
    assert from_iso(text) == 1_795_402_680_000_000


def test_what_is_no_moment_is_refused():
    """Whoever wrote it learns of it."""
    with pytest.raises(ValueError, match="30d"):
        from_iso("30d")


def test_now_lies_in_this_age():
    """The present comes as microseconds, not as seconds or nanoseconds."""
    assert from_iso("2024-01-01") < now_us() < from_iso("2200-01-01")
