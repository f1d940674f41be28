"""Moments in the store are whole microseconds since 1970 (UTC); people and JSON get ISO 8601."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def now_us() -> int:
    """The present moment."""
    return time.time_ns() // 1000


def iso(us: int) -> str:
    """A moment as text, `2026-11-23T02:58:00.123456Z`; its order as text is its order in time."""
    moment = _START + timedelta(microseconds=us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_iso(text: str) -> int:
    """The moment that a text of ISO 8601 names; without a zone it is UTC. Raises ValueError for other texts."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _START) // _MICROSECOND
