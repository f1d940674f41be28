"""More to do than can be done: refusals that are quick and honest, full use of what there is, and a way back."""

import asyncio
import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import aiohttp
import pytest

from tests.fakes.command import HELLO, Command, free_port
from tests.fakes.proxy import running_proxy
from tests.server.conftest import chat, seed_like
from tests.server.test_figures import figures, total

PATH = "/v1/chat/completions"


def bounded(url: str, **settings) -> str:
    """The seed's shape of a configuration with bounds of what is taken on."""
    general = ", ".join(f"{name}: {value}" for name, value in settings.items())
    return seed_like(url) + f"\n        general_settings: {{{general}}}\n"


async def one(proxy, content: str, told: Counter[int]) -> None:
    """Ask once, and put down how it ended; a refusal is a 503 that says when to come again."""
    async with proxy.post(PATH, json=chat(content)) as response:
        answer = await response.json()
        told[response.status] += 1
        if response.status == 503:
            assert response.headers["retry-after"] == "1"
            assert answer["error"]["code"] == "overloaded"


async def offer(proxy, content: str, *, per_s: int, for_s: float, told: Counter[int]) -> None:
    """Ask so many times a second whatever becomes of it, as the world does."""
    async with asyncio.TaskGroup() as group:
        for _ in range(int(per_s * for_s)):
            group.create_task(one(proxy, content, told))
            await asyncio.sleep(1 / per_s)


@pytest.mark.row("L-01")
async def test_under_three_times_the_load_every_place_is_used_and_then_all_is_well_again(backend):
    """While more is asked than can be done no place stays empty; what is beyond is refused; it ends with the load."""
    config = bounded(
        backend.url, max_in_flight_requests_per_worker=4, max_queued_requests_per_worker=4,
        admission_queue_timeout_seconds=1,
    )  # fmt: skip
    async with running_proxy(config) as proxy:
        overloaded: Counter[int] = Counter()
        load = asyncio.create_task(offer(proxy, "[[mock delay=0.2]]", per_s=60, for_s=1.5, told=overloaded))
        await asyncio.sleep(0.5)
        used = []
        while not load.done():
            used.append((await figures(proxy))["litellm_in_flight_requests",] - 1)  # but for the one that asks
            await asyncio.sleep(0.05)
        await load
        calm: Counter[int] = Counter()
        await offer(proxy, "[[mock delay=0.05]]", per_s=20, for_s=0.5, told=calm)
        found = await figures(proxy)

    assert set(overloaded) == {200, 503}
    assert overloaded[200] >= 4 + 4
    busy = used[: len(used) // 2]  # the rest may be the end of it
    assert sum(each == 4 for each in busy) >= 0.8 * len(busy), used
    assert max(used) == 4
    assert calm == {200: 10}
    assert total(found, "llmproxy_requests_shed_total") == overloaded[503]


@pytest.mark.deep
@pytest.mark.timeout(120)
@pytest.mark.row("L-01")
async def test_goodput_holds_under_three_times_the_load(backend):
    """Ten seconds of it leave nine tenths of what can be done; at half the load again nobody is refused."""
    config = bounded(backend.url, max_in_flight_requests_per_worker=50, admission_queue_timeout_seconds=1)
    async with running_proxy(config) as proxy:
        peak, beyond, calm = Counter[int](), Counter[int](), Counter[int]()
        await offer(proxy, "[[mock delay=0.5]]", per_s=80, for_s=4, told=peak)
        began = asyncio.get_running_loop().time()
        await offer(proxy, "[[mock delay=0.5]]", per_s=300, for_s=10, told=beyond)
        took_s = asyncio.get_running_loop().time() - began
        await offer(proxy, "[[mock delay=0.5]]", per_s=50, for_s=4, told=calm)

    assert peak == {200: 320}
    assert beyond[200] >= 0.9 * 100 * (took_s - 0.5), (beyond, took_s)
    assert calm == {200: 200}


@pytest.mark.row("L-04")
async def test_a_backend_that_has_become_slow_fills_the_places_and_no_more(backend):
    """When answers take thirty times as long, what waits stays bounded; callers are told to come again at once."""
    config = bounded(
        backend.url, max_in_flight_requests_per_worker=3, max_queued_requests_per_worker=2,
        admission_queue_timeout_seconds=0.2,
    )  # fmt: skip
    async with running_proxy(config) as proxy:
        told: Counter[int] = Counter()
        await asyncio.gather(*(one(proxy, "[[mock delay=1.5]]", told) for _ in range(40)))
        again: Counter[int] = Counter()
        await one(proxy, "quick", again)
        found = await figures(proxy)

    assert told == {200: 3, 503: 37}
    assert total(found, "llmproxy_requests_shed_total", "reason", "full") == 35
    assert total(found, "llmproxy_requests_shed_total", "reason", "queue") == 2
    assert again == {200: 1}
    assert len(backend.requests) == 4


async def test_streams_that_have_begun_leave_their_places_to_others(backend):
    """Thousands of slow streams are no crowd: with the usual bounds they count apart, with chosen ones they do not."""
    for settings, status in (({}, 200), ({"max_in_flight_requests_per_worker": 1}, 503)):
        config = bounded(backend.url, max_queued_requests_per_worker=0, **settings)
        async with running_proxy(config) as proxy:
            slow = chat("[[mock gap=0.3]] one two three four", stream=True)
            async with proxy.post(PATH, json=slow) as stream:
                await stream.content.readany()
                async with proxy.post(PATH, json=chat("plain")) as response:
                    assert response.status == status
                assert (await figures(proxy))["llmproxy_streams",] == (1 if status == 200 else 0)


@pytest.mark.row("O-09")
@pytest.mark.parametrize("path", ["/health/liveliness", "/health/readiness", "/metrics"])
async def test_operators_get_in_when_all_places_are_taken(backend, path):
    """Probes and figures have places of their own; an ordinary request is refused at that moment."""
    config = bounded(backend.url, max_in_flight_requests_per_worker=1, max_queued_requests_per_worker=0)
    async with running_proxy(config) as proxy:
        told: Counter[int] = Counter()
        busy = asyncio.create_task(one(proxy, "[[mock delay=0.5]]", told))
        async with asyncio.timeout(5):
            while not backend.requests:
                await asyncio.sleep(0.01)

        async with proxy.get(path) as response:
            assert response.status == 200
        async with proxy.get("/v1/models") as response:
            assert response.status == 503
        await busy

    assert told == {200: 1}


@pytest.mark.row("L-05")
async def test_a_pool_that_is_full_ends_in_a_refusal_and_is_counted(backend):
    """Who gets no connection to the backend within a second is told to come again."""
    config = bounded(backend.url, max_connections_per_backend=1)
    async with running_proxy(config) as proxy:
        told: Counter[int] = Counter()
        first = asyncio.create_task(one(proxy, "[[mock delay=1.5]]", told))
        async with asyncio.timeout(5):
            while not backend.requests:
                await asyncio.sleep(0.01)
        async with proxy.post(PATH, json=chat("x")) as response:
            answer = await response.json()
        found = await figures(proxy)
        await first

    assert response.status == 503
    assert answer["error"]["code"] == "upstream_pool_full"
    assert "retry-after" in response.headers
    assert total(found, "llmproxy_upstream_pool_full_total") == 1
    assert told == {200: 1}


@contextmanager
def failing(logger: logging.Logger):
    """A logger whose every line is an exception."""

    def fails(_record: logging.LogRecord) -> bool:
        raise ZeroDivisionError("on purpose")

    logger.addFilter(fails)
    try:
        yield
    finally:
        logger.removeFilter(fails)


@pytest.mark.row("K-08")
async def test_a_log_that_fails_costs_no_request(proxy, caplog):
    """Callers are answered, the metrics go on, and the failure is counted and told."""
    with caplog.at_level(logging.INFO), failing(logging.getLogger("proxy_cli.requests")):
        for body in (chat("a"), chat("b", stream=True)):
            async with proxy.post(PATH, json=body) as response:
                assert response.status == 200
                assert await response.read()

    found = await figures(proxy)
    assert total(found, "llmproxy_telemetry_failures_total", "part", "log") == 2
    assert total(found, "litellm_proxy_total_requests_metric_total", "route", PATH) == 2
    assert caplog.text.count("ZeroDivisionError: on purpose") == 1


@pytest.fixture
def command(tmp_path):
    """Runs `llmproxy` as a program; whatever still serves at the end is killed."""
    running = Command(tmp_path)
    yield running
    running.close()


@pytest.mark.row("L-10")
def test_a_log_that_nobody_reads_stops_no_request(command):
    """With its pipe full the program answers as before, and ends when it is asked to."""
    port = free_port()
    config = command.write("config.yaml", HELLO)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    line = [sys.executable, "-m", "proxy_cli", "--config", str(config), "--port", str(port), "--host=127.0.0.1"]
    process = subprocess.Popen(line, stderr=writing, stdout=subprocess.DEVNULL)
    os.close(writing)

    async def ask() -> Counter[int]:
        told: Counter[int] = Counter()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            while True:
                try:
                    async with session.get("/health/liveliness"):
                        break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.05)
            for _ in range(200):
                async with session.post(PATH, json={**chat("x"), "model": "hello"}) as response:
                    told[response.status] += 1
        return told

    try:
        told = asyncio.run(asyncio.wait_for(ask(), 20))
        process.send_signal(signal.SIGTERM)
        code = process.wait(15)
    finally:
        process.kill()
        process.wait()
        os.close(reading)

    assert told == {200: 200}
    assert code == 0


@pytest.mark.deep
@pytest.mark.row("O-09")
@pytest.mark.timeout(120)
def test_probes_answer_in_time_under_full_load(command, require):
    """Liveness and readiness within 50 ms while 16 clients keep the process busy without a pause."""
    wrk, port = require("wrk"), free_port()
    command.write("config.yaml", HELLO)
    command.serve("--config", "config.yaml", "--port", str(port), "--host=127.0.0.1", port=port)
    script = command.write(
        "post.lua",
        'wrk.method="POST" wrk.headers["content-type"]="application/json" '
        'wrk.body=\'{"model":"hello","messages":[{"role":"user","content":"hi"}]}\'',
    )
    load = [wrk, "-t1", "-c16", "-d8s", "-s", str(script), f"http://127.0.0.1:{port}{PATH}"]

    async def probe() -> list[float]:
        took = []
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for number in range(100):
                began = asyncio.get_running_loop().time()
                async with session.get(("/health/liveliness", "/health/readiness")[number % 2]) as response:
                    assert response.status == 200
                    await response.read()
                took.append(asyncio.get_running_loop().time() - began)
                await asyncio.sleep(0.03)
        return sorted(took)

    with subprocess.Popen(load, stdout=subprocess.DEVNULL) as running:
        took = asyncio.run(probe())
        running.kill()

    assert took[94] < 0.05, took[90:]
