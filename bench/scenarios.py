"""What is measured: each scenario loads gateways that stand side by side, one after the other, round after round.

Load comes from other processes; this one only starts, waits and reads /proc. A figure of a run in which answers failed
is no figure: it becomes a fault with its reason.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import machine, nginx, wrk
from bench.gateways import PLAIN_HEADERS, ROOT, Gateway, Place
from bench.program import Launch, Program, Request, Unready, started
from bench.results import Results

_CONNECTIONS: Final = 32
_STREAMS: Final = 64
_WARM_S: Final = 1.0

_TEXT: Final = "日本の都道府県名をランダムに１つ回答してください。その都道府県名の魅力を3つ答えてください。"


def chat(**more: object) -> bytes:
    """A chat request of two messages."""
    messages = [
        {"role": "system", "content": "あなたは優秀な観光ガイドです。"},
        {"role": "user", "content": _TEXT},
    ]
    return json.dumps({"model": "gpt-3.5-turbo", "messages": messages, **more}, ensure_ascii=False).encode()


def stream(events: int, pace_ms: int) -> bytes:
    """A chat request for a stream of so many events, so far apart; see bench/paced.py."""
    return chat(stream=True, stream_options={"include_usage": True}, max_tokens=events, seed=pace_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a run is made, and where its figures go."""

    gateways: tuple[Gateway, ...]
    rounds: int
    seconds: float
    folder: Path
    tools: Mapping[str, str]
    results: Results
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """A gateway that serves in front of a backend."""

    gateway: Gateway
    program: Program
    port: int
    backend: int

    def request(self, body: bytes) -> Request:
        """A request in the form that this gateway wants."""
        return Request(body, self.gateway.headers(self.backend))


@contextlib.contextmanager
def instant_backend(run: Run) -> Iterator[int]:
    """The port of a backend that answers at once."""
    port = machine.free_port()
    with started("instant", nginx.backend(run.tools["nginx"], run.folder, port), run.folder) as program:
        program.wait_until_it_answers(port, Request(chat(), PLAIN_HEADERS), within_s=10)
        yield port


@contextlib.contextmanager
def paced_backend(run: Run) -> Iterator[int]:
    """The port of a backend whose streams keep a pace."""
    port = machine.free_port()
    argv = (sys.executable, str(ROOT / "bench" / "paced.py"), str(port))
    with started("paced", Launch(argv=argv), run.folder) as program:
        program.wait_until_it_answers(port, Request(chat(), PLAIN_HEADERS), within_s=10)
        yield port


def place(run: Run, gateway: Gateway, backend: int, stack: ExitStack, workers: int = 1) -> Standing:
    """Start one gateway and wait for its first answer."""
    where = Place(folder=run.folder, port=machine.free_port(), backend=backend, workers=workers)
    program = stack.enter_context(started(gateway.name, gateway.launch(where), run.folder))
    standing = Standing(gateway, program, where.port, backend)
    program.wait_until_it_answers(where.port, standing.request(chat()), within_s=gateway.start_within_s)
    return standing


@contextlib.contextmanager
def standing(run: Run, backend: int) -> Iterator[list[Standing]]:
    """All gateways side by side; one that does not start is said, and left out."""
    with ExitStack() as stack:
        there = []
        for gateway in run.gateways:
            try:
                there.append(place(run, gateway, backend, stack))
            except Unready as error:
                run.say(str(error))
                run.results.fault(gateway.name, "start", str(error))
        yield there


def load(run: Run, one: Standing, body: bytes, *, connections: int, seconds: float) -> wrk.Tally:
    """Closed-loop load on one gateway."""
    request = one.request(body)
    return wrk.run(run.tools["wrk"], request, one.port, run.folder, connections=connections, seconds=seconds)


def requests(run: Run) -> None:
    """Plain requests on 32 connections: CPU of the gateway's tree for each, how many a second, memory after."""
    with instant_backend(run) as backend, standing(run, backend) as there:
        for one in there:
            run.results.add(one.gateway.name, "idle_mb", one.program.rss_bytes() / 1e6)
            load(run, one, chat(), connections=_CONNECTIONS, seconds=_WARM_S)
        for number in range(run.rounds):
            run.say(f"requests: round {number + 1} of {run.rounds}")
            for one in there:
                _measure_requests(run, one, chat(), ("us_per_request", "requests_per_s"), _CONNECTIONS)
                run.results.add(one.gateway.name, "loaded_mb", one.program.rss_bytes() / 1e6)


def _measure_requests(run: Run, one: Standing, body: bytes, names: tuple[str, str], connections: int) -> None:
    before_s = one.program.cpu_s()
    tally = load(run, one, body, connections=connections, seconds=run.seconds)
    used_s = one.program.cpu_s() - before_s
    if tally.fault:
        run.results.fault(one.gateway.name, names[0], tally.fault)
        return
    run.results.add(one.gateway.name, names[0], used_s * 1e6 / tally.requests)
    run.results.add(one.gateway.name, names[1], tally.requests / tally.duration_us * 1e6)


def read_streams(
    one: Standing, body: bytes, *, way: str, streams: int, seconds: float, limit_s: float
) -> dict[str, Any]:
    """Streams read by a process of their own."""
    order = {
        "way": way,
        "port": one.port,
        "request": one.request(body).encoded(one.port).decode(),
        "streams": streams,
        "seconds": seconds,
        "limit_s": limit_s,
    }
    argv = (sys.executable, str(ROOT / "bench" / "reader.py"))
    line = json.dumps(order) + "\n"
    done = subprocess.run(argv, input=line, capture_output=True, text=True, check=True, timeout=limit_s + 180)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def streams(run: Run) -> None:
    """64 streams at once of 200 events 5 ms apart: CPU of the gateway's tree for each event."""
    with paced_backend(run) as backend, standing(run, backend) as there:
        for number in range(run.rounds):
            run.say(f"streams: round {number + 1} of {run.rounds}")
            for one in there:
                _measure_streams(run, one)


def _measure_streams(run: Run, one: Standing) -> None:
    before_s = one.program.cpu_s()
    # A gateway that is slower than its backend would take for ever: what came by then is counted.
    limit_s = run.seconds * 4 + 4
    result = read_streams(one, stream(200, 5), way="count", streams=_STREAMS, seconds=run.seconds, limit_s=limit_s)
    used_s = one.program.cpu_s() - before_s
    if result["failed"] or not result["events"]:
        run.results.fault(one.gateway.name, "us_per_event", f"{result['failed']} streams failed: {result['first']}")
        return
    run.results.add(one.gateway.name, "us_per_event", used_s * 1e6 / result["events"])
