"""The ground that every scenario stands on: backends and gateways that run side by side, and what they are asked.

Load comes from other processes; this one only starts, waits and reads /proc.
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

from bench import machine, nginx
from bench.gateways import DIRECT, PLAIN_HEADERS, ROOT, Gateway, Place
from bench.program import Launch, Program, Request, Unready, started
from bench.results import Results

_TEXT: Final = "日本の都道府県名をランダムに１つ回答してください。その都道府県名の魅力を3つ答えてください。"


def chat(**more: object) -> bytes:
    """A chat request of two messages, some 350 bytes."""
    messages = [
        {"role": "system", "content": "あなたは優秀な観光ガイドです。"},
        {"role": "user", "content": _TEXT},
    ]
    return json.dumps({"model": "gpt-3.5-turbo", "messages": messages, **more}, ensure_ascii=False).encode()


def long_chat(size_bytes: int) -> bytes:
    """A chat request with a prompt of that size."""
    text = _TEXT * (size_bytes // len(_TEXT.encode()))
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "gpt-3.5-turbo", "messages": messages}, ensure_ascii=False).encode()


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

    def each_round(self, scenario: str) -> Iterator[int]:
        """The rounds, told as they begin."""
        for number in range(1, self.rounds + 1):
            self.say(f"{scenario}: round {number} of {self.rounds}")
            yield number


@dataclass(frozen=True, slots=True)
class Standing:
    """A gateway that serves in front of a backend."""

    gateway: Gateway
    program: Program
    port: int
    backend: int

    @property
    def name(self) -> str:
        """The gateway's."""
        return self.gateway.name

    def request(self, body: bytes) -> Request:
        """A request in the form that this gateway wants."""
        return Request(body, self.gateway.headers(self.backend))

    def encoded(self, body: bytes) -> str:
        """The same as text, for a load program of ours."""
        return self.request(body).encoded(self.port).decode()


@contextlib.contextmanager
def instant_backend(run: Run) -> Iterator[Standing]:
    """A backend that answers at once; as a standing of its own it is asked directly."""
    port = machine.free_port()
    with _backend(run, "instant", nginx.backend(run.tools["nginx"], run.folder, port), port) as standing:
        yield standing


@contextlib.contextmanager
def reading_backend(run: Run) -> Iterator[Standing]:
    """A backend that answers as soon as it has read the whole request."""
    port = machine.free_port()
    with _backend(run, "reading", nginx.reading_backend(run.tools["nginx"], run.folder, port), port) as standing:
        yield standing


@contextlib.contextmanager
def paced_backend(run: Run) -> Iterator[Standing]:
    """A backend whose streams keep a pace."""
    port = machine.free_port()
    argv = (sys.executable, str(ROOT / "bench" / "paced.py"), str(port))
    with _backend(run, "paced", Launch(argv=argv), port) as standing:
        yield standing


@contextlib.contextmanager
def _backend(run: Run, name: str, launch: Launch, port: int) -> Iterator[Standing]:
    with started(name, launch, run.folder) as program:
        program.wait_until_it_answers(port, Request(chat(), PLAIN_HEADERS), within_s=10)
        yield Standing(DIRECT, program, port, port)


@contextlib.contextmanager
def placed(run: Run, gateway: Gateway, backend: Standing, workers: int = 1) -> Iterator[Standing]:
    """One gateway, from its first answer on."""
    where = Place(
        folder=run.folder,
        port=machine.free_port(),
        side_port=machine.free_port(),
        backend=backend.port,
        workers=workers,
    )
    with started(f"{gateway.name}-{where.port}", gateway.launch(where), run.folder) as program:
        standing = Standing(gateway, program, where.port, backend.port)
        first = Request(chat(), PLAIN_HEADERS) if gateway.prepare else standing.request(chat())
        program.wait_until_it_answers(where.port, first, within_s=gateway.start_within_s)
        if gateway.prepare is not None:
            gateway.prepare(where.port)
        yield standing


@contextlib.contextmanager
def side_by_side(run: Run, backend: Standing, figure: str, workers: int = 1) -> Iterator[list[Standing]]:
    """All gateways at once; one that does not start is said, and left out of `figure`."""
    with ExitStack() as stack:
        there = []
        for gateway in run.gateways:
            try:
                there.append(stack.enter_context(placed(run, gateway, backend, workers)))
            except Unready as error:
                run.say(str(error))
                run.results.fault(gateway.name, figure, f"did not start: {last_line(str(error))}")
        yield there


def last_line(text: str) -> str:
    """What a program said last."""
    return text.strip().splitlines()[-1] if text.strip() else "it said nothing"


def told(answer: str) -> str:
    """What a bad answer says, on one line: its status, and the body without the headers in between."""
    head, _, body = answer.partition("\r\n\r\n")
    return " ".join(f"{head.partition(chr(13))[0]} {body}".split())[:300]


def ask_helper(file: str, order: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Run a load program of ours with one order, to its one answer."""
    argv = (sys.executable, str(ROOT / "bench" / file))
    line = json.dumps(order) + "\n"
    done = subprocess.run(argv, input=line, capture_output=True, text=True, check=True, timeout=timeout_s)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
