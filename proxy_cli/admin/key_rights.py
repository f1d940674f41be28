"""Who may make a key for whom, and which of its fields are theirs to set.

Owns: the rules of LiteLLM's team permissions, and of fields that only a proxy_admin sets. Refuses: to change rows.
Rule: nobody gives a key to what is not theirs, be it a user, a team or an organization.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from proxy_cli.admin.base import Row, row_of
from proxy_cli.admin.key_bounds import refuse_looser, refuse_raising
from proxy_cli.admin.key_rules import effective
from proxy_cli.admin.rights import (
    TEAM_ADMIN,
    is_organization_admin,
    organization_role,
    refuse_fields,
    require_change,
    team_role,
)
from proxy_cli.callers import Caller
from proxy_cli.errors import Forbidden, GatewayError, InvalidRequest, TeamMemberRefused
from proxy_cli.shapes import NOTHING, Json, Operation
from proxy_cli.store.tables import ORGANIZATIONS, TEAMS

# What LiteLLM calls the right of a team's plain members to make keys of the team.
_MAKES_KEYS: Final = "/key/generate"
_MAKES_SERVICE_KEYS: Final = "/key/service-account/generate"
_OF_ADMINS: Final = frozenset({"spend", "budget_id"})
# What a key's plain user does not change: it was set by somebody who may more.
_OF_MANAGERS: Final = frozenset({"temp_budget_increase", "temp_budget_expiry", "user_id", "team_id", "organization_id"})
_LIMITS: Final = ("max_budget", "soft_budget", "tpm_limit", "rpm_limit", "max_parallel_requests")
_ASKING: Final = ["llm_api_routes"]
_ASKS: Final = frozenset({*_ASKING, "openai_routes"} | {f"{at}/{each}" for at in ("", "/v1") for each in Operation})


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller is in the team that a key belongs to."""

    team_id: str = ""
    role: str | None = None  # admin, user, or None
    is_manager: bool = False  # whether the team, or its organization, is in his hands
    organization_id: str = ""
    fields: Mapping[str, Json] = NOTHING  # the team's

    def lets(self, permission: str) -> bool:
        """Whether the team lets its plain members do this, and the caller is one."""
        return self.role is not None and permission in (self.fields.get("team_member_permissions") or ())

    def refusal(self, done: str) -> GatewayError:
        """Why a key of the team is not made, changed or whatever it is."""
        kind = Forbidden if self.role is None else TeamMemberRefused
        return kind(
            f"a key of this team is {done} by its admins, and by members where team_member_permissions lets them"
        )


def standing(connection: Connection, caller: Caller, team_id: str) -> Standing:
    """What a caller is in a team. Raises InvalidRequest where there is no such team, to those who may know that."""
    if not team_id:
        return Standing()
    team = row_of(connection, select(TEAMS).where(TEAMS.c.team_id == team_id))
    if team is None:
        if caller.sees_all:
            raise InvalidRequest(f"there is no team {team_id!r}; make it with POST /team/new", param="team_id")
        return Standing(team_id=team_id)
    role = team_role(connection, caller.user_id, team_id)
    organization_id = team["organization_id"]
    return Standing(
        team_id=team_id,
        role=role,
        is_manager=role == TEAM_ADMIN
        or caller.is_admin
        or (bool(organization_id) and is_organization_admin(connection, caller, organization_id)),
        organization_id=organization_id,
        fields=team["fields"],
    )


def check_creation(
    connection: Connection, caller: Caller, stands: Standing, wanted: Mapping[str, Json], *, is_service: bool
) -> None:
    """Refuse a key for what is not the caller's. Raises Forbidden, or InvalidRequest for what does not exist."""
    require_change(caller)
    _check_organization(connection, caller, stands, wanted)
    if caller.is_admin:
        return
    if not caller.user_id:
        raise Forbidden("this key belongs to no user, so it makes no keys; ask with a user's key, or a proxy_admin's")
    refuse_fields(caller, [name for name in wanted if wanted[name] is not None], _OF_ADMINS, "a key")
    user_id = wanted.get("user_id") or ""
    if stands.team_id:
        _check_team(connection, caller, stands, user_id, is_service=is_service)
    elif user_id != caller.user_id:
        raise Forbidden("a key for another user is made by a proxy_admin, or for a team by the team's admin")


def _check_team(connection: Connection, caller: Caller, stands: Standing, user_id: str, *, is_service: bool) -> None:
    if stands.is_manager:
        if user_id and user_id != caller.user_id and team_role(connection, user_id, stands.team_id) is None:
            raise Forbidden("the key's user is no member of the team; add them with POST /team/member_add first")
        return
    if not stands.lets(_MAKES_SERVICE_KEYS if is_service else _MAKES_KEYS):
        raise stands.refusal("made")
    if user_id and user_id != caller.user_id:
        raise Forbidden("a member makes keys of the team for himself; ask the team's admin for another's")


def _check_organization(connection: Connection, caller: Caller, stands: Standing, wanted: Mapping[str, Json]) -> None:
    organization_id = wanted.get("organization_id") or ""
    if not organization_id or organization_id == stands.organization_id:
        return
    query = select(ORGANIZATIONS.c.organization_id).where(ORGANIZATIONS.c.organization_id == organization_id)
    if caller.sees_all and connection.execute(query).first() is None:
        raise InvalidRequest(
            f"there is no organization {organization_id!r}; make it with POST /organization/new",
            param="organization_id",
        )
    if not caller.is_admin and organization_role(connection, caller.user_id, organization_id) is None:
        raise Forbidden("this organization is not yours, or does not exist; leave organization_id out")


def check_change(
    connection: Connection, caller: Caller, stands: Standing, row: Row, wanted: Mapping[str, Json]
) -> None:
    """Refuse changes of a key that are not for the caller to make, though the key is his. Raises Forbidden."""
    _check_organization(connection, caller, stands, wanted)
    if caller.is_admin:
        return
    refuse_fields(caller, wanted, _OF_ADMINS, "a key")
    moved = [name for name in ("user_id", "team_id") if name in wanted and (wanted[name] or "") != row[name]]
    if moved:
        _check_move(connection, caller, stands, row, wanted)
    if stands.is_manager:
        return
    refuse_fields(caller, [name for name in wanted if _differs(row, wanted, name)], _OF_MANAGERS, "a key")
    if wanted.get("blocked") is False and row["blocked"]:
        raise Forbidden("a blocked key is let in again by a proxy_admin or its team's admin, not by its user")
    limits = effective(connection, row)
    refuse_looser(wanted, limits, "this key")
    refuse_raising(wanted, row["fields"])
    for name in _LIMITS:
        if name in wanted and _is_more(wanted[name], limits[name]):
            raise Forbidden(f"{name} of a key is raised by a proxy_admin or its team's admin; its user may lower it")


def for_its_user(
    caller: Caller, user_id: str, former: Mapping[str, Json], found: dict[str, Json], *, is_taken: bool
) -> dict[str, Json]:
    """A key's fields where its user is another than the caller: it asks models, and does nothing in his name.

    `is_taken`: the caller comes to hold this key, or makes it that user's.
    """
    if caller.is_admin or user_id in ("", caller.user_id):
        return found
    if not is_taken and found.keys().isdisjoint({"allowed_routes", "key_type"}):
        return found
    routes = found.get("allowed_routes", former.get("allowed_routes")) or ()
    asking = [each for each in routes if each.removeprefix("LiteLLMRoutes.") in _ASKS]
    return {**found, "allowed_routes": asking or _ASKING}


def _check_move(connection: Connection, caller: Caller, stands: Standing, row: Row, wanted: Mapping[str, Json]) -> None:
    here = standing(connection, caller, row["team_id"])
    if here.team_id and not wanted.get("team_id", row["team_id"]):
        raise Forbidden("a key is taken out of its team by a proxy_admin only; delete it, or give it another team")
    user_id = wanted.get("user_id", row["user_id"]) or ""
    if not (stands.is_manager and (here.is_manager or row["user_id"] == caller.user_id)):
        raise Forbidden("a key is given to another user or team by a proxy_admin, or by an admin of both teams")
    if user_id and user_id != caller.user_id and team_role(connection, user_id, stands.team_id) is None:
        raise Forbidden("the key's user is no member of the team; add them with POST /team/member_add first")


def _differs(row: Row, wanted: Mapping[str, Json], name: str) -> bool:
    return name not in row or (wanted[name] or "") != row[name]


def _is_more(value: Json, former: Json) -> bool:
    if former is None:
        return False  # there is no limit; any is less
    return value is None or value > former
