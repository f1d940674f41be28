"""`/key/info`, `/key/list` and what else tells of keys and changes none.

Owns: the narrowing of what is asked for to what the caller may see, in the query itself, so that counts and pages are
of that alone. Refuses: to show a key; clients name it by its `token`.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select, true

from proxy_cli.admin.base import Ask, Office, Row, Section, choice, flag, like, page, row_of, rows_of, text
from proxy_cli.admin.key_body import KeyNames, Nothing, is_digest
from proxy_cli.admin.keys import digest_of, hint_of
from proxy_cli.admin.rights import missing, not_theirs, sees_key, team_role, teams_of
from proxy_cli.admin.shown import key_rows
from proxy_cli.callers import Caller
from proxy_cli.errors import Forbidden, InvalidRequest
from proxy_cli.shapes import Json
from proxy_cli.store.moments import now_us
from proxy_cli.store.tables import KEYS

_SORTED: Final = {
    "created_at": KEYS.c.created_at,
    "updated_at": KEYS.c.updated_at,
    "key_alias": KEYS.c.alias,
    "user_id": KEYS.c.user_id,
    "team_id": KEYS.c.team_id,
    "expires": KEYS.c.expires_at,
    "token": KEYS.c.digest,
}
Condition = ColumnElement[bool]


async def info(office: Office, ask: Ask) -> Json:
    """One key: the one that is named, else the caller's."""
    named = text(ask, "key")
    if named is None and not ask.caller.key:
        raise InvalidRequest("the master key is no key of the store; name one, as /key/info?key=sk-...", param="key")

    def work(connection: Connection) -> dict[str, Json]:
        digest = digest_of(named) if named else ask.caller.key
        row = row_of(connection, select(KEYS).where(KEYS.c.digest == digest))
        if row is None:
            raise missing("key", _shown(named or ""))  # whoever names a whole key has guessed nothing
        if not sees_key(connection, ask.caller, row):
            raise not_theirs(ask.caller, "key", _shown(named or ""))
        return key_rows(office, connection, [row])[0]

    row = await office.store.read(work)
    token = row.pop("token")
    return {"key": named or token, "info": row}


async def infos(office: Office, ask: Ask) -> Json:
    """Several keys; those that are missing, or not the caller's to see, are left out."""
    body: KeyNames = ask.body
    keys = body.keys or []

    def work(connection: Connection) -> list[dict[str, Json]]:
        rows = rows_of(connection, select(KEYS).where(KEYS.c.digest.in_([digest_of(each) for each in keys])))
        return key_rows(office, connection, [row for row in rows if sees_key(connection, ask.caller, row)])

    return {"key": keys, "info": await office.store.read(work)}


async def listed(office: Office, ask: Ask) -> Json:
    """A page of keys, by token or with `return_full_object` whole."""
    part = page(ask)
    column = _SORTED[choice(ask, "sort_by", tuple(_SORTED), "created_at")]
    falls = choice(ask, "sort_order", ("asc", "desc"), "desc") == "desc"
    whole = flag(ask, "return_full_object")

    def work(connection: Connection) -> tuple[int, list[Json]]:
        which = and_(_seen(connection, ask), *_filters(ask))
        total = connection.execute(select(func.count()).select_from(KEYS).where(which)).scalar_one()
        order = column.desc() if falls else column.asc()
        query = select(KEYS).where(which).order_by(order, KEYS.c.digest).limit(part.size).offset(part.skipped)
        rows = rows_of(connection, query)
        return total, list(key_rows(office, connection, rows)) if whole else [row["digest"] for row in rows]

    total, keys = await office.store.read(work)
    return {"keys": keys, "total_count": total, "current_page": part.number, "total_pages": part.pages(total)}


async def aliases(office: Office, ask: Ask) -> Json:
    """The aliases of the keys that the caller may see."""
    part = page(ask, default=50, most=1000)
    searched = text(ask, "search")

    def work(connection: Connection) -> tuple[int, Sequence[str]]:
        which = and_(_seen(connection, ask, usual_all=True), KEYS.c.alias.is_not(None))
        if searched:
            which = and_(which, KEYS.c.alias.ilike(like(searched), escape="\\"))
        total = connection.execute(select(func.count()).select_from(KEYS).where(which)).scalar_one()
        query = select(KEYS.c.alias).where(which).order_by(KEYS.c.alias).limit(part.size).offset(part.skipped)
        return total, [str(alias) for alias in connection.execute(query).scalars()]

    total, found = await office.store.read(work)
    return {
        "aliases": found,
        "total_count": total,
        "current_page": part.number,
        "total_pages": part.pages(total),
        "size": part.size,
    }


async def health(office: Office, ask: Ask) -> Json:
    """Whether the caller's key is good, and whether what it asks to be told about its calls is."""

    def work(connection: Connection) -> Row | None:
        return row_of(connection, select(KEYS).where(KEYS.c.digest == ask.caller.key))

    row = await office.store.read(work) if ask.caller.key else None
    names = _callbacks(row["fields"].get("metadata")) if row is not None else []
    if not names:
        return {"key": "healthy", "logging_callbacks": None}
    told = {
        "callbacks": names,
        "status": "unhealthy",
        "details": f"nothing is sent to {', '.join(names)} for single keys here; take metadata.logging off the key",
    }
    return {"key": "unhealthy", "logging_callbacks": told}


def _callbacks(metadata: Json) -> list[str]:
    entries = metadata.get("logging") if isinstance(metadata, dict) else None
    found = [each.get("callback_name") for each in entries if isinstance(each, dict)] if entries else []
    return [str(each) for each in found if each]


def _shown(key: str) -> str:
    return key if is_digest(key) else hint_of(key)


def _filters(ask: Ask) -> list[Condition]:
    found: list[Condition] = []
    for name, column in (("user_id", KEYS.c.user_id), ("team_id", KEYS.c.team_id), ("key_hash", KEYS.c.digest)):
        if (value := text(ask, name)) is not None:
            found.append(column == (digest_of(value) if name == "key_hash" else value))
    if (value := text(ask, "organization_id")) is not None:
        found.append(KEYS.c.organization_id == value)
    if (value := text(ask, "key_alias")) is not None:
        found.append(KEYS.c.alias.ilike(like(value), escape="\\"))
    if (status := choice(ask, "status", _STATES, "any")) != "any":
        found.append(_has_status(status))
    return found


_STATES: Final = ("any", "active", "expired", "revoked", "deleted")


def _has_status(status: str) -> Condition:
    expired = and_(KEYS.c.expires_at.is_not(None), KEYS.c.expires_at <= now_us())
    match status:
        case "revoked":
            return KEYS.c.blocked.is_(True)
        case "expired":
            return and_(KEYS.c.blocked.is_(False), expired)
        case "active":
            return and_(KEYS.c.blocked.is_(False), or_(KEYS.c.expires_at.is_(None), KEYS.c.expires_at > now_us()))
        case _:
            return false()  # what is deleted is not kept


def _seen(connection: Connection, ask: Ask, *, usual_all: bool = False) -> Condition:
    """Which keys a caller may see. Raises Forbidden where somebody else's are asked for by name."""
    caller = ask.caller
    if caller.sees_all:
        return true()
    user_id, team_id = text(ask, "user_id"), text(ask, "team_id")
    if user_id is not None and user_id != caller.user_id and team_id is None:
        raise Forbidden("the keys of another user are listed for a proxy_admin; leave user_id out for your own")
    own = _own(caller)
    if team_id is not None:
        return true() if _lists_team(connection, caller, team_id) else and_(own, KEYS.c.team_id == team_id)
    if usual_all or flag(ask, "include_team_keys"):
        own = or_(own, KEYS.c.team_id.in_(teams_of(connection, caller.user_id, as_admin=True)))
    if flag(ask, "include_created_by_keys") and caller.user_id:
        own = or_(own, KEYS.c.created_by == caller.user_id)
    return own


def _own(caller: Caller) -> Condition:
    found: list[Condition] = [KEYS.c.digest == caller.key] if caller.key else []
    if caller.user_id:
        found.append(KEYS.c.user_id == caller.user_id)
    return or_(*found) if found else false()


def _lists_team(connection: Connection, caller: Caller, team_id: str) -> bool:
    return team_role(connection, caller.user_id, team_id) == "admin"


_LIST: Final = (
    *("page", "size", "user_id", "team_id", "organization_id", "key_alias", "key_hash", "status", "sort_by"),
    *("sort_order", "return_full_object", "include_team_keys", "include_created_by_keys"),
)


_SECTION: Final = Section("keys")
ENDPOINTS: Final = (
    _SECTION.get("/key/info", "key_info", "One key, by default the caller's", info, query=("key",)),
    _SECTION.post("/v2/key/info", "key_infos", "Several keys", infos, KeyNames),
    _SECTION.get("/key/list", "key_list", "A page of keys", listed, query=_LIST),
    _SECTION.get("/key/aliases", "key_aliases", "The aliases of keys", aliases, query=("page", "size", "search")),
    _SECTION.post("/key/health", "key_health", "Whether the caller's key is good", health, Nothing),
)
