"""Budgets that have a name of their own: one set of limits that keys, teams, customers and others can be given.

Owns: `/budget/*`. Refuses: to delete a budget that something still stands on, because its limits would be gone without
a word. Rule: whoever changes a budget changes the limits of all that refer to it, in the same transaction.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection, Select, Table, delete, func, select, update

from proxy_cli.access.periods import parse_period
from proxy_cli.admin import sums
from proxy_cli.admin.base import Ask, Count, Id, Map, Office, Row, Section, Text, Usd, given, merged, text, value_of
from proxy_cli.admin.rights import missing
from proxy_cli.admin.shown import budget_row, moment
from proxy_cli.callers import Caller
from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import NOTHING, Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.moments import now_us
from proxy_cli.store.tables import (
    BUDGETS,
    END_USERS,
    KEYS,
    MEMBERS,
    ORGANIZATION_MEMBERS,
    ORGANIZATIONS,
    TAGS,
    TEAMS,
    USERS,
)
from proxy_cli.store.writing import upsert

_MASTER: Final = "default_user_id"  # LiteLLM's name for whoever holds the master key
_DURATIONS: Final = ("budget_duration", "team_member_budget_duration", "team_member_key_duration")
# Whatever can stand on a budget, as people call it.
_HOLDERS: Final[Mapping[str, Table]] = {
    "key": KEYS,
    "user": USERS,
    "team": TEAMS,
    "team member": MEMBERS,
    "organization": ORGANIZATIONS,
    "organization member": ORGANIZATION_MEMBERS,
    "customer": END_USERS,
    "tag": TAGS,
}


class Limits(msgspec.Struct, kw_only=True):
    """What a budget limits; objects that can do without a named budget have the same fields."""

    max_budget: Usd = UNSET
    soft_budget: Usd = UNSET
    budget_duration: Text = UNSET
    max_parallel_requests: Count = UNSET
    tpm_limit: Count = UNSET
    rpm_limit: Count = UNSET
    model_max_budget: Map = UNSET


LIMITS: Final = Limits.__struct_fields__
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "max_budget": ("Float", "USD that may be spent; requests are refused once they are"),
    "soft_budget": ("Float", "USD from which on somebody is told; nothing is refused"),
    "budget_duration": ("String", "After how long the sum begins anew: 30s, 30m, 24h, 7d, 1mo"),
    "max_parallel_requests": ("Integer", "Requests under way at once"),
    "tpm_limit": ("Integer", "Tokens in any minute"),
    "rpm_limit": ("Integer", "Requests in any minute"),
    "model_max_budget": ("Object", "The same for single models, by their names"),
}


class NewBudget(Limits, kw_only=True):
    """A budget to be made."""

    budget_id: Id = UNSET


class BudgetChange(Limits, kw_only=True):
    """What is to be different; null takes a limit away."""

    budget_id: str


class BudgetNames(msgspec.Struct, kw_only=True):
    """Which budgets are asked for."""

    budgets: list[str]


class BudgetName(msgspec.Struct, kw_only=True):
    """Which budget is meant."""

    id: str


def check_limits(fields: Mapping[str, Json]) -> None:
    """Refuse a length of time that is none. Numbers have been looked at with the body."""
    for name in _DURATIONS:
        if (words := fields.get(name)) is not None:
            try:
                parse_period(words)
            except ValueError as error:
                raise InvalidRequest(f"{name}: {error}", param=name) from None


def require_budget(connection: Connection, budget_id: str | None) -> None:
    """Refuse to stand on a budget that is not there."""
    if budget_id and budget_of(connection, budget_id) is None:
        raise InvalidRequest(f"there is no budget {budget_id!r}; make it with POST /budget/new", param="budget_id")


def budget_of(connection: Connection, budget_id: str) -> Row | None:
    """A budget's row."""
    return one(connection, select(BUDGETS).where(BUDGETS.c.budget_id == budget_id))


def one(connection: Connection, query: Select[Any]) -> Row | None:
    """The row that a query finds; None where there is none."""
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def many(connection: Connection, query: Select[Any]) -> list[Row]:
    """The rows that a query finds."""
    return [dict(row) for row in connection.execute(query).mappings()]


def made_by(caller: Caller, at_us: int = 0) -> dict[str, Json]:
    """The columns that say who made a row, and when."""
    at_us = at_us or now_us()
    return {"created_at": at_us, "created_by": who(caller), **changed_by(caller, at_us)}


def changed_by(caller: Caller, at_us: int = 0) -> dict[str, Json]:
    """The columns that say who has changed a row last, and when."""
    return {"updated_at": at_us or now_us(), "updated_by": who(caller)}


def who(caller: Caller) -> str:
    """Under which name a change is put down."""
    return caller.user_id or _MASTER


def table_of(office: Office, row: Mapping[str, Json]) -> dict[str, Json]:
    """The limits that hold for an object as LiteLLM's clients look for them: in a budget, be it one of its own."""
    named: Mapping[str, Json] = row.get("litellm_budget_table") or NOTHING
    own = {name: value for name in LIMITS if (value := row.get(name)) not in (None, {})}
    limits = {**{name: named.get(name) for name in LIMITS}, **own}
    reset_at = moment(sums.reset_at_us(office, limits["budget_duration"]))
    return {**named, **limits, "budget_id": row.get("budget_id"), "budget_reset_at": reset_at}


async def new(office: Office, ask: Ask) -> Json:
    """Make a budget."""
    body: NewBudget = ask.body
    fields = merged({}, given(body, "budget_id"))
    check_limits(fields)
    budget_id = value_of(body.budget_id, "").strip() or str(uuid4())

    def work(connection: Connection) -> Json:
        row = upsert(BUDGETS).values(budget_id=budget_id, fields=fields, **made_by(ask.caller))
        if not connection.execute(row.on_conflict_do_nothing()).rowcount:
            raise InvalidRequest(
                f"there is a budget {budget_id!r} already; change it with POST /budget/update", param="budget_id"
            )
        say_changed(connection, "budget", budget_id)
        return _shown(office, connection, budget_id)

    shown = await office.store.write(work)
    office.forget("budget", budget_id)
    return shown


async def change(office: Office, ask: Ask) -> Json:
    """Change a budget, and with it the limits of all that stand on it."""
    body: BudgetChange = ask.body
    changes = given(body, "budget_id")
    check_limits(changes)

    def work(connection: Connection) -> Json:
        budget = _to_change(connection, body.budget_id)
        values = {"fields": merged(budget["fields"], changes), **changed_by(ask.caller)}
        connection.execute(update(BUDGETS).where(BUDGETS.c.budget_id == body.budget_id).values(**values))
        say_changed(connection, "budget", body.budget_id)
        return _shown(office, connection, body.budget_id)

    shown = await office.store.write(work)
    office.forget("budget", body.budget_id)
    return shown


async def info(office: Office, ask: Ask) -> Json:
    """The budgets that are asked for, as far as they are there."""
    body: BudgetNames = ask.body
    if not body.budgets:
        raise InvalidRequest('name the budgets: {"budgets": ["..."]}', param="budgets")
    query = select(BUDGETS).where(BUDGETS.c.budget_id.in_(body.budgets)).order_by(BUDGETS.c.budget_id)
    return await office.store.read(lambda connection: _all(office, connection, query))


async def listed(office: Office, _ask: Ask) -> Json:
    """All budgets, the oldest first."""
    query = select(BUDGETS).order_by(BUDGETS.c.created_at, BUDGETS.c.budget_id)
    return await office.store.read(lambda connection: _all(office, connection, query))


async def settings(office: Office, ask: Ask) -> Json:
    """What can be set for a budget, and what is."""
    budget_id = text(ask, "budget_id")
    if budget_id is None:
        raise InvalidRequest("say which budget: /budget/settings?budget_id=...", param="budget_id")
    budget = await office.store.read(lambda connection: _existing(connection, budget_id))
    return [
        {
            "field_name": name,
            "field_type": kind,
            "field_description": words,
            "field_value": budget["fields"].get(name),
            "stored_in_db": name in budget["fields"],
            "field_default_value": None,
        }
        for name, (kind, words) in _KINDS.items()
    ]


async def remove(office: Office, ask: Ask) -> Json:
    """Take away a budget that nothing stands on."""
    body: BudgetName = ask.body

    def work(connection: Connection) -> Json:
        shown = budget_row(office, _to_change(connection, body.id))
        if holders := _holders(connection, body.id):
            raise InvalidRequest(
                f"the budget {body.id!r} still limits {holders}; give them another one first", code="budget_in_use"
            )
        connection.execute(delete(BUDGETS).where(BUDGETS.c.budget_id == body.id))
        say_changed(connection, "budget", body.id)
        return shown

    shown = await office.store.write(work)
    office.forget("budget", body.id)
    return shown


def _holders(connection: Connection, budget_id: str) -> str:
    """What stands on a budget, in words."""
    found = []
    for name, table in _HOLDERS.items():
        query = select(func.count()).select_from(table).where(table.c.budget_id == budget_id)
        if count := connection.execute(query).scalar_one():
            found.append(f"{count} {name}{'s' if count > 1 else ''}")
    return ", ".join(found)


def _to_change(connection: Connection, budget_id: str) -> Row:
    """A budget that stays as it is until this transaction ends, so that of two changes at once none is lost."""
    connection.execute(select(BUDGETS.c.budget_id).where(BUDGETS.c.budget_id == budget_id).with_for_update())
    return _existing(connection, budget_id)


def _existing(connection: Connection, budget_id: str) -> Row:
    budget = budget_of(connection, budget_id)
    if budget is None:
        raise missing("budget", budget_id)
    return budget


def _shown(office: Office, connection: Connection, budget_id: str) -> Json:
    return budget_row(office, _existing(connection, budget_id))


def _all(office: Office, connection: Connection, query: Select[Any]) -> Json:
    return [budget_row(office, row) for row in many(connection, query)]


_SECTION: Final = Section("budgets", "admin")
ENDPOINTS: Final = (
    _SECTION.post("/budget/new", "budget_new", "Make a budget", new, NewBudget),
    _SECTION.post("/budget/update", "budget_update", "Change a budget", change, BudgetChange),
    _SECTION.post("/budget/info", "budget_info", "Show budgets", info, BudgetNames, access="viewer"),
    _SECTION.get("/budget/list", "budget_list", "Show all budgets", listed, access="viewer"),
    _SECTION.get(
        "/budget/settings", "budget_settings", "What can be set for a budget, and what is", settings, access="viewer"
    ),
    _SECTION.post("/budget/delete", "budget_delete", "Delete a budget that nothing stands on", remove, BudgetName),
)
