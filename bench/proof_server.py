"""llmproxy as the proof runs it: started, killed at a random moment or at a named place, started again, ended.

Owns the processes, and how many of those that serve were killed. Rule: a supervisor ends everything when one worker
after the other ends soon after its start, so after some of them it is killed itself.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy_cli.ledger.crash import POINTS, VARIABLE

WORKERS: Final = 2
_MOST_WORKERS_IN_A_ROW: Final = 3
_ALL, _NAMED = 0.25, 0.45  # up to the first: everything is killed; up to the second: at a named place; else one worker
_CRASH_WITHIN_S: Final = 4.0  # some places are not come to
_LATEST_TIMES: Final = {"after_intent": 300, "before_settle": 300, "after_settle": 300, "in_flush": 8}
_END_WITHIN_S: Final = 60.0
_ENDED: Final = "ended by itself (signal SIGKILL)"  # what the supervisor says of a worker
_SERVES: Final = "\nllmproxy "  # what it says once, when all of them are ready


@dataclass(slots=True)
class Server:
    """One llmproxy with its workers."""

    folder: Path
    port: int
    rng: random.Random
    killed: int = 0  # processes that served
    _process: subprocess.Popen[bytes] | None = None
    _in_a_row: int = 0
    _starts: int = 0  # that have been told before this one

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "llmproxy.log"

    def start(self, crash: str = "") -> None:
        """Start it with its workers, which end at a named place, if one is given."""
        words = ["--config", str(self.folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(self.port)]
        self._starts = self._told_starts()
        environ = {**os.environ, "LLMPROXY_DATA_DIR": str(self.folder / "data"), VARIABLE: crash}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "proxy_cli", *words, "--num_workers", str(WORKERS)],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._in_a_row = 0

    def workers(self) -> list[int]:
        """The processes that serve."""
        assert self._process is not None
        with contextlib.suppress(FileNotFoundError):
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
            return [int(child) for child in children.split()]
        return []

    async def kill(self) -> str:
        """Kill a worker, or everything, or have it crash at a named place, and start it again; what was done."""
        chance = self.rng.random()
        workers = self.workers()
        if workers and chance >= _NAMED and self._in_a_row < _MOST_WORKERS_IN_A_ROW:
            self._in_a_row += 1
            self.killed += 1
            await self._until_it_serves()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(self.workers() or workers), signal.SIGKILL)
            return "a worker"
        self.kill_all()
        done = "everything"
        if _ALL <= chance < _NAMED:
            done = self.rng.choice(POINTS)
            self.start(f"{done}:{self.rng.randint(1, _LATEST_TIMES.get(done, 1))}")
            await self._crash()
            self.kill_all()
        self.start()
        return done

    async def _until_it_serves(self) -> None:
        """Wait until all its workers are ready: one that ends before ends all, as a mistake in the settings does."""
        until_s = time.monotonic() + _CRASH_WITHIN_S
        while self._told_starts() == self._starts and time.monotonic() < until_s:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)

    def _told_starts(self) -> int:
        return self.log.read_text("utf-8", "replace").count(_SERVES) if self.log.exists() else 0

    def kill_all(self) -> None:
        """Kill every process."""
        assert self._process is not None
        self.killed += WORKERS
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    async def _crash(self) -> None:
        """Let it serve until a worker has come to the named place, if one does."""
        before, until_s = self._crashes(), time.monotonic() + _CRASH_WITHIN_S
        while self._crashes() == before and time.monotonic() < until_s:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.02)
        self.killed += self._crashes() - before

    def _crashes(self) -> int:
        return self.log.read_text("utf-8", "replace").count(_ENDED)

    def told(self) -> str:
        """What its log says beside requests: the part from the first traceback on, or else the end."""
        lines = [line for line in self.log.read_text("utf-8", "replace").splitlines() if " INFO " not in line]
        first = next((number for number, line in enumerate(lines) if "Traceback" in line), max(len(lines) - 30, 0))
        return "\n".join(lines[max(first - 3, 0) : first + 60])

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()

    def abandon(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        if self._process is not None and self._process.poll() is None:
            self.kill_all()
