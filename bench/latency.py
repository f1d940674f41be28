"""The scenario of a fixed rate: what a gateway adds to the latency that the backend has when it is asked directly."""

from typing import Any, Final

from bench.ground import Run, Standing, ask_helper, chat, instant_backend, side_by_side, told

RATE: Final = 500.0
_ENOUGH: Final = 0.99


def latency(run: Run) -> None:
    """500 requests a second on schedule: added latency in the middle and at the 99th percentile."""
    with instant_backend(run) as backend, side_by_side(run, backend, "added_p50_us") as there:
        for one in there:
            generate(one, seconds=1.0)
            one.program.calm_down()
        for _ in run.each_round("latency"):
            direct = generate(backend, run.seconds)
            for figure in ("p50_us", "p99_us"):
                run.results.add(backend.name, figure, direct[figure])
            for one in there:
                if not run.results.has_failed(one.name, "added_p50_us"):
                    _measure(run, one, direct)
                    one.program.calm_down()


def _measure(run: Run, one: Standing, direct: dict[str, Any]) -> None:
    summary = generate(one, run.seconds)
    if fault := _fault(summary):
        for figure in ("added_p50_us", "added_p99_us"):
            run.results.fault(one.name, figure, fault)
        return
    for figure in ("p50_us", "p99_us"):
        run.results.add(one.name, figure, summary[figure])
        run.results.add(one.name, f"added_{figure}", summary[figure] - direct[figure])
    run.results.add(one.name, "forty_ms_answers", summary["forty_ms"])


def _fault(summary: dict[str, Any]) -> str | None:
    if summary["failed"]:
        return f"{summary['failed']} requests failed: {told(summary['first'])}"
    if summary["answered"] < summary["scheduled"] * _ENOUGH:
        return f"{summary['answered']} of {summary['scheduled']} answers came in time at {RATE:.0f} requests/s"
    return None


def generate(one: Standing, seconds: float) -> dict[str, Any]:
    """Requests on schedule, sent by a process of their own; see bench/openloop.py."""
    order = {"port": one.port, "request": one.encoded(chat()), "rate": RATE, "seconds": seconds}
    return ask_helper("openloop.py", order, timeout_s=seconds + 60)
