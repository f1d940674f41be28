"""Counts what one warm request costs in steps: `python -m bench.hops`.

Own frames on the stack when the request goes out to the backend, and own calls from its first byte to the last byte of
the answer; the same for each event of a stream. Own are the functions below proxy_cli/, not what they call elsewhere.
"""

import contextlib
import http.client
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.gateways import PLAIN_HEADERS, ROOT, Place, llmproxy_arguments, llmproxy_environ
from bench.ground import chat, stream
from bench.program import Launch, Program, Request, Unready, started

_WARM: Final = 3
_EVENTS: Final = 50
_PACE_MS: Final = 4  # slower than a busy machine turns, so that events come one by one
_WITHIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Hops:
    """What was counted between two signals."""

    calls: Counter[str] = field(default_factory=Counter)
    resumed: Counter[str] = field(default_factory=Counter)
    stacks: list[list[str]] = field(default_factory=list)  # own frames at each send to the backend, innermost first

    @property
    def frames(self) -> int:
        """The deepest of the stacks."""
        return max(map(len, self.stacks), default=0)

    @property
    def total(self) -> int:
        """All own calls."""
        return self.calls.total()


@dataclass(frozen=True, slots=True)
class Traced:
    """llmproxy that counts its calls, and a connection to it."""

    program: Program
    port: int
    output: Path
    connection: http.client.HTTPConnection

    def ask(self, body: bytes) -> None:
        """One request on the connection that is kept."""
        self.connection.request("POST", "/v1/chat/completions", body, dict(PLAIN_HEADERS))
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise click.ClickException(f"llmproxy answered {reply.status}: {text[:300]!r}\n{self.program.last_words()}")

    def count(self, body: bytes) -> Hops:
        """What one request does, once it has been asked a few times."""
        for _ in range(_WARM):
            self.ask(body)
        self._turn()
        self.ask(body)
        # What follows the answer, such as its log line, belongs to the request.
        time.sleep(0.05)
        found = [Hops(Counter(told["calls"]), Counter(told["resumed"]), told["stacks"]) for told in self._turn()]
        # Several processes may have been asked; one has served.
        return max(found, key=lambda hops: hops.total)

    def _turn(self) -> list[dict[str, Any]]:
        """Switch the count on or off in every process, and wait until each has said so."""
        files = {pid: Path(f"{self.output}.{pid}") for pid in machine.tree(self.program.pid)}
        for pid, file in files.items():
            file.unlink(missing_ok=True)
            os.kill(pid, signal.SIGUSR1)
        until = time.monotonic() + _WITHIN_S
        while not all(file.exists() for file in files.values()):
            if time.monotonic() > until:
                raise click.ClickException(f"llmproxy did not count: {self.program.last_words()}")
            time.sleep(0.01)
        return [json.loads(file.read_text("utf-8")) for file in files.values()]


@contextlib.contextmanager
def traced(folder: Path) -> Iterator[Traced]:
    """llmproxy as the bench runs it, in front of a backend of ours."""
    backend, port = machine.free_port(), machine.free_port()
    place = Place(folder=folder, port=port, side_port=0, backend=backend)
    output = folder / "hops"
    paced = Launch(argv=(sys.executable, str(ROOT / "bench" / "paced.py"), str(backend)))
    argv = (sys.executable, "-m", "bench.traced", str(output), str(backend), *llmproxy_arguments(place))
    launch = Launch(argv=argv, environ=llmproxy_environ(place))
    request = Request(chat(), PLAIN_HEADERS)
    with started("paced", paced, folder) as source, started("llmproxy", launch, folder) as program:
        source.wait_until_it_answers(backend, request, within_s=_WITHIN_S)
        program.wait_until_it_answers(port, request, within_s=_WITHIN_S)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WITHIN_S)
        with contextlib.closing(connection):
            yield Traced(program, port, output, connection)


def measure() -> tuple[Hops, Hops]:
    """The hops of a plain request, and those of a stream."""
    with tempfile.TemporaryDirectory(prefix="llmproxy-hops-") as folder, traced(Path(folder)) as proxy:
        return proxy.count(chat()), proxy.count(stream(_EVENTS, _PACE_MS))


def show(hops: Hops, title: str, console: Console, least: int = 1) -> None:
    """The functions that were called `least` times, and how often."""
    table = Table(title, "calls", "went on")
    often = [name for name in {*hops.calls, *hops.resumed} if max(hops.calls[name], hops.resumed[name]) >= least]
    for name in sorted(often, key=lambda name: (-hops.calls[name], name)):
        table.add_row(name, str(hops.calls[name]), str(hops.resumed[name] or ""))
    console.print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(as_json: bool) -> None:
    """Count own frames and own calls of one warm request, and of the events of a stream."""
    try:
        plain, streamed = measure()
    except Unready as error:
        raise click.ClickException(str(error)) from error
    per_event = (streamed.total - plain.total) / _EVENTS
    if as_json:
        told = {"frames": plain.frames, "calls": plain.total, "calls_per_event": per_event, "functions": plain.calls}
        click.echo(json.dumps(told, indent=1))
        return
    console = Console()
    show(plain, "a plain request", console)
    show(streamed, f"a stream of {_EVENTS} events", console, least=_EVENTS // 4)
    console.print("On the stack when the backend is asked, innermost first:")
    for name in max(plain.stacks, key=len, default=[]):
        console.print(f"  {name}", highlight=False)
    console.print(f"{plain.frames} own frames, {plain.total} own calls a request, {per_event:.1f} an event")


if __name__ == "__main__":
    main()
