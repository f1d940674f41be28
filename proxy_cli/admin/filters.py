"""Which part of the ledger and of its daily sums a question means, and which part of that its caller may see.

Owns: dates of a query, keys as people name them, and the narrowing to what is the caller's own. Rule: every question
that reads the ledger or its sums goes through `seen_by`; who does not see all finds what is foreign as if it were not
there.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, and_, false, or_, select, true

from proxy_cli.admin.base import Ask, Office, text, texts
from proxy_cli.admin.rights import organizations_of, teams_of
from proxy_cli.callers import Caller
from proxy_cli.errors import Unprocessable
from proxy_cli.shapes import Json
from proxy_cli.store.moments import from_iso
from proxy_cli.store.tables import KEYS, TEAMS, USERS

DAYS_SHOWN: Final = 30  # where a question names no days
_DAY_US: Final = 86_400_000_000
_LENGTH_OF_DAY: Final = 10  # 2026-01-31
Condition = ColumnElement[bool]


def moment(value: str, name: str, *, end: bool = False) -> int:
    """A date or moment of a query in microseconds; the end of a range that is a date is the end of that day."""
    written = value.strip()
    try:
        found = from_iso(written.replace(" ", "T", 1))
    except (ValueError, OverflowError):
        raise Unprocessable(
            f"{name} is {value[:40]!r}; write a date as 2026-01-31, or a moment as 2026-01-31 12:00:00 (UTC)",
            param=name,
        ) from None
    return found + _DAY_US if end and len(written) == _LENGTH_OF_DAY else found


def day_of(us: int) -> str:
    """The day of a moment, as the daily sums write it."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).date().isoformat()


def moments(ask: Ask) -> tuple[int | None, int | None]:
    """`start_date` and `end_date` as moments; the second one does not belong to the range."""
    begin, end = text(ask, "start_date"), text(ask, "end_date")
    found = moment(begin, "start_date") if begin else None, moment(end, "end_date", end=True) if end else None
    if found[0] is not None and found[1] is not None and found[0] > found[1]:
        raise Unprocessable(f"start_date {begin} is after end_date {end}; exchange them", param="start_date")
    return found


def days(office: Office, ask: Ask) -> tuple[str, str]:
    """The first and the last day of a question; of what it leaves open, the last 30 days."""
    begin, end = moments(ask)
    return days_of(office, begin, end)


def days_of(office: Office, begin: int | None, end: int | None) -> tuple[str, str]:
    """The first and the last day of a range of moments, whose end does not belong to it."""
    last = day_of(end - 1) if end is not None else datetime.fromtimestamp(office.wall(), UTC).date().isoformat()
    if begin is not None:
        return day_of(begin), last
    first = date.fromisoformat(last).toordinal() - DAYS_SHOWN
    return date.fromordinal(max(first, 1)).isoformat(), last


def within(table: Table, first: str, last: str) -> Condition:
    """The rows of daily sums of these days."""
    return table.c.day.between(first, last)


def digests(key: str) -> tuple[str, ...]:
    """What a key may be called in the store, as it was named: the key itself, or its digest."""
    digest = sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    return (digest,) if key.startswith("sk-") else (key, digest)


def of_keys(table: Table, ask: Ask, name: str = "api_key") -> Condition:
    """The rows of the keys that a query names; all where it names none."""
    named = [digest for key in texts(ask, name) for digest in digests(key)]
    return table.c.key.in_(named) if named else true()


def among(table: Table, column: str, values: list[str]) -> Condition:
    """The rows with one of these values; all where none is named."""
    return table.c[column].in_(values) if values else true()


def own(table: Table, caller: Caller) -> Condition:
    """The rows of a caller's own calls."""
    is_own: list[Condition] = []
    if caller.key:
        is_own.append(table.c.key == caller.key)
    if caller.user_id and "user_id" in table.c:
        is_own.append(table.c.user_id == caller.user_id)
    return or_(*is_own) if is_own else false()


def seen_by(connection: Connection, table: Table, caller: Caller) -> Condition:
    """The rows that a caller may see: all, or the own ones and those of teams and organizations in its hands."""
    if caller.sees_all:
        return true()
    found = [own(table, caller)]
    for column, led_by in (("team_id", teams_of), ("organization_id", organizations_of)):
        if column in table.c and (led := led_by(connection, caller.user_id, as_admin=True)):
            found.append(table.c[column].in_(led))
    return or_(*found)


def both(*conditions: Condition) -> Condition:
    """Rows that fulfil all of these."""
    return and_(true(), *conditions)


def key_names(connection: Connection, keys: set[str]) -> Mapping[str, Json]:
    """Of these keys what is shown beside their sums: alias and team."""
    if not keys:
        return {}
    query = select(KEYS.c.digest, KEYS.c.alias, KEYS.c.team_id).where(KEYS.c.digest.in_(keys))
    return {
        row.digest: {"key_alias": row.alias, "team_id": row.team_id or None} for row in connection.execute(query).all()
    }


def team_names(connection: Connection, teams: set[str]) -> dict[str, str]:
    """What these teams are called; a team without an alias by its id."""
    query = select(TEAMS.c.team_id, TEAMS.c.alias).where(TEAMS.c.team_id.in_(teams))
    return {row.team_id: row.alias or row.team_id for row in connection.execute(query).all()}


def user_names(connection: Connection, users: set[str]) -> dict[str, str]:
    """The e-mail addresses of these users, of those that have one."""
    query = select(USERS.c.user_id, USERS.c.email).where(USERS.c.user_id.in_(users), USERS.c.email.is_not(None))
    return {row.user_id: row.email for row in connection.execute(query).all()}
