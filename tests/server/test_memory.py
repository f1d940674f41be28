"""Memory: what a request took is given back, however it ended."""

import asyncio
import gc
import os
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
import uvloop

from proxy_cli.telemetry.log import configure
from tests.fakes.command import ROOT, free_port
from tests.fakes.proxy import running_proxy
from tests.fakes.traffic import Callers, FaultyBackend, Listeners, config

ROUNDS, ROUND = 4, 360
NOISE = 180  # blocks; half a block for each request of a round is more
GARBAGE = 20  # objects; where failures of one kind keep a frame each, it is more
FIRST, LAST = 200_000, 1_000_000
MOST = 2 * 1024 * 1024


@contextmanager
def log_to_nowhere():
    """The real log, written to /dev/null; pytest's own would keep every line."""
    with Path(os.devnull).open("w") as output:
        logs = configure("normal", json_logs=False, log_level=None, local=False, stream=output)
        try:
            yield
        finally:
            logs.close()


def descriptors_of(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def counts() -> tuple[int, int, int]:
    """How many blocks Python's objects take, how many descriptors are open, how many tasks there are."""
    gc.collect()
    return sys.getallocatedblocks(), descriptors_of(os.getpid()), len(asyncio.all_tasks())


async def settled(backend: FaultyBackend, idle: int) -> None:
    """Wait until no more than the pool's idle connections lead to the backend."""
    async with asyncio.timeout(5):
        while len(backend.open) > idle:
            await asyncio.sleep(0.02)


async def grown() -> tuple[Counter[str], list[tuple[int, ...]]]:
    """How requests have ended, and by how much the counts have grown in each round of them."""
    async with FaultyBackend() as backend, running_proxy(config(backend.port)) as proxy:
        callers = Callers(proxy.port, connections=8)
        seen = []
        for _ in range(ROUNDS + 1):
            await callers.ask(ROUND)
            await settled(backend, 16)
            seen.append(counts())
    growth = [tuple(now - then for then, now in zip(*pair, strict=True)) for pair in pairwise(seen)]
    return callers.ended, growth


@pytest.mark.row("L-08")
def test_nothing_is_kept_of_requests_that_have_ended():
    """Plain, streamed, left and failed requests leave no object, descriptor or task behind that adds up."""
    with log_to_nowhere():
        ended, growth = uvloop.run(grown())

    assert answers(ended) == EXPECTED
    blocks, descriptors, tasks = (min(each) for each in zip(*growth, strict=True))
    assert blocks < NOISE, growth
    assert descriptors <= 0, growth
    assert tasks <= 0, growth


async def garbage() -> int:
    """How many objects requests leave behind that nobody can reach, and that only the collector would find."""
    async with FaultyBackend() as backend, running_proxy(config(backend.port)) as proxy:
        callers = Callers(proxy.port, connections=8)
        await callers.ask(ROUND)
        await settled(backend, 16)
        gc.collect()
        gc.disable()
        await callers.ask(ROUND)
        await settled(backend, 16)
        return gc.collect()


def test_nothing_waits_for_the_garbage_collector():
    """However requests end, no circle of objects is left, so that the collector's long pauses can be kept rare."""
    try:
        with log_to_nowhere():
            left = uvloop.run(garbage())
    finally:
        gc.enable()

    assert left < GARBAGE


EXPECTED = {
    "plain 200", "stream 200", "leave left", "cut 502", "cut-stream 200", "reset 502", "fail 500", "busy 429",
    "late 504", "garbled 502", "unknown 400", "broken 400",
}  # fmt: skip


def answers(ended: Counter[str]) -> set[str]:
    """How requests have ended, but for the few that met a connection on its way out."""
    return {how for how, count in ended.items() if count > ended.total() // 1000}


def resident_bytes(process: subprocess.Popen[bytes]) -> int:
    """What a process has in memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def served(folder: Path, text: str, port: int):
    """The real command, with a log that goes nowhere."""
    file = folder / "config.yaml"
    file.write_text(text)
    file.chmod(0o600)
    arguments = ["--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy_cli", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError("it does not serve")


async def measured(folder: Path, first: int, last: int) -> tuple[Counter[str], list[tuple[int, int]]]:
    """How requests have ended; and memory and descriptors after so many, and after so many in all."""
    async with FaultyBackend() as backend:
        port = free_port()
        with served(folder, config(backend.port), port) as process:
            callers = Callers(port)
            seen = []
            for count in (first, last - first):
                await callers.ask(count)
                await settled(backend, 48)
                seen.append((resident_bytes(process), descriptors_of(process.pid)))
    return callers.ended, seen


@pytest.mark.deep
@pytest.mark.timeout(5400)
@pytest.mark.row("L-08")
def test_a_million_requests_take_no_more_memory_than_the_first(tmp_path):
    """After 1,000,000 requests with faults mixed in a worker is at most 2 MiB larger than after the first 200,000."""
    ended, [(before, opened), (after, still_open)] = uvloop.run(measured(tmp_path, FIRST, LAST))

    assert answers(ended) == EXPECTED
    assert after - before <= MOST, f"{before} bytes became {after}"
    assert still_open <= opened + 48  # idle connections to the backend come and go


async def bytes_per_stream(folder: Path, count: int) -> float:
    """What a worker takes for each of many streams that are silent."""
    async with FaultyBackend() as backend:
        port = free_port()
        with served(folder, config(backend.port), port) as process:
            await Callers(port).ask(500)
            before = resident_bytes(process)
            async with Listeners(port) as listeners:
                await listeners.listen(count)
                await asyncio.sleep(1)
                return (resident_bytes(process) - before) / count


def test_a_silent_stream_takes_little_memory(tmp_path, deep):
    """8,000 streams that wait for their next word take less than 40 KiB each of one worker."""
    count = 8_000 if deep else 200
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < count * 2.2:
        pytest.skip(f"{files} open files are too few for {count} streams and their backend")

    each = uvloop.run(bytes_per_stream(tmp_path, count))

    assert each < 40 * 1024
