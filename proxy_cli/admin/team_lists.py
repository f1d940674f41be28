"""Teams as they are looked at: one with its members and keys, and lists of those that the caller may see.

Rule: who does not see all sees the teams he is in, those of organizations in his hands, and the one his key belongs to;
of their keys, those that `rights.sees_key` shows him.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, or_, select, true

from proxy_cli.admin.base import Ask, Office, Page, Row, Section, choice, like, page, text
from proxy_cli.admin.budgets import many, table_of
from proxy_cli.admin.members import offered
from proxy_cli.admin.memberships import memberships_of
from proxy_cli.admin.rights import missing, organizations_of, sees_key, teams_of
from proxy_cli.admin.shown import key_rows, team_rows
from proxy_cli.admin.standing import Standing, standing, team_for
from proxy_cli.callers import Caller
from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Json
from proxy_cli.store.tables import KEYS, MEMBERS, TEAMS, USERS

Condition = ColumnElement[bool]
_SORTS: Final[Mapping[str, Any]] = {
    "team_alias": TEAMS.c.alias,
    "team_id": TEAMS.c.team_id,
    "created_at": TEAMS.c.created_at,
    "updated_at": TEAMS.c.updated_at,
}
_WITHOUT_ORGANIZATION: Final = "default_organization"  # LiteLLM's word in a query for teams that have none
_OF_ALL_MEMBERS: Final = {
    "max_budget": "team_member_budget",
    "budget_duration": "team_member_budget_duration",
    "tpm_limit": "team_member_tpm_limit",
    "rpm_limit": "team_member_rpm_limit",
}


async def info(office: Office, ask: Ask) -> Json:
    """A team with its members and its keys; without a name, the one that the caller's key belongs to."""
    team_id = text(ask, "team_id") or ask.caller.team_id
    if not team_id:
        raise InvalidRequest("say which team: /team/info?team_id=...", param="team_id")

    def work(connection: Connection) -> Json:
        team = team_for(connection, ask.caller, team_id, Standing.LOOKS, "see the data")
        found = standing(connection, ask.caller, team)
        shown = team_rows(office, connection, [team])[0]
        return {
            "team_id": team_id,
            "team_info": {
                **shown,
                "members_with_roles": _with_names(connection, shown["members_with_roles"]),
                "team_member_budget_table": _of_all_members(office, team),
                "caller_edit_access": _access(found),
            },
            "keys": _keys(office, connection, ask.caller, [team], all_of=found >= Standing.LEADS)[team_id],
            "team_memberships": memberships_of(office, connection, [team], _narrowed(ask.caller, found)),
        }

    return await office.store.read(work)


def _narrowed(caller: Caller, found: Standing) -> str:
    """Whose membership a caller may see: all where this is empty."""
    return "" if found >= Standing.LEADS or caller.sees_all else caller.user_id or "-"


def _access(found: Standing) -> dict[str, Json]:
    """What the caller may change of the team itself, in LiteLLM's words."""
    match found:
        case Standing.RULES:
            return {"kind": "unrestricted"}
        case Standing.LEADS:
            return {"kind": "team_admin", "editable_fields": ["team_alias"]}
    return {"kind": "none"}


def _with_names(connection: Connection, members: Sequence[Mapping[str, Json]]) -> list[Json]:
    ids = [member["user_id"] for member in members]
    query = select(USERS.c.user_id, USERS.c.alias).where(USERS.c.user_id.in_(ids))
    names = {row.user_id: row.alias for row in connection.execute(query)}
    return [{**member, "user_alias": names.get(member["user_id"]) or None} for member in members]


def _of_all_members(office: Office, team: Row) -> Json:
    limits = {name: team["fields"].get(of_members) for name, of_members in _OF_ALL_MEMBERS.items()}
    return table_of(office, limits) if any(value is not None for value in limits.values()) else None


async def listed(office: Office, ask: Ask) -> Json:
    """The teams that the caller may see, with what their members may spend, and their keys."""
    user_id = text(ask, "user_id")

    def work(connection: Connection) -> Json:
        conditions = [_seen(connection, ask.caller), *_wanted(connection, ask)]
        teams = many(connection, select(TEAMS).where(*conditions).order_by(TEAMS.c.alias, TEAMS.c.team_id))
        memberships = memberships_of(office, connection, teams, user_id or "")
        keys = _keys(office, connection, ask.caller, teams, all_of=ask.caller.sees_all)
        shown = team_rows(office, connection, teams)
        led = set(teams_of(connection, ask.caller.user_id, as_admin=True))
        return [
            {
                **team,
                "keys": keys[team["team_id"]],
                "team_memberships": [
                    each
                    for each in memberships
                    if each["team_id"] == team["team_id"] and _may_see(ask.caller, led, each)
                ],
            }
            for team in shown
        ]

    return await office.store.read(work)


def _may_see(caller: Caller, led: set[str], membership: Mapping[str, Json]) -> bool:
    return caller.sees_all or membership["team_id"] in led or membership["user_id"] == caller.user_id


async def paged(office: Office, ask: Ask) -> Json:
    """The same a page at a time, found by name and in the order that is asked for."""
    part = page(ask, "page_size")
    column = _SORTS[choice(ask, "sort_by", tuple(_SORTS), "team_alias")]
    down = choice(ask, "sort_order", ("asc", "desc"), "asc") == "desc"

    def work(connection: Connection) -> Json:
        conditions = [_seen(connection, ask.caller), *_wanted(connection, ask), *_searched(ask)]
        total = connection.execute(select(func.count()).select_from(TEAMS).where(*conditions)).scalar_one()
        query = select(TEAMS).where(*conditions).order_by(column.desc() if down else column, TEAMS.c.team_id)
        teams = many(connection, query.limit(part.size).offset(part.skipped))
        return _page(part, total, _counted(connection, team_rows(office, connection, teams)))

    return await office.store.read(work)


def _page(part: Page, total: int, teams: Sequence[Json]) -> dict[str, Json]:
    return {
        "teams": teams,
        "total": total,
        "page": part.number,
        "page_size": part.size,
        "total_pages": part.pages(total),
    }


def _counted(connection: Connection, teams: Sequence[dict[str, Json]]) -> list[Json]:
    ids = [team["team_id"] for team in teams]
    query = select(KEYS.c.team_id, func.count()).where(KEYS.c.team_id.in_(ids)).group_by(KEYS.c.team_id)
    counts = {row[0]: row[1] for row in connection.execute(query)}
    return [
        {**team, "members_count": len(team["members_with_roles"]), "keys_count": counts.get(team["team_id"], 0)}
        for team in teams
    ]


async def available(office: Office, ask: Ask) -> Json:
    """The teams that every user may join, by the configuration, but for those he is in."""
    teams = offered(office)

    def work(connection: Connection) -> Json:
        left = sorted(set(teams) - set(teams_of(connection, ask.caller.user_id)))
        query = select(TEAMS).where(TEAMS.c.team_id.in_(left)).order_by(TEAMS.c.alias, TEAMS.c.team_id)
        return team_rows(office, connection, many(connection, query))

    return await office.store.read(work) if teams else []


def _seen(connection: Connection, caller: Caller) -> Condition:
    """The teams that a caller may see."""
    if caller.sees_all:
        return true()
    own = select(MEMBERS.c.team_id).where(MEMBERS.c.user_id == caller.user_id)
    led = organizations_of(connection, caller.user_id, as_admin=True)
    of_organizations = TEAMS.c.organization_id.in_(led)
    if not caller.user_id:
        return TEAMS.c.team_id == caller.team_id
    return or_(TEAMS.c.team_id == caller.team_id, TEAMS.c.team_id.in_(own), of_organizations)


def _wanted(connection: Connection, ask: Ask) -> list[Condition]:
    """What the query asks for beside names."""
    found: list[Condition] = []
    if user_id := text(ask, "user_id"):
        if not ask.caller.sees_all and user_id != ask.caller.user_id and not _leads(connection, ask.caller):
            raise missing("user", user_id)
        found.append(TEAMS.c.team_id.in_(select(MEMBERS.c.team_id).where(MEMBERS.c.user_id == user_id)))
    if organization_id := text(ask, "organization_id"):
        is_none = organization_id == _WITHOUT_ORGANIZATION
        found.append(TEAMS.c.organization_id == ("" if is_none else organization_id))
    return found


def _leads(connection: Connection, caller: Caller) -> bool:
    """Whether anything is in the caller's hands, so that he may look for other users in it."""
    own = teams_of(connection, caller.user_id, as_admin=True)
    return bool(own or organizations_of(connection, caller.user_id, as_admin=True))


def _searched(ask: Ask) -> list[Condition]:
    """Names as they are looked for, with every character as it is written."""
    found: list[Condition] = []
    if team_id := text(ask, "team_id"):
        found.append(TEAMS.c.team_id == team_id)
    if alias := text(ask, "team_alias"):
        found.append(TEAMS.c.alias.ilike(like(alias), escape="\\"))
    if words := text(ask, "search"):
        found.append(or_(TEAMS.c.team_id == words, TEAMS.c.alias.ilike(like(words), escape="\\")))
    return found


def _keys(
    office: Office, connection: Connection, caller: Caller, teams: Sequence[Row], *, all_of: bool
) -> dict[str, list[Json]]:
    """The keys of each team that the caller may see."""
    found: dict[str, list[Json]] = {team["team_id"]: [] for team in teams}
    query = select(KEYS).where(KEYS.c.team_id.in_(found)).order_by(KEYS.c.created_at, KEYS.c.digest)
    rows = [row for row in many(connection, query) if all_of or sees_key(connection, caller, row)]
    for row in key_rows(office, connection, rows):
        found[row["team_id"]].append(row)
    return found


_SECTION: Final = Section("teams")
ENDPOINTS: Final = (
    _SECTION.get("/team/info", "team_info", "Show a team", info),
    _SECTION.get("/team/list", "team_list", "Show the teams you may see", listed),
    _SECTION.get("/v2/team/list", "team_list_v2", "Show the teams you may see, a page at a time", paged),
    _SECTION.get("/team/available", "team_available", "Show the teams that every user may join", available),
)
