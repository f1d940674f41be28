"""Runs the small program of `serving.py` in processes of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
AT_MOST_S = 20


@dataclass
class Small:
    """Starts the program on one port and waits until it is ready; whatever is left of it at the end is killed."""

    port: int
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, *arguments: str, wait: bool = True, **variables: str) -> subprocess.Popen[str]:
        """COUNT LIMIT|- [fail] [gunicorn]; see `serving.py`."""
        process = subprocess.Popen(
            [sys.executable, ROOT / "tests/fakes/serving.py", str(self.port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        )
        self.started.append(process)
        if wait:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()
        return process

    def get(self, path: str = "/") -> str:
        """One request on a connection of its own."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=AT_MOST_S) as reply:
            return str(reply.read().decode())

    def pids(self, count: int) -> set[int]:
        """The processes that answer, asked until there are so many of them."""
        seen: set[int] = set()

        def are_all_seen() -> bool:
            seen.add(int(self.get()))
            return len(seen) == count

        assert soon(are_all_seen), seen
        return seen

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@contextlib.contextmanager
def small():
    """The program on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = Small(port)
    try:
        yield program
    finally:
        program.close()


def soon(what, *, within_s: float = AT_MOST_S) -> bool:
    """Wait until something is true."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return False


def is_alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and waits to be collected does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
