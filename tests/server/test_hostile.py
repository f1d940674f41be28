"""Keys and names that were made to do harm: refused alike, never part of a statement, and cheap to refuse."""

import asyncio
import re
import time
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.backend import running_backend
from tests.fakes.store import PostgresServer
from tests.server.test_money import MASTER, House
from tests.server.test_outages import house

MARK = "canary7391"
KEYS = [
    f"' OR 1=1-- {MARK}",
    f"sk-' UNION SELECT token FROM llmproxy_keys; -- {MARK}",
    f"sk-{MARK}'; DROP TABLE llmproxy_keys; --",
    f"sk-{MARK}\x00",
    f"sk-{MARK}-🔑-鍵",
    f"sk-%27%20OR%201=1--{MARK}",
    f"sk-{MARK}" + "a" * 7000,
    f"sk-{MARK}" + "a" * 1_000_000,
]
ROUTES = [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/key/list"), ("POST", "/key/generate")]
_STATEMENT = re.compile(r"(?:statement|execute [^:]*): (.*)")


class Statements:
    """What one database of a real PostgreSQL is asked, from its own log."""

    def __init__(self, server: PostgresServer) -> None:
        self.name = server.new()
        server.sql(f"ALTER DATABASE {self.name} SET log_statement = 'all'")
        self.url = server.url(self.name)
        self._log: Path = server.folder / "log"
        self._from = self._log.stat().st_size

    def all(self) -> list[str]:
        """Every statement so far, without the values that were given beside it."""
        text = self._log.read_bytes()[self._from :].decode("utf-8", "replace")
        return [
            part for part in re.split(r"(?m)^(?=\d{4}-)", text) if _STATEMENT.search(part) and "DETAIL:" not in part
        ]


async def raw(port: int, method: str, path: str, header: bytes, key: str) -> tuple[int, bytes]:
    """Status and body of a request whose key no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n"
    with_key = header + key.encode() + b"\r\nContent-Type: application/json\r\n\r\n{}"
    answer = b""
    try:
        writer.write(head.encode() + with_key)
        await writer.drain()
        answer = await reader.read(65536)
    except ConnectionError:
        answer = answer or b"HTTP/1.1 431 cut off\r\n\r\n"
    finally:
        writer.close()
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.row("A-01")
async def test_hostile_keys_are_refused_alike_on_every_route_and_reach_no_statement(tmp_path, postgres_server):
    """In each header that a key may stand in; what cannot be a header at all is a bad request."""
    statements = Statements(postgres_server)
    async with running_backend() as backend, house(tmp_path, backend, statements.url) as proxy:
        headers = (b"Authorization: Bearer ", b"x-api-key: ", b"api-key: ", b"x-goog-api-key: ")
        asked = [(route, header, key) for route in ROUTES for header in headers for key in KEYS]
        found = [await raw(proxy.proxy.port, *route, header, key) for route, header, key in asked]
        left = (await proxy.get("/key/list"))[0]

    hint = re.compile(rb"API key .{1,20}? is not known")
    shapes = {hint.sub(b"API key is not known", body) for status, body in found if status == 401}
    assert {status for status, _ in found} <= {400, 401, 431}
    assert sum(status == 401 for status, _ in found) >= 3 * len(ROUTES) * len(headers)
    assert len(shapes) == 1
    assert not any(MARK.encode() in body for _, body in found)
    assert left == 200
    assert not any(MARK in each for each in statements.all())


@pytest.mark.row("A-01", "A-02")
async def test_hostile_names_are_values_of_statements_and_never_a_part_of_them(tmp_path, postgres_server):
    """What an admin looks up or makes by such a name is found by it, or not at all."""
    statements = Statements(postgres_server)
    name = f"{MARK}' OR '1'='1'; DROP TABLE llmproxy_keys; --"
    async with running_backend() as backend, house(tmp_path, backend, statements.url) as proxy:
        told = [await proxy.post("/key/generate", key_alias=name, user_id=name, metadata={"tags": [name]})]
        told += [await proxy.post("/user/new", user_id=f"{name}2"), await proxy.post("/team/new", team_alias=name)]
        told += [
            await _got(proxy, path, **{field: name})
            for path, field in (
                ("/key/list", "key_alias"), ("/key/list", "sort_by"), ("/key/info", "key"), ("/user/info", "user_id"),
                ("/user/list", "sort_by"), ("/team/info", "team_id"), ("/spend/logs", "request_id"),
                ("/spend/logs", "start_date"), ("/team/list", "user_id"), ("/customer/info", "end_user_id"),
            )
        ]  # fmt: skip
        keys = await proxy.get("/key/list")

    said = [each for each in statements.all() if "llmproxy_" in each]
    assert max(status for status, _ in told) < 500
    assert keys[0] == 200
    assert len(said) > 10
    assert not any(MARK in each for each in said)


async def _got(proxy: House, path: str, **query: str) -> tuple[int, object]:
    headers = {"authorization": f"Bearer {MASTER}"}
    async with proxy.proxy.get(path, params=query, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.row("A-03")
async def test_a_flood_of_wrong_keys_asks_the_database_little_and_known_keys_are_served(tmp_path, postgres_server):
    """However many there are: few statements a second, and nobody who is known is refused."""
    statements = Statements(postgres_server)
    async with running_backend() as backend, house(tmp_path, backend, statements.url) as proxy:
        key = await proxy.key()
        assert (await proxy.ask(key))[0] == 200
        before, began_s = len(statements.all()), time.monotonic()

        async def flood(who: int) -> list[int]:
            found = []
            async with aiohttp.ClientSession() as client:
                for number in range(60):
                    headers = {"authorization": f"Bearer sk-wrong-{who}-{number}"}
                    async with client.get(f"{proxy.proxy.origin}/v1/models", headers=headers) as response:
                        found.append(response.status)
            return found

        floods = asyncio.gather(*(flood(who) for who in range(16)))
        served = []
        while not floods.done():
            served.append((await proxy.ask(key))[0])
        wrong = [status for each in await floods for status in each]
        took_s = time.monotonic() - began_s
        asked = len([each for each in statements.all()[before:] if "llmproxy_key" in each])

    assert set(wrong) <= {401, 503}
    assert set(served) == {200}
    assert 0 < asked <= 100 * took_s + 20
    assert asked < len(wrong) / 4
