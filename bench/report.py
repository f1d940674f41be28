"""What is told of a run: the tables, and everything as JSON."""

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.gateways import BY_NAME, DIRECT
from bench.installed import version
from bench.results import Results


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table."""

    title: str
    figure: str
    form: str = "{:,.0f}"
    over: str | None = None  # shown as a multiple: of this contestant's, or of another figure of the same one


# Two tables: what everyone is compared in, and what has an aim of its own.
COMPARED: Final[Sequence[Column]] = (
    Column("CPU us/request", "us_per_request", "{:,.1f}"),
    Column("to nginx", "us_per_request", "{:,.2f}", over="nginx"),
    Column("requests/s", "requests_per_s"),
    Column("added p50 us", "added_p50_us"),
    Column("added p99 us", "added_p99_us"),
    Column("CPU us/event", "us_per_event", "{:,.1f}"),
    Column("to nginx", "us_per_event", "{:,.2f}", over="nginx"),
    Column("first event added us", "first_event_added_us"),
    Column("idle MB", "idle_mb", "{:,.1f}"),
    Column("loaded MB", "loaded_mb", "{:,.1f}"),
    Column("start s", "start_s", "{:,.2f}"),
    Column("start CPU s", "start_cpu_s", "{:,.2f}"),
    Column("packages", "packages"),
    Column("installed MB", "installed_mb", "{:,.1f}"),
)
AIMED: Final[Sequence[Column]] = (
    Column("p50 us at 500/s", "p50_us"),
    Column("p99 us at 500/s", "p99_us"),
    Column("answers of 40 ms", "forty_ms_answers"),
    Column("400 KB prompts/s and core", "long_prompts_per_s_and_core"),
    Column("CPU us/request, 1 worker", "us_with_1_workers", "{:,.1f}"),
    Column("2 workers to 1", "us_with_2_workers", "{:,.2f}", over="us_with_1_workers"),
    Column("largest gap ms", "largest_gap_ms", "{:,.1f}"),
    Column("gaps over 20 ms", "gaps_over_20_ms"),
    Column("KiB/idle stream", "kib_per_idle_stream", "{:,.1f}"),
)


def cell(results: Results, name: str, column: Column) -> str:
    """A figure as the table shows it."""
    if results.has_failed(name, column.figure):
        return "failed"
    value = results.median(name, column.figure)
    if value is not None and column.over is not None:
        floor = (
            results.median(column.over, column.figure) if column.over in BY_NAME else results.median(name, column.over)
        )
        value = value / floor if floor else None
    return "-" if value is None else column.form.format(value)


def table(results: Results, columns: Sequence[Column]) -> list[list[str]]:
    """Titles, then a row for each contestant; without columns and rows that hold nothing."""
    measured = {figure for each in results.values.values() for figure in each}
    failed = {figure for each in results.faults.values() for figure in each}
    shown = [column for column in columns if column.figure in measured | failed]
    rows = [[name, *(cell(results, name, column) for column in shown)] for name in names(results)]
    full = [row for row in rows if set(row[1:]) - {"-"}]
    return [["", *(column.title for column in shown)], *full] if full else []


def names(results: Results) -> list[str]:
    """Everyone of whom something is known, in the order of the table."""
    seen = {*results.values, *results.faults}
    return [name for name in (DIRECT.name, *BY_NAME) if name in seen]


def show(results: Results, console: Console) -> None:
    """Print what was measured, and what failed and why."""
    for columns in (COMPARED, AIMED):
        lines = table(results, columns)
        if not lines:
            continue
        drawn = Table(*lines[0][:1])
        for title in lines[0][1:]:
            drawn.add_column(title, justify="right")
        for row in lines[1:]:
            drawn.add_row(*row)
        console.print(drawn)
    for line in failures(results):
        console.print(line, markup=False, highlight=False)


def failures(results: Results) -> list[str]:
    """Each figure that could not be given, with the reason."""
    return [f"{name}: {figure}: {why}" for name in names(results) for figure, why in results.faults[name].items()]


def as_json(results: Results, *, rounds: int, seconds: float, load_before: Sequence[float]) -> dict[str, Any]:
    """Everything: of each figure the median, the least, the largest and the value of each round."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_before": list(load_before),
            "load": list(os.getloadavg()),
        },
        "rounds": rounds,
        "seconds": seconds,
        "gateways": {name: _of_one(results, name) for name in names(results)},
    }


def _of_one(results: Results, name: str) -> dict[str, Any]:
    figures = {
        figure: {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}
        for figure, values in results.values.get(name, {}).items()
    }
    gateway = BY_NAME.get(name) or DIRECT
    about = {"what": gateway.what, "version": version(gateway)}
    return {**about, "figures": figures, "failed": dict(results.faults.get(name, {}))}
