"""Kill llmproxy again and again under load, and see whether its ledger is still what a backend was asked.

`python -m bench.proof --kills 30`. The backend (`bench/oracle.py`) has a process of its own that is never killed; the
load is `bench/proof_load.py`, the kills are `bench/proof_server.py`. Ends with 1 when a sentence of
`bench/proof_checks.py` does not hold; the seed that it prints makes a run with the same choices.
"""

import argparse
import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from bench.machine import free_port
from bench.proof_checks import COMPLETION_NANO, PROMPT_NANO, Expected, Findings, check
from bench.proof_load import CONCURRENT, MASTER, MODELS, NANO, Load, most_nano, spent
from bench.proof_server import Server

_READY_S: Final = 30.0
_LOOK_S: Final = 0.25
_SHORTEST_S: Final = 0.001  # before the next kill
_MODEL: Final = """\
  - model_name: oracle-{number}
    litellm_params:
      model: openai/oracle
      api_base: http://127.0.0.1:{port}/v1
      api_key: none
      input_cost_per_token: {prompt}
      output_cost_per_token: {completion}
"""


@dataclass(slots=True)
class Proof:
    """One run. Owns what was seen while it went on."""

    folder: Path
    server: Server
    rng: random.Random
    kinds: Counter[str] = field(default_factory=Counter)  # of kills
    fallen: int = 0

    @property
    def database(self) -> Path:
        """Where llmproxy keeps its books."""
        return self.folder / "data" / "llmproxy.db"

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until llmproxy answers."""
        until = time.monotonic() + _READY_S
        while time.monotonic() < until:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                async with session.get(f"{self.server.url}/health/liveliness") as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.02)
        raise SystemExit(f"llmproxy does not answer:\n{self.server.log.read_text()[-2000:]}")

    async def watch_sums(self) -> None:
        """I7: what a key has spent in its window never falls."""
        highest: Counter[str] = Counter()
        while True:
            with contextlib.suppress(sqlite3.OperationalError):
                for key, nano in spent(self.database).items():
                    self.fallen += nano < highest[key]
                    highest[key] = max(highest[key], nano)
            await asyncio.sleep(_LOOK_S)

    async def kill_again_and_again(self, session: aiohttp.ClientSession, kills: int, longest_s: float) -> None:
        """At moments that are mostly close to each other."""
        for number in range(kills):
            await asyncio.sleep(_SHORTEST_S * (longest_s / _SHORTEST_S) ** self.rng.random())
            self.kinds[await self.server.kill()] += 1
            await self.ready(session)
            print(f"\r{number + 1} of {kills} kills", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    async def prove(self, kills: int, longest_s: float) -> tuple[Findings, Load]:
        """The whole of it."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:
            await self.ready(session)
            load = Load(self.server.url, self.rng, session)
            await load.make_keys()
            callers, watcher = asyncio.create_task(load.run()), asyncio.create_task(self.watch_sums())
            await self.kill_again_and_again(session, kills, longest_s)
            await asyncio.sleep(0.5)
            load.is_over = True
            await callers
            taken = await load.taken_at_rest(self.database)
            watcher.cancel()
        return self._found(load, taken, code=self.server.stop()), load

    def _found(self, load: Load, taken: str, *, code: int) -> Findings:
        budgets = {key.digest: key.budget_nano for key in load.keys}
        # A call's reservation covers it, so nothing is spent beyond a budget. But what a killed process held is counted
        # when its rows are made: what was let in before that is the bound.
        bound_nano = CONCURRENT * most_nano(MODELS)
        expected = Expected(killed=self.server.killed, concurrent=CONCURRENT, budgets=budgets, bound_nano=bound_nano)
        found = check(self.database, self.folder / "oracle", expected)
        found.must(not taken, "I5", taken)
        found.must(self.fallen == 0, "I7", f"what a key has spent was seen to fall {self.fallen} times")
        found.must(code == 0, "D0", f"llmproxy ended with {code}")
        left = list((self.folder / "data" / "journal").glob("*.journal"))
        found.must(not left, "D0", f"{len(left)} segments of the journal were left behind at an orderly end")
        found.must("Traceback" not in self.server.told(), "log", "llmproxy's log has a traceback")
        return found


@contextlib.contextmanager
def programs(folder: Path, seed: int) -> Iterator[Proof]:
    """The backend and llmproxy, as long as the block runs."""
    port, rng = free_port(), random.Random(seed)
    proof = Proof(folder, Server(folder, free_port(), rng), rng)
    config = folder / "config.yaml"
    config.write_text(f"model_list:\n{_models(port)}general_settings:\n  master_key: {MASTER}\n")
    config.chmod(0o600)
    words = [sys.executable, "-m", "bench.oracle", str(folder / "oracle"), str(port)]
    with (folder / "oracle.log").open("wb") as log:
        oracle = subprocess.Popen(words, stdout=log, stderr=log)
    proof.server.start()
    try:
        yield proof
    finally:
        oracle.kill()
        oracle.wait()
        proof.server.abandon()


def _models(port: int) -> str:
    prices = ((number, PROMPT_NANO * number / NANO, COMPLETION_NANO * number / NANO) for number in range(1, MODELS + 1))
    return "".join(
        _MODEL.format(number=number, port=port, prompt=prompt, completion=completion)
        for number, prompt, completion in prices
    )


def report(proof: Proof, load: Load, found: Findings) -> str:
    """What was found, for people."""
    kinds = ", ".join(f"{count} of {kind}" for kind, count in sorted(proof.kinds.items()))
    lines = [
        f"{sum(proof.kinds.values())} kills ({kinds}), {sum(load.statuses.values())} requests, {found.rows} rows: "
        + ", ".join(f"{count} {status}" for status, count in sorted(load.statuses.items())),
        f"lost {found.lost}   duplicate {found.duplicate}   phantom {found.phantom}   wrong cost {found.wrong_cost}",
        f"unknown {found.unknown}   aborted {found.aborted}   max overspend {max(found.overspend_nano, 0)} nano-USD",
        found.verdicts(),
    ]
    return "\n".join([*lines, *found.broken])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.proof", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--longest", type=float, default=5.0, help="seconds between two kills, at most")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="llmproxy-proof-") as folder, programs(Path(folder), asked.seed) as proof:
        found, load = asyncio.run(proof.prove(asked.kills, asked.longest))
        print(report(proof, load, found))
        if found.broken:
            print(proof.server.told(), file=sys.stderr)
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
