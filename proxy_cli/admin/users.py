"""`/user/...`: users are made, changed and deleted.

Owns: every change of a user's row, the teams and the key that a new one gets with it. Refuses: to let a user change
what he may; he changes how he is called, and no more. Rule: with a user go his keys and memberships, at once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from proxy_cli.admin import sums
from proxy_cli.admin.base import Ask, Office, Row, Section, given, merged, row_of, rows_of
from proxy_cli.admin.budgets import changed_by, made_by, require_budget
from proxy_cli.admin.key_body import check_fields
from proxy_cli.admin.keys import make_key, remove_keys
from proxy_cli.admin.members import Member, add_member
from proxy_cli.admin.rights import (
    is_organization_admin,
    missing,
    not_theirs,
    refuse_fields,
    require_admin,
    require_change,
)
from proxy_cli.admin.shown import user_rows
from proxy_cli.admin.user_body import (
    ASIDE,
    INERT,
    NewUser,
    UserChange,
    UserChanges,
    UserFields,
    UserNames,
    hashed,
)
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Conflict, Forbidden, GatewayError, InvalidRequest
from proxy_cli.money import nano_of
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.tables import KEYS, MEMBERS, ORGANIZATION_MEMBERS, ORGANIZATIONS, TEAMS, USERS

# LiteLLM's name for whom the spend of the whole proxy is put down to.
EVERYBODY: Final = "litellm-proxy-budget"
_INTERNAL: Final = frozenset({Role.USER.value, Role.USER_VIEWER.value})
_OF_KEY: Final = ("models", "aliases", "duration", "key_alias", "team_id", "permissions", "guardrails", "config")
_NOT_KEPT: Final = ASIDE | {
    *("teams", "organizations", "organization_id", "auto_create_key", "key_alias", "duration", "aliases", "team_id")
}
_OF_USERS: Final = frozenset({"user_id", "user_alias", "metadata", "password"})


async def new(office: Office, ask: Ask) -> Json:
    """Make a user, and unless `auto_create_key` is false a key for him, which is in this answer alone."""
    body: NewUser = ask.body
    require_change(ask.caller)
    fields = await _with_hash(with_defaults(office, given(body)))
    check_fields(fields)
    user_id = fields.get("user_id") or str(uuid4())

    def work(connection: Connection) -> dict[str, Json]:
        places = _places(fields)
        _check_new(connection, ask.caller, fields, places)
        _insert(connection, ask.caller, user_id, fields)
        _join_teams(connection, ask.caller, user_id, _teams(fields))
        _join_organizations(connection, ask.caller, user_id, places)
        if fields.get("spend"):
            _set_spend(office, connection, user_id, fields["spend"])
        say_changed(connection, "user", user_id)
        key: dict[str, Json] = {}
        if body.auto_create_key is not False:
            own = {name: fields[name] for name in _OF_KEY if fields.get(name) is not None}
            if not ask.caller.is_admin:
                own["organization_id"] = places[0]  # its admin gives away what it has, and no more
            key = make_key(office, connection, ask.caller, {**own, "user_id": user_id})
        return {**key, **shown_user(office, connection, user_id), "key": key.get("key", "")}

    made = await office.store.write(work)
    office.forget("user", user_id)
    return made


def with_defaults(office: Office, fields: Mapping[str, Json]) -> dict[str, Json]:
    """A new user's fields, with the operator's defaults where the request says nothing."""
    settings = office.config.litellm_settings
    found = dict(fields)
    if found.get("user_role") != Role.ADMIN.value:
        for name, value in settings.default_internal_user_params.items():
            if name != "available_teams" and found.get(name) in (None, [], {}):
                found[name] = value
    found["user_role"] = found.get("user_role") or Role.USER.value
    if found["user_role"] == Role.USER.value:
        if found.get("max_budget") is None and settings.max_internal_user_budget is not None:
            found["max_budget"] = settings.max_internal_user_budget
        if found.get("budget_duration") is None and settings.internal_user_budget_duration is not None:
            found["budget_duration"] = settings.internal_user_budget_duration
    return found


async def _with_hash(fields: Mapping[str, Json]) -> dict[str, Json]:
    password = fields.get("password")
    if not password:
        return dict(fields)
    # It takes some 50 ms on purpose, in which others are served.
    return {**fields, "password": await asyncio.to_thread(hashed, password)}


def _places(fields: Mapping[str, Json]) -> list[str]:
    one = fields.get("organization_id")
    return list(dict.fromkeys([*(fields.get("organizations") or ()), *([one] if one else ())]))


def _teams(fields: Mapping[str, Json]) -> list[Any]:
    """The teams that a new user is put into; `team_id` names one more, which his key belongs to."""
    teams, one = list(fields.get("teams") or ()), fields.get("team_id")
    known = {each["team_id"] if isinstance(each, dict) else each for each in teams}
    return [*teams, one] if one and one not in known else teams


def _check_new(connection: Connection, caller: Caller, fields: Mapping[str, Json], places: Sequence[str]) -> None:
    if not caller.is_admin:
        if not places or not all(is_organization_admin(connection, caller, each) for each in places):
            raise Forbidden("a user is made by a proxy_admin, or in an organization by its org_admin")
        if fields["user_role"] not in _INTERNAL:
            raise Forbidden(f"the role {fields['user_role']} is given by a proxy_admin only; leave user_role out")
        refuse_fields(
            caller, [name for name, value in fields.items() if value], {"spend", "teams", "team_id"}, "a user"
        )
    require_budget(connection, fields.get("budget_id") or "")


def _insert(connection: Connection, caller: Caller, user_id: str, fields: Mapping[str, Json]) -> None:
    if _row(connection, user_id) is not None:
        raise Conflict(f"there is a user {user_id!r} already; choose another user_id, or leave it out", param="user_id")
    values = {
        **_columns(connection, fields, user_id),
        "user_id": user_id,
        "organization_id": fields.get("organization_id") or "",
        "fields": merged({}, {name: value for name, value in fields.items() if name not in _NOT_KEPT}),
        **made_by(caller),
    }
    try:
        connection.execute(insert(USERS).values(**values))
    except IntegrityError:  # another process was quicker
        raise Conflict("a user of this id or address has just been made by somebody else; try again") from None


def _columns(connection: Connection, fields: Mapping[str, Json], user_id: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "user_email" in fields:
        values["email"] = (fields["user_email"] or "").strip().lower() or None
        _refuse_twin(connection, USERS.c.email, values["email"], user_id, "user_email")
    if "sso_user_id" in fields:
        values["sso_user_id"] = fields["sso_user_id"] or None
        _refuse_twin(connection, USERS.c.sso_user_id, values["sso_user_id"], user_id, "sso_user_id")
    for name, column in (("user_alias", "alias"), ("user_role", "role"), ("budget_id", "budget_id")):
        if name in fields:
            values[column] = fields[name] or ""
    return values


def _refuse_twin(connection: Connection, column: Any, value: str | None, user_id: str, name: str) -> None:
    if value is None:
        return
    query = select(USERS.c.user_id).where(column == value, USERS.c.user_id != user_id)
    if connection.execute(query).first() is not None:
        raise InvalidRequest(f"a user with the {name} {value!r} exists already; each belongs to one user", param=name)


def _join_teams(connection: Connection, caller: Caller, user_id: str, teams: Sequence[Any]) -> None:
    for each in teams:
        place = each if isinstance(each, dict) else {"team_id": each}
        team = row_of(connection, select(TEAMS).where(TEAMS.c.team_id == place["team_id"]))
        if team is None:
            raise InvalidRequest(f"there is no team {place['team_id']!r}; make it with POST /team/new", param="teams")
        limits = {name: place[name] for name in ("max_budget_in_team",) if name in place}
        member = Member(role=place.get("user_role", "user"), user_id=user_id)
        add_member(connection, caller, team, member, limits)


def _join_organizations(connection: Connection, caller: Caller, user_id: str, places: Sequence[str]) -> None:
    for each in places:
        query = select(ORGANIZATIONS.c.organization_id).where(ORGANIZATIONS.c.organization_id == each)
        if connection.execute(query).first() is None:
            raise InvalidRequest(
                f"there is no organization {each!r}; make it with POST /organization/new", param="organizations"
            )
        values = {"organization_id": each, "user_id": user_id, "role": Role.USER.value, "fields": {}}
        connection.execute(insert(ORGANIZATION_MEMBERS).values(**values, **made_by(caller)))
        say_changed(connection, "organization_member", f"{each}/{user_id}")


def _row(connection: Connection, user_id: str) -> Row | None:
    return row_of(connection, select(USERS).where(USERS.c.user_id == user_id))


def shown_user(office: Office, connection: Connection, user_id: str) -> dict[str, Json]:
    """A user as clients know him."""
    return user_rows(office, connection, rows_of(connection, select(USERS).where(USERS.c.user_id == user_id)))[0]


def _set_spend(office: Office, connection: Connection, user_id: str, usd: float) -> None:
    shown = shown_user(office, connection, user_id)
    period = shown["budget_duration"] or (shown["litellm_budget_table"] or {}).get("budget_duration")
    sums.set_spent(connection, ("user", user_id, sums.window(office, period)), nano_of(usd))


async def change(office: Office, ask: Ask) -> Json:
    """Change a user: what is left out stays, null takes a limit away."""
    body: UserChange = ask.body
    fields = await _with_hash(given(body))
    return await _changed(office, ask.caller, fields)


async def _changed(office: Office, caller: Caller, fields: Mapping[str, Json]) -> Json:
    if fields.get("user_id") == EVERYBODY:
        return await _change_everybody(office, caller, fields)

    def work(connection: Connection) -> dict[str, Json]:
        return change_user(office, connection, caller, fields)

    row = await office.store.write(work)
    office.forget("user", row["user_id"])
    return {"user_id": row["user_id"], "data": row}


def change_user(office: Office, connection: Connection, caller: Caller, fields: Mapping[str, Json]) -> dict[str, Json]:
    """The same, in a transaction."""
    require_change(caller)
    row, named_by = _named(connection, fields)
    if row is None or not (caller.is_admin or (caller.user_id and row["user_id"] == caller.user_id)):
        raise not_theirs(caller, "user", str(fields.get("user_id") or fields.get("user_email") or ""))
    wanted = {name: value for name, value in fields.items() if name not in named_by}
    refuse_fields(caller, wanted, set(UserFields.__struct_fields__) - _OF_USERS, "himself")
    check_fields(wanted)
    require_budget(connection, wanted.get("budget_id") or "")
    changes = {name: value for name, value in wanted.items() if name not in ASIDE}
    values = _columns(connection, wanted, row["user_id"])
    values |= {"fields": merged(row["fields"], changes), **changed_by(caller)}
    try:
        connection.execute(update(USERS).where(USERS.c.user_id == row["user_id"]).values(**values))
    except IntegrityError:  # another process was quicker
        raise Conflict("this address has just been given to another user; choose another", param="user_email") from None
    if "spend" in wanted:
        _set_spend(office, connection, row["user_id"], wanted["spend"] or 0.0)
    say_changed(connection, "user", row["user_id"])
    return shown_user(office, connection, row["user_id"])


def _named(connection: Connection, fields: Mapping[str, Json]) -> tuple[Row | None, frozenset[str]]:
    """The user who is meant, and the fields that say so, which are not changes then."""
    if user_id := fields.get("user_id"):
        return _row(connection, user_id), frozenset({"user_id"})
    email = (fields.get("user_email") or "").strip().lower()
    if not email:
        raise InvalidRequest("no user is named; give user_id or user_email", param="user_id")
    found = row_of(connection, select(USERS).where(USERS.c.email == email))
    return found, frozenset({"user_id", "user_email"})


async def _change_everybody(office: Office, caller: Caller, fields: Mapping[str, Json]) -> Json:
    require_admin(caller, "change the spend of the whole proxy")
    spend = fields.get("spend")
    if spend is None or set(fields) - {"user_id", "spend"}:
        raise InvalidRequest(
            f"of {EVERYBODY} only `spend` is changed here; its budget is litellm_settings.max_budget", param="spend"
        )

    def work(connection: Connection) -> None:
        sums.set_spent(connection, everybodys_total(office), nano_of(spend))
        say_changed(connection, "proxy", "")

    await office.store.write(work)
    office.forget("proxy", "")
    return {"user_id": EVERYBODY, "data": {"user_id": EVERYBODY, "spend": spend}}


def everybodys_total(office: Office) -> sums.Total:
    """The window in which the whole proxy spends at present."""
    return "proxy", "", sums.window(office, office.config.litellm_settings.budget_duration)


async def change_many(office: Office, ask: Ask) -> Json:
    """Change many users, each on his own, so that one who cannot be changed holds up no other."""
    require_admin(ask.caller, "change many users at once")
    body: UserChanges = ask.body
    results: list[dict[str, Json]] = []
    for each in body.users:
        name = {"user_id": each.user_id or None, "user_email": each.user_email or None}
        try:
            told = await _changed(office, ask.caller, await _with_hash(given(each)))
        except GatewayError as error:
            results.append({**name, "success": False, "error": error.message, "updated_user": None})
        else:
            results.append({**name, "success": True, "error": None, "updated_user": told["data"]})
    good = sum(1 for each in results if each["success"])
    return {
        "results": results,
        "total_requested": len(results),
        "successful_updates": good,
        "failed_updates": len(results) - good,
    }


async def remove(office: Office, ask: Ask) -> Json:
    """Delete users with their keys and memberships; how many there were."""
    require_admin(ask.caller, "delete users")
    body: UserNames = ask.body
    ids = list(dict.fromkeys(body.user_ids))

    def work(connection: Connection) -> tuple[int, list[str]]:
        there = set(connection.execute(select(USERS.c.user_id).where(USERS.c.user_id.in_(ids))).scalars())
        for each in ids:
            if each not in there:
                raise missing("user", each)
        digests = remove_keys(connection, KEYS.c.user_id.in_(ids))
        for table in (MEMBERS, ORGANIZATION_MEMBERS):
            connection.execute(delete(table).where(table.c.user_id.in_(ids)))
        connection.execute(delete(USERS).where(USERS.c.user_id.in_(ids)))
        for each in ids:
            say_changed(connection, "user", each)
        return len(ids), digests

    count, digests = await office.store.write(work)
    office.forget("key", *digests)
    office.forget("user", *ids)
    return count


_SECTION: Final = Section("users", inert=INERT)
ENDPOINTS: Final = (
    _SECTION.post("/user/new", "user_new", "Make a user, and a key for him", new, NewUser),
    _SECTION.post("/user/update", "user_update", "Change a user", change, UserChange),
    _SECTION.post("/user/bulk_update", "user_bulk_update", "Change many users", change_many, UserChanges),
    _SECTION.post("/user/delete", "user_delete", "Delete users with their keys", remove, UserNames),
)
