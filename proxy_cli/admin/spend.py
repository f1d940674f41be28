"""Every request that was paid for, one by one: the ledger as LiteLLM's clients read it.

Owns the shape of a row and the ways to ask for rows. Rule: rows are found by an index and in its order, newest first,
never more than a page of them; how many there are in all is counted up to a bound. Sums come from the daily sums, never
from here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Select, and_, func, or_, select

from proxy_cli.admin.base import Ask, Office, Page, Section, choice, flag, like, number, page, text, texts
from proxy_cli.admin.filters import (
    Condition,
    among,
    both,
    days_of,
    moments,
    of_keys,
    own,
    seen_by,
    within,
)
from proxy_cli.errors import NotFound, Unprocessable
from proxy_cli.money import usd_of
from proxy_cli.shapes import Json, Operation
from proxy_cli.store.moments import iso
from proxy_cli.store.tables import DAILY, KEYS, LEDGER, TEAMS, USERS

MOST_ROWS: Final = 1000  # of a list without pages
MOST_COUNTED: Final = 10_000  # rows that pages reach; further ones by `cursor`
_CURSOR: Final = re.compile(r"(\d{1,18})\.(.{1,256})", re.DOTALL)
# LiteLLM's names for what is asked of a model.
_CALL_TYPES: Final[Mapping[str, str]] = {
    Operation.CHAT: "acompletion",
    Operation.COMPLETIONS: "atext_completion",
    Operation.EMBEDDINGS: "aembedding",
    Operation.MODERATIONS: "amoderation",
    Operation.IMAGE_GENERATIONS: "aimage_generation",
    Operation.IMAGE_EDITS: "aimage_edit",
    Operation.IMAGE_VARIATIONS: "aimage_variation",
    Operation.SPEECH: "aspeech",
    Operation.TRANSCRIPTIONS: "atranscription",
    Operation.TRANSLATIONS: "atranslation",
    Operation.RERANK: "arerank",
    Operation.RESPONSES: "aresponses",
}
_SUCCESS: Final = "settled"
_LONG: Final = {"messages", "response"}  # columns of a row that lists leave out
_LISTED: Final = tuple(column for column in LEDGER.c if column.name not in _LONG)
_SORTED_BY: Final = {
    "startTime": LEDGER.c.started_at,
    "endTime": LEDGER.c.ended_at,
    "spend": LEDGER.c.cost_nano,
    "total_tokens": LEDGER.c.prompt_tokens + LEDGER.c.completion_tokens,
    "request_duration_ms": LEDGER.c.ended_at - LEDGER.c.started_at,
    "ttft_ms": LEDGER.c.first_byte_at - LEDGER.c.started_at,
    "model": LEDGER.c.model,
}
_EQUAL: Final = {  # what a query may name, and the column that must hold it
    "user_id": "user_id",
    "team_id": "team_id",
    "end_user": "end_user",
    "end_user_id": "end_user",
    "model_id": "model_id",
    "organization_id": "organization_id",
    "session_id": "session_id",
    "error_code": "error_code",
}


def ledger_row(row: Row[Any], teams: Mapping[str, str] | None = None) -> dict[str, Json]:
    """A request as LiteLLM's clients read it; prompts and answers only where they were kept."""
    ended, first = row.ended_at, row.first_byte_at
    return {
        # LiteLLM's clients know a request by the id of its answer; ours, which is always there, stands beside it.
        "request_id": row.answer_id or row.request_id,
        "llmproxy_request_id": row.request_id,
        "litellm_call_id": row.call_id or row.request_id,
        "call_type": _CALL_TYPES.get(row.call_type, row.call_type),
        "api_key": row.key,
        "spend": usd_of(row.cost_nano),
        "total_tokens": row.prompt_tokens + row.completion_tokens,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "startTime": iso(row.started_at),
        "endTime": iso(ended) if ended else None,
        "completionStartTime": iso(first) if first else None,
        "request_duration_ms": (ended - row.started_at) // 1000 if ended else None,
        "model": row.backend_model or row.model,
        "model_id": row.model_id,
        "model_group": row.model_group or row.model,
        "custom_llm_provider": row.provider,
        "api_base": row.api_base,
        "user": row.user_id,
        "metadata": _metadata(row, teams or {}),
        "cache_hit": "False",
        "cache_key": "Cache OFF",
        "request_tags": row.tags or [],
        "team_id": row.team_id or None,
        "organization_id": row.organization_id or None,
        "end_user": row.end_user or None,
        "requester_ip_address": row.client or None,
        "session_id": row.session_id or None,
        "status": "success" if row.state == _SUCCESS else "failure",
        "state": row.state,
        "usage_source": row.usage_source,
        "attempts": row.attempts,
        "queued_ms": row.queued_us / 1000,
        "stream": row.stream,
        "messages": _words(getattr(row, "messages", None)),
        "response": _words(getattr(row, "response", None)),
        "proxy_server_request": {},
    }


def _words(kept: str | None) -> Json:
    """A prompt or an answer: as JSON where all of it was kept, else the text."""
    if not kept:
        return {}
    try:
        return msgspec.json.decode(kept)
    except (msgspec.MsgspecError, RecursionError):
        return kept


def _metadata(row: Row[Any], teams: Mapping[str, str]) -> dict[str, Json]:
    known: dict[str, Json] = {
        **(row.metadata_ or {}),
        "user_api_key": row.key,
        "user_api_key_alias": row.key_alias or None,
        "user_api_key_user_id": row.user_id or None,
        "user_api_key_team_id": row.team_id or None,
        "user_api_key_team_alias": teams.get(row.team_id),
        "user_api_key_org_id": row.organization_id or None,
        "user_api_key_end_user_id": row.end_user or None,
        "status": "success" if row.state == _SUCCESS else "failure",
        "usage_object": {
            "prompt_tokens": row.prompt_tokens,
            "completion_tokens": row.completion_tokens,
            "total_tokens": row.prompt_tokens + row.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": row.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": row.reasoning_tokens},
        },
        "additional_usage_values": {
            "cache_read_input_tokens": row.cached_tokens,
            "cache_creation_input_tokens": row.cache_creation_tokens,
        },
    }
    if row.error_code or row.error:
        known["error_information"] = {
            "error_code": str(row.status or ""),
            "error_class": row.error_code,
            "error_message": row.error,
        }
    return known


def listed(*columns: Any) -> Select[Any]:
    """A query for rows; a column of the name `metadata` would be taken for SQLAlchemy's own."""
    return select(*(column.label("metadata_") if column.name == "metadata" else column for column in columns))


def wanted(connection: Connection, ask: Ask) -> Condition:
    """The rows that a query means, as far as its caller may see them."""
    return both(seen_by(connection, LEDGER, ask.caller), of_keys(LEDGER, ask), *_equal(ask), *_ranges(ask))


def _equal(ask: Ask) -> list[Condition]:
    found = [LEDGER.c[column] == value for name, column in _EQUAL.items() if (value := text(ask, name))]
    if request := text(ask, "request_id"):
        found.append(named(request))
    if model := text(ask, "model"):
        found.append(or_(LEDGER.c.model == model, LEDGER.c.backend_model == model))
    if alias := text(ask, "key_alias"):
        found.append(LEDGER.c.key_alias == alias)
    if message := text(ask, "error_message"):
        found.append(LEDGER.c.error.ilike(like(message), escape="\\"))
    status = choice(ask, "status_filter", ("", "success", "failure"), "")
    if status:
        found.append(LEDGER.c.state == _SUCCESS if status == "success" else LEDGER.c.state != _SUCCESS)
    return found


def _ranges(ask: Ask) -> list[Condition]:
    begin, end = moments(ask)
    found = []
    if begin is not None:
        found.append(LEDGER.c.started_at >= begin)
    if end is not None:
        found.append(LEDGER.c.started_at < end)
    if (least := _nano(ask, "min_spend")) is not None:
        found.append(LEDGER.c.cost_nano >= least)
    if (most := _nano(ask, "max_spend")) is not None:
        found.append(LEDGER.c.cost_nano <= most)
    return found


def _nano(ask: Ask, name: str) -> int | None:
    from_query = text(ask, name)
    if from_query is None:
        return None
    try:
        usd = float(from_query)
        if not 0 <= usd <= 9e9:
            raise ValueError(usd)
    except ValueError:
        raise Unprocessable(f"{name} is {from_query[:40]!r}; give USD as a number", param=name) from None
    return round(usd * 1_000_000_000)


def named(request: str) -> Condition:
    """The rows of a request by our id, by the id of its answer, or by the caller's."""
    return or_(LEDGER.c.request_id == request, LEDGER.c.answer_id == request, LEDGER.c.call_id == request)


async def logs(office: Office, ask: Ask) -> Json:
    """`/spend/logs`: rows, or with dates the sums of each day."""
    by_request = text(ask, "request_id") is not None
    dated = bool(text(ask, "start_date")) and bool(text(ask, "end_date"))
    if dated and not by_request and flag(ask, "summarize", default=True):
        return await office.store.read(lambda connection: _summaries(office, connection, ask))
    size = number(ask, "limit", MOST_ROWS, most=MOST_ROWS)
    return await office.store.read(lambda connection: _rows(connection, wanted(connection, ask), size))


def _rows(connection: Connection, condition: Condition, size: int) -> list[Json]:
    query = listed(*LEDGER.c).where(condition).order_by(LEDGER.c.started_at.desc()).limit(size)
    return _shown(connection, connection.execute(query).all())


def _shown(connection: Connection, rows: Sequence[Row[Any]]) -> list[Json]:
    teams = {row.team_id for row in rows if row.team_id}
    query = select(TEAMS.c.team_id, TEAMS.c.alias).where(TEAMS.c.team_id.in_(teams))
    names = {row.team_id: row.alias for row in connection.execute(query).all()} if teams else {}
    return [ledger_row(row, names) for row in rows]


def _summaries(office: Office, connection: Connection, ask: Ask) -> list[Json]:
    """Of each day what was spent, by whom and on which models."""
    first, last = days_of(office, *moments(ask))
    condition = both(
        within(DAILY, first, last),
        seen_by(connection, DAILY, ask.caller),
        of_keys(DAILY, ask),
        among(DAILY, "user_id", texts(ask, "user_id")),
    )
    by_day: dict[str, dict[str, Json]] = {}
    for name, column in (("users", DAILY.c.user_id), ("models", DAILY.c.model), ("", DAILY.c.key)):
        query = select(DAILY.c.day, column.label("of"), func.sum(DAILY.c.nano).label("nano")).where(condition)
        for row in connection.execute(query.group_by(DAILY.c.day, column)).all():
            day = by_day.setdefault(row.day, {"startTime": row.day, "spend": 0, "users": {}, "models": {}})
            if not name:
                day["spend"] += int(row.nano)
            (day[name] if name else day)[row.of] = usd_of(int(row.nano))
    for day in by_day.values():
        day["spend"] = usd_of(day["spend"])
    return [by_day[day] for day in sorted(by_day)]


async def pages(office: Office, ask: Ask) -> Json:
    """`/spend/logs/v2` and `/spend/logs/ui`: one page of rows, and how to get the next one."""
    part = page(ask, "page_size", default=50, most=MOST_ROWS)
    cursor = _cursor(ask)
    if cursor is None and part.number * part.size > MOST_COUNTED + part.size:
        raise Unprocessable(
            f"page {part.number} lies behind the first {MOST_COUNTED} rows; narrow the dates, or follow next_cursor",
            param="page",
        )
    sort = choice(ask, "sort_by", tuple(_SORTED_BY), "startTime")
    is_descending = choice(ask, "sort_order", ("asc", "desc"), "desc") == "desc"

    def work(connection: Connection) -> Json:
        condition = wanted(connection, ask)
        total = _counted(connection, condition)
        query = _sorted(condition if cursor is None else and_(condition, _after(cursor, is_descending)), sort)
        order = _SORTED_BY[sort]
        query = query.order_by(order.desc() if is_descending else order.asc(), LEDGER.c.request_id)
        rows = connection.execute(query.limit(part.size).offset(0 if cursor else part.skipped)).all()
        return _paged(_shown(connection, rows), rows, total, part)

    return await office.store.read(work)


def _paged(shown: list[Json], rows: Sequence[Row[Any]], total: int, part: Page) -> Json:
    last = rows[-1] if len(rows) == part.size else None
    reached = min(total, MOST_COUNTED)
    return {
        "data": shown,
        "total": reached,
        "total_is_capped": total > MOST_COUNTED,
        "page": part.number,
        "page_size": part.size,
        "total_pages": part.pages(reached),
        "next_cursor": f"{last.started_at}.{last.request_id}" if last is not None else None,
    }


def _counted(connection: Connection, condition: Condition) -> int:
    """How many rows there are, up to one more than pages reach."""
    some = select(LEDGER.c.request_id).where(condition).limit(MOST_COUNTED + 1).subquery()
    return int(connection.scalar(select(func.count()).select_from(some)) or 0)


def _sorted(condition: Condition, sort: str) -> Select[Any]:
    """Rows of a condition. By anything but time, the newest that pages reach are sorted, for there is no index."""
    query = listed(*_LISTED).where(condition)
    if sort == "startTime":
        return query
    newest = select(LEDGER.c.request_id).where(condition).order_by(LEDGER.c.started_at.desc()).limit(MOST_COUNTED)
    return listed(*_LISTED).where(LEDGER.c.request_id.in_(newest.scalar_subquery()))


def _cursor(ask: Ask) -> tuple[int, str] | None:
    value = text(ask, "cursor")
    if value is None:
        return None
    found = _CURSOR.fullmatch(value)
    if found is None or choice(ask, "sort_by", tuple(_SORTED_BY), "startTime") != "startTime":
        raise Unprocessable("cursor goes with sort_by=startTime, and is the next_cursor of a page", param="cursor")
    return int(found[1]), found[2]


def _after(cursor: tuple[int, str], is_descending: bool) -> Condition:
    started, request = cursor
    later = LEDGER.c.started_at < started if is_descending else LEDGER.c.started_at > started
    return or_(later, and_(LEDGER.c.started_at == started, LEDGER.c.request_id > request))


async def one(office: Office, ask: Ask) -> Json:
    """`/spend/logs/ui/{id}`: one row with what was kept of its prompt and answer. Raises NotFound."""

    def work(connection: Connection) -> Json:
        found = _rows(connection, both(seen_by(connection, LEDGER, ask.caller), named(ask.slot or "")), 1)
        if not found:
            raise NotFound(f"no request {(ask.slot or '')[:100]!r} is in the ledger; GET /spend/logs/v2 lists them")
        return found[0]

    return await office.store.read(work)


async def keys(office: Office, ask: Ask) -> Json:
    """`/spend/keys`: the keys that have spent most, of all days."""
    return await office.store.read(lambda connection: _spent(connection, ask, "key"))


async def users(office: Office, ask: Ask) -> Json:
    """`/spend/users`: the users who have spent most, of all days."""
    return await office.store.read(lambda connection: _spent(connection, ask, "user_id"))


def _spent(connection: Connection, ask: Ask, column: str) -> list[Json]:
    condition = both(
        own(DAILY, ask.caller) if not ask.caller.sees_all else DAILY.c.day != "",
        among(DAILY, column, texts(ask, "user_id") if column == "user_id" else []),
        DAILY.c[column] != "",
    )
    nano = func.sum(DAILY.c.nano).label("nano")
    query = select(DAILY.c[column].label("of"), nano).where(condition).group_by(DAILY.c[column])
    found = connection.execute(
        query.order_by(nano.desc(), DAILY.c[column]).limit(number(ask, "limit", 100, most=MOST_ROWS))
    ).all()
    about = _about_keys if column == "key" else _about_users
    known = about(connection, [row.of for row in found])
    return [{**known.get(row.of, {}), _ID[column]: row.of, "spend": usd_of(int(row.nano))} for row in found]


_ID: Final = {"key": "token", "user_id": "user_id"}


def _about_keys(connection: Connection, digests: list[str]) -> dict[str, dict[str, Json]]:
    columns = (KEYS.c.digest, KEYS.c.hint, KEYS.c.alias, KEYS.c.user_id, KEYS.c.team_id, KEYS.c.fields)
    return {
        row.digest: {
            "key_name": row.hint,
            "key_alias": row.alias,
            "user_id": row.user_id or None,
            "team_id": row.team_id or None,
            "max_budget": row.fields.get("max_budget"),
            "models": row.fields.get("models") or [],
        }
        for row in connection.execute(select(*columns).where(KEYS.c.digest.in_(digests))).all()
    }


def _about_users(connection: Connection, users: list[str]) -> dict[str, dict[str, Json]]:
    columns = (USERS.c.user_id, USERS.c.email, USERS.c.role, USERS.c.fields)
    return {
        row.user_id: {
            "user_email": row.email,
            "user_role": row.role or None,
            "max_budget": row.fields.get("max_budget"),
            "models": row.fields.get("models") or [],
        }
        for row in connection.execute(select(*columns).where(USERS.c.user_id.in_(users))).all()
    }


_SECTION: Final = Section("spend")
ENDPOINTS: Final = (
    _SECTION.get("/spend/logs", "spend_logs", "Requests, or with dates what each day has cost", logs),
    _SECTION.get("/spend/logs/v2", "spend_logs_v2", "Requests, page by page, newest first", pages),
    _SECTION.get("/spend/logs/ui", "spend_logs_ui", "The same, where LiteLLM's page asks for it", pages),
    _SECTION.get("/spend/logs/ui/{request}", "spend_log", "One request", one),
    _SECTION.get("/spend/keys", "spend_keys", "The keys that have spent most", keys),
    _SECTION.get("/spend/users", "spend_users", "The users who have spent most", users),
)
