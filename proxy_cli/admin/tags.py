"""Tags: words that callers put on requests, with a budget for all requests that carry one.

Owns: `/tag/*`. Refuses: to say which deployments a tag means; that stands with the deployments, under `tags`. Rule: who
does not see all sees the tags that his own keys have used.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta
from sqlalchemy import ColumnElement, Connection, delete, false, func, select, true, update

from proxy_cli.admin import sums
from proxy_cli.admin.base import LONGEST_ID, Ask, Id, Map, Names, Office, Row, Section, Text, given, merged
from proxy_cli.admin.budgets import (
    LIMITS,
    Limits,
    changed_by,
    check_limits,
    made_by,
    many,
    require_budget,
    table_of,
)
from proxy_cli.admin.filters import days, moments, within
from proxy_cli.admin.rights import missing
from proxy_cli.admin.shown import budget_row, budgets_of, moment
from proxy_cli.callers import Caller
from proxy_cli.errors import InvalidRequest
from proxy_cli.money import usd_of
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import DAILY_TAGS, KEYS, TAGS
from proxy_cli.store.writing import upsert

Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
_SEEN_IN_REQUESTS: Final = "Seen in requests; nothing is set for it"


class TagFields(Limits, kw_only=True):
    """What can be said of a tag."""

    name: Name
    description: Text = UNSET
    budget_id: Id = UNSET
    models: Names = UNSET
    model_info: Map = UNSET


class TagNames(msgspec.Struct, kw_only=True):
    """Which tags are asked for."""

    names: Annotated[list[Name], Meta(min_length=1, max_length=500)]


class TagName(msgspec.Struct, kw_only=True):
    """Which tag is meant."""

    name: Name


async def new(office: Office, ask: Ask) -> Json:
    """Make a tag known, with limits for all requests that carry it."""
    body: TagFields = ask.body
    changes = _changes(body)

    def work(connection: Connection) -> Json:
        require_budget(connection, changes.get("budget_id"))
        row = upsert(TAGS).values(name=body.name, **_values({}, changes), **made_by(ask.caller))
        if not connection.execute(row.on_conflict_do_nothing()).rowcount:
            raise InvalidRequest(f"there is a tag {body.name!r} already; change it with POST /tag/update", param="name")
        say_changed(connection, "tag", body.name)
        return _shown(office, connection, [body.name])[body.name]

    tag = await office.store.write(work)
    office.forget("tag", body.name)
    return {"message": f"Tag {body.name} created successfully", "tag": tag}


async def change(office: Office, ask: Ask) -> Json:
    """Change what holds for a tag."""
    body: TagFields = ask.body
    changes = _changes(body)

    def work(connection: Connection) -> Json:
        require_budget(connection, changes.get("budget_id"))
        connection.execute(select(TAGS.c.name).where(TAGS.c.name == body.name).with_for_update())
        former = _rows(connection, [body.name])[body.name]
        values = {**_values(former["fields"], changes), **changed_by(ask.caller)}
        connection.execute(update(TAGS).where(TAGS.c.name == body.name).values(**values))
        say_changed(connection, "tag", body.name)
        return _shown(office, connection, [body.name])[body.name]

    tag = await office.store.write(work)
    office.forget("tag", body.name)
    return {"message": f"Tag {body.name} updated successfully", "tag": tag}


async def info(office: Office, ask: Ask) -> Json:
    """The tags that are asked for, by their names."""
    body: TagNames = ask.body
    return await office.store.read(lambda connection: _shown(office, connection, body.names))


async def remove(office: Office, ask: Ask) -> Json:
    """Take away what is set for a tag; requests may carry it still."""
    body: TagName = ask.body

    def work(connection: Connection) -> None:
        if not connection.execute(delete(TAGS).where(TAGS.c.name == body.name)).rowcount:
            raise missing("tag", body.name)
        say_changed(connection, "tag", body.name)

    await office.store.write(work)
    office.forget("tag", body.name)
    return {"message": f"Tag {body.name} deleted successfully"}


async def listed(office: Office, ask: Ask) -> Json:
    """The tags for which something is set, and after them those that were seen in requests."""
    begin, end = moments(ask)
    if (begin is None) != (end is None):
        raise InvalidRequest("give start_date and end_date together, or neither", param="start_date")
    dates = None if begin is None else days(office, ask)

    def work(connection: Connection) -> Json:
        used = _used(connection, ask, dates)
        rows = many(connection, select(TAGS).order_by(TAGS.c.name))
        if not ask.caller.sees_all:
            rows = [row for row in rows if row["name"] in used]
        stored = _all(office, connection, rows)
        return [
            *stored.values(),
            *(_seen(name, first, last) for name, (first, last) in used.items() if name not in stored),
        ]

    return await office.store.read(work)


def _used(connection: Connection, ask: Ask, dates: tuple[str, str] | None) -> dict[str, tuple[str, str]]:
    """The tags that the caller may know of from requests: the first day and the last."""
    query = (
        select(DAILY_TAGS.c.tag, func.min(DAILY_TAGS.c.day), func.max(DAILY_TAGS.c.day))
        .where(_of_own_keys(ask.caller))
        .where(within(DAILY_TAGS, *dates) if dates else true())
        .group_by(DAILY_TAGS.c.tag)
        .order_by(DAILY_TAGS.c.tag)
    )
    return {tag: (first, last) for tag, first, last in connection.execute(query)}


def _of_own_keys(caller: Caller) -> ColumnElement[bool]:
    if caller.sees_all:
        return true()
    if caller.user_id:
        return DAILY_TAGS.c.key.in_(select(KEYS.c.digest).where(KEYS.c.user_id == caller.user_id))
    return DAILY_TAGS.c.key == caller.key if caller.key else false()  # the master key's requests have none


def _seen(name: str, first: str, last: str) -> dict[str, Json]:
    return {
        "name": name,
        "description": _SEEN_IN_REQUESTS,
        "models": None,
        "created_at": f"{first}T00:00:00.000000Z",
        "updated_at": f"{last}T00:00:00.000000Z",
    }


def _changes(body: TagFields) -> dict[str, Json]:
    changes = given(body, "name", "models", "model_info")
    check_limits(changes)
    if body.models or body.model_info:
        raise InvalidRequest(
            "models get tags where they stand, under `tags` in their litellm_params; leave this out here",
            param="models",
        )
    return changes


def _values(fields: Mapping[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """The columns that a change sets; `fields` are the present ones."""
    columns = {"budget_id": changes["budget_id"] or ""} if "budget_id" in changes else {}
    rest = {name: value for name, value in changes.items() if name != "budget_id"}
    return {**columns, "fields": merged(fields, rest)}


def _rows(connection: Connection, names: Iterable[str]) -> dict[str, Row]:
    """Tags by their names. Raises NotFound for the first that is missing."""
    wanted = list(dict.fromkeys(names))
    found = {row["name"]: row for row in many(connection, select(TAGS).where(TAGS.c.name.in_(wanted)))}
    for name in wanted:
        if name not in found:
            raise missing("tag", name)
    return {name: found[name] for name in wanted}


def _shown(office: Office, connection: Connection, names: Iterable[str]) -> dict[str, Json]:
    return _all(office, connection, _rows(connection, names).values())


def _all(office: Office, connection: Connection, rows: Iterable[Row]) -> dict[str, Json]:
    """Tags as LiteLLM's clients know them, by their names; budgets and sums are read for all of them at once."""
    listed = list(rows)
    budgets = budgets_of(connection, (row["budget_id"] for row in listed))
    totals = {row["name"]: _total(office, row, budgets.get(row["budget_id"])) for row in listed}
    spent = sums.spent(connection, totals.values())
    return {
        row["name"]: _tag(office, row, budgets.get(row["budget_id"]), spent.get(totals[row["name"]], 0))
        for row in listed
    }


def _total(office: Office, row: Row, budget: Row | None) -> sums.Total:
    period = sums.period_of(row["fields"], budget["fields"] if budget else None)
    return "tag", row["name"], sums.window(office, period)


def _tag(office: Office, row: Row, budget: Row | None, nano: int) -> dict[str, Json]:
    fields, budget_id = row["fields"], row["budget_id"] or None
    named = budget_row(office, budget) if budget else None
    table = table_of(office, {**fields, "budget_id": budget_id, "litellm_budget_table": named})
    is_limited = budget is not None or any(fields.get(name) is not None for name in LIMITS)
    return {
        **{name: table[name] for name in LIMITS if table[name] is not None},
        "name": row["name"],
        "description": fields.get("description"),
        "models": [],
        "model_info": {},
        "spend": usd_of(nano),
        "budget_id": budget_id,
        "budget_reset_at": table["budget_reset_at"],
        "litellm_budget_table": table if is_limited else None,
        "created_at": moment(row["created_at"]),
        "created_by": row["created_by"] or None,
        "updated_at": moment(row["updated_at"]),
    }


_SECTION: Final = Section("tags", "admin")
ENDPOINTS: Final = (
    _SECTION.post("/tag/new", "tag_new", "Make a tag known, with limits", new, TagFields),
    _SECTION.post("/tag/update", "tag_update", "Change what holds for a tag", change, TagFields),
    _SECTION.post("/tag/info", "tag_info", "Show tags", info, TagNames, access="viewer"),
    _SECTION.post("/tag/delete", "tag_delete", "Take away what is set for a tag", remove, TagName),
    _SECTION.get("/tag/list", "tag_list", "Show the tags that you may know of", listed, access="self"),
)
