"""Limits and money with four real worker processes: exact together, whichever of them a request comes to."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy_cli.mock.faults import Faults
from tests.fakes.backend import RunningBackend, running_backend
from tests.fakes.command import Command, free_port

MASTER = "sk-master-1234567890abcdef"
PRICED = "input_cost_per_token: 0, output_cost_per_token: 0.000002"
WORKERS = 4
HI = [{"role": "user", "content": "hi"}]


class Works:
    """Four workers on one port; each request comes on a connection of its own, so that the kernel spreads them."""

    def __init__(self, origin: str, client: aiohttp.ClientSession, pid: int) -> None:
        self.origin = origin
        self.client = client
        self.pid = pid

    async def post(self, path: str, by: str = MASTER, **body: Any) -> tuple[int, Any]:
        async with self.client.post(
            self.origin + path, json=body, headers={"authorization": f"Bearer {by}"}
        ) as response:
            return response.status, await response.json()

    async def get(self, path: str) -> Any:
        async with self.client.get(self.origin + path, headers={"authorization": f"Bearer {MASTER}"}) as response:
            return await response.json()

    async def key(self, **fields: Any) -> str:
        status, made = await self.post("/key/generate", **fields)
        assert status == 200, made
        return str(made["key"])

    async def ask(self, key: str, **more: Any) -> int:
        body = {"model": "m", "messages": HI, "max_tokens": 1, **more}
        return (await self.post("/v1/chat/completions", key, **body))[0]

    async def burst(self, key: str, count: int) -> Counter[int]:
        """How many of so many requests at once were answered with each status."""
        return Counter(await asyncio.gather(*(self.ask(key) for _ in range(count))))

    def workers(self) -> list[int]:
        """The processes that serve."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(each) for each in text.split()]


@asynccontextmanager
async def works(folder: Path, backend: RunningBackend) -> AsyncIterator[Works]:
    """llmproxy as its users start it, before a backend whose answers have one price."""
    port = free_port()
    command = Command(folder)
    command.write(
        "c.yaml",
        f"""
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "{backend.url}", api_key: x, {PRICED}}}
router_settings: {{num_retries: 0}}
general_settings: {{master_key: {MASTER}, background_health_checks: false}}
""",
    )
    words = ["--config", "c.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", str(WORKERS)]
    try:
        process = await asyncio.to_thread(
            command.serve, *words, port=port, LLMPROXY_DATA_DIR=str(folder / "data"), PYTHONWARNINGS="default"
        )
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as client:
            yield Works(f"http://127.0.0.1:{port}", client, process.pid)
    finally:
        command.close()


async def spent(proxy: Works, key: str, usd: float) -> float:
    """What a key has spent, once it is told that it is so much, or what is told in the end."""
    found = -1.0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while found != usd:
                found = (await proxy.get(f"/key/info?key={key}"))["info"]["spend"]
                await asyncio.sleep(0.05)
    return found


@pytest.mark.row("B-01", "B-03")
async def test_ten_of_500_at_once_pass_a_budget_for_ten_and_sixty_of_300_a_minute_of_sixty(tmp_path):
    """Neither one more nor one less reaches the backend, and what is told of the spend is what they cost."""
    async with running_backend() as backend, works(tmp_path, backend) as proxy:
        of_money, of_minutes = await proxy.key(max_budget=0.000_020), await proxy.key(rpm_limit=60)

        by_budget = await proxy.burst(of_money, 500)
        reached = len(backend.requests)
        by_minute = await proxy.burst(of_minutes, 300)
        found = await spent(proxy, of_money, 0.000_020)

    assert by_budget == {200: 10, 422: 490}
    assert reached == 10
    assert by_minute == {200: 60, 429: 240}
    assert found == 0.000_020


@pytest.mark.row("B-04")
async def test_tokens_of_a_minute_are_kept_by_all_processes_together(tmp_path):
    """Whatever was reserved for answers, those that came hold no more than the limit."""
    async with running_backend() as backend, works(tmp_path, backend) as proxy:
        key = await proxy.key(tpm_limit=60)

        found = await proxy.burst(key, 100)
        reached = [each for each in backend.requests if each.method == "POST"]

    assert found.keys() == {200, 429}
    assert len(reached) == found[200]
    assert 0 < 2 * found[200] <= 60, "two tokens each"


@pytest.mark.row("A-36", "B-08")
async def test_what_is_changed_holds_in_every_process_within_a_second(tmp_path):
    """A raised budget lets a key through wherever it comes, and a blocked key is nowhere let in."""
    async with running_backend() as backend, works(tmp_path, backend) as proxy:
        key, other = await proxy.key(max_budget=0.000_002), await proxy.key()
        before = [await proxy.burst(each, 1) for each in (key, key, other)]
        await proxy.burst(key, 40)  # every process has refused it
        await proxy.burst(other, 40)  # and has let this one in
        await proxy.post("/key/update", key=key, max_budget=1)
        await proxy.post("/key/block", key=other)
        await asyncio.sleep(1)
        raised, blocked = await proxy.burst(key, 40), await proxy.burst(other, 40)

    assert before == [{200: 1}, {422: 1}, {200: 1}]
    assert (raised, blocked) == ({200: 40}, {401: 40})


class Crowd:
    """How many requests a backend has had at work at once, apart from those that ended a moment ago."""

    def __init__(self, backend: RunningBackend) -> None:
        self._backend = backend
        self._since: dict[int, float] = {}
        self.most = 0

    async def watch(self) -> None:
        """Look often; an end that the backend has not seen yet is no request at work."""
        loop = asyncio.get_running_loop()
        while True:
            under_way = {id(each) for each in self._backend.requests if not each.finished}
            self._since = {each: self._since.get(each, loop.time()) for each in under_way}
            old = sum(1 for since in self._since.values() if loop.time() - since > 0.04)
            self.most = max(self.most, old)
            await asyncio.sleep(0.01)


async def _or_leave(proxy: Works, key: str, rng: random.Random) -> None:
    """Ask for an answer, a failure or a stream, and leave before the end now and then."""
    failing = [{"role": "user", "content": "[[mock status=500]]"}]
    kinds: list[dict[str, Any]] = [{}, {"stream": True}, {"messages": failing}]
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(rng.choice([0.02, 0.1, 5, 5])):
            body = {"model": "m", "messages": HI, **rng.choice(kinds)}
            headers = {"authorization": f"Bearer {key}"}
            async with proxy.client.post(f"{proxy.origin}/v1/chat/completions", json=body, headers=headers) as response:
                await response.read()


@pytest.mark.row("B-05", "B-10", "K-03")
async def test_five_at_once_stay_five_and_killed_workers_keep_no_place(tmp_path):
    """A hundred callers who fail and leave, then all workers killed with requests under way: no place is lost."""
    rng = random.Random(5)
    async with running_backend(faults=Faults(delay_s=0.15)) as backend, works(tmp_path, backend) as proxy:
        key = await proxy.key(max_parallel_requests=5)
        crowd = Crowd(backend)
        watching = asyncio.create_task(crowd.watch())
        await asyncio.gather(*(_or_leave(proxy, key, rng) for _ in range(100)))
        await asyncio.sleep(0.2)
        at_rest = await proxy.burst(key, 5)
        hanging = asyncio.gather(*(_or_leave(proxy, key, random.Random(0)) for _ in range(5)))
        await asyncio.sleep(0.05)
        for each in proxy.workers():
            os.kill(each, signal.SIGKILL)
        await hanging
        after: Counter[int] = Counter()
        async with asyncio.timeout(20):
            while after != {200: 5}:
                await asyncio.sleep(0.2)
                with contextlib.suppress(aiohttp.ClientError):
                    after = await proxy.burst(key, 5)
        watching.cancel()

    assert crowd.most <= 5
    assert at_rest == {200: 5}
