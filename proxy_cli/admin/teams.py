"""Teams: who works together, what they may ask for, and what they may spend.

Owns: `/team/*` but for its members. Rule: what a team may do is said by those who are above it (the proxy's admins, and
the admins of its organization, within what that may); its own admins say who is in it, and how it is called. With a
team go its memberships and its keys.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final
from uuid import uuid4

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, delete, select, update

from proxy_cli.admin.base import (
    LONGEST_ID,
    Ask,
    Count,
    Counts,
    Flag,
    Id,
    Map,
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
from proxy_cli.admin.budgets import (
    Limits,
    budget_of,
    changed_by,
    check_limits,
    made_by,
    one,
    require_budget,
)
from proxy_cli.admin.key_body import MOST_WINDOWS, BudgetLimit
from proxy_cli.admin.members import WITHOUT_NAME, Member, add_member, delete_keys, require_address
from proxy_cli.admin.rights import is_organization_admin, missing, refuse_fields, require_change
from proxy_cli.admin.shown import team_rows
from proxy_cli.admin.standing import Standing, team_for, team_of
from proxy_cli.callers import Caller
from proxy_cli.errors import Forbidden, InvalidRequest
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import KEYS, MEMBERS, ORGANIZATIONS, TEAMS
from proxy_cli.store.writing import upsert

_COLUMNS: Final = {"team_alias": "alias", "organization_id": "organization_id", "budget_id": "budget_id"}
# What the admins of a team say of it themselves. All else is a right, a limit or a route, which nobody gives himself.
_BY_ITS_ADMINS: Final = frozenset({"team_alias"})
# What the admins of an organization do not say of its teams: whose money it is.
_BY_THE_PROXY: Final = frozenset({"organization_id", "budget_id"})
_ALL: Final = "all-proxy-models"
_NO_LIST: Final = frozenset({_ALL, "*"})  # in a list of models: any
_KEPT_ONLY: Final = frozenset(
    {
        "access_group_ids",
        "allow_team_guardrail_config",
        "allowed_passthrough_routes",
        "allowed_vector_store_indexes",
        "denied_passthrough_routes",
        "disable_global_guardrails",
        "guardrails",
        "object_permission",
        "policies",
        "prompts",
        "router_settings",
        "rpm_limit_type",
        "secret_manager_settings",
        "tpd_limit",
        "tpm_limit_type",
    }
)
_Required = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]


class TeamFields(Limits, kw_only=True):
    """What can be said of a team."""

    team_alias: Id = UNSET
    organization_id: Id = UNSET
    budget_id: Id = UNSET
    blocked: Flag = UNSET
    models: Names = UNSET
    model_aliases: dict[str, str] | UnsetType | None = UNSET
    metadata: Map = UNSET
    tags: Names = UNSET
    budget_limits: Annotated[list[BudgetLimit], Meta(max_length=MOST_WINDOWS)] | UnsetType | None = UNSET
    model_rpm_limit: Counts = UNSET
    model_tpm_limit: Counts = UNSET
    team_member_permissions: Names = UNSET
    team_member_budget: Usd = UNSET
    team_member_budget_duration: Text = UNSET
    team_member_rpm_limit: Count = UNSET
    team_member_tpm_limit: Count = UNSET
    team_member_key_duration: Text = UNSET
    default_team_member_models: Names = UNSET
    access_group_ids: Names = UNSET
    allow_team_guardrail_config: Flag = UNSET
    allowed_passthrough_routes: Names = UNSET
    allowed_vector_store_indexes: list[Any] | UnsetType | None = UNSET
    denied_passthrough_routes: Names = UNSET
    disable_global_guardrails: Flag = UNSET
    guardrails: Names = UNSET
    object_permission: Map = UNSET
    policies: Names = UNSET
    prompts: Names = UNSET
    router_settings: Map = UNSET
    rpm_limit_type: Text = UNSET
    secret_manager_settings: Map = UNSET
    tpd_limit: Count = UNSET
    tpm_limit_type: Text = UNSET


class NewTeam(TeamFields, kw_only=True):
    """A team to be made."""

    team_id: Id = UNSET
    members_with_roles: list[Member] | None = None
    admins: list[_Required] | None = None  # LiteLLM's former way to name members
    members: list[_Required] | None = None


class TeamChange(TeamFields, kw_only=True):
    """What is to be different; null takes a field away."""

    team_id: str


class TeamName(msgspec.Struct, kw_only=True):
    """Which team is meant."""

    team_id: str


class TeamNames(msgspec.Struct, kw_only=True):
    """Which teams are meant."""

    team_ids: Annotated[list[str], Meta(max_length=500)]


class TeamModels(msgspec.Struct, kw_only=True):
    """Models that a team shall have, or have no more."""

    team_id: str
    models: list[_Required]


async def new(office: Office, ask: Ask) -> Json:
    """Make a team; whoever makes it becomes its admin, as with LiteLLM."""
    body: NewTeam = ask.body
    team_id = value_of(body.team_id, "").strip() or str(uuid4())
    changes = given(body, "team_id", "members_with_roles", "admins", "members")
    _check(changes)

    def work(connection: Connection) -> Json:
        organization_id = changes.get("organization_id") or ""
        _may_make(connection, ask.caller, organization_id)
        refuse_fields(ask.caller, changes, {"budget_id"}, "a team")
        _check_beside(connection, _with_targets(ask.caller, changes), organization_id)
        row = upsert(TEAMS).values(team_id=team_id, **_values({}, changes), **made_by(ask.caller))
        if not connection.execute(row.on_conflict_do_nothing()).rowcount:
            raise InvalidRequest(f"there is a team {team_id!r} already; choose another team_id", param="team_id")
        team = _existing(connection, team_id)
        for number, member in enumerate(_first_members(body, ask.caller)):
            add_member(connection, ask.caller, team, member, {}, number)
        say_changed(connection, "team", team_id)
        return _shown(office, connection, team_id)

    shown = await office.store.write(work)
    office.forget("team", team_id)
    return shown


async def change(office: Office, ask: Ask) -> Json:
    """Change how a team is called, and what it may."""
    body: TeamChange = ask.body
    changes = given(body, "team_id")
    _check(changes)
    least = Standing.LEADS if changes.keys() <= _BY_ITS_ADMINS else Standing.RULES

    def work(connection: Connection) -> Json:
        team = team_for(connection, ask.caller, body.team_id, least, "change these settings")
        refuse_fields(ask.caller, changes, _BY_THE_PROXY, "a team")
        organization_id = changes.get("organization_id", team["organization_id"]) or ""
        _check_beside(connection, _with_targets(ask.caller, changes), organization_id)
        _save(connection, ask.caller, team, changes)
        return _shown(office, connection, body.team_id)

    shown = await office.store.write(work)
    office.forget("team", body.team_id)
    return {"team_id": body.team_id, "data": shown}


async def block(office: Office, ask: Ask) -> Json:
    """Have every key of a team refused."""
    return await _set_blocked(office, ask, blocked=True)


async def unblock(office: Office, ask: Ask) -> Json:
    """Let the keys of a team work again."""
    return await _set_blocked(office, ask, blocked=False)


async def _set_blocked(office: Office, ask: Ask, *, blocked: bool) -> Json:
    body: TeamName = ask.body

    def work(connection: Connection) -> Json:
        team = team_for(connection, ask.caller, body.team_id, Standing.RULES, "block or unblock the keys")
        _save(connection, ask.caller, team, {"blocked": blocked})
        return _shown(office, connection, body.team_id)

    shown = await office.store.write(work)
    office.forget("team", body.team_id)
    return shown


async def add_models(office: Office, ask: Ask) -> Json:
    """Let a team have more models; one that may have all keeps them."""
    return await _set_models(office, ask, lambda models, more: list(dict.fromkeys([*(models or [_ALL]), *more])))


async def drop_models(office: Office, ask: Ask) -> Json:
    """Take models from a team; never the last one, for a team without a list may have all."""
    return await _set_models(office, ask, _without)


def offer_model(connection: Connection, caller: Caller, team_id: str, name: str) -> None:
    """Have a team's list hold a model that is made for it; one that may have all keeps them. Raises as `team_for`."""
    team = team_for(connection, caller, team_id, Standing.RULES, "change the models")
    models = list(dict.fromkeys([*(team["fields"].get("models") or [_ALL]), name]))
    _check_beside(connection, {"models": models}, team["organization_id"])
    _save(connection, caller, team, {"models": models})


def _without(models: Sequence[str], gone: Sequence[str]) -> list[str]:
    left = [model for model in models if model not in gone]
    if models and not left:
        raise InvalidRequest(
            "this would leave no model in the list, and a team without a list may have all; "
            "block the team, or give it another list with POST /team/update",
            param="models",
        )
    return left


async def _set_models(office: Office, ask: Ask, changed: Callable[[Sequence[str], Sequence[str]], list[str]]) -> Json:
    body: TeamModels = ask.body

    def work(connection: Connection) -> Json:
        team = team_for(connection, ask.caller, body.team_id, Standing.RULES, "change the models")
        changes = {"models": changed(team["fields"].get("models") or [], body.models)}
        _check_beside(connection, changes, team["organization_id"])
        _save(connection, ask.caller, team, changes)
        return _shown(office, connection, body.team_id)

    shown = await office.store.write(work)
    office.forget("team", body.team_id)
    return shown


async def remove(office: Office, ask: Ask) -> Json:
    """Take teams away, all of them or none; with them go their memberships and their keys."""
    body: TeamNames = ask.body
    if not body.team_ids:
        raise InvalidRequest('name the teams: {"team_ids": ["..."]}', param="team_ids")
    team_ids = list(dict.fromkeys(body.team_ids))

    def work(connection: Connection) -> list[str]:
        for team_id in team_ids:
            team_for(connection, ask.caller, team_id, Standing.RULES, "delete the data")
        return delete_teams(connection, team_ids)

    keys = await office.store.write(work)
    office.forget("team", *team_ids)
    office.forget("key", *keys)
    return {"deleted_teams": team_ids}


def delete_teams(connection: Connection, team_ids: Sequence[str]) -> list[str]:
    """Take teams away with all that stands on them; the digests of their keys."""
    keys = delete_keys(connection, KEYS.c.team_id.in_(team_ids))
    connection.execute(delete(MEMBERS).where(MEMBERS.c.team_id.in_(team_ids)))
    connection.execute(delete(TEAMS).where(TEAMS.c.team_id.in_(team_ids)))
    for team_id in team_ids:
        say_changed(connection, "team", team_id)
    return keys


def _may_make(connection: Connection, caller: Caller, organization_id: str) -> None:
    require_change(caller)
    if caller.is_admin or (organization_id and is_organization_admin(connection, caller, organization_id)):
        return
    raise Forbidden(
        "this key is not allowed to make teams; a proxy_admin does, and the org_admin of an organization within it"
    )


def _first_members(body: NewTeam, caller: Caller) -> list[Member]:
    """Who is in a team from its start, each once, and its maker as its admin."""
    listed = [
        *(body.members_with_roles or ()),
        *(Member(role="admin", user_id=name) for name in body.admins or ()),
        *(Member(role="user", user_id=name) for name in body.members or ()),
    ]
    found = {require_address(member): member for member in reversed(listed)}
    maker = caller.user_id or WITHOUT_NAME
    members = [found[name] for name in dict.fromkeys(require_address(member) for member in listed)]
    return members if any(name == maker for name, _ in found) else [*members, Member(role="admin", user_id=maker)]


def _check(changes: Mapping[str, Json]) -> None:
    """Refuse what no team can be, whatever stands beside it."""
    check_limits(changes)
    for entry in changes.get("budget_limits") or ():
        check_limits(entry)
    if changes.get("blocked", False) is None:
        raise InvalidRequest("blocked is null; give true or false", param="blocked")


def _with_targets(caller: Caller, changes: Mapping[str, Json]) -> Mapping[str, Json]:
    """What a team asks for. An alias opens what it stands for, so that only a proxy_admin makes one to anywhere."""
    targets = (changes.get("model_aliases") or {}).values()
    if caller.is_admin or not targets:
        return changes
    return {**changes, "models": [*(changes.get("models") or ()), *targets]}


def _check_beside(connection: Connection, changes: Mapping[str, Json], organization_id: str) -> None:
    """Refuse a budget or an organization that is not there, and more than the organization has."""
    require_budget(connection, changes.get("budget_id"))
    if not organization_id:
        return
    row = one(connection, select(ORGANIZATIONS).where(ORGANIZATIONS.c.organization_id == organization_id))
    if row is None:
        raise InvalidRequest(
            f"there is no organization {organization_id!r}; make it with POST /organization/new",
            param="organization_id",
        )
    budget = budget_of(connection, row["budget_id"]) if row["budget_id"] else None
    _check_within({**(budget["fields"] if budget else {}), **row["fields"]}, changes, organization_id)


def _check_within(most: Mapping[str, Json], changes: Mapping[str, Json], organization_id: str) -> None:
    for name in ("max_budget", "tpm_limit", "rpm_limit", "max_parallel_requests"):
        wanted, limit = changes.get(name), most.get(name)
        if wanted is not None and limit is not None and wanted > limit:
            raise InvalidRequest(
                f"{name} {wanted} is more than the {limit} of organization {organization_id!r}", param=name
            )
    allowed = most.get("models") or []
    if not allowed or _NO_LIST & set(allowed):
        return
    foreign = [model for model in changes.get("models") or () if model not in allowed and model not in _NO_LIST]
    if foreign:
        raise InvalidRequest(
            f"organization {organization_id!r} may not have {', '.join(foreign)}; it has {', '.join(allowed)}",
            param="models",
        )


def _save(connection: Connection, caller: Caller, team: Row, changes: Mapping[str, Json]) -> None:
    values = {**_values(team["fields"], changes), **changed_by(caller)}
    connection.execute(update(TEAMS).where(TEAMS.c.team_id == team["team_id"]).values(**values))
    say_changed(connection, "team", team["team_id"])


def _values(fields: Mapping[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """The columns that a change sets; `fields` are the present ones."""
    columns: dict[str, Json] = {_COLUMNS[name]: changes[name] or "" for name in _COLUMNS.keys() & changes.keys()}
    if "blocked" in changes:
        columns["blocked"] = changes["blocked"]
    rest = {name: value for name, value in changes.items() if name not in _COLUMNS and name != "blocked"}
    return {**columns, "fields": with_tags(merged(fields, rest), rest)}


def with_tags(fields: dict[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """The tags of an object in both places where LiteLLM's clients look for them: beside the metadata, and in it."""
    metadata = dict(fields.get("metadata") or {})
    if "tags" in changes:
        metadata["tags"] = changes["tags"]
    elif "metadata" in changes:
        fields["tags"] = metadata.get("tags")
    return merged(fields, {"metadata": merged(metadata, {}) or None})


def _existing(connection: Connection, team_id: str) -> Row:
    team = team_of(connection, team_id)
    if team is None:
        raise missing("team", team_id)
    return team


def _shown(office: Office, connection: Connection, team_id: str) -> Json:
    return team_rows(office, connection, [_existing(connection, team_id)])[0]


_SECTION: Final = Section("teams", inert=_KEPT_ONLY)
ENDPOINTS: Final = (
    _SECTION.post("/team/new", "team_new", "Make a team", new, NewTeam),
    _SECTION.post("/team/update", "team_update", "Change a team", change, TeamChange),
    _SECTION.post("/team/delete", "team_delete", "Delete teams with their keys", remove, TeamNames),
    _SECTION.post("/team/block", "team_block", "Refuse the keys of a team", block, TeamName),
    _SECTION.post("/team/unblock", "team_unblock", "Let the keys of a team work again", unblock, TeamName),
    _SECTION.post("/team/model/add", "team_model_add", "Let a team have more models", add_models, TeamModels),
    _SECTION.post("/team/model/delete", "team_model_delete", "Take models from a team", drop_models, TeamModels),
)
