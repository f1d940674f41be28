"""An office over a real store with a few calls in its ledger, for tests of what is told about money and models."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert

from proxy_cli.admin.base import Ask, Endpoint, Office, decoded
from proxy_cli.callers import ANYONE, Caller, Role
from proxy_cli.config.models import ModelEntry
from proxy_cli.config.problem import Place
from proxy_cli.config.schema import Config
from proxy_cli.deployments import Common, build
from proxy_cli.prices.table import PriceTable
from proxy_cli.routing.table import Table
from proxy_cli.secret import Scrubber, Secret
from proxy_cli.shapes import Json
from proxy_cli.store.base import Store
from proxy_cli.store.moments import from_iso
from proxy_cli.store.tables import DAILY, DAILY_TAGS, LEDGER

NOW = "2026-11-23T12:00:00"
ADMIN = ANYONE
ALICE = Caller(role=Role.USER, key="a" * 64, user_id="alice")
BOB = Caller(role=Role.USER, key="b" * 64, user_id="bob")
VIEWER = Caller(role=Role.VIEWER, key="c" * 64)
CHAT: dict[str, Json] = {
    "model_name": "chat",
    "litellm_params": {"model": "openai/gpt-4o", "api_key": "sk-of-the-file"},
}


class Told:
    """Callers that put down what they are to forget."""

    def __init__(self) -> None:
        self.forgotten: list[tuple[str, str]] = []

    def forget(self, kind: str, name: str) -> None:
        self.forgotten.append((kind, name))


def office_of(
    store: Store, *entries: dict[str, Json], secret: str | None = "sk-master-key-1234", **general: Json
) -> Office:
    """An office with these deployments; the word of the file is `general`."""
    read = [ModelEntry.model_validate(each) for each in (entries or (CHAT,))]
    built = build(read, Common(environ={}, prices=PriceTable.load()), lambda _path: Place("test", 1, 1))
    return Office(
        store=store,
        callers=Told(),
        config=Config.model_validate({"general_settings": general}),
        table=Table(built.deployments, expand=built.expand),
        prices=PriceTable.load(),
        scrubber=Scrubber([]),
        wall=lambda: from_iso(NOW) / 1e6,
        seal_secret=Secret(secret) if secret else None,
    )


async def ask(office: Office, endpoints: Sequence[Endpoint], path: str, caller: Caller = ADMIN, **query: str) -> Json:
    """What is answered to a GET."""
    found = next(each for each in endpoints if (each.method, each.path) == ("GET", path))
    return await found.answer(office, Ask(caller=caller, query=query))


async def send(
    office: Office,
    endpoints: Sequence[Endpoint],
    path: str,
    body: bytes,
    caller: Caller = ADMIN,
    slot: str | None = None,
) -> Json:
    """What is answered to a body."""
    found = next(each for each in endpoints if each.path == path and each.method != "GET")
    read, raw = decoded(body, found.body) if found.body is not None else (None, {})
    return await found.answer(office, Ask(caller=caller, slot=slot, body=read, raw=raw))


def row(number: int, **fields: Any) -> dict[str, Any]:
    """A row of the ledger: one call of Alice's, a second after the one before."""
    started = fields.pop("started_at", from_iso("2026-11-22T10:00:00") + number * 1_000_000)
    return {
        "request_id": f"ours-{number}",
        "answer_id": f"chatcmpl-{number}",
        "state": "settled",
        "call_type": "chat/completions",
        "key": ALICE.key,
        "key_alias": "alice's",
        "user_id": "alice",
        "model": "chat",
        "model_group": "chat",
        "backend_model": "gpt-4o",
        "provider": "openai",
        "started_at": started,
        "ended_at": started + 500_000,
        "status": 200,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "usage_source": "provider",
        "cost_nano": 1_000,
        **fields,
    }


def day(date: str = "2026-11-22", **fields: Any) -> dict[str, Any]:
    """A row of the daily sums: one call of Alice's."""
    return {
        "day": date,
        "key": ALICE.key,
        "user_id": "alice",
        "team_id": "",
        "organization_id": "",
        "end_user": "",
        "model": "gpt-4o",
        "model_group": "chat",
        "provider": "openai",
        "requests": 1,
        "failed": 0,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 0,
        "cache_creation_tokens": 0,
        "nano": 1_000_000_000,
        **fields,
    }


def tagged(tag: str, date: str = "2026-11-22", **fields: Any) -> dict[str, Any]:
    """A row of the daily sums of tags."""
    known = {"key": ALICE.key, "model": "gpt-4o", "requests": 1, "nano": 1_000_000_000}
    return {"day": date, "tag": tag, **known, **fields}


async def keep(store: Store, *, rows: Sequence[Any] = (), days: Sequence[Any] = (), tags: Sequence[Any] = ()) -> None:
    """Put calls and sums into the store."""

    def work(connection: Any) -> None:
        for table, values in ((LEDGER, rows), (DAILY, days), (DAILY_TAGS, tags)):
            if values:
                # One by one: rows need not have the same fields.
                for each in values:
                    connection.execute(insert(table).values(**each))

    await store.write(work)
