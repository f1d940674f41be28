"""`/user/info`, `/user/list` and what else tells of users and changes none.

Owns: the narrowing to whom a caller may see: himself, and who is in an organization of which he is org_admin.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select, true

from proxy_cli.admin import sums
from proxy_cli.admin.base import Ask, Office, Row, Section, choice, like, page, row_of, rows_of, text, texts
from proxy_cli.admin.memberships import memberships_of
from proxy_cli.admin.rights import not_theirs, organizations_of, teams_of
from proxy_cli.admin.shown import key_rows, team_rows, user_rows
from proxy_cli.admin.users import EVERYBODY, everybodys_total
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Forbidden
from proxy_cli.money import usd_of
from proxy_cli.shapes import Json
from proxy_cli.store.tables import DAILY, KEYS, MEMBERS, ORGANIZATION_MEMBERS, TEAMS, USERS

_MOST_KEYS: Final = 1000  # of one user, in one answer
_SORTED: Final = {
    "created_at": USERS.c.created_at,
    "updated_at": USERS.c.updated_at,
    "user_id": USERS.c.user_id,
    "user_email": USERS.c.email,
    "user_alias": USERS.c.alias,
    "user_role": USERS.c.role,
}
_ROLES: Final = {
    Role.ADMIN.value: ("Admin (All Permissions)", "sees and changes everything"),
    Role.VIEWER.value: ("Admin (View Only)", "sees everything and changes nothing"),
    Role.USER.value: ("Internal User (Create/Delete/View)", "makes, changes and sees keys of his own"),
    Role.USER_VIEWER.value: ("Internal User (View Only)", "sees keys and spend of his own"),
}
Condition = ColumnElement[bool]


async def info(office: Office, ask: Ask) -> Json:
    """One user with his keys and teams: the one that is named, else the caller's."""
    user_id = text(ask, "user_id") or ask.caller.user_id
    if user_id == EVERYBODY and ask.caller.sees_all:
        return await office.store.read(lambda connection: _everybody(office, connection))
    if not user_id and ask.caller.sees_all:
        return {"user_id": None, "user_info": None, "keys": [], "teams": []}

    def work(connection: Connection) -> Json:
        row = row_of(connection, select(USERS).where(USERS.c.user_id == user_id))
        if row is None or not _sees(connection, ask.caller, row):
            raise not_theirs(ask.caller, "user", user_id)
        return _told(office, connection, row)

    return await office.store.read(work)


def _told(office: Office, connection: Connection, row: Row) -> dict[str, Json]:
    user_id = row["user_id"]
    keys = select(KEYS).where(KEYS.c.user_id == user_id).order_by(KEYS.c.created_at.desc()).limit(_MOST_KEYS)
    teams = select(TEAMS).where(TEAMS.c.team_id.in_(teams_of(connection, user_id))).order_by(TEAMS.c.team_id)
    return {
        "user_id": user_id,
        "user_info": user_rows(office, connection, [row])[0],
        "keys": key_rows(office, connection, rows_of(connection, keys)),
        "teams": _with_memberships(office, connection, rows_of(connection, teams), user_id),
    }


def _everybody(office: Office, connection: Connection) -> dict[str, Json]:
    settings, total = office.config.litellm_settings, everybodys_total(office)
    told = {
        "user_id": EVERYBODY,
        "max_budget": settings.max_budget,
        "budget_duration": settings.budget_duration,
        "spend": usd_of(_spent_by_all(connection, total)),
    }
    return {"user_id": EVERYBODY, "user_info": told, "keys": [], "teams": []}


def _spent_by_all(connection: Connection, total: sums.Total) -> int:
    """Of the present window of the proxy's budget; where nothing is counted for one, of all days."""
    nano = sums.spent(connection, [total]).get(total)
    return nano if nano is not None else int(connection.scalar(select(func.sum(DAILY.c.nano))) or 0)


def _sees(connection: Connection, caller: Caller, row: Row) -> bool:
    if caller.sees_all or (caller.user_id and row["user_id"] == caller.user_id):
        return True
    mine = organizations_of(connection, caller.user_id, as_admin=True)
    return bool(mine and set(mine) & set(organizations_of(connection, row["user_id"])))


def _with_memberships(office: Office, connection: Connection, teams: Sequence[Row], user_id: str) -> list[Json]:
    """A user's teams, each with what he may spend in it."""
    places = memberships_of(office, connection, teams, user_id)
    return [
        {**team, "team_memberships": [each for each in places if each["team_id"] == team["team_id"]]}
        for team in team_rows(office, connection, teams)
    ]


async def listed(office: Office, ask: Ask) -> Json:
    """A page of users."""
    part = page(ask, "page_size", default=25)
    column = _SORTED[choice(ask, "sort_by", tuple(_SORTED), "created_at")]
    falls = choice(ask, "sort_order", ("asc", "desc"), "desc") == "desc"

    def work(connection: Connection) -> tuple[int, list[dict[str, Json]]]:
        which = and_(_seen(connection, ask.caller), *_filters(ask))
        total = connection.execute(select(func.count()).select_from(USERS).where(which)).scalar_one()
        order = column.desc() if falls else column.asc()
        query = select(USERS).where(which).order_by(order, USERS.c.user_id).limit(part.size).offset(part.skipped)
        rows = rows_of(connection, query)
        counts = _key_counts(connection, [row["user_id"] for row in rows])
        users = user_rows(office, connection, rows)
        return total, [{**each, "key_count": counts.get(each["user_id"], 0)} for each in users]

    total, users = await office.store.read(work)
    pages = part.pages(total)
    return {"users": users, "total": total, "page": part.number, "page_size": part.size, "total_pages": pages}


def _key_counts(connection: Connection, ids: list[str]) -> dict[str, int]:
    query = select(KEYS.c.user_id, func.count()).where(KEYS.c.user_id.in_(ids)).group_by(KEYS.c.user_id)
    return {row[0]: row[1] for row in connection.execute(query)} if ids else {}


def _filters(ask: Ask) -> list[Condition]:
    found: list[Condition] = []
    if role := text(ask, "role"):
        found.append(USERS.c.role == role)
    for name, column in (("user_ids", USERS.c.user_id), ("sso_user_ids", USERS.c.sso_user_id)):
        if wanted := texts(ask, name):
            found.append(column.in_(wanted))
    for name, column in (("user_email", USERS.c.email), ("user_alias", USERS.c.alias)):
        if part := text(ask, name):
            found.append(column.ilike(like(part), escape="\\"))
    if team_id := text(ask, "team"):
        found.append(USERS.c.user_id.in_(select(MEMBERS.c.user_id).where(MEMBERS.c.team_id == team_id)))
    if places := texts(ask, "organization_ids"):
        found.append(USERS.c.user_id.in_(_members_of(places)))
    return found


def _members_of(organizations: list[str]) -> Any:
    table = ORGANIZATION_MEMBERS
    return select(table.c.user_id).where(table.c.organization_id.in_(organizations))


def _seen(connection: Connection, caller: Caller) -> Condition:
    if caller.sees_all:
        return true()
    mine = organizations_of(connection, caller.user_id, as_admin=True)
    if not mine:
        raise Forbidden("users are listed for a proxy_admin or an org_admin; GET /user/info tells of yourself")
    own = USERS.c.user_id == caller.user_id if caller.user_id else false()
    return or_(own, USERS.c.user_id.in_(_members_of(mine)))


async def roles(_office: Office, _ask: Ask) -> Json:
    """The roles that a user may have, with what they are."""
    return {name: {"ui_label": label, "description": what} for name, (label, what) in _ROLES.items()}


_LIST: Final = (
    *("page", "page_size", "role", "user_ids", "sso_user_ids", "user_email", "user_alias", "team"),
    *("organization_ids", "sort_by", "sort_order"),
)
_SECTION: Final = Section("users")
ENDPOINTS: Final = (
    _SECTION.get(
        "/user/info", "user_info", "One user with his keys and teams, by default the caller's", info, query=("user_id",)
    ),
    _SECTION.get("/user/list", "user_list", "A page of users", listed, query=_LIST),
    _SECTION.get("/user/get_users", "user_get_users", "The same, where LiteLLM has had it", listed, query=_LIST),
    _SECTION.get("/user/available_roles", "user_roles", "The roles that a user may have", roles),
)
