"""The database is away while requests go on: callers who are known are served, and every row arrives afterwards."""

import asyncio
import contextlib
import signal
import sqlite3
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy
from tests.server.test_money import MASTER, PRICED, House

COST = 0.000_003


@asynccontextmanager
async def house(folder, backend, url: str = ""):
    """A proxy whose keys and money are in the database of this address, or in a file of its own."""
    where = f'database_url: "{url}"' if url else ""
    config = f"""
        model_list:
          - model_name: m
            litellm_params: {{model: openai/m, api_base: "{backend.origin}/v1", api_key: x, {PRICED}}}
        router_settings: {{num_retries: 0}}
        general_settings: {{master_key: {MASTER}, {where}}}
        """
    async with running_proxy(config, keeps=folder) as proxy:
        yield House(proxy)


async def rows_in_the_end(proxy: House, count: int) -> list[float]:
    """What each row of the ledger costs, once there are so many of them."""
    rows: list[Any] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while len(rows) < count:
                status, found = await proxy.get("/spend/logs")
                rows = found if status == 200 else []
                await asyncio.sleep(0.1)
    return [row["spend"] for row in rows]


async def asked(proxy: House, key: str, count: int) -> list[int]:
    """The statuses of so many requests, a few at once."""
    found: list[int] = []
    for _ in range(0, count, 5):
        found += [status for status, _ in await asyncio.gather(*(proxy.ask(key) for _ in range(5)))]
    return found


@pytest.mark.row("D-04")
@pytest.mark.parametrize("fault", ["killed", pytest.param("paused", marks=pytest.mark.deep)])
async def test_requests_go_on_while_postgres_is_away_and_all_rows_arrive(tmp_path, postgres_server, fault):
    """A key that is known serves, one that is not is told to come again; nothing is lost and nothing counted twice."""
    url = postgres_server.url(postgres_server.new())
    async with running_backend() as backend, house(tmp_path, backend, url) as proxy:
        key, unknown = await proxy.key(max_budget=1), await proxy.key()
        before = await asked(proxy, key, 5)
        if fault == "killed":
            await asyncio.to_thread(postgres_server.stop, signal.SIGQUIT)
        else:
            await asyncio.to_thread(postgres_server.freeze)
        try:
            during = await asked(proxy, key, 20)
            async with asyncio.timeout(10):
                status, told = await proxy.ask(unknown)
            ready = (await proxy.get("/health/readiness"))[0]
        finally:
            if fault == "killed":
                postgres_server.start()  # it ends with the thread that has started it
            else:
                await asyncio.to_thread(postgres_server.freeze, signal.SIGCONT)
        rows = await rows_in_the_end(proxy, 25)
        async with asyncio.timeout(10):
            while (await proxy.ask(unknown))[0] != 200:
                await asyncio.sleep(0.1)
        _, info = await proxy.get(f"/key/info?key={key}")

    assert (before, during) == ([200] * 5, [200] * 20)
    assert (status, told["error"]["code"], ready) == (503, "store_unavailable", 200)
    assert rows == [COST] * 25
    assert info["info"]["spend"] == pytest.approx(25 * COST, abs=1e-12)


@pytest.mark.row("D-02")
async def test_requests_go_on_while_another_process_holds_the_file(tmp_path):
    """Rows wait in the journal for as long as that takes."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key()
        before = await asked(proxy, key, 5)
        with contextlib.closing(sqlite3.connect(tmp_path / "llmproxy.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            during = await asked(proxy, key, 20)
            await asyncio.sleep(0.5)
            (held,) = other.execute("SELECT count(*) FROM llmproxy_ledger").fetchone()
            other.execute("ROLLBACK")
        rows = await rows_in_the_end(proxy, 25)

    assert (before, during) == ([200] * 5, [200] * 20)
    assert held <= 5
    assert rows == [COST] * 25
