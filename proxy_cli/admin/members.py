"""Who is in a team, what he may do there, and what he may spend.

Owns: `/team/member_*`. Rule: membership is one row, and the truth; a user
who is added before he exists is made, as somebody who may keep keys of his own; with a membership go the keys that
stood on it.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol
from uuid import uuid4

import msgspec
from msgspec import UNSET
from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from proxy_cli.admin.base import (
    Ask,
    Count,
    Flag,
    Id,
    Names,
    Office,
    Row,
    Section,
    Text,
    Usd,
    given,
    merged,
    value_of,
)
from proxy_cli.admin.budgets import changed_by, check_limits, made_by, many, one
from proxy_cli.admin.memberships import OWN_LIMITS, memberships_of
from proxy_cli.admin.rights import changes_things, require_admin
from proxy_cli.admin.shown import team_rows, user_rows
from proxy_cli.admin.standing import Standing, team_for, team_of
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import GatewayError, InvalidRequest
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.moments import now_us
from proxy_cli.store.tables import KEYS, MEMBERS, USERS
from proxy_cli.store.writing import upsert

MOST_AT_ONCE: Final = 500
WITHOUT_NAME: Final = "default_user_id"  # LiteLLM's id for whoever comes with the master key


class Named(Protocol):
    """Whatever names somebody, by his id or his address."""

    user_id: Id
    user_email: Id


class Member(msgspec.Struct, kw_only=True):
    """Somebody who belongs to a team; named by his id or his address."""

    role: Literal["admin", "user"]
    user_id: Id = UNSET
    user_email: Id = UNSET


class MemberLimits(msgspec.Struct, kw_only=True):
    """What a member may do with the team's models."""

    max_budget_in_team: Usd = UNSET
    budget_duration: Text = UNSET
    allowed_models: Names = UNSET


class MemberAdd(MemberLimits, kw_only=True):
    """Members to be added, one or many."""

    team_id: str
    member: Member | list[Member]


class BulkMemberAdd(MemberLimits, kw_only=True):
    """Many members to be added, each for himself."""

    team_id: str
    members: list[Member] | None = None
    all_users: Flag = UNSET


class MemberName(msgspec.Struct, kw_only=True):
    """Which member is meant."""

    team_id: str
    user_id: Id = UNSET
    user_email: Id = UNSET


class MemberChange(MemberLimits, kw_only=True):
    """What is to be different for a member; null takes a limit away."""

    team_id: str
    user_id: Id = UNSET
    user_email: Id = UNSET
    role: Literal["admin", "user"] | None = None
    tpm_limit: Count = UNSET
    rpm_limit: Count = UNSET
    temp_budget_increase: Usd = UNSET
    temp_budget_expiry: Text = UNSET


_KEPT_ONLY: Final = frozenset({"temp_budget_increase", "temp_budget_expiry"})
_SHOWN: Final = (*OWN_LIMITS, "allowed_models", *sorted(_KEPT_ONLY))


def require_address(name: Named) -> tuple[str, str]:
    """The id and the address of somebody who is named; one of them is empty. Refuses who is not named at all."""
    user_id, email = value_of(name.user_id, "").strip(), value_of(name.user_email, "").strip().lower()
    if not user_id and not email:
        raise InvalidRequest("say who: user_id or user_email", param="user_id")
    return user_id, email


def user_for(connection: Connection, caller: Caller, user_id: str, email: str) -> Row:
    """The user of an id or an address, who is made where there is none yet."""
    found = _user(connection, user_id, email)
    if found is None:
        role = Role.USER.value
        new = upsert(USERS).values(
            user_id=user_id or str(uuid4()), email=email or None, role=role, fields={}, **made_by(caller)
        )
        connection.execute(new.on_conflict_do_nothing())
        found = _user(connection, user_id, email)
        if found is None:
            raise InvalidRequest(f"the address {email!r} belongs to another user; give that user's id", param="user_id")
        say_changed(connection, "user", found["user_id"])
    return found


def _user(connection: Connection, user_id: str, email: str) -> Row | None:
    condition = USERS.c.user_id == user_id if user_id else USERS.c.email == email
    return one(connection, select(USERS).where(condition))


def add_member(
    connection: Connection, caller: Caller, team: Row, member: Member, limits: Mapping[str, Json], number: int = 0
) -> Row:
    """Put somebody into a team; the user's row. Refuses who is in it already. `number` keeps many in their order."""
    user_id, email = require_address(member)
    if user_id == WITHOUT_NAME:
        user: Row = {"user_id": user_id, "email": None}
    else:
        user = user_for(connection, caller, user_id, email)
    fields = merged({}, limits)
    if "allowed_models" not in limits and (usual := team["fields"].get("default_team_member_models")):
        fields["allowed_models"] = usual
    at_us = now_us() + number
    row = upsert(MEMBERS).values(
        team_id=team["team_id"],
        user_id=user["user_id"],
        role=member.role,
        email=email or (caller.sees_all and user["email"]) or "",  # nobody learns an address by adding an id
        fields=fields,
        created_at=at_us,
        created_by=caller.user_id,
        **changed_by(caller, at_us),
    )
    if not connection.execute(row.on_conflict_do_nothing()).rowcount:
        raise InvalidRequest(
            f"the user {user['user_id']!r} is in team {team['team_id']!r} already; "
            "change what he may with POST /team/member_update",
            code="team_member_already_in_team",
            param="user_id",
        )
    _say(connection, team["team_id"], user["user_id"])
    return user


async def add(office: Office, ask: Ask) -> Json:
    """Put one or many into a team: all of them, or none."""
    body: MemberAdd = ask.body
    members = body.member if isinstance(body.member, list) else [body.member]
    _refuse_many(members)
    limits = given(body, "team_id", "member")
    check_limits(limits)

    joins = not limits and _joins(office, ask.caller, body.team_id, members)

    def work(connection: Connection) -> Json:
        team = team_of(connection, body.team_id) if joins else None
        if team is None:
            team = team_for(connection, ask.caller, body.team_id, Standing.LEADS, "change the members")
        users = [
            add_member(connection, ask.caller, team, member, limits, number) for number, member in enumerate(members)
        ]
        names = {user["user_id"] for user in users}
        memberships = memberships_of(office, connection, [team])
        return {
            **team_rows(office, connection, [team])[0],
            "updated_users": _users(office, connection, ask.caller, users),
            "updated_team_memberships": [each for each in memberships if each["user_id"] in names],
        }

    shown = await office.store.write(work)
    _forget(office, body.team_id, [each["user_id"] for each in shown["updated_team_memberships"]])
    return shown


def offered(office: Office) -> list[str]:
    """The teams that every user may join, by the configuration."""
    params = office.config.litellm_settings.default_internal_user_params or {}
    found = params.get("available_teams")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _joins(office: Office, caller: Caller, team_id: str, members: Sequence[Member]) -> bool:
    """Whether somebody puts himself, and nobody else, into a team that is open to all."""
    if not caller.user_id or not changes_things(caller) or team_id not in offered(office):
        return False
    return all(member.user_id == caller.user_id and member.role == "user" for member in members)


def _users(office: Office, connection: Connection, caller: Caller, users: Sequence[Row]) -> list[Json]:
    """The users of an addition; to who does not see all, only what he has named himself."""
    if not caller.sees_all:
        return [{"user_id": user["user_id"]} for user in users]
    return list(user_rows(office, connection, [user for user in users if "fields" in user]))


async def add_many(office: Office, ask: Ask) -> Json:
    """Put many into a team, each for himself, and say of each how it went."""
    body: BulkMemberAdd = ask.body
    if body.all_users is True:
        require_admin(ask.caller, "put all users into a team")
    limits = given(body, "team_id", "members", "all_users")
    check_limits(limits)

    def work(connection: Connection) -> tuple[Json, list[str]]:
        team = team_for(connection, ask.caller, body.team_id, Standing.LEADS, "change the members")
        members = _everybody(connection, body.team_id) if body.all_users is True else body.members or []
        _refuse_many(members)
        results, names = [], []
        for number, member in enumerate(members):
            try:
                names.append(add_member(connection, ask.caller, team, member, limits, number)["user_id"])
            except GatewayError as failure:
                results.append(_result(member, failure.message))
            else:
                results.append(_result(member, None))
        return _bulk(body.team_id, results, team_rows(office, connection, [team])[0]), names

    shown, names = await office.store.write(work)
    _forget(office, body.team_id, names)
    return shown


def _result(member: Member, error: str | None) -> dict[str, Json]:
    name, email = value_of(member.user_id, ""), value_of(member.user_email, "")
    return {
        "user_id": name or None,
        "user_email": email or None,
        "success": error is None,
        "error": error,
    }


def _bulk(team_id: str, results: Sequence[Mapping[str, Json]], team: Json) -> dict[str, Json]:
    added = sum(1 for each in results if each["success"])
    return {
        "team_id": team_id,
        "results": results,
        "total_requested": len(results),
        "successful_additions": added,
        "failed_additions": len(results) - added,
        "updated_team": team,
    }


def _everybody(connection: Connection, team_id: str) -> list[Member]:
    inside = select(MEMBERS.c.user_id).where(MEMBERS.c.team_id == team_id)
    query = select(USERS.c.user_id).where(USERS.c.user_id.not_in(inside)).order_by(USERS.c.user_id)
    names = connection.execute(query.limit(MOST_AT_ONCE + 1)).scalars()
    return [Member(role="user", user_id=name) for name in names]


def _refuse_many(members: Sequence[Member]) -> None:
    if not members:
        raise InvalidRequest("name at least one member to add", param="member")
    if len(members) > MOST_AT_ONCE:
        raise InvalidRequest(f"these are more than {MOST_AT_ONCE} members; add them in parts", param="members")


async def change(office: Office, ask: Ask) -> Json:
    """Change what a member is in a team, and what he may spend there."""
    body: MemberChange = ask.body
    changes = given(body, "team_id", "user_id", "user_email", "role")
    check_limits(changes)

    def work(connection: Connection) -> Json:
        team = team_for(connection, ask.caller, body.team_id, Standing.LEADS, "change the members")
        member = _member(connection, team["team_id"], body)
        fields = merged(member["fields"], changes)
        values = {"fields": fields, "role": body.role or member["role"], **changed_by(ask.caller)}
        connection.execute(update(MEMBERS).where(*_is(member)).values(**values))
        _say(connection, team["team_id"], member["user_id"])
        return {
            "team_id": team["team_id"],
            "user_id": member["user_id"],
            "user_email": member["email"] or None,
            "role": values["role"],
            **{name: fields.get(name) for name in _SHOWN},
        }

    shown = await office.store.write(work)
    _forget(office, body.team_id, [shown["user_id"]])
    return shown


async def remove(office: Office, ask: Ask) -> Json:
    """Take somebody out of a team, and with him the keys that he had there."""
    body: MemberName = ask.body

    def work(connection: Connection) -> tuple[Json, str, list[str]]:
        team = team_for(connection, ask.caller, body.team_id, Standing.LEADS, "change the members")
        member = _member(connection, team["team_id"], body)
        connection.execute(delete(MEMBERS).where(*_is(member)))
        gone = delete_keys(connection, KEYS.c.team_id == team["team_id"], KEYS.c.user_id == member["user_id"])
        _say(connection, team["team_id"], member["user_id"])
        return team_rows(office, connection, [team])[0], member["user_id"], gone

    shown, user_id, keys = await office.store.write(work)
    _forget(office, body.team_id, [user_id])
    office.forget("key", *keys)
    return shown


def delete_keys(connection: Connection, *conditions: ColumnElement[bool]) -> list[str]:
    """Take keys away; their digests."""
    digests = list(connection.execute(select(KEYS.c.digest).where(*conditions)).scalars())
    connection.execute(delete(KEYS).where(*conditions))
    for digest in digests:
        say_changed(connection, "key", digest)
    return digests


def _member(connection: Connection, team_id: str, name: Named) -> Row:
    user_id, email = require_address(name)
    if user_id:
        who: ColumnElement[bool] = MEMBERS.c.user_id == user_id
    else:
        known = select(USERS.c.user_id).where(USERS.c.email == email)
        who = or_(MEMBERS.c.email == email, MEMBERS.c.user_id.in_(known))
    rows = many(connection, select(MEMBERS).where(MEMBERS.c.team_id == team_id, who).limit(1))
    if not rows:
        raise InvalidRequest(
            f"{user_id or email!r} is no member of team {team_id!r}; GET /team/info?team_id=... shows who is",
            code="team_member_not_found",
            param="user_id" if user_id else "user_email",
        )
    return rows[0]


def _is(member: Row) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return MEMBERS.c.team_id == member["team_id"], MEMBERS.c.user_id == member["user_id"]


def _say(connection: Connection, team_id: str, user_id: str) -> None:
    say_changed(connection, "team_member", f"{team_id}/{user_id}")


def _forget(office: Office, team_id: str, user_ids: Sequence[str]) -> None:
    office.forget("team_member", *(f"{team_id}/{user_id}" for user_id in user_ids))


_SECTION: Final = Section("teams", inert=_KEPT_ONLY)
ENDPOINTS: Final = (
    _SECTION.post("/team/member_add", "team_member_add", "Put somebody into a team", add, MemberAdd),
    _SECTION.post("/team/bulk_member_add", "team_bulk_member_add", "Put many into a team", add_many, BulkMemberAdd),
    _SECTION.post("/team/member_update", "team_member_update", "Change what a member may", change, MemberChange),
    _SECTION.post("/team/member_delete", "team_member_delete", "Take somebody out of a team", remove, MemberName),
)
