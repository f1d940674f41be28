"""Customers: those on whose behalf a caller asks, named in a request's `user` field; LiteLLM's end users.

Owns: `/customer/*`, and the same under `/end_user/*`. Rule: a customer has limits of his own or those of a named
budget; what is said for the one takes the other's place only where it is said so.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, delete, select, update

from proxy_cli.admin import sums
from proxy_cli.admin.base import (
    LONGEST_ID,
    Ask,
    Endpoint,
    Flag,
    Id,
    Map,
    Names,
    Office,
    Row,
    Section,
    Usd,
    given,
    merged,
    text,
)
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
from proxy_cli.admin.rights import missing
from proxy_cli.admin.shown import budgets_of, customer_rows
from proxy_cli.callers import Caller
from proxy_cli.errors import InvalidRequest
from proxy_cli.money import nano_of
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import END_USERS
from proxy_cli.store.writing import upsert

Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
_PREFIXES: Final = ("customer", "end_user")
_TEXTS: Final = ("alias", "budget_id")
_KEPT_ONLY: Final = frozenset({"object_permission"})


class CustomerFields(Limits, kw_only=True):
    """What can be said of a customer."""

    alias: Id = UNSET
    blocked: Flag = UNSET
    budget_id: Id = UNSET
    allowed_model_region: Literal["eu", "us"] | UnsetType | None = UNSET
    default_model: Id = UNSET
    models: Names = UNSET
    object_permission: Map = UNSET


class NewCustomer(CustomerFields, kw_only=True):
    """A customer to be made known."""

    user_id: Name
    spend: Usd = UNSET


class CustomerChange(CustomerFields, kw_only=True):
    """What is to be different; null takes a field away."""

    user_id: Name


class CustomerNames(msgspec.Struct, kw_only=True):
    """Which customers are meant."""

    user_ids: Annotated[list[Name], Meta(min_length=1, max_length=500)]


async def new(office: Office, ask: Ask) -> Json:
    """Make a customer known before his first request."""
    body: NewCustomer = ask.body
    changes = given(body, "user_id", "spend")
    _check(changes)

    def work(connection: Connection) -> Json:
        _check_beside(connection, {}, changes)
        row = upsert(END_USERS).values(user_id=body.user_id, **_values({}, changes), **made_by(ask.caller))
        if not connection.execute(row.on_conflict_do_nothing()).rowcount:
            raise InvalidRequest(
                f"Customer already exists: {body.user_id!r}; change it with POST /customer/update", param="user_id"
            )
        if isinstance(body.spend, float):
            _set_spent(office, connection, body.user_id, body.spend)
        say_changed(connection, "end_user", body.user_id)
        return _shown(office, connection, [body.user_id])[0]

    shown = await office.store.write(work)
    office.forget("end_user", body.user_id)
    return shown


def _set_spent(office: Office, connection: Connection, user_id: str, usd: float) -> None:
    """Begin with what has been spent elsewhere."""
    row = _rows(connection, [user_id])[0]
    budget = budgets_of(connection, [row["budget_id"]]).get(row["budget_id"])
    period = sums.period_of(row["fields"], budget["fields"] if budget else None)
    sums.set_spent(connection, ("end_user", user_id, sums.window(office, period)), nano_of(usd))


async def change(office: Office, ask: Ask) -> Json:
    """Change what a customer may."""
    body: CustomerChange = ask.body
    changes = given(body, "user_id")
    _check(changes)

    def work(connection: Connection) -> Json:
        former = _to_change(connection, [body.user_id])[0]
        _check_beside(connection, former, changes)
        values = {**_values(former["fields"], changes), **changed_by(ask.caller)}
        connection.execute(update(END_USERS).where(END_USERS.c.user_id == body.user_id).values(**values))
        say_changed(connection, "end_user", body.user_id)
        return _shown(office, connection, [body.user_id])[0]

    shown = await office.store.write(work)
    office.forget("end_user", body.user_id)
    return shown


async def info(office: Office, ask: Ask) -> Json:
    """One customer."""
    user_id = text(ask, "end_user_id")
    if user_id is None:
        raise InvalidRequest("say which customer: /customer/info?end_user_id=...", param="end_user_id")
    return (await office.store.read(lambda connection: _shown(office, connection, [user_id])))[0]


async def listed(office: Office, _ask: Ask) -> Json:
    """All customers that are known, the oldest first."""

    def work(connection: Connection) -> Json:
        rows = many(connection, select(END_USERS).order_by(END_USERS.c.created_at, END_USERS.c.user_id))
        return _with_budgets(office, connection, rows)

    return await office.store.read(work)


async def block(office: Office, ask: Ask) -> Json:
    """Refuse calls on behalf of customers, be they known yet or not."""
    body: CustomerNames = ask.body

    def work(connection: Connection) -> Json:
        _set_blocked(connection, ask.caller, body.user_ids, blocked=True)
        return {"blocked_users": _shown(office, connection, body.user_ids)}

    shown = await office.store.write(work)
    office.forget("end_user", *body.user_ids)
    return shown


async def unblock(office: Office, ask: Ask) -> Json:
    """Let calls on behalf of customers through again; the ids of those that stay blocked."""
    body: CustomerNames = ask.body

    def work(connection: Connection) -> Json:
        _to_change(connection, body.user_ids)
        _set_blocked(connection, ask.caller, body.user_ids, blocked=False)
        query = select(END_USERS.c.user_id).where(END_USERS.c.blocked.is_(True)).order_by(END_USERS.c.user_id)
        return {"blocked_users": list(connection.execute(query).scalars())}

    shown = await office.store.write(work)
    office.forget("end_user", *body.user_ids)
    return shown


def _set_blocked(connection: Connection, caller: Caller, user_ids: Sequence[str], *, blocked: bool) -> None:
    for user_id in dict.fromkeys(user_ids):
        row = upsert(END_USERS).values(user_id=user_id, blocked=blocked, fields={}, **made_by(caller))
        set_ = {"blocked": blocked, **changed_by(caller)}
        connection.execute(row.on_conflict_do_update(index_elements=["user_id"], set_=set_))
        say_changed(connection, "end_user", user_id)


async def remove(office: Office, ask: Ask) -> Json:
    """Forget customers and their limits, all of them or none; what they have spent stays in the ledger."""
    body: CustomerNames = ask.body
    user_ids = list(dict.fromkeys(body.user_ids))

    def work(connection: Connection) -> None:
        _to_change(connection, user_ids)
        connection.execute(delete(END_USERS).where(END_USERS.c.user_id.in_(user_ids)))
        for user_id in user_ids:
            say_changed(connection, "end_user", user_id)

    await office.store.write(work)
    office.forget("end_user", *user_ids)
    return {"deleted_customers": len(user_ids), "message": f"deleted the customers {', '.join(user_ids)}"}


def _check(changes: Mapping[str, Json]) -> None:
    check_limits(changes)
    if changes.get("blocked", False) is None:
        raise InvalidRequest("blocked is null; give true or false", param="blocked")


def _check_beside(connection: Connection, former: Row, changes: Mapping[str, Json]) -> None:
    """Refuse a budget that is not there, and one beside a limit of money of the customer's own."""
    require_budget(connection, changes.get("budget_id"))
    after = {**former.get("fields", {}), "budget_id": former.get("budget_id"), **changes}
    if after.get("budget_id") and after.get("max_budget") is not None:
        raise InvalidRequest(
            "a customer has either a budget_id or a max_budget of his own; send the other one as null",
            param="max_budget",
        )


def _values(fields: Mapping[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """The columns that a change sets; `fields` are the present ones."""
    columns: dict[str, Json] = {name: changes[name] or "" for name in _TEXTS if name in changes}
    if "blocked" in changes:
        columns["blocked"] = changes["blocked"]
    rest = {name: value for name, value in changes.items() if name not in _TEXTS and name != "blocked"}
    return {**columns, "fields": merged(fields, rest)}


def _to_change(connection: Connection, user_ids: Sequence[str]) -> list[Row]:
    """Customers that stay as they are until this transaction ends. Raises NotFound for the first that is missing."""
    names = sorted(set(user_ids))
    connection.execute(select(END_USERS.c.user_id).where(END_USERS.c.user_id.in_(names)).with_for_update())
    return _rows(connection, user_ids)


def _rows(connection: Connection, user_ids: Sequence[str]) -> list[Row]:
    query = select(END_USERS).where(END_USERS.c.user_id.in_(user_ids))
    found = {row["user_id"]: row for row in many(connection, query)}
    for user_id in user_ids:
        if user_id not in found:
            raise missing("customer", user_id)
    return [found[user_id] for user_id in dict.fromkeys(user_ids)]


def _shown(office: Office, connection: Connection, user_ids: Sequence[str]) -> list[Json]:
    return _with_budgets(office, connection, _rows(connection, user_ids))


def _with_budgets(office: Office, connection: Connection, rows: Sequence[Row]) -> list[Json]:
    """Customers with the limits that hold for them where LiteLLM's clients look for them: in a budget."""
    shown = customer_rows(office, connection, rows)
    return [
        {**row, "litellm_budget_table": table_of(office, row)}
        if row["budget_id"] or any(row.get(name) is not None for name in LIMITS)
        else row
        for row in shown
    ]


_SECTION: Final = Section("customers", "admin", inert=_KEPT_ONLY)


def _under(prefix: str) -> tuple[Endpoint, ...]:
    get, post = _SECTION.get, _SECTION.post
    return (
        post(f"/{prefix}/new", f"{prefix}_new", "Make a customer known", new, NewCustomer),
        post(f"/{prefix}/update", f"{prefix}_update", "Change a customer", change, CustomerChange),
        get(f"/{prefix}/info", f"{prefix}_info", "Show a customer", info, access="viewer"),
        get(f"/{prefix}/list", f"{prefix}_list", "Show all customers", listed, access="viewer"),
        post(f"/{prefix}/block", f"{prefix}_block", "Refuse calls on behalf of customers", block, CustomerNames),
        post(
            f"/{prefix}/unblock",
            f"{prefix}_unblock",
            "Let calls on behalf of customers through again",
            unblock,
            CustomerNames,
        ),
        post(f"/{prefix}/delete", f"{prefix}_delete", "Delete customers", remove, CustomerNames),
    )


ENDPOINTS: Final = tuple(each for prefix in _PREFIXES for each in _under(prefix))
