"""Programs that the bench starts: each in a process group of its own, its output in a file, ended by the bench."""

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import machine

_PATIENCE_S: Final = 10.0
_CALM_WITHIN_S: Final = 20.0
_CALM_WINDOW_S: Final = 0.2
_CALM_SHARE: Final = 0.15  # of a core; less is the ticking of its timers
_TAIL: Final = 1500


class Unready(Exception):
    """A program ended, or did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a program is started."""

    argv: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Program:
    """One running program."""

    name: str
    output: Path
    process: subprocess.Popen[bytes]
    started_s: float

    @property
    def pid(self) -> int:
        """The root of its tree of processes."""
        return self.process.pid

    def cpu_s(self) -> float:
        """CPU time of its tree since it was started."""
        return machine.cpu_s(self.pid)

    def rss_bytes(self) -> int:
        """Memory of its tree."""
        return machine.rss_bytes(self.pid)

    def calm_down(self) -> None:
        """Wait while it still works off what nobody waits for any more, so that the next one is not disturbed."""
        until = time.monotonic() + _CALM_WITHIN_S
        before_s = self.cpu_s()
        while time.monotonic() < until:
            time.sleep(_CALM_WINDOW_S)
            now_s = self.cpu_s()
            if now_s - before_s <= _CALM_SHARE * _CALM_WINDOW_S:
                return
            before_s = now_s

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self.output.read_text("utf-8", "replace")[-_TAIL:].strip()

    def wait_until_it_answers(self, port: int, request: "Request", *, within_s: float) -> None:
        """Ask until the first 200; raises Unready with the program's last words, or the last answer."""
        seen = "nobody listens"
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Unready(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
            try:
                status, body = request.send(port)
            except (OSError, http.client.HTTPException) as error:
                seen = str(error) or type(error).__name__
            else:
                if status == 200:
                    return
                seen = f"{status} {body[:300]!r}"
            time.sleep(0.01)
        raise Unready(f"{self.name} gave no good answer within {within_s:.0f} s: {seen} {self.last_words()}")

    def stop(self) -> None:
        """Ask its group to end, then insist."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            try:
                self.process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                continue
            # Children that outlive their parent belong to the same group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            return


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent to a gateway, over and over."""

    body: bytes
    headers: Mapping[str, str]
    path: str = "/v1/chat/completions"

    def send(self, port: int, timeout_s: float = 30.0) -> tuple[int, bytes]:
        """Ask once, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request("POST", self.path, self.body, dict(self.headers))
            reply = connection.getresponse()
            return reply.status, reply.read()

    def encoded(self, port: int) -> bytes:
        """The request as it goes over a connection that is kept."""
        head = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(self.body)}"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*head, "", ""]).encode() + self.body


@contextlib.contextmanager
def started(name: str, launch: Launch, folder: Path) -> Iterator[Program]:
    """A program that runs while the block does; variables of this machine but PATH and HOME stay outside."""
    output = folder / f"{name}.log"
    environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8", **launch.environ}
    with output.open("wb") as file:
        process = subprocess.Popen(
            launch.argv,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    program = Program(name, output, process, time.monotonic())
    try:
        yield program
    finally:
        program.stop()
