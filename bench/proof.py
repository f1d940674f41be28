"""Kill llmproxy again and again under load, and see whether its ledger is still what a backend was asked.

`python -m bench.proof --kills 30`. The backend (`bench/oracle.py`) has a process of its own that is never killed; the
load is half streams, a fifth of the callers leave, a tenth of the answers are faults, and some keys run out of money.
Ends with 1 when a sentence of `bench/proof_checks.py` does not hold; the seed that it prints makes the same run again.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.proof_checks import COMPLETION_NANO, PROMPT_NANO, TAG, Expected, Findings, check

_MASTER: Final = "sk-proof-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
_NANO: Final = 1_000_000_000
_KEYS, _CONCURRENT, _WORKERS = 8, 40, 2
_MOST_TOKENS: Final = 16  # each request says so
_PARALLEL: Final = 30  # of one key: its places must all be free at rest
_SMALL_BUDGET_NANO: Final = 1_000_000
_LARGE_BUDGET_NANO: Final = 1_000 * _NANO
_REST_S: Final = 40.0  # after which no place of a process that was killed may still be taken
_READY_S: Final = 30.0
_LONGEST_PROMPT: Final = 64  # tokens that the prompt may be taken for when it is reserved
_CONFIG: Final = """\
model_list:
  - model_name: oracle
    litellm_params:
      model: openai/oracle
      api_base: http://127.0.0.1:{oracle}/v1
      api_key: none
      input_cost_per_token: {prompt}
      output_cost_per_token: {completion}
general_settings:
  master_key: {master}
"""


@dataclass(slots=True)
class Key:
    """A key of the run."""

    secret: str
    budget_nano: int

    @property
    def digest(self) -> str:
        """As the ledger knows it."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


@dataclass(slots=True)
class Run:
    """One proof. Owns the programs, and the numbers of requests."""

    folder: Path
    oracle_port: int
    port: int
    rng: random.Random
    keys: list[Key] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    server: subprocess.Popen[bytes] | None = None
    number: int = 0
    fallen: int = 0
    is_over: bool = False

    @property
    def database(self) -> Path:
        """Where llmproxy keeps its books."""
        return self.folder / "data" / "llmproxy.db"

    @property
    def url(self) -> str:
        """Where llmproxy answers."""
        return f"http://127.0.0.1:{self.port}"

    def start_server(self) -> None:
        """Start llmproxy with its workers."""
        words = ["--config", str(self.folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(self.port)]
        environ = {**os.environ, "LLMPROXY_DATA_DIR": str(self.folder / "data")}
        with (self.folder / "llmproxy.log").open("ab") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "proxy_cli", *words, "--num_workers", str(_WORKERS)],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def workers(self) -> list[int]:
        """The processes that serve."""
        assert self.server is not None
        with contextlib.suppress(FileNotFoundError):
            children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
            return [int(child) for child in children.split()]
        return []

    def kill(self) -> None:
        """Kill one worker, or everything, and start again what does not do that by itself."""
        workers = self.workers()
        if workers and self.rng.random() < 0.7:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(workers), signal.SIGKILL)
            return
        assert self.server is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()
        self.start_server()

    def stop_server(self) -> int:
        """Ask it to end; its exit code."""
        assert self.server is not None
        self.server.terminate()
        try:
            return self.server.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.server.pid, signal.SIGKILL)
            return self.server.wait()


async def ready(run: Run, session: aiohttp.ClientSession) -> None:
    """Wait until llmproxy answers."""
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
            async with session.get(f"{run.url}/health/liveliness") as reply:
                if reply.status == 200:
                    return
        await asyncio.sleep(0.02)
    raise SystemExit(f"llmproxy does not answer:\n{(run.folder / 'llmproxy.log').read_text()[-2000:]}")


async def make_keys(run: Run, session: aiohttp.ClientSession) -> None:
    """Keys, half of which run out of money on the way."""
    for number in range(_KEYS):
        budget = _SMALL_BUDGET_NANO if number % 2 else _LARGE_BUDGET_NANO
        body = {"max_budget": budget / _NANO, "max_parallel_requests": _PARALLEL}
        head = {"authorization": f"Bearer {_MASTER}"}
        async with session.post(f"{run.url}/key/generate", json=body, headers=head) as reply:
            made = await reply.json()
            run.keys.append(Key(made["key"], budget))


async def ask(run: Run, session: aiohttp.ClientSession, key: Key, *, leaves: bool, fate: str = "") -> str:
    """One request; what became of it."""
    run.number += 1
    number = run.number
    content = f"{number} {fate}".strip()
    body: dict[str, Any] = {"model": "oracle", "messages": [{"role": "user", "content": content}]}
    body |= {"max_tokens": _MOST_TOKENS, "stream": run.rng.random() < 0.5}
    head = {"authorization": f"Bearer {key.secret}", "x-litellm-tags": f"{TAG}{number}"}
    try:
        async with session.post(f"{run.url}/v1/chat/completions", json=body, headers=head) as reply:
            if leaves:
                await reply.content.read(run.rng.randrange(1, 600))
                return "left"
            await reply.read()
            return str(reply.status)
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return "broken"


async def caller(run: Run, session: aiohttp.ClientSession) -> None:
    """Asks until the run is over."""
    while not run.is_over:
        fate = "fault" if run.rng.random() < 0.1 else ""
        became = await ask(run, session, run.rng.choice(run.keys), leaves=run.rng.random() < 0.2, fate=fate)
        run.statuses[became] += 1
        if became not in {"200", "left"}:
            await asyncio.sleep(0.02)


async def watch_sums(run: Run) -> None:
    """I7: what a key has spent in its window never falls."""
    highest: Counter[str] = Counter()
    query = "SELECT id, sum(nano) FROM llmproxy_spend WHERE kind = 'key' GROUP BY id"
    while not run.is_over:
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(_reading(run.database)) as connection:
            for key, nano in connection.execute(query):
                run.fallen += nano < highest[key]
                highest[key] = max(highest[key], nano)
        await asyncio.sleep(0.25)


async def all_places_are_free(run: Run, session: aiohttp.ClientSession) -> bool:
    """I5: at rest each key has all of its places, though processes were killed that held some."""
    until = time.monotonic() + _REST_S
    for key in run.keys:
        if key.budget_nano != _LARGE_BUDGET_NANO:
            continue
        while True:
            asked = (ask(run, session, key, leaves=False) for _ in range(_PARALLEL))
            if set(await asyncio.gather(*asked)) == {"200"}:
                break
            if time.monotonic() > until:
                return False
            await asyncio.sleep(1.0)
    return True


async def prove(run: Run, kills: int) -> Findings:
    """The whole run."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:
        await ready(run, session)
        await make_keys(run, session)
        callers = [asyncio.create_task(caller(run, session)) for _ in range(_CONCURRENT)]
        watcher = asyncio.create_task(watch_sums(run))
        for number in range(kills):
            await asyncio.sleep(10 ** run.rng.uniform(-3, 0.7))
            run.kill()
            await ready(run, session)
            print(f"\r{number + 1} of {kills} kills, {run.number} requests", end="", file=sys.stderr, flush=True)
        await asyncio.sleep(0.5)
        run.is_over = True
        await asyncio.gather(*callers, watcher)
        print(file=sys.stderr)
        is_free = await all_places_are_free(run, session)
    code = run.stop_server()
    most_nano = _LONGEST_PROMPT * PROMPT_NANO + _MOST_TOKENS * COMPLETION_NANO
    budgets = {key.digest: key.budget_nano for key in run.keys}
    # A call's reservation covers it, so nothing is spent beyond a budget. But what a killed process held is counted
    # when its rows are made: what was let in before that is the bound.
    expected = Expected(kills=kills, concurrent=_CONCURRENT, budgets=budgets, bound_nano=_CONCURRENT * most_nano)
    found = check(run.database, run.folder / "oracle", expected)
    found.must(is_free, "I5", f"a key has not all of its {_PARALLEL} places {_REST_S:.0f} s after the load")
    found.must(run.fallen == 0, "I7", f"what a key has spent was seen to fall {run.fallen} times")
    found.must(code == 0, "D0", f"llmproxy ended with {code}")
    left = list((run.folder / "data" / "journal").glob("*.journal"))
    found.must(not left, "D0", f"{len(left)} segments of the journal were left behind at an orderly end")
    return found


@contextlib.contextmanager
def programs(folder: Path, seed: int) -> Iterator[Run]:
    """The backend and llmproxy, as long as the block runs."""
    run = Run(folder, _free_port(), _free_port(), random.Random(seed))
    settings = {"oracle": run.oracle_port, "prompt": PROMPT_NANO / _NANO, "completion": COMPLETION_NANO / _NANO}
    (folder / "config.yaml").write_text(_CONFIG.format(master=_MASTER, **settings))
    (folder / "config.yaml").chmod(0o600)
    words = [sys.executable, "-m", "bench.oracle", str(folder / "oracle"), str(run.oracle_port)]
    with (folder / "oracle.log").open("wb") as log:
        oracle = subprocess.Popen(words, stdout=log, stderr=log)
    run.start_server()
    try:
        yield run
    finally:
        oracle.kill()
        oracle.wait()
        if run.server is not None and run.server.poll() is None:
            os.killpg(run.server.pid, signal.SIGKILL)
            run.server.wait()


def report(run: Run, found: Findings, kills: int) -> str:
    """What was found, for people."""
    lines = [
        f"{kills} kills, {run.number} requests, {found.rows} rows: "
        + ", ".join(f"{count} {status}" for status, count in sorted(run.statuses.items())),
        f"lost {found.lost}   duplicate {found.duplicate}   phantom {found.phantom}   wrong cost {found.wrong_cost}",
        f"unknown {found.unknown}   aborted {found.aborted}   max overspend {max(found.overspend_nano, 0)} nano-USD",
    ]
    return "\n".join([*lines, *(found.broken or ["I1 to I8 hold"])])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.proof", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="llmproxy-proof-") as folder, programs(Path(folder), asked.seed) as run:
        found = asyncio.run(prove(run, asked.kills))
        print(report(run, found, asked.kills))
        if found.broken:
            print((Path(folder) / "llmproxy.log").read_text("utf-8", "replace")[-3000:], file=sys.stderr)
    return 1 if found.broken else 0


def _reading(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
