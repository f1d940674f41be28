"""How long a budget lasts: from `30d` to the exact second at which its present window begins and ends.

Owns: durations as LiteLLM writes them, and where their windows lie in a time zone. Refuses: what time it is. Rule: a
window is a pure function of the duration, the zone and the moment, so every process and every node finds the same one
without asking anybody, and nothing has to be reset: what is spent in another window is another sum.

A day begins at the zone's midnight, wherever daylight saving puts it, so that it has 23, 24 or 25 hours. `7d` and `1w`
begin on Monday; `30d` and `1mo` on the first of a month; other numbers of days, weeks and months are counted on from
the beginning of the calendar, so that `14d` begins on Mondays and `3mo` with a quarter. Hours, minutes and seconds are
counted from midnight, and the last window of a day ends with it.
"""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from proxy_cli.callers import Period

Window = tuple[int, int]  # unix seconds: the first one of it, and the first one after it

WORDS: Final = {"hourly": "1h", "daily": "24h", "weekly": "7d", "monthly": "30d"}
_PATTERN: Final = re.compile(r"([1-9][0-9]{0,8})(mo|[smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_DAY_S: Final = 86_400
_LONGEST: Final = {"day": 36_500, "month": 1_200, "second": 36_500 * _DAY_S}  # a century


def parse_period(text: str, zone: str = "UTC") -> Period:
    """The period that a duration and a time zone stand for; raises ValueError, in one sentence, where there is none."""
    steps_of(text)
    zone_of(zone)
    return Period(text, zone)


def window_of(period: Period, wall_s: float) -> Window:
    """The window of a period that a moment lies in."""
    count, unit = steps_of(period.text)
    zone = zone_of(period.zone)
    today = datetime.fromtimestamp(wall_s, zone).date()
    match unit:
        case "month":
            return _months(count, today, zone)
        case "day":
            return _days(count, today, zone)
        case _:
            return _seconds(count, today, zone, int(wall_s // 1))


@lru_cache(maxsize=1024)
def steps_of(text: str) -> tuple[int, str]:
    """A duration as a number of months, of days or of seconds that are shorter than a day or no whole days."""
    written = text.strip().lower()
    found = _PATTERN.fullmatch(WORDS.get(written, written))
    if found is None:
        raise ValueError(
            f"{text!r} is no duration; write a number and one of s, m, h, d, w, mo, as 30d, or {', '.join(WORDS)}"
        )
    count, unit = _in_steps(int(found[1]), found[2])
    if count > _LONGEST[unit]:
        raise ValueError(f"{text!r} is longer than a century; leave the duration out for a budget that is for ever")
    return count, unit


def _in_steps(count: int, unit: str) -> tuple[int, str]:
    if unit == "mo":
        return count, "month"
    if unit in _SECONDS:
        seconds = count * _SECONDS[unit]
        # `24h` is a day of the calendar, which daylight saving makes an hour longer or shorter.
        return (seconds // _DAY_S, "day") if seconds % _DAY_S == 0 else (seconds, "second")
    days = count * 7 if unit == "w" else count
    return (1, "month") if days == 30 else (days, "day")


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """A time zone by its IANA name; raises ValueError for a name that nobody knows."""
    if name.upper() == "UTC":
        return UTC  # there is none to be read on machines without the zones' files
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as failure:
        raise ValueError(
            f"{name!r} is no time zone that this machine knows; write an IANA name as Asia/Tokyo, or install tzdata"
        ) from failure


def _midnight(day: date, zone: tzinfo) -> int:
    # The first of two midnights, and the moment of the change where daylight saving skips midnight: PEP 495's fold=0.
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _months(count: int, today: date, zone: tzinfo) -> Window:
    first = (today.year * 12 + today.month - 1) // count * count
    return _midnight(_month(first), zone), _midnight(_month(first + count), zone)


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def _days(count: int, today: date, zone: tzinfo) -> Window:
    # Day 1 of Python's calendar is a Monday: sevens of days begin on Mondays.
    first = date.fromordinal(max(1, (today.toordinal() - 1) // count * count + 1))
    return _midnight(first, zone), _midnight(first + timedelta(days=count), zone)


def _seconds(count: int, today: date, zone: tzinfo, now: int) -> Window:
    if count > _DAY_S:  # no whole number of days: counted from 1970
        begin = now // count * count
        return begin, begin + count
    midnight, next_midnight = _midnight(today, zone), _midnight(today + timedelta(days=1), zone)
    begin = midnight + (now - midnight) // count * count
    return begin, min(begin + count, next_midnight)
