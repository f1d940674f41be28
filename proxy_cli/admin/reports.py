"""What was spent in all: by day, key, team, model, provider, end user and tag, for whoever sees everything.

Owns LiteLLM's reports (`/global/spend/...`, `/global/activity...`, `/spend/tags`). Rule: they read the daily sums,
which have a row for each day and combination, and never the ledger, which has one for each request.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Connection, func, select

from proxy_cli.admin.base import Ask, Office, Section, choice, number, text, texts
from proxy_cli.admin.filters import (
    Condition,
    among,
    both,
    days,
    days_of,
    digests,
    key_names,
    moment,
    of_keys,
    seen_by,
    team_names,
    within,
)
from proxy_cli.admin.sums import ADJUSTMENT
from proxy_cli.money import usd_of
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import DAILY, DAILY_TAGS, KEYS, SPEND
from proxy_cli.store.writing import upsert

MOST_ROWS: Final = 1000
_UNASSIGNED: Final = "Unassigned"
_RESET: Final = ("key", "key_window", "key_model", "team", "team_window", "team_model", "team_member")
_NANO: Final = func.sum(DAILY.c.nano).label("nano")
_REQUESTS: Final = func.sum(DAILY.c.requests).label("requests")
_PROMPT: Final = func.sum(DAILY.c.prompt_tokens).label("prompt_tokens")
_COMPLETION: Final = func.sum(DAILY.c.completion_tokens).label("completion_tokens")
Found = Any  # a row of a query, by the names of its columns
Grouped = Literal["team", "customer", "api_key", "internal_user"]


class EndUsers(msgspec.Struct, kw_only=True):
    """Which end users are asked for."""

    api_key: str | None = None
    startTime: str | None = None  # noqa: N815 - LiteLLM's name
    endTime: str | None = None  # noqa: N815


def _usd(row: Found) -> float:
    return usd_of(int(row.nano))


async def total(office: Office, _ask: Ask) -> Json:
    """`/global/spend`: what the whole proxy has spent, and its budget."""
    nano = await office.store.read(_proxy_nano)
    return {"spend": usd_of(nano), "max_budget": office.config.litellm_settings.max_budget}


def _proxy_nano(connection: Connection) -> int:
    """Of the present window of the proxy's budget; where it has none, of all days."""
    of_proxy = (SPEND.c.kind == "proxy") & (SPEND.c.id == "")
    newest = select(func.max(SPEND.c.window)).where(of_proxy).scalar_subquery()
    nano = connection.scalar(select(func.sum(SPEND.c.nano)).where(of_proxy, SPEND.c.window == newest))
    if nano is None:
        nano = connection.scalar(select(func.sum(DAILY.c.nano)))
    return int(nano or 0)


async def by_day(office: Office, ask: Ask) -> Json:
    """`/global/spend/logs`: each of the last 30 days, or of the named ones; of one key where it is named."""
    first, last = days(office, ask)
    key = text(ask, "api_key")

    def work(connection: Connection) -> Json:
        condition = both(within(DAILY, first, last), of_keys(DAILY, ask))
        query = select(DAILY.c.day, _NANO).where(condition).group_by(DAILY.c.day).order_by(DAILY.c.day)
        of_key = {"api_key": key} if key else {}
        return [{"date": row.day, "spend": _usd(row), **of_key} for row in connection.execute(query).all()]

    return await office.store.read(work)


async def top_keys(office: Office, ask: Ask) -> Json:
    """`/global/spend/keys`: the keys that have spent most."""
    first, last = days(office, ask)
    most = number(ask, "limit", 10, most=MOST_ROWS)

    def work(connection: Connection) -> Json:
        rows = _top(connection, "key", within(DAILY, first, last), most)
        query = select(KEYS.c.digest, KEYS.c.alias, KEYS.c.hint).where(KEYS.c.digest.in_([row.of for row in rows]))
        names = {row.digest: row for row in connection.execute(query).all()}
        return [
            {
                "api_key": row.of,
                "key_alias": names[row.of].alias if row.of in names else None,
                "key_name": names[row.of].hint if row.of in names else None,
                "total_spend": _usd(row),
            }
            for row in rows
        ]

    return await office.store.read(work)


def _top(connection: Connection, column: str, condition: Condition, most: int) -> list[Found]:
    query = select(DAILY.c[column].label("of"), _NANO, _REQUESTS).where(condition).group_by(DAILY.c[column])
    return list(connection.execute(query.order_by(_NANO.desc(), DAILY.c[column]).limit(most)).all())


async def top_models(office: Office, ask: Ask) -> Json:
    """`/global/spend/models`: the models that have cost most."""
    first, last = days(office, ask)
    most = number(ask, "limit", 10, most=MOST_ROWS)
    rows = await office.store.read(lambda connection: _top(connection, "model", within(DAILY, first, last), most))
    return [{"model": row.of, "total_spend": _usd(row)} for row in rows]


async def by_provider(office: Office, ask: Ask) -> Json:
    """`/global/spend/provider`: what each provider has cost."""
    first, last = days(office, ask)
    rows = await office.store.read(
        lambda connection: _top(connection, "provider", within(DAILY, first, last), MOST_ROWS)
    )
    return [{"provider": row.of, "spend": _usd(row)} for row in rows]


async def by_team(office: Office, ask: Ask) -> Json:
    """`/global/spend/teams`: what each team has spent, by day and in all."""
    first, last = days(office, ask)

    def work(connection: Connection) -> Json:
        query = select(DAILY.c.day, DAILY.c.team_id, _NANO).where(within(DAILY, first, last))
        rows = connection.execute(query.group_by(DAILY.c.day, DAILY.c.team_id).order_by(DAILY.c.day)).all()
        names = {"": _UNASSIGNED, **team_names(connection, {row.team_id for row in rows if row.team_id})}
        return _team_days(rows, names)

    return await office.store.read(work)


def _team_days(rows: Iterable[Found], names: Mapping[str, str]) -> Json:
    spent: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = {}
    for row in rows:
        name = names.get(row.team_id, row.team_id)
        day = spent.setdefault(row.day, {})
        day[name] = day.get(name, 0) + int(row.nano)
        totals[row.team_id] = totals.get(row.team_id, 0) + int(row.nano)
    return {
        "daily_spend": [
            {"date": day, **{name: usd_of(nano) for name, nano in of.items()}} for day, of in spent.items()
        ],
        "teams": sorted({names.get(team, team) for team in totals}),
        "total_spend_per_team": [
            {"team_id": team or _UNASSIGNED, "team_alias": names.get(team, team), "total_spend": usd_of(nano)}
            for team, nano in sorted(totals.items(), key=lambda each: (-each[1], each[0]))
        ],
    }


async def end_users(office: Office, ask: Ask) -> Json:
    """`POST /global/spend/end_users`: the end users who have cost most."""
    body: EndUsers = ask.body or EndUsers()
    begin = moment(body.startTime, "startTime") if body.startTime else None
    end = moment(body.endTime, "endTime", end=True) if body.endTime else None
    first, last = days_of(office, begin, end)
    condition = both(
        within(DAILY, first, last),
        DAILY.c.end_user != "",
        among(DAILY, "key", list(digests(body.api_key)) if body.api_key else []),
    )
    rows = await office.store.read(lambda connection: _top(connection, "end_user", condition, 100))
    return [{"end_user": row.of, "total_count": int(row.requests), "total_spend": _usd(row)} for row in rows]


async def end_user_names(office: Office, _ask: Ask) -> Json:
    """`/global/all_end_users`: every end user who was named, the newest days' first thousand."""
    query = select(DAILY.c.end_user).where(DAILY.c.end_user != "").distinct().limit(MOST_ROWS)
    return {"end_users": await office.store.read(lambda connection: list(connection.scalars(query)))}


def _tags(connection: Connection, office: Office, ask: Ask) -> list[Found]:
    first, last = days(office, ask)
    nano, requests = func.sum(DAILY_TAGS.c.nano).label("nano"), func.sum(DAILY_TAGS.c.requests).label("requests")
    condition = both(
        within(DAILY_TAGS, first, last),
        seen_by(connection, DAILY_TAGS, ask.caller),
        among(DAILY_TAGS, "tag", texts(ask, "tags")),
    )
    query = select(DAILY_TAGS.c.tag, nano, requests).where(condition).group_by(DAILY_TAGS.c.tag)
    return list(connection.execute(query.order_by(nano.desc(), DAILY_TAGS.c.tag).limit(MOST_ROWS)).all())


async def tags(office: Office, ask: Ask) -> Json:
    """`/spend/tags`: what the calls with each tag have cost."""
    rows = await office.store.read(lambda connection: _tags(connection, office, ask))
    return [
        {"individual_request_tag": row.tag, "log_count": int(row.requests), "total_spend": _usd(row)} for row in rows
    ]


async def global_tags(office: Office, ask: Ask) -> Json:
    """`/global/spend/tags`: the same, as LiteLLM's page reads it."""
    rows = await office.store.read(lambda connection: _tags(connection, office, ask))
    return {
        "spend_per_tag": [{"name": row.tag, "spend": _usd(row), "log_count": int(row.requests)} for row in rows],
    }


async def tag_names(office: Office, _ask: Ask) -> Json:
    """`/global/spend/all_tag_names`: the tags that calls came with."""
    query = select(DAILY_TAGS.c.tag).distinct().order_by(DAILY_TAGS.c.tag).limit(MOST_ROWS)
    return {"tag_names": await office.store.read(lambda connection: list(connection.scalars(query)))}


async def report(office: Office, ask: Ask) -> Json:
    """`/global/spend/report`: by day and team or customer, or by key, with the models."""
    first, last = days(office, ask)
    grouped = _grouped(ask)

    def work(connection: Connection) -> Json:
        condition = both(
            within(DAILY, first, last),
            of_keys(DAILY, ask),
            among(DAILY, "user_id", texts(ask, "internal_user_id")),
            among(DAILY, "team_id", texts(ask, "team_id")),
            among(DAILY, "end_user", texts(ask, "customer_id")),
        )
        match grouped:
            case "team":
                return _report_by_day(connection, condition, "team_id", "teams", "team_name")
            case "customer":
                return _report_by_day(connection, condition, "end_user", "customers", "customer")
            case "api_key":
                return _report_by_model(connection, condition, "key", "api_key")
            case "internal_user":
                return _report_by_model(connection, condition, "user_id", "internal_user_id")

    return await office.store.read(work)


def _grouped(ask: Ask) -> Grouped:
    """What a report is grouped by: as it says, else as what it names."""
    if text(ask, "group_by") is None:
        if text(ask, "api_key"):
            return "api_key"
        if text(ask, "internal_user_id"):
            return "internal_user"
        if text(ask, "customer_id"):
            return "customer"
    match choice(ask, "group_by", ("team", "customer", "api_key"), "team"):
        case "customer":
            return "customer"
        case "api_key":
            return "api_key"
    return "team"


def _report_by_day(connection: Connection, condition: Condition, column: str, plural: str, singular: str) -> Json:
    of = DAILY.c[column]
    query = select(DAILY.c.day, of.label("of"), DAILY.c.model, DAILY.c.key, _NANO, _PROMPT, _COMPLETION)
    query = query.where(condition).group_by(DAILY.c.day, of, DAILY.c.model, DAILY.c.key)
    rows = connection.execute(query.order_by(DAILY.c.day, of, _NANO.desc(), DAILY.c.model, DAILY.c.key)).all()
    names = team_names(connection, {row.of for row in rows if row.of}) if column == "team_id" else {}
    by_day: dict[str, dict[str, list[Found]]] = {}
    for row in rows:
        name = names.get(row.of, row.of) or (_UNASSIGNED if column == "team_id" else "")
        by_day.setdefault(row.day, {}).setdefault(name, []).append(row)
    return [
        {
            "group_by_day": day,
            plural: [
                {singular: name, "total_spend": usd_of(sum(int(row.nano) for row in of)), "metadata": _models(of)}
                for name, of in groups.items()
            ],
        }
        for day, groups in by_day.items()
    ]


def _models(rows: Iterable[Found]) -> list[Json]:
    return [
        {
            "model": row.model,
            "spend": _usd(row),
            "total_tokens": int(row.prompt_tokens + row.completion_tokens),
            "api_key": row.key,
        }
        for row in rows
    ]


def _report_by_model(connection: Connection, condition: Condition, column: str, name: str) -> Json:
    of = DAILY.c[column]
    query = select(of.label("of"), DAILY.c.model, _NANO, _PROMPT, _COMPLETION).where(condition)
    groups: dict[str, list[Found]] = {}
    for row in connection.execute(query.group_by(of, DAILY.c.model).order_by(_NANO.desc(), of, DAILY.c.model)).all():
        groups.setdefault(row.of, []).append(row)
    known = key_names(connection, set(groups)) if column == "key" else {}
    return [{name: each, **known.get(each, {}), **_costs(rows)} for each, rows in groups.items()]


def _costs(rows: list[Found]) -> dict[str, Json]:
    return {
        "total_cost": usd_of(sum(int(row.nano) for row in rows)),
        "total_input_tokens": sum(int(row.prompt_tokens) for row in rows),
        "total_output_tokens": sum(int(row.completion_tokens) for row in rows),
        "model_details": [
            {
                "model": row.model,
                "total_cost": _usd(row),
                "total_input_tokens": int(row.prompt_tokens),
                "total_output_tokens": int(row.completion_tokens),
            }
            for row in rows
        ],
    }


async def activity(office: Office, ask: Ask) -> Json:
    """`/global/activity`: requests and tokens of each day."""
    first, last = days(office, ask)

    def work(connection: Connection) -> Json:
        query = select(DAILY.c.day, _REQUESTS, _PROMPT, _COMPLETION).where(within(DAILY, first, last))
        return _active(connection.execute(query.group_by(DAILY.c.day).order_by(DAILY.c.day)).all())

    return await office.store.read(work)


async def model_activity(office: Office, ask: Ask) -> Json:
    """`/global/activity/model`: the same for each name that was asked for, the busiest first."""
    first, last = days(office, ask)

    def work(connection: Connection) -> Json:
        query = select(DAILY.c.model_group.label("of"), DAILY.c.day, _REQUESTS, _PROMPT, _COMPLETION)
        query = query.where(within(DAILY, first, last)).group_by(DAILY.c.model_group, DAILY.c.day)
        groups: dict[str, list[Found]] = {}
        for row in connection.execute(query.order_by(DAILY.c.day, DAILY.c.model_group)).all():
            groups.setdefault(row.of, []).append(row)
        found = [{"model": name, **_active(rows)} for name, rows in groups.items()]
        return sorted(found, key=lambda each: -each["sum_api_requests"])

    return await office.store.read(work)


def _active(rows: Iterable[Found]) -> dict[str, Json]:
    listed = [
        {
            "date": date.fromisoformat(row.day).strftime("%b %d"),
            "api_requests": int(row.requests),
            "total_tokens": int(row.prompt_tokens + row.completion_tokens),
        }
        for row in rows
    ]
    return {
        "daily_data": listed,
        "sum_api_requests": sum(each["api_requests"] for each in listed),
        "sum_total_tokens": sum(each["total_tokens"] for each in listed),
    }


async def reset(office: Office, _ask: Ask) -> Json:
    """`POST /global/spend/reset`: keys and teams have spent nothing from now on; the ledger stays as it is."""
    await office.store.write(_reset)
    office.forget("spend", "")
    return {"message": "Spend for all API Keys and Teams reset successfully", "status": "success"}


def _reset(connection: Connection) -> None:
    """Every sum gets a counterpart that makes it nothing; what nodes count goes on unharmed."""
    counted = func.sum(SPEND.c.nano).label("nano")
    query = select(SPEND.c.kind, SPEND.c.id, SPEND.c.window, counted).where(SPEND.c.kind.in_(_RESET))
    query = query.where(SPEND.c.node != ADJUSTMENT).group_by(SPEND.c.kind, SPEND.c.id, SPEND.c.window)
    rows = connection.execute(query).all()
    if rows:
        adjusted = upsert(SPEND)
        adjusted = adjusted.on_conflict_do_update(
            index_elements=["kind", "id", "window", "node"], set_={"nano": adjusted.excluded.nano}
        )
        values = [
            {"kind": row.kind, "id": row.id, "window": row.window, "node": ADJUSTMENT, "nano": -int(row.nano)}
            for row in rows
        ]
        connection.execute(adjusted, values)
    say_changed(connection, "spend", "")


async def provider_budgets(_office: Office, _ask: Ask) -> Json:
    """`/provider/budgets`: budgets of providers, of which there are none here."""
    return {"providers": {}}


_SECTION: Final = Section("spend", "viewer")
ENDPOINTS: Final = (
    _SECTION.get("/spend/tags", "spend_tags", "What the calls with each tag have cost", tags, access="self"),
    _SECTION.get("/global/spend", "global_spend", "What the whole proxy has spent", total),
    _SECTION.get("/global/spend/logs", "global_spend_logs", "What each day has cost", by_day),
    _SECTION.get("/global/spend/keys", "global_spend_keys", "The keys that have spent most", top_keys),
    _SECTION.get("/global/spend/teams", "global_spend_teams", "What each team has spent", by_team),
    _SECTION.get("/global/spend/models", "global_spend_models", "The models that have cost most", top_models),
    _SECTION.get("/global/spend/provider", "global_spend_provider", "What each provider has cost", by_provider),
    _SECTION.post(
        "/global/spend/end_users", "global_spend_end_users", "The end users who have cost most", end_users, EndUsers
    ),
    _SECTION.get("/global/all_end_users", "global_all_end_users", "The end users who were named", end_user_names),
    _SECTION.get("/global/spend/tags", "global_spend_tags", "What the calls with each tag have cost", global_tags),
    _SECTION.get(
        "/global/spend/all_tag_names", "global_spend_all_tag_names", "The tags that calls came with", tag_names
    ),
    _SECTION.get("/global/spend/report", "global_spend_report", "What teams, customers or keys have spent", report),
    _SECTION.post(
        "/global/spend/reset", "global_spend_reset", "Let all keys and teams have spent nothing", reset, access="admin"
    ),
    _SECTION.get("/global/activity", "global_activity", "Requests and tokens of each day", activity),
    _SECTION.get("/global/activity/model", "global_activity_model", "The same for each model", model_activity),
    _SECTION.get("/provider/budgets", "provider_budgets", "Budgets of providers", provider_budgets),
)
