"""What a caller is to a team or an organization, and those he may do something with.

Refuses: to tell a stranger whether one exists. Rule: the standing is read in the transaction in which it is used.
"""

from enum import IntEnum

from sqlalchemy import Connection, select

from proxy_cli.admin.base import Row
from proxy_cli.admin.budgets import one
from proxy_cli.admin.rights import (
    TEAM_ADMIN,
    is_organization_admin,
    missing,
    organization_role,
    require_change,
    team_role,
)
from proxy_cli.callers import Caller
from proxy_cli.errors import Forbidden
from proxy_cli.store.tables import ORGANIZATIONS, TEAMS


class Standing(IntEnum):
    """What a caller is to a team; each may do what the ones before may."""

    FOREIGN = 0  # it is as if the team were not there
    LOOKS = 1  # its members, its own keys, and who sees all
    LEADS = 2  # its admins: they say who is in it, and what each may spend
    RULES = 3  # the proxy's admins and those of its organization: they say what the team may


def standing(connection: Connection, caller: Caller, team: Row) -> Standing:
    """What the caller is to a team."""
    if caller.is_admin:
        return Standing.RULES
    if team["organization_id"] and is_organization_admin(connection, caller, team["organization_id"]):
        return Standing.RULES
    role = team_role(connection, caller.user_id, team["team_id"])
    if role == TEAM_ADMIN:
        return Standing.LEADS
    own = role is not None or caller.team_id == team["team_id"]
    return Standing.LOOKS if own or caller.sees_all else Standing.FOREIGN


def team_of(connection: Connection, team_id: str) -> Row | None:
    """A team's row."""
    return one(connection, select(TEAMS).where(TEAMS.c.team_id == team_id))


def team_for(connection: Connection, caller: Caller, team_id: str, least: Standing, deed: str) -> Row:
    """A team with which the caller may do something. Raises NotFound for a foreign one, and Forbidden."""
    query = select(TEAMS).where(TEAMS.c.team_id == team_id)
    if least > Standing.LOOKS:
        require_change(caller)
        query = query.with_for_update()  # two changes of one team take turns, so that none is lost
    team = one(connection, query)
    found = standing(connection, caller, team) if team is not None else Standing.FOREIGN
    if team is None or found is Standing.FOREIGN:
        raise missing("team", team_id)
    if found < least:
        ask = "an admin of the team" if least is Standing.LEADS else "a proxy_admin"
        raise Forbidden(f"this key is not allowed to {deed} of team {team_id!r}; ask {ask}")
    return team


def organization_of(connection: Connection, organization_id: str) -> Row:
    """An organization that stays as it is until this transaction ends. Raises NotFound."""
    query = select(ORGANIZATIONS).where(ORGANIZATIONS.c.organization_id == organization_id)
    row = one(connection, query.with_for_update())
    if row is None:
        raise missing("organization", organization_id)
    return row


def organization_for(connection: Connection, caller: Caller, organization_id: str, deed: str) -> Row:
    """An organization that is in the caller's hands. Raises NotFound for a foreign one, and Forbidden."""
    require_change(caller)
    if is_organization_admin(connection, caller, organization_id):
        return organization_of(connection, organization_id)
    if organization_role(connection, caller.user_id, organization_id) is None:
        raise missing("organization", organization_id)
    raise Forbidden(f"this key is not allowed to {deed} of organization {organization_id!r}; ask an org_admin of it")
