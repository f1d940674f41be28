"""`/key/...`: keys are made, changed, taken back and replaced.

Owns: how a key is drawn, and every change of its row. Refuses: to keep a key; its SHA-256 is what is stored, and the
key itself is in the one answer that made it. Rule: a caller who does not see all is told the same of a key that is
somebody else's and of one that does not exist.
"""

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from proxy_cli.admin import sums
from proxy_cli.admin.base import Ask, Office, Row, Section, given, merged, row_of, rows_of
from proxy_cli.admin.budgets import changed_by, made_by, require_budget
from proxy_cli.admin.key_body import (
    ASIDE,
    INERT,
    KeyChange,
    KeyChanges,
    KeyName,
    KeyNames,
    KeyRenewal,
    NewKey,
    SpendReset,
    after,
    check_fields,
    check_key,
    is_digest,
)
from proxy_cli.admin.key_rights import Standing, check_change, check_creation, for_its_user, standing
from proxy_cli.admin.key_rules import bounded, check_generation, with_defaults, within_maker
from proxy_cli.admin.rights import not_theirs, owns_key, require_admin, require_change
from proxy_cli.admin.shown import key_rows
from proxy_cli.callers import Caller
from proxy_cli.errors import Conflict, GatewayError, InvalidRequest
from proxy_cli.money import nano_of, usd_of
from proxy_cli.shapes import Json
from proxy_cli.store.changes import say_changed
from proxy_cli.store.moments import now_us
from proxy_cli.store.tables import KEYS

_RANDOM_BYTES: Final = 24
_REPLACES: Final = "/key/regenerate"
_DELETES: Final = "/key/delete"  # LiteLLM's names of what a team may let its members do are the paths


def drawn() -> str:
    """A new key, which nobody can guess."""
    return f"sk-{secrets.token_urlsafe(_RANDOM_BYTES)}"


def digest_of(key: str) -> str:
    """What a key is stored and looked up by; a token is that already."""
    return key if is_digest(key) else sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def hint_of(key: str) -> str:
    """Enough of a key to recognise it by."""
    return f"sk-...{key[-4:]}"


def key_row(connection: Connection, key: str) -> Row | None:
    """The row of a key that is named by itself or by its token."""
    return row_of(connection, select(KEYS).where(KEYS.c.digest == digest_of(key)))


def named_key(connection: Connection, caller: Caller, key: str, permission: str = "") -> Row:
    """A key that the caller may change: his, or one of a team that lets its members do so.

    Raises the same for what is foreign and for what is missing.
    """
    row = key_row(connection, key)
    return _theirs(connection, caller, row, key if is_digest(key) else hint_of(key), permission)


def _theirs(connection: Connection, caller: Caller, row: Row | None, shown: str, permission: str) -> Row:
    if row is None:
        raise not_theirs(caller, "key", shown)
    if owns_key(connection, caller, row):
        return row
    stands = standing(connection, caller, row["team_id"])
    if stands.role is None:
        raise not_theirs(caller, "key", shown)
    if not stands.lets(permission):
        raise stands.refusal("changed")
    return row


def make_key(
    office: Office, connection: Connection, caller: Caller, fields: Mapping[str, Json], key: str | None = None
) -> dict[str, Json]:
    """A key with these fields, in a transaction; what is shown of it has the key itself."""
    now = now_us()
    kept = merged({}, {name: value for name, value in fields.items() if name not in ASIDE})
    tags = kept.get("tags")
    if tags:
        kept["metadata"] = {**kept.get("metadata", {}), "tags": tags}
    text = check_key(key) if key else drawn()
    digest = digest_of(text)
    alias = fields.get("key_alias") or None
    row = {
        "digest": digest,
        "hint": hint_of(text),
        "alias": alias,
        "user_id": fields.get("user_id") or "",
        "team_id": fields.get("team_id") or "",
        "organization_id": fields.get("organization_id") or "",
        "budget_id": fields.get("budget_id") or "",
        "blocked": bool(fields.get("blocked")),
        "expires_at": _expiry(fields, now),
        "fields": kept,
        **made_by(caller, now),
    }
    _refuse_alias(connection, alias)
    if key_row(connection, digest) is not None:
        raise Conflict("this key exists already; choose another, or leave `key` out to have one drawn", param="key")
    try:
        connection.execute(insert(KEYS).values(**row))
    except IntegrityError:  # another process was quicker
        raise Conflict("a key with this alias, or this key, has just been made by somebody else; try again") from None
    if key or fields.get("spend"):
        _set_spend(office, connection, digest, fields.get("spend") or 0.0)
    say_changed(connection, "key", digest)
    return {**shown_key(office, connection, digest), "key": text, "token_id": digest}


def _expiry(fields: Mapping[str, Json], now: int) -> int | None:
    duration = fields.get("duration")
    return None if duration is None or duration == "-1" else after("duration", duration, now)


def _refuse_alias(connection: Connection, alias: str | None, but: str = "") -> None:
    if alias is None:
        return
    query = select(KEYS.c.digest).where(KEYS.c.alias == alias, KEYS.c.digest != but)
    if connection.execute(query).first() is not None:
        raise InvalidRequest(
            f"there is a key with the alias {alias!r} already; aliases are unique, give another", param="key_alias"
        )


def _set_spend(office: Office, connection: Connection, digest: str, usd: float) -> None:
    shown = shown_key(office, connection, digest)
    total = ("key", digest, sums.window(office, _period(shown)))
    sums.set_spent(connection, total, nano_of(usd))


def _period(shown: Mapping[str, Json]) -> object:
    own = shown["budget_duration"]
    return own if own is not None else (shown["litellm_budget_table"] or {}).get("budget_duration")


def shown_key(office: Office, connection: Connection, digest: str) -> dict[str, Json]:
    """A key as clients know it."""
    return key_rows(office, connection, rows_of(connection, select(KEYS).where(KEYS.c.digest == digest)))[0]


async def generate(office: Office, ask: Ask) -> Json:
    """Make a key."""
    body: NewKey = ask.body
    return await _generate(office, ask, given(body, "key"), body.key or None)


async def generate_for_service(office: Office, ask: Ask) -> Json:
    """Make a key of a team that belongs to no user: it stays when people leave."""
    body: NewKey = ask.body
    fields = given(body, "key", "user_id")
    if not fields.get("team_id"):
        raise InvalidRequest("a service account's key belongs to a team; give team_id", param="team_id")
    if name := fields.get("key_alias"):
        fields["metadata"] = {**(fields.get("metadata") or {}), "service_account_id": name}
    return await _generate(office, ask, fields, body.key or None, is_service=True)


async def _generate(
    office: Office, ask: Ask, fields: Mapping[str, Json], key: str | None, *, is_service: bool = False
) -> Json:
    caller = ask.caller
    wanted = with_defaults(office, fields)
    if not caller.is_admin and not wanted.get("user_id") and not is_service:
        wanted["user_id"] = caller.user_id

    def work(connection: Connection) -> dict[str, Json]:
        stands = standing(connection, caller, wanted.get("team_id") or "")
        check_creation(connection, caller, stands, wanted, is_service=is_service)
        if stands.organization_id:
            wanted["organization_id"] = stands.organization_id
        check_generation(office, caller, stands.role, wanted)
        found = bounded(office, within_maker(connection, caller, wanted, now_us=now_us(), is_new=True), is_new=True)
        found = for_its_user(caller, found.get("user_id") or "", {}, found, is_taken=True)
        check_fields(found)
        _check_beside(connection, caller, stands, found)
        return make_key(office, connection, caller, found, key)

    made = await office.store.write(work)
    office.forget("key", made["token"])
    return made


def _check_beside(connection: Connection, caller: Caller, stands: Standing, found: Mapping[str, Json]) -> None:
    require_budget(connection, found.get("budget_id") or "")
    # The team's own budget holds for the key in any case; its admin may mean to raise it later.
    most = None if caller.is_admin else stands.fields.get("max_budget")
    if most is not None and (found.get("max_budget") or 0) > most:
        raise InvalidRequest(
            f"max_budget is {found['max_budget']}, and the team's is {most}; a key gets no more than its team has",
            param="max_budget",
        )


async def change(office: Office, ask: Ask) -> Json:
    """Change a key: what is left out stays, null takes a limit away."""
    body: KeyChange = ask.body
    row = await office.store.write(lambda connection: change_key(office, connection, ask.caller, body))
    office.forget("key", row["token"])
    return {**row, "key": body.key}


def change_key(
    office: Office,
    connection: Connection,
    caller: Caller,
    body: KeyChange | KeyRenewal,
    permission: str = "/key/update",
) -> dict[str, Json]:
    """The same, in a transaction; `permission` is what a team must let its plain members do."""
    require_change(caller)
    row = named_key(connection, caller, body.key or "", permission)
    wanted = given(body, "key", "new_key", "new_master_key", "grace_period")
    stands = standing(connection, caller, wanted.get("team_id") or row["team_id"])
    check_change(connection, caller, stands, row, wanted)
    now = now_us()
    if stands.organization_id and not wanted.keys().isdisjoint({"team_id", "organization_id"}):
        wanted["organization_id"] = stands.organization_id  # whose money it is, is said of the team
    found = bounded(office, within_maker(connection, caller, wanted, now_us=now, is_new=False), is_new=False)
    user_id = found.get("user_id", row["user_id"]) or ""
    is_taken = permission == _REPLACES or user_id != row["user_id"]
    found = for_its_user(caller, user_id, row["fields"], found, is_taken=is_taken)
    check_fields(found)
    _check_beside(connection, caller, stands, found)
    values = _columns(found, row, now)
    _refuse_alias(connection, values.get("alias"), but=row["digest"])
    values |= {"fields": _changed(row["fields"], found), **changed_by(caller, now)}
    try:
        connection.execute(update(KEYS).where(KEYS.c.digest == row["digest"]).values(**values))
    except IntegrityError:  # another process was quicker
        raise Conflict("a key has just been given this alias by somebody else; choose another") from None
    if "spend" in found:
        _set_spend(office, connection, row["digest"], found["spend"] or 0.0)
    say_changed(connection, "key", row["digest"])
    return shown_key(office, connection, row["digest"])


def _columns(found: Mapping[str, Json], row: Row, now: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: found[name] or "" for name in ("user_id", "team_id", "organization_id", "budget_id") if name in found
    }
    if "key_alias" in found:
        values["alias"] = found["key_alias"] or None
    if "blocked" in found:
        values["blocked"] = bool(found["blocked"])
    if "duration" in found:
        # A key that has been replaced ends when its time of grace does.
        values["expires_at"] = row["expires_at"] if row["replaced_by"] else _expiry(found, now)
    return values


def _changed(former: Mapping[str, Json], found: Mapping[str, Json]) -> dict[str, Json]:
    changes = {name: value for name, value in found.items() if name not in ASIDE}
    fields = merged(former, changes)
    if "tags" in changes:
        metadata = {name: value for name, value in fields.get("metadata", {}).items() if name != "tags"}
        fields["metadata"] = {**metadata, "tags": changes["tags"]} if changes["tags"] else metadata
    return fields


async def change_many(office: Office, ask: Ask) -> Json:
    """Change many keys; each on its own, so that one that cannot be changed holds up no other."""
    require_admin(ask.caller, "change many keys at once")
    body: KeyChanges = ask.body
    done: list[Json] = []
    failed: list[Json] = []
    for each in body.keys:
        try:
            row = await office.store.write(
                lambda connection, each=each: change_key(office, connection, ask.caller, each)  # type: ignore[misc]
            )
        except GatewayError as error:
            failed.append({"key": each.key, "key_info": None, "failed_reason": error.message})
        else:
            office.forget("key", row["token"])
            done.append({"key": each.key, "key_info": row})
    return {"total_requested": len(body.keys), "successful_updates": done, "failed_updates": failed}


async def remove(office: Office, ask: Ask) -> Json:
    """Take keys back, all of those named or none. From then on they are not known here."""
    require_change(ask.caller)
    body: KeyNames = ask.body
    keys, aliases = body.keys or [], body.key_aliases or []
    if not keys and not aliases:
        raise InvalidRequest('no key is named; send {"keys": ["sk-..."]} or {"key_aliases": ["..."]}', param="keys")

    def work(connection: Connection) -> list[str]:
        rows = [named_key(connection, ask.caller, each, _DELETES) for each in dict.fromkeys(keys)]
        rows += [_by_alias(connection, ask.caller, each) for each in dict.fromkeys(aliases)]
        digests = [row["digest"] for row in rows]
        remove_keys(connection, KEYS.c.digest.in_(digests))
        return digests

    digests = await office.store.write(work)
    office.forget("key", *digests)
    return {"deleted_keys": [*keys, *aliases]}


def remove_keys(connection: Connection, which: ColumnElement[bool]) -> list[str]:
    """Take keys back, in a transaction, and whatever still works in their place; their digests."""
    found = list(connection.execute(select(KEYS.c.digest).where(which)).scalars())
    if found:
        both = or_(KEYS.c.digest.in_(found), KEYS.c.replaced_by.in_(found))
        found = list(connection.execute(select(KEYS.c.digest).where(both)).scalars())
        connection.execute(delete(KEYS).where(KEYS.c.digest.in_(found)))
    for digest in found:
        say_changed(connection, "key", digest)
    return found


def _by_alias(connection: Connection, caller: Caller, alias: str) -> Row:
    return _theirs(connection, caller, row_of(connection, select(KEYS).where(KEYS.c.alias == alias)), alias, _DELETES)


async def block(office: Office, ask: Ask) -> Json:
    """Have a key refused until it is unblocked."""
    return await _set_blocked(office, ask, blocked=True)


async def unblock(office: Office, ask: Ask) -> Json:
    """Let a key in again."""
    return await _set_blocked(office, ask, blocked=False)


async def _set_blocked(office: Office, ask: Ask, *, blocked: bool) -> Json:
    body: KeyName = ask.body
    wanted = KeyChange(key=body.key, blocked=blocked)
    needed = "/key/block" if blocked else "/key/unblock"
    row = await office.store.write(lambda connection: change_key(office, connection, ask.caller, wanted, needed))
    office.forget("key", row["token"])
    return row


async def regenerate(office: Office, ask: Ask) -> Json:
    """Put another key in a key's place. The former one works on for `grace_period`, if one is given."""
    body: KeyRenewal = ask.body
    require_change(ask.caller)
    if body.new_master_key:
        raise InvalidRequest(
            "the master key stands in the configuration; change general_settings.master_key and reload",
            param="new_master_key",
        )
    body.key = ask.slot or body.key
    if not body.key:
        raise InvalidRequest("no key is named; give `key`, or ask for /key/<key>/regenerate", param="key")
    row = await office.store.write(lambda connection: _replace(office, connection, ask.caller, body))
    office.forget("key", row["token"], row.pop("former"))
    return row


def _replace(office: Office, connection: Connection, caller: Caller, body: KeyRenewal) -> dict[str, Json]:
    digest = change_key(office, connection, caller, body, _REPLACES)["token"]
    former = row_of(connection, select(KEYS).where(KEYS.c.digest == digest))
    assert former is not None
    if former["replaced_by"]:
        raise Conflict("this key has been replaced already; name the key that took its place", param="key")
    text = check_key(body.new_key) if body.new_key else drawn()
    later = digest_of(text)
    if key_row(connection, later) is not None:
        raise Conflict("new_key exists already; choose another, or leave it out to have one drawn", param="new_key")
    now = now_us()
    grace = {"alias": None, "replaced_by": later, "updated_at": now}
    if body.grace_period:
        ends_at = after("grace_period", body.grace_period, now)
        grace["expires_at"] = min(ends_at, former["expires_at"] or ends_at)
        connection.execute(update(KEYS).where(KEYS.c.digest == digest).values(**grace))
    else:
        remove_keys(connection, KEYS.c.digest == digest)
    fresh = {**former, "digest": later, "hint": hint_of(text), **changed_by(caller, now)}
    connection.execute(insert(KEYS).values(**fresh))
    sums.hand_on(connection, digest, later)
    for each in (digest, later):
        say_changed(connection, "key", each)
    return {**shown_key(office, connection, later), "key": text, "token_id": later, "former": digest}


async def reset_spend(office: Office, ask: Ask) -> Json:
    """Say what a key has spent in the present window of its budget."""
    body: SpendReset = ask.body
    require_change(ask.caller)

    def work(connection: Connection) -> dict[str, Json]:
        row = named_key(connection, ask.caller, ask.slot or "")
        before = shown_key(office, connection, row["digest"])
        wanted = KeyChange(key=row["digest"], spend=body.reset_to)
        if nano_of(body.reset_to) > nano_of(before["spend"]):
            raise InvalidRequest(
                f"reset_to is {body.reset_to}, and the key has spent {before['spend']}; spend is only set back",
                param="reset_to",
            )
        after_it = change_key(office, connection, ask.caller, wanted)
        return {
            "key_hash": row["digest"],
            "spend": usd_of(nano_of(body.reset_to)),
            "previous_spend": before["spend"],
            "max_budget": after_it["max_budget"],
            "budget_reset_at": after_it["budget_reset_at"],
        }

    told = await office.store.write(work)
    office.forget("key", told["key_hash"])
    return told


_SECTION: Final = Section("keys", inert=INERT)
ENDPOINTS: Final = (
    _SECTION.post("/key/generate", "key_generate", "Make a key", generate, NewKey),
    _SECTION.post(
        "/key/service-account/generate",
        "key_service",
        "Make a key of a team that belongs to no user",
        generate_for_service,
        NewKey,
    ),
    _SECTION.post("/key/update", "key_update", "Change a key", change, KeyChange),
    _SECTION.post("/key/bulk_update", "key_bulk_update", "Change many keys", change_many, KeyChanges),
    _SECTION.post("/key/delete", "key_delete", "Take keys back", remove, KeyNames),
    _SECTION.post("/key/block", "key_block", "Have a key refused", block, KeyName),
    _SECTION.post("/key/unblock", "key_unblock", "Let a key in again", unblock, KeyName),
    _SECTION.post("/key/regenerate", "key_regenerate", "Put another key in a key's place", regenerate, KeyRenewal),
    _SECTION.post(
        "/key/{key}/regenerate", "key_regenerate_named", "Put another key in this key's place", regenerate, KeyRenewal
    ),
    _SECTION.post("/key/{key}/reset_spend", "key_reset_spend", "Say what a key has spent", reset_spend, SpendReset),
)
