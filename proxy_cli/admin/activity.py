"""What each day has cost, with its models, providers and keys: LiteLLM's daily activity.

Owns one answer for users, teams, tags, customers and organizations, which differ only in what the sums are taken of.
Rule: a page holds whole days, newest first, and its totals are those of its days, so that whoever adds pages up counts
nothing twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select

from proxy_cli.admin.base import Ask, Office, Section, page, texts
from proxy_cli.admin.filters import (
    Condition,
    among,
    both,
    days,
    key_names,
    of_keys,
    own,
    seen_by,
    team_names,
    user_names,
    within,
)
from proxy_cli.money import usd_of
from proxy_cli.shapes import Json
from proxy_cli.store.tables import DAILY, DAILY_TAGS

MOST_DAYS: Final = 1000  # of one page
_COUNTED: Final = (
    "nano",
    "requests",
    "failed",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_creation_tokens",
)
Found = Any  # a row of a query, by the names of its columns
Sums = dict[str, int]


@dataclass(frozen=True, slots=True)
class View:
    """Whose activity is asked for: the sums, the column that says who, and what the query calls it."""

    name: str
    table: Table
    column: str | None  # None: nobody is told apart
    ids: tuple[str, ...]  # parameters that name some of them
    without: str | None = None  # the parameter that leaves some out


USER: Final = View("user", DAILY, None, ("user_id",))
TEAM: Final = View("team", DAILY, "team_id", ("team_ids", "team_id"), "exclude_team_ids")
TAG: Final = View("tag", DAILY_TAGS, "tag", ("tags",))
CUSTOMER: Final = View("customer", DAILY, "end_user", ("end_user_ids", "end_user_id"), "exclude_end_user_ids")
ORGANIZATION: Final = View("organization", DAILY, "organization_id", ("organization_ids",), "exclude_organization_ids")
_DIMENSIONS: Final = {"models": "model", "model_groups": "model_group", "providers": "provider"}


def metrics(sums: Mapping[str, int]) -> dict[str, Json]:
    """Sums under LiteLLM's names."""
    return {
        "spend": usd_of(sums.get("nano", 0)),
        "prompt_tokens": sums.get("prompt_tokens", 0),
        "completion_tokens": sums.get("completion_tokens", 0),
        "cache_read_input_tokens": sums.get("cached_tokens", 0),
        "cache_creation_input_tokens": sums.get("cache_creation_tokens", 0),
        "total_tokens": sums.get("prompt_tokens", 0) + sums.get("completion_tokens", 0),
        "successful_requests": sums.get("requests", 0) - sums.get("failed", 0),
        "failed_requests": sums.get("failed", 0),
        "api_requests": sums.get("requests", 0),
    }


class Tally:
    """Sums of some days, put together from rows of the daily sums; made for one answer."""

    def __init__(self, keys: Mapping[str, Json], names: Mapping[str, Json]) -> None:
        self._keys = keys
        self._names = names
        self.days: dict[str, Sums] = {}
        self._parts: dict[tuple[str, str], dict[str, tuple[Sums, dict[str, Sums]]]] = {}

    def add(self, dimension: str, rows: Iterable[Found]) -> None:
        """Take in rows of one dimension; each row is a day, a value of it, and a key."""
        for row in rows:
            entries = self._parts.setdefault((row.day, dimension), {})
            sums, by_key = entries.setdefault(row.of, ({}, {}))
            _add(sums, row)
            _add(by_key.setdefault(row.key, {}), row)
            if dimension == "models":
                _add(self.days.setdefault(row.day, {}), row)

    def shown(self, day: str) -> dict[str, Json]:
        """One day as it is answered."""
        breakdown: dict[str, Json] = {name: {} for name in (*_DIMENSIONS, "entities", "mcp_servers", "endpoints")}
        of_keys: dict[str, Sums] = {}
        for dimension in (*_DIMENSIONS, "entities"):
            for value, (sums, by_key) in self._parts.get((day, dimension), {}).items():
                breakdown[dimension][value] = {
                    "metrics": metrics(sums),
                    "metadata": self._names.get(value, {}) if dimension == "entities" else {},
                    "api_key_breakdown": {key: self._key(key, each) for key, each in by_key.items()},
                }
                if dimension == "models":
                    for key, each in by_key.items():
                        _merge(of_keys.setdefault(key, {}), each)
        breakdown["api_keys"] = {key: self._key(key, sums) for key, sums in of_keys.items()}
        return {"date": day, "metrics": metrics(self.days[day]), "breakdown": breakdown}

    def totals(self) -> dict[str, Json]:
        """The sums of all of these days."""
        sums: Sums = {}
        for each in self.days.values():
            _merge(sums, each)
        named = metrics(sums)
        return {f"total_{name}" if not name.startswith("total_") else name: value for name, value in named.items()}

    def _key(self, key: str, sums: Sums) -> Json:
        return {"metrics": metrics(sums), "metadata": self._keys.get(key) or {"key_alias": None, "team_id": None}}


def _add(sums: Sums, row: Found) -> None:
    for name in _COUNTED:
        sums[name] = sums.get(name, 0) + int(getattr(row, name, 0))


def _merge(sums: Sums, others: Sums) -> None:
    for name, value in others.items():
        sums[name] = sums.get(name, 0) + value


def _rows(connection: Connection, table: Table, column: str, condition: Condition) -> list[Found]:
    """The sums of a condition by day, column and key."""
    summed = [func.sum(table.c[name]).label(name) for name in _COUNTED if name in table.c]
    query = select(table.c.day, table.c[column].label("of"), table.c.key, *summed).where(condition)
    groups = dict.fromkeys((table.c.day, table.c[column], table.c.key))
    return list(connection.execute(query.group_by(*groups)).all())


def _wanted(connection: Connection, view: View, ask: Ask) -> Condition:
    """What a question is about, as far as its caller may see it."""
    table = view.table
    named = [each for name in view.ids for each in texts(ask, name)]
    conditions = [of_keys(table, ask), among(table, "model", texts(ask, "model"))]
    if view is USER:
        conditions.append(among(table, "user_id", named))
        # Whoever leads a team sees its sums as the team's, not among the own ones.
        conditions.append(seen_by(connection, table, ask.caller) if ask.caller.sees_all else own(table, ask.caller))
    else:
        assert view.column is not None, "only users are not told apart"
        conditions += [seen_by(connection, table, ask.caller), among(table, view.column, named)]
        conditions.append(table.c[view.column] != "")
        if view.without and (unwanted := texts(ask, view.without)):
            conditions.append(table.c[view.column].not_in(unwanted))
    return both(*conditions)


def _names(connection: Connection, view: View, rows: Iterable[Found]) -> dict[str, Json]:
    """What is said beside each team or user."""
    found = {row.of for row in rows}
    if view is TEAM:
        return {each: {"team_alias": name} for each, name in team_names(connection, found).items()}
    if view is USER:
        return {each: {"user_email": name} for each, name in user_names(connection, found).items()}
    return {}


def _tally(connection: Connection, view: View, condition: Condition) -> Tally:
    table = view.table
    entities = _rows(connection, table, view.column or "user_id", condition)
    keys = key_names(connection, {row.key for row in entities})
    tally = Tally(keys, _names(connection, view, entities))
    tally.add("entities", entities)
    for dimension, column in _DIMENSIONS.items():
        if column in table.c:
            tally.add(dimension, _rows(connection, table, column, condition))
    return tally


async def _answer(view: View, office: Office, ask: Ask, *, paged: bool = True) -> Json:
    first, last = days(office, ask)
    part = page(ask, "page_size", default=50, most=MOST_DAYS)

    def work(connection: Connection) -> Json:
        table = view.table
        condition = both(within(table, first, last), _wanted(connection, view, ask))
        listed = connection.scalars(select(table.c.day).where(condition).distinct().order_by(table.c.day.desc())).all()
        chosen = listed[part.skipped : part.skipped + part.size] if paged else listed
        tally = _tally(connection, view, both(condition, table.c.day.in_(chosen))) if chosen else Tally({}, {})
        pages = max(part.pages(len(listed)), 1) if paged else 1
        number = part.number if paged else 1
        return {
            "results": [tally.shown(day) for day in chosen],
            "metadata": {**tally.totals(), "page": number, "total_pages": pages, "has_more": number < pages},
        }

    return await office.store.read(work)


async def of_users(office: Office, ask: Ask) -> Json:
    """`/user/daily/activity`: the caller's days, or those of all or of one user for whoever sees all."""
    return await _answer(USER, office, ask)


async def of_users_in_one(office: Office, ask: Ask) -> Json:
    """`/user/daily/activity/aggregated`: the same without pages."""
    return await _answer(USER, office, ask, paged=False)


async def of_teams(office: Office, ask: Ask) -> Json:
    """`/team/daily/activity`: the days of teams."""
    return await _answer(TEAM, office, ask)


async def of_tags(office: Office, ask: Ask) -> Json:
    """`/tag/daily/activity`: the days of tags."""
    return await _answer(TAG, office, ask)


async def of_customers(office: Office, ask: Ask) -> Json:
    """`/customer/daily/activity`: the days of end users."""
    return await _answer(CUSTOMER, office, ask)


async def of_organizations(office: Office, ask: Ask) -> Json:
    """`/organization/daily/activity`: the days of organizations."""
    return await _answer(ORGANIZATION, office, ask)


_SECTION: Final = Section("spend")
ENDPOINTS: Final = (
    _SECTION.get("/user/daily/activity", "user_daily_activity", "What each day has cost", of_users),
    _SECTION.get(
        "/user/daily/activity/aggregated",
        "user_daily_activity_aggregated",
        "What each day has cost, without pages",
        of_users_in_one,
    ),
    _SECTION.get("/team/daily/activity", "team_daily_activity", "What each day of teams has cost", of_teams),
    _SECTION.get("/tag/daily/activity", "tag_daily_activity", "What each day of tags has cost", of_tags),
    _SECTION.get(
        "/customer/daily/activity", "customer_daily_activity", "What each day of end users has cost", of_customers
    ),
    _SECTION.get("/end_user/daily/activity", "end_user_daily_activity", "The same by its other name", of_customers),
    _SECTION.get(
        "/organization/daily/activity",
        "organization_daily_activity",
        "What each day of organizations has cost",
        of_organizations,
    ),
)
