"""An office over a store of its own: endpoints are asked as their callers ask them, without HTTP in between."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from proxy_cli.admin.base import Ask, Endpoint, Office, Storage, decoded
from proxy_cli.callers import Caller, Role
from proxy_cli.config.schema import Config
from proxy_cli.prices.table import PriceTable
from proxy_cli.routing.table import Table
from proxy_cli.secret import Scrubber

ADMIN = Caller(role=Role.ADMIN)  # the master key
VIEWER = Caller(role=Role.VIEWER, user_id="viewer")


class Forgotten:
    """Notes what a process was told to forget."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def forget(self, kind: str, name: str) -> None:
        self.all.append((kind, name))


class Clock:
    """The time of day, to be turned."""

    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now_s


def office_over(store: Storage, config: Config | None = None) -> Office:
    """An office with this store, and this configuration or an empty one."""
    return Office(
        store=store,
        callers=Forgotten(),
        config=config or Config(),
        table=Table([]),
        prices=PriceTable({}),
        scrubber=Scrubber([]),
    )


class Desk:
    """Where endpoints are asked, by method and path."""

    def __init__(self, office: Office, endpoints: tuple[Endpoint, ...]) -> None:
        self.office = office
        self._endpoints: dict[tuple[str, str], Endpoint] = {(each.method, each.path): each for each in endpoints}

    async def get(self, path: str, caller: Caller = ADMIN, **query: str) -> Any:
        """What a GET answers, as JSON makes it."""
        return await self._ask("GET", path, caller, {}, query)

    async def post(self, path: str, body: Mapping[str, Any] | None = None, caller: Caller = ADMIN) -> Any:
        """What a POST answers."""
        return await self._ask("POST", path, caller, body or {}, {})

    async def send(self, method: str, path: str, body: Mapping[str, Any], caller: Caller = ADMIN) -> Any:
        """What another method answers."""
        return await self._ask(method, path, caller, body, {})

    async def _ask(
        self, method: str, path: str, caller: Caller, body: Mapping[str, Any], query: Mapping[str, str]
    ) -> Any:
        endpoint, slot = self._find(method, path)
        made, raw = decoded(msgspec.json.encode(body), endpoint.body) if endpoint.body else (None, body)
        asked = Ask(caller=caller, query=query, slot=slot, body=made, raw=raw)
        return msgspec.json.decode(msgspec.json.encode(await endpoint.answer(self.office, asked)))

    def _find(self, method: str, path: str) -> tuple[Endpoint, str | None]:
        if (method, path) in self._endpoints:
            return self._endpoints[method, path], None
        for (known, template), endpoint in self._endpoints.items():
            head, brace, rest = template.partition("{")
            tail = rest.partition("}")[2]
            if brace and known == method and path.startswith(head) and path.endswith(tail):
                return endpoint, path[len(head) : len(path) - len(tail)]
        raise AssertionError(f"no endpoint {method} {path}")


def caller_of_key(key: str, *, user_id: str = "", role: Role = Role.USER, team_id: str = "") -> Caller:
    """Whoever calls with a key, as admission makes them."""
    return Caller(role=role, key=sha256(key.encode()).hexdigest(), user_id=user_id, team_id=team_id)
