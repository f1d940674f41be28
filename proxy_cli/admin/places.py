"""Places: who belongs to an organization, and as what.

Owns: `/organization/member_*`. Rule: a place is one row, and the truth; who is added before he exists is made a user.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection, delete, select, update

from proxy_cli.admin.base import Ask, Id, Office, Row, Section, Usd, given, merged
from proxy_cli.admin.budgets import changed_by, made_by, many
from proxy_cli.admin.members import Named, require_address, user_for
from proxy_cli.admin.shown import moment, user_rows
from proxy_cli.admin.standing import organization_for
from proxy_cli.callers import Caller
from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import ORGANIZATION_MEMBERS, USERS
from proxy_cli.store.writing import upsert

Role = Literal["org_admin", "internal_user", "internal_user_viewer"]
_MOST_AT_ONCE: Final = 500
_KEPT_ONLY: Final = frozenset({"max_budget_in_organization"})
_TABLE: Final = ORGANIZATION_MEMBERS


class OrganizationMember(msgspec.Struct, kw_only=True):
    """Somebody who belongs to an organization; named by his id or his address."""

    role: Role
    user_id: Id = UNSET
    user_email: Id = UNSET


class PlaceAdd(msgspec.Struct, kw_only=True):
    """Members to be added, one or many."""

    organization_id: str
    member: OrganizationMember | list[OrganizationMember]
    max_budget_in_organization: Usd = UNSET


class PlaceName(msgspec.Struct, kw_only=True):
    """Which member is meant."""

    organization_id: str
    user_id: Id = UNSET
    user_email: Id = UNSET


class PlaceChange(PlaceName, kw_only=True):
    """What is to be different for a member."""

    role: Role | None = None
    max_budget_in_organization: Usd = UNSET


async def add(office: Office, ask: Ask) -> Json:
    """Put one or many into an organization: all of them, or none."""
    body: PlaceAdd = ask.body
    members = body.member if isinstance(body.member, list) else [body.member]
    if not 0 < len(members) <= _MOST_AT_ONCE:
        raise InvalidRequest(f"name from 1 to {_MOST_AT_ONCE} members to add", param="member")
    fields = merged({}, given(body, "organization_id", "member"))

    def work(connection: Connection) -> Json:
        organization_for(connection, ask.caller, body.organization_id, "change the members")
        users = [_add(connection, ask.caller, body.organization_id, member, fields) for member in members]
        names = {user["user_id"] for user in users}
        places = places_of(connection, [body.organization_id])[body.organization_id]
        shown = user_rows(office, connection, users) if ask.caller.sees_all else []
        return {
            "organization_id": body.organization_id,
            "updated_users": shown or [{"user_id": user["user_id"]} for user in users],
            "updated_organization_memberships": [place for place in places if place["user_id"] in names],
        }

    shown = await office.store.write(work)
    office.forget("user", *(each["user_id"] for each in shown["updated_users"]))
    return shown


def _add(
    connection: Connection, caller: Caller, organization_id: str, member: OrganizationMember, fields: Mapping[str, Json]
) -> Row:
    user = user_for(connection, caller, *require_address(member))
    row = upsert(_TABLE).values(
        organization_id=organization_id,
        user_id=user["user_id"],
        role=member.role,
        fields=fields,
        **made_by(caller),
    )
    if not connection.execute(row.on_conflict_do_nothing()).rowcount:
        raise InvalidRequest(
            f"the user {user['user_id']!r} is in organization {organization_id!r} already; "
            "change what he is with POST /organization/member_update",
            param="user_id",
        )
    _say(connection, organization_id, user["user_id"])
    return user


async def change(office: Office, ask: Ask) -> Json:
    """Change what a member is in an organization."""
    body: PlaceChange = ask.body
    changes = given(body, "organization_id", "user_id", "user_email", "role")

    def work(connection: Connection) -> Json:
        organization_for(connection, ask.caller, body.organization_id, "change the members")
        place = _place(connection, body.organization_id, body)
        values = {"role": body.role or place["role"], "fields": merged(place["fields"], changes)}
        is_this = (_TABLE.c.organization_id == body.organization_id, _TABLE.c.user_id == place["user_id"])
        connection.execute(update(_TABLE).where(*is_this).values(**values, **changed_by(ask.caller)))
        _say(connection, body.organization_id, place["user_id"])
        return _shown(_place(connection, body.organization_id, body))

    return await office.store.write(work)


async def remove(office: Office, ask: Ask) -> Json:
    """Take somebody out of an organization; he stays in its teams, from which their admins take him."""
    body: PlaceName = ask.body

    def work(connection: Connection) -> Json:
        organization_for(connection, ask.caller, body.organization_id, "change the members")
        place = _place(connection, body.organization_id, body)
        is_this = (_TABLE.c.organization_id == body.organization_id, _TABLE.c.user_id == place["user_id"])
        connection.execute(delete(_TABLE).where(*is_this))
        _say(connection, body.organization_id, place["user_id"])
        return _shown(place)

    return await office.store.write(work)


def places_of(connection: Connection, organization_ids: Sequence[str]) -> dict[str, list[dict[str, Json]]]:
    """The members of each organization, in the order in which they came."""
    query = (
        select(_TABLE, USERS.c.email.label("address"))
        .outerjoin(USERS, USERS.c.user_id == _TABLE.c.user_id)
        .where(_TABLE.c.organization_id.in_(organization_ids))
        .order_by(_TABLE.c.created_at, _TABLE.c.user_id)
    )
    found: dict[str, list[dict[str, Json]]] = {each: [] for each in organization_ids}
    for row in many(connection, query):
        found[row["organization_id"]].append(_shown(row))
    return found


def _place(connection: Connection, organization_id: str, name: Named) -> Row:
    user_id, email = require_address(name)
    who = _TABLE.c.user_id == user_id if user_id else USERS.c.email == email
    query = (
        select(_TABLE, USERS.c.email.label("address"))
        .outerjoin(USERS, USERS.c.user_id == _TABLE.c.user_id)
        .where(_TABLE.c.organization_id == organization_id, who)
    )
    rows = many(connection, query)
    if not rows:
        raise InvalidRequest(
            f"{user_id or email!r} is no member of organization {organization_id!r}; "
            "GET /organization/info?organization_id=... shows who is",
            param="user_id" if user_id else "user_email",
        )
    return rows[0]


def _shown(place: Row) -> dict[str, Json]:
    return {
        "user_id": place["user_id"],
        "organization_id": place["organization_id"],
        "user_role": place["role"],
        "user_email": place["address"],
        "spend": 0.0,  # nothing is counted for a place; the user's sum stands with the user
        "budget_id": place["budget_id"] or None,
        "litellm_budget_table": None,
        **place["fields"],
        "created_at": moment(place["created_at"]),
        "updated_at": moment(place["updated_at"]),
    }


def _say(connection: Connection, organization_id: str, user_id: str) -> None:
    say_changed(connection, "organization_member", f"{organization_id}/{user_id}")


_ADD: Final = "Put somebody into an organization"
_CHANGE: Final = "Change what a member is in an organization"
_REMOVE: Final = "Take somebody out of an organization"
_SECTION: Final = Section("organizations", inert=_KEPT_ONLY)
ENDPOINTS: Final = (
    _SECTION.post("/organization/member_add", "organization_member_add", _ADD, add, PlaceAdd),
    _SECTION.post("/organization/member_update", "organization_member_update_post", _CHANGE, change, PlaceChange),
    _SECTION.post(
        "/organization/member_update", "organization_member_update", _CHANGE, change, PlaceChange, method="PATCH"
    ),
    _SECTION.post("/organization/member_delete", "organization_member_delete_post", _REMOVE, remove, PlaceName),
    _SECTION.post(
        "/organization/member_delete", "organization_member_delete", _REMOVE, remove, PlaceName, method="DELETE"
    ),
)
