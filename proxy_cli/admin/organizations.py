"""Organizations: what several teams share, a list of models and a budget above theirs.

Owns: `/organization/*` but for its members. Rule: what an organization may is said by the proxy's admins alone; its own
admins say how it is called, who is in it, and what its teams may within that. With an organization go its teams, and
with them their keys.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final
from uuid import uuid4

import msgspec
from msgspec import UNSET, Meta
from sqlalchemy import ColumnElement, Connection, delete, select, true, update

from proxy_cli.admin.base import (
    LONGEST_ID,
    Ask,
    Counts,
    Id,
    Map,
    Names,
    Office,
    Row,
    Section,
    given,
    like,
    merged,
    text,
    value_of,
)
from proxy_cli.admin.budgets import (
    Limits,
    changed_by,
    check_limits,
    made_by,
    many,
    require_budget,
    table_of,
)
from proxy_cli.admin.members import delete_keys
from proxy_cli.admin.places import places_of
from proxy_cli.admin.rights import missing, organizations_of, refuse_fields
from proxy_cli.admin.shown import organization_rows, team_rows
from proxy_cli.admin.standing import organization_for, organization_of
from proxy_cli.admin.teams import delete_teams
from proxy_cli.callers import Caller
from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import KEYS, ORGANIZATION_MEMBERS, ORGANIZATIONS, TEAMS
from proxy_cli.store.writing import upsert

Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
_COLUMNS: Final = {"organization_alias": "alias", "budget_id": "budget_id"}
_BY_ITS_ADMINS: Final = frozenset({"organization_alias"})
_KEPT_ONLY: Final = frozenset({"object_permission"})


class OrganizationFields(Limits, kw_only=True):
    """What can be said of an organization."""

    budget_id: Id = UNSET
    models: Names = UNSET
    metadata: Map = UNSET
    model_rpm_limit: Counts = UNSET
    model_tpm_limit: Counts = UNSET
    object_permission: Map = UNSET


class NewOrganization(OrganizationFields, kw_only=True):
    """An organization to be made."""

    organization_alias: Name
    organization_id: Id = UNSET


class OrganizationChange(OrganizationFields, kw_only=True):
    """What is to be different; null takes a field away."""

    organization_id: Name
    organization_alias: Id = UNSET


class OrganizationNames(msgspec.Struct, kw_only=True):
    """Which organizations are meant."""

    organization_ids: Annotated[list[Name], Meta(min_length=1, max_length=100)]


class OrganizationsAsked(msgspec.Struct, kw_only=True):
    """Which organizations are asked for."""

    organizations: Annotated[list[Name], Meta(min_length=1, max_length=100)]


class Nothing(msgspec.Struct, kw_only=True):
    """A body in which nothing need be said."""


async def new(office: Office, ask: Ask) -> Json:
    """Make an organization."""
    body: NewOrganization = ask.body
    organization_id = value_of(body.organization_id, "").strip() or str(uuid4())
    changes = given(body, "organization_id")
    check_limits(changes)

    def work(connection: Connection) -> Json:
        require_budget(connection, changes.get("budget_id"))
        row = upsert(ORGANIZATIONS).values(
            organization_id=organization_id, **_values({}, changes), **made_by(ask.caller)
        )
        if not connection.execute(row.on_conflict_do_nothing()).rowcount:
            raise InvalidRequest(
                f"there is an organization {organization_id!r} already; choose another id", param="organization_id"
            )
        say_changed(connection, "organization", organization_id)
        return _shown(office, connection, [organization_of(connection, organization_id)])[0]

    shown = await office.store.write(work)
    office.forget("organization", organization_id)
    return shown


async def change(office: Office, ask: Ask) -> Json:
    """Change how an organization is called, and what it may."""
    body: OrganizationChange = ask.body
    changes = given(body, "organization_id")
    check_limits(changes)

    def work(connection: Connection) -> Json:
        former = organization_for(connection, ask.caller, body.organization_id, "change the settings")
        refuse_fields(ask.caller, changes, changes.keys() - _BY_ITS_ADMINS, "an organization")
        require_budget(connection, changes.get("budget_id"))
        values = {**_values(former["fields"], changes), **changed_by(ask.caller)}
        is_this = ORGANIZATIONS.c.organization_id == body.organization_id
        connection.execute(update(ORGANIZATIONS).where(is_this).values(**values))
        say_changed(connection, "organization", body.organization_id)
        return _shown(office, connection, [organization_of(connection, body.organization_id)])[0]

    shown = await office.store.write(work)
    office.forget("organization", body.organization_id)
    return shown


async def remove(office: Office, ask: Ask) -> Json:
    """Take organizations away, all of them or none; with them go their teams, memberships and keys."""
    body: OrganizationNames = ask.body
    ids = list(dict.fromkeys(body.organization_ids))

    def work(connection: Connection) -> tuple[Json, list[str], list[str]]:
        rows = [organization_of(connection, each) for each in ids]
        shown = _shown(office, connection, rows)
        of_these = select(TEAMS.c.team_id).where(TEAMS.c.organization_id.in_(ids)).order_by(TEAMS.c.team_id)
        teams = list(connection.execute(of_these).scalars())
        keys = [*delete_teams(connection, teams), *delete_keys(connection, KEYS.c.organization_id.in_(ids))]
        for table in (ORGANIZATION_MEMBERS, ORGANIZATIONS):
            connection.execute(delete(table).where(table.c.organization_id.in_(ids)))
        for each in ids:
            say_changed(connection, "organization", each)
        return shown, teams, keys

    shown, teams, keys = await office.store.write(work)
    office.forget("organization", *ids)
    office.forget("team", *teams)
    office.forget("key", *keys)
    return shown


async def info(office: Office, ask: Ask) -> Json:
    """One organization with its members and teams, for those who belong to it."""
    organization_id = text(ask, "organization_id") or ask.caller.organization_id
    if not organization_id:
        raise InvalidRequest("say which organization: /organization/info?organization_id=...", param="organization_id")

    def work(connection: Connection) -> Json:
        condition = ORGANIZATIONS.c.organization_id == organization_id
        found = _whole(office, connection, ask.caller, condition)
        if not found:
            raise missing("organization", organization_id)
        return found[0]

    return await office.store.read(work)


async def infos(office: Office, ask: Ask) -> Json:
    """Several organizations; those that are not there, or not the caller's, are left out."""
    body: OrganizationsAsked = ask.body
    condition = ORGANIZATIONS.c.organization_id.in_(body.organizations)
    return await office.store.read(lambda connection: _whole(office, connection, ask.caller, condition))


async def listed(office: Office, ask: Ask) -> Json:
    """The organizations that the caller may see."""
    condition: ColumnElement[bool] = true()
    if organization_id := text(ask, "org_id"):
        condition &= ORGANIZATIONS.c.organization_id == organization_id
    if alias := text(ask, "org_alias"):
        condition &= ORGANIZATIONS.c.alias.ilike(like(alias), escape="\\")
    return await office.store.read(lambda connection: _whole(office, connection, ask.caller, condition))


def _seen(connection: Connection, caller: Caller) -> ColumnElement[bool]:
    if caller.sees_all:
        return true()
    own = {*organizations_of(connection, caller.user_id), caller.organization_id} - {""}
    return ORGANIZATIONS.c.organization_id.in_(sorted(own))


def _whole(office: Office, connection: Connection, caller: Caller, condition: ColumnElement[bool]) -> list[Json]:
    """Organizations with their members and teams: all of them for who leads them, for others their own place."""
    query = select(ORGANIZATIONS).where(_seen(connection, caller), condition)
    rows = many(connection, query.order_by(ORGANIZATIONS.c.created_at, ORGANIZATIONS.c.organization_id))
    led = set(organizations_of(connection, caller.user_id, as_admin=True))
    own = [row["organization_id"] for row in rows if caller.sees_all or row["organization_id"] in led]
    members = places_of(connection, [row["organization_id"] for row in rows])
    teams = _teams(office, connection, own)
    return [
        {
            **shown,
            "members": [
                each
                for each in members.get(shown["organization_id"], [])
                if shown["organization_id"] in own or each["user_id"] == caller.user_id
            ],
            "teams": teams.get(shown["organization_id"], []),
        }
        for shown in _shown(office, connection, rows)
    ]


def _teams(office: Office, connection: Connection, ids: Sequence[str]) -> dict[str, list[Json]]:
    query = select(TEAMS).where(TEAMS.c.organization_id.in_(ids)).order_by(TEAMS.c.alias, TEAMS.c.team_id)
    found: dict[str, list[Json]] = {}
    for team in team_rows(office, connection, many(connection, query)):
        found.setdefault(str(team["organization_id"]), []).append(team)
    return found


def _shown(office: Office, connection: Connection, rows: Sequence[Row]) -> list[dict[str, Json]]:
    shown = organization_rows(office, connection, rows)
    return [{**row, "litellm_budget_table": table_of(office, row)} for row in shown]


def _values(fields: Mapping[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """The columns that a change sets; `fields` are the present ones."""
    columns: dict[str, Json] = {_COLUMNS[name]: changes[name] or "" for name in _COLUMNS.keys() & changes.keys()}
    rest = {name: value for name, value in changes.items() if name not in _COLUMNS}
    return {**columns, "fields": merged(fields, rest)}


_SECTION: Final = Section("organizations", inert=_KEPT_ONLY)
ENDPOINTS: Final = (
    _SECTION.post(
        "/organization/new", "organization_new", "Make an organization", new, NewOrganization, access="admin"
    ),
    _SECTION.post(
        "/organization/update",
        "organization_update",
        "Change an organization",
        change,
        OrganizationChange,
        method="PATCH",
    ),
    _SECTION.post(
        "/organization/update", "organization_update_post", "Change an organization", change, OrganizationChange
    ),
    _SECTION.post(
        "/organization/delete",
        "organization_delete",
        "Delete organizations with their teams",
        remove,
        OrganizationNames,
        access="admin",
        method="DELETE",
    ),
    _SECTION.post(
        "/organization/delete",
        "organization_delete_post",
        "Delete organizations with their teams",
        remove,
        OrganizationNames,
        access="admin",
    ),
    _SECTION.get("/organization/info", "organization_info", "Show an organization", info),
    _SECTION.post("/organization/info", "organization_infos", "Show organizations", infos, OrganizationsAsked),
    _SECTION.get("/organization/list", "organization_list", "Show the organizations you may see", listed),
    _SECTION.post(
        "/organization/list", "organization_list_post", "Show the organizations you may see", listed, Nothing
    ),
)
