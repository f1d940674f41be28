"""Scenarios of plain requests as fast as they come: the usual one, a long prompt, more workers."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from bench import wrk
from bench.ground import Run, Standing, chat, instant_backend, long_chat, reading_backend, side_by_side

_CONNECTIONS: Final = 32
_FEW: Final = 8
_WARM_S: Final = 1.0
_LONG_BYTES: Final = 400_000


def requests(run: Run) -> None:
    """Plain requests on 32 connections: CPU of the gateway's tree for each, how many a second, memory after them."""
    with instant_backend(run) as backend, side_by_side(run, backend, "us_per_request") as there:
        for one in there:
            run.results.add(one.name, "idle_mb", one.program.rss_bytes() / 1e6)
            load(run, one, chat(), connections=_CONNECTIONS, seconds=_WARM_S)
        for _ in run.each_round("requests"):
            for one in there:
                measure(run, one, chat(), "us_per_request", connections=_CONNECTIONS, rate="requests_per_s")
                run.results.add(one.name, "loaded_mb", one.program.rss_bytes() / 1e6)


def long_prompt(run: Run) -> None:
    """Requests with a prompt of 400 KB: how many a second one core forwards."""
    body = long_chat(_LONG_BYTES)
    with reading_backend(run) as backend, side_by_side(run, backend, "us_per_long_prompt") as there:
        for one in there:
            load(run, one, body, connections=_FEW, seconds=_WARM_S)
        for _ in run.each_round("bigprompt"):
            for one in there:
                used_us = measure(run, one, body, "us_per_long_prompt", connections=_FEW)
                if used_us:
                    run.results.add(one.name, "long_prompts_per_s_and_core", 1e6 / used_us)


def workers(run: Run) -> None:
    """The usual requests against one worker and against two: what sharing a port costs each request."""
    able = replace(run, gateways=tuple(gateway for gateway in run.gateways if gateway.scales))
    figures = {count: f"us_with_{count}_workers" for count in (1, 2)}
    with instant_backend(run) as backend, ExitStack() as stack:
        there = [
            (figure, one)
            for count, figure in figures.items()
            for one in stack.enter_context(side_by_side(able, backend, figure, count))
        ]
        for _, one in there:
            load(run, one, chat(), connections=_CONNECTIONS, seconds=_WARM_S)
        for _ in run.each_round("workers"):
            for figure, one in there:
                measure(run, one, chat(), figure, connections=_CONNECTIONS)


def load(run: Run, one: Standing, body: bytes, *, connections: int, seconds: float) -> wrk.Tally:
    """Closed-loop load on one gateway."""
    request = one.request(body)
    return wrk.run(run.tools["wrk"], request, one.port, run.folder, connections=connections, seconds=seconds)


def measure(
    run: Run, one: Standing, body: bytes, figure: str, *, connections: int, rate: str | None = None
) -> float | None:
    """CPU of the whole tree for each request, in us; None where answers failed."""
    before_s = one.program.cpu_s()
    tally = load(run, one, body, connections=connections, seconds=run.seconds)
    used_s = one.program.cpu_s() - before_s
    one.program.calm_down()
    if tally.fault:
        run.results.fault(one.name, figure, tally.fault)
        return None
    used_us = used_s * 1e6 / tally.requests
    run.results.add(one.name, figure, used_us)
    if rate is not None:
        run.results.add(one.name, rate, tally.requests / tally.duration_us * 1e6)
    return used_us
