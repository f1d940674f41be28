"""Memberships as LiteLLM's clients know them: what each member may spend in a team, and has.

Rule: the limits that are shown are those that hold, wherever they come from: the member's own, those of the budget he
stands on, or those that the team sets for all its members.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, select

from proxy_cli.admin import sums
from proxy_cli.admin.base import Office, Row
from proxy_cli.admin.budgets import many
from proxy_cli.admin.shown import budgets_of, moment
from proxy_cli.money import usd_of
from proxy_cli.shapes import Json
from proxy_cli.store.tables import MEMBERS

# A limit to what it is called for a member, and for all members of his team.
_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "max_budget": ("max_budget_in_team", "team_member_budget"),
    "budget_duration": ("budget_duration", "team_member_budget_duration"),
    "tpm_limit": ("tpm_limit", "team_member_tpm_limit"),
    "rpm_limit": ("rpm_limit", "team_member_rpm_limit"),
}
OWN_LIMITS: Final = tuple(of_member for of_member, _ in _NAMES.values())


def memberships_of(office: Office, connection: Connection, teams: Sequence[Row], user_id: str = "") -> list[Json]:
    """What each member of these teams may spend there, and has; `user_id`: of this one alone."""
    by_id = {team["team_id"]: team for team in teams}
    query = (
        select(MEMBERS)
        .where(MEMBERS.c.team_id.in_(by_id))
        .order_by(MEMBERS.c.created_at, MEMBERS.c.team_id, MEMBERS.c.user_id)
    )
    if user_id:
        query = query.where(MEMBERS.c.user_id == user_id)
    rows = many(connection, query)
    budgets = budgets_of(connection, (row["budget_id"] for row in rows))
    found = [(row, _limits(by_id[row["team_id"]], row, budgets.get(row["budget_id"]))) for row in rows]
    totals = [_total(office, row, limits) for row, limits in found]
    spent = sums.spent(connection, totals)
    return [
        _membership(office, row, limits, spent.get(total, 0))
        for (row, limits), total in zip(found, totals, strict=True)
    ]


def _limits(team: Row, member: Row, budget: Row | None) -> dict[str, Json]:
    """A member's limits: his own, else those of the budget he stands on, else what his team says of all."""
    own, named, usual = member["fields"], budget["fields"] if budget else {}, team["fields"]
    found = {}
    for name, (of_member, of_team) in _NAMES.items():
        found[name] = next(
            (value for value in (own.get(of_member), named.get(name), usual.get(of_team)) if value is not None), None
        )
    return found


def _total(office: Office, member: Row, limits: Mapping[str, Json]) -> sums.Total:
    window = sums.window(office, limits["budget_duration"])
    return "team_member", f"{member['team_id']}/{member['user_id']}", window


def _membership(office: Office, member: Row, limits: Mapping[str, Json], nano: int) -> Json:
    own = {name: value for name, value in member["fields"].items() if name in OWN_LIMITS and value is not None}
    source = "custom" if own or member["budget_id"] else "team_default" if any(limits.values()) else "none"
    reset_at = moment(sums.reset_at_us(office, limits["budget_duration"]))
    table = {
        **limits,
        "budget_id": member["budget_id"] or None,
        "allowed_models": member["fields"].get("allowed_models"),
        "soft_budget": None,
        "max_parallel_requests": None,
        "model_max_budget": None,
        "budget_reset_at": reset_at,
        "created_at": moment(member["created_at"]),
    }
    return {
        "user_id": member["user_id"],
        "team_id": member["team_id"],
        "budget_id": member["budget_id"] or None,
        "spend": usd_of(nano),
        "total_spend": usd_of(nano),
        "budget_source": source,
        "litellm_budget_table": None if source == "none" else table,
    }
