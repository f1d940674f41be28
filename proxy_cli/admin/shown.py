"""Rows of the store as LiteLLM's clients know them.

Owns: the shape of each kind of object in answers: every field that LiteLLM shows is there, empty where nothing is set.
Refuses: secrets; a key is shown by its hint, a password not at all. `token` alone is the digest of a key, because
clients name keys by it. Rule: what stands beside a row (its budget, its spend) is read for all rows at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select

from proxy_cli.admin import sums
from proxy_cli.admin.base import Office, Row, rows_of
from proxy_cli.money import usd_of
from proxy_cli.shapes import Json
from proxy_cli.store.moments import iso
from proxy_cli.store.tables import BUDGETS, MEMBERS, ORGANIZATION_MEMBERS

Shape = Mapping[str, Json]

_LIMITS: Final[Shape] = {
    "max_budget": None,
    "soft_budget": None,
    "budget_duration": None,
    "tpm_limit": None,
    "rpm_limit": None,
    "max_parallel_requests": None,
    "model_max_budget": {},
}
_KEY: Final[Shape] = {
    **_LIMITS,
    "models": [],
    "aliases": {},
    "config": {},
    "permissions": {},
    "metadata": {},
    "allowed_cache_controls": [],
    "allowed_routes": [],
    "model_spend": {},
    "budget_limits": None,
}
_USER: Final[Shape] = {**_LIMITS, "models": [], "metadata": {}, "model_spend": {}, "allowed_cache_controls": []}
_TEAM: Final[Shape] = {
    **_LIMITS,
    "models": [],
    "metadata": {},
    "model_spend": {},
    "model_id": None,
    "team_member_permissions": [],
    "litellm_model_table": None,
}
_ORGANIZATION: Final[Shape] = {"models": [], "metadata": {}, "model_spend": {}}
_CUSTOMER: Final[Shape] = {"allowed_model_region": None, "default_model": None}
_HIDDEN: Final = frozenset({"password"})


def moment(at_us: int | None) -> str | None:
    """A moment as text; None where there is none."""
    return iso(at_us) if at_us else None


def key_rows(office: Office, connection: Connection, rows: Sequence[Row]) -> list[dict[str, Json]]:
    """Keys. `token` is what they are called by; nothing else of them is a secret or leads to one."""
    beside = _Beside(office, connection, rows, "key", "digest")
    return [
        {
            **_fields(_KEY, row),
            "token": row["digest"],
            "key_name": row["hint"],
            "key_alias": row["alias"],
            "expires": moment(row["expires_at"]),
            "user_id": row["user_id"] or None,
            "team_id": row["team_id"] or None,
            "organization_id": row["organization_id"] or None,
            "blocked": row["blocked"],
            "soft_budget_cooldown": False,
            "status": _status(office, row),
            **beside.of(row),
            **_made(row),
        }
        for row in rows
    ]


def user_rows(office: Office, connection: Connection, rows: Sequence[Row]) -> list[dict[str, Json]]:
    """Users, with the ids of their teams and their places in organizations."""
    beside = _Beside(office, connection, rows, "user", "user_id")
    ids = [row["user_id"] for row in rows]
    teams = _lists(connection, MEMBERS.c.user_id, MEMBERS.c.team_id, ids)
    places = _places(connection, ids)
    return [
        {
            **_fields(_USER, row),
            "user_id": row["user_id"],
            "user_email": row["email"],
            "user_alias": row["alias"] or None,
            "user_role": row["role"] or None,
            "sso_user_id": row["sso_user_id"],
            "organization_id": row["organization_id"] or None,
            "teams": teams.get(row["user_id"], []),
            "organization_memberships": places.get(row["user_id"], []),
            **beside.of(row),
            **_made(row),
        }
        for row in rows
    ]


def team_rows(office: Office, connection: Connection, rows: Sequence[Row]) -> list[dict[str, Json]]:
    """Teams, with their members."""
    beside = _Beside(office, connection, rows, "team", "team_id")
    members = _members(connection, [row["team_id"] for row in rows])
    return [
        {
            **_fields(_TEAM, row),
            "team_id": row["team_id"],
            "team_alias": row["alias"] or None,
            "organization_id": row["organization_id"] or None,
            "blocked": row["blocked"],
            "admins": [],
            "members": [],  # LiteLLM's former way to name them
            "members_with_roles": members.get(row["team_id"], []),
            **beside.of(row),
            **_made(row),
        }
        for row in rows
    ]


def organization_rows(office: Office, connection: Connection, rows: Sequence[Row]) -> list[dict[str, Json]]:
    """Organizations; their limits are those of their budget."""
    beside = _Beside(office, connection, rows, "organization", "organization_id")
    return [
        {
            **_fields(_ORGANIZATION, row),
            "organization_id": row["organization_id"],
            "organization_alias": row["alias"] or None,
            **beside.of(row),
            **_made(row),
        }
        for row in rows
    ]


def customer_rows(office: Office, connection: Connection, rows: Sequence[Row]) -> list[dict[str, Json]]:
    """End users."""
    beside = _Beside(office, connection, rows, "end_user", "user_id")
    return [
        {
            **_fields(_CUSTOMER, row),
            "user_id": row["user_id"],
            "alias": row["alias"] or None,
            "blocked": row["blocked"],
            **beside.of(row),
            **_made(row),
        }
        for row in rows
    ]


def budget_row(office: Office, row: Row) -> dict[str, Json]:
    """A budget that several objects may stand on."""
    return {
        **_fields(_LIMITS, row),
        "budget_id": row["budget_id"],
        "budget_reset_at": moment(sums.reset_at_us(office, row["fields"].get("budget_duration"))),
        **_made(row),
    }


class _Beside:
    """What stands beside rows: budgets and sums, read for all of them at once."""

    def __init__(self, office: Office, connection: Connection, rows: Sequence[Row], kind: str, name: str) -> None:
        self._office = office
        self._kind = kind
        self._name = name
        self._budgets = budgets_of(connection, (row["budget_id"] for row in rows))
        self._spent = sums.spent(connection, (self._total(row) for row in rows))

    def of(self, row: Row) -> dict[str, Json]:
        """The fields of a row that come from beside it."""
        budget = self._budgets.get(row["budget_id"])
        return {
            "spend": usd_of(self._spent.get(self._total(row), 0)),
            "budget_id": row["budget_id"] or None,
            "budget_reset_at": moment(sums.reset_at_us(self._office, self._period(row))),
            "litellm_budget_table": self._table(row, budget),
        }

    def _table(self, row: Row, budget: Row | None) -> Json:
        if budget is not None:
            return budget_row(self._office, budget)
        if "soft_budget" not in row["fields"]:
            return None
        # LiteLLM keeps these in a budget of the object's own, and its clients look for them there.
        limits = {name: row["fields"].get(name) for name in ("max_budget", "soft_budget", "budget_duration")}
        return {**_LIMITS, **limits, "budget_id": None}

    def _total(self, row: Row) -> sums.Total:
        return self._kind, row[self._name], sums.window(self._office, self._period(row))

    def _period(self, row: Row) -> object:
        budget = self._budgets.get(row["budget_id"])
        return sums.period_of(row["fields"], budget["fields"] if budget else None)


def budgets_of(connection: Connection, ids: Iterable[str]) -> dict[str, Row]:
    """The budgets of these ids that there are."""
    wanted = sorted({each for each in ids if each})
    if not wanted:
        return {}
    query = select(BUDGETS).where(BUDGETS.c.budget_id.in_(wanted))
    return {row["budget_id"]: row for row in rows_of(connection, query)}


def _fields(shape: Shape, row: Row) -> dict[str, Json]:
    return {**shape, **{name: value for name, value in row["fields"].items() if name not in _HIDDEN}}


def _made(row: Row) -> dict[str, Json]:
    return {
        "created_at": moment(row["created_at"]),
        "created_by": row["created_by"] or None,
        "updated_at": moment(row["updated_at"]),
        "updated_by": row["updated_by"] or None,
    }


def _status(office: Office, row: Row) -> str:
    if row["blocked"]:
        return "revoked"
    expires_at = row["expires_at"]
    return "expired" if expires_at is not None and expires_at <= office.wall() * 1_000_000 else "active"


def _lists(connection: Connection, by: Any, value: Any, ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if ids:
        for name, each in connection.execute(select(by, value).where(by.in_(ids)).order_by(value)):
            found.setdefault(name, []).append(each)
    return found


def _members(connection: Connection, ids: Sequence[str]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    table = MEMBERS.c
    if ids:
        query = select(table.team_id, table.user_id, table.email, table.role).where(table.team_id.in_(ids))
        for team_id, user_id, email, role in connection.execute(query.order_by(table.created_at, table.user_id)):
            found.setdefault(team_id, []).append({"user_id": user_id, "user_email": email or None, "role": role})
    return found


def _places(connection: Connection, ids: Sequence[str]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    table = ORGANIZATION_MEMBERS
    if ids:
        query = select(table).where(table.c.user_id.in_(ids)).order_by(table.c.organization_id)
        for row in rows_of(connection, query):
            place = {
                "user_id": row["user_id"],
                "organization_id": row["organization_id"],
                "user_role": row["role"] or None,
                "budget_id": row["budget_id"] or None,
            }
            found.setdefault(row["user_id"], []).append(place)
    return found
