"""Scenarios of event streams: CPU for each event, time to the first one, gaps added, memory of idle streams."""

import json
import subprocess
import sys
from typing import Any, Final

from bench.gateways import ROOT
from bench.ground import Run, Standing, ask_helper, paced_backend, side_by_side, stream, told

_STREAMS: Final = 64
_EVENTS, _PACE_MS = 200, 5
_PACED_STREAMS: Final = 512
_PACED_MS: Final = 50  # 20 tokens a second, which is what people read along with
_IDLE_STREAMS: Final = 8000
_FOR_EVER_MS: Final = 900_000
_FIRST_S: Final = 1.0
_HELD_WITHIN_S: Final = 120.0


def streams(run: Run) -> None:
    """64 streams at once of 200 events 5 ms apart: CPU of the tree for each event; then the time to the first event."""
    with paced_backend(run) as backend, side_by_side(run, backend, "us_per_event") as there:
        for _ in run.each_round("streams"):
            direct_us = _first_event(run, backend) or 0.0
            for one in there:
                if run.results.has_failed(one.name, "us_per_event"):
                    continue
                _measure_events(run, one)
                one.program.calm_down()
                _measure_first(run, one, direct_us)


def _measure_events(run: Run, one: Standing) -> None:
    before_s = one.program.cpu_s()
    # A gateway that is slower than its backend would take for ever: what came by then is counted.
    limit_s = run.seconds * 4 + 4
    body = stream(_EVENTS, _PACE_MS)
    result = read(one, body, way="count", streams=_STREAMS, seconds=run.seconds, limit_s=limit_s)
    used_s = one.program.cpu_s() - before_s
    if result["failed"] or not result["events"]:
        run.results.fault(one.name, "us_per_event", why(result))
    else:
        run.results.add(one.name, "us_per_event", used_s * 1e6 / result["events"])


def _measure_first(run: Run, one: Standing, direct_us: float) -> None:
    if run.results.has_failed(one.name, "us_per_event"):
        run.results.fault(one.name, "first_event_added_us", "its streams fail")
        return
    first_us = _first_event(run, one)
    if first_us is not None:
        run.results.add(one.name, "first_event_added_us", first_us - direct_us)


def _first_event(run: Run, one: Standing) -> float | None:
    """Time to the first event of short streams, one after the other; the median, in us."""
    result = read(one, stream(1, 0), way="count", streams=1, seconds=_FIRST_S, limit_s=_FIRST_S + 10)
    if result["failed"] or not result["streams"]:
        run.results.fault(one.name, "first_event_added_us", f"{result['streams']} streams in time; {why(result)}")
        return None
    first_us: float = result["first_event_p50_us"]
    run.results.add(one.name, "first_event_us", first_us)
    return first_us


def paced(run: Run) -> None:
    """512 streams of an event each 50 ms: the largest gap that the way added, and how many were over 20 ms."""
    body = stream(int((run.seconds + 2) * 1000 / _PACED_MS), _PACED_MS)
    with paced_backend(run) as backend, side_by_side(run, backend, "largest_gap_ms") as there:
        for _ in run.each_round("paced"):
            for one in (backend, *there):
                result = read(one, body, way="gaps", streams=_PACED_STREAMS, seconds=0, limit_s=run.seconds * 4 + 20)
                if result["failed"] or result["streams"] < _PACED_STREAMS:
                    run.results.fault(one.name, "largest_gap_ms", why(result))
                    continue
                run.results.add(one.name, "largest_gap_ms", result["largest_gap_us"] / 1000)
                run.results.add(one.name, "gaps_over_20_ms", result["large_gaps"])


def idle_streams(run: Run) -> None:
    """8,000 streams that have begun and say nothing: memory of the gateway's tree for each."""
    with paced_backend(run) as backend, side_by_side(run, backend, "kib_per_idle_stream") as there:
        for one in there:
            run.say(f"idle-streams: {_IDLE_STREAMS} through {one.name}")
            _hold(run, one)


def _hold(run: Run, one: Standing) -> None:
    before = one.program.rss_bytes()
    order = _order(one, stream(2, _FOR_EVER_MS), "hold", _IDLE_STREAMS, 0, _HELD_WITHIN_S)
    argv = (sys.executable, str(ROOT / "bench" / "reader.py"))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(json.dumps(order) + "\n")
        reader.stdin.flush()
        reader.stdout.readline()
        after = one.program.rss_bytes()
        rest, _ = reader.communicate("\n", timeout=60)
    if reader.returncode:
        raise subprocess.CalledProcessError(reader.returncode, argv)
    result = json.loads(rest.splitlines()[-1])
    if result["failed"] or result["begun"] < _IDLE_STREAMS:
        run.results.fault(one.name, "kib_per_idle_stream", f"{result['begun']} of {_IDLE_STREAMS} began: {why(result)}")
        return
    run.results.add(one.name, "kib_per_idle_stream", (after - before) / 1024 / _IDLE_STREAMS)


def read(one: Standing, body: bytes, *, way: str, streams: int, seconds: float, limit_s: float) -> dict[str, Any]:
    """Streams read by a process of their own; see bench/reader.py."""
    return ask_helper("reader.py", _order(one, body, way, streams, seconds, limit_s), timeout_s=limit_s + 180)


def _order(one: Standing, body: bytes, way: str, streams: int, seconds: float, limit_s: float) -> dict[str, Any]:
    return {
        "way": way,
        "port": one.port,
        "request": one.encoded(body),
        "streams": streams,
        "seconds": seconds,
        "limit_s": limit_s,
    }


def why(result: dict[str, Any]) -> str:
    """What went wrong, in short."""
    first = told(str(result["first"]))
    return f"{result['failed']} streams failed{': ' if first else ''}{first}"
