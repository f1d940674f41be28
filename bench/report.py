"""What is shown of a run: one table, and everything as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.results import Results


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of the table."""

    title: str
    figure: str
    form: str = "{:,.0f}"
    ratio: bool = False


COLUMNS: Final[Sequence[Column]] = (
    Column("CPU us/request", "us_per_request", "{:,.1f}"),
    Column("to nginx", "us_per_request", "{:,.2f}", ratio=True),
    Column("requests/s", "requests_per_s"),
    Column("CPU us/event", "us_per_event", "{:,.1f}"),
    Column("to nginx", "us_per_event", "{:,.2f}", ratio=True),
    Column("idle MB", "idle_mb", "{:,.1f}"),
    Column("loaded MB", "loaded_mb", "{:,.1f}"),
)


def cell(results: Results, name: str, column: Column) -> str:
    """A figure as the table shows it."""
    if column.figure in results.faults.get(name, {}):
        return "failed"
    value = results.ratio(name, column.figure) if column.ratio else results.median(name, column.figure)
    return "-" if value is None else column.form.format(value)


def show(results: Results) -> None:
    """Print what was measured, and what failed and why."""
    shown = [column for column in COLUMNS if any(column.figure in each for each in results.values.values())]
    table = Table("")
    for column in shown:
        table.add_column(column.title, justify="right")
    for name in results.values:
        table.add_row(name, *(cell(results, name, column) for column in shown))
    console = Console()
    console.print(table)
    for name, faults in results.faults.items():
        for figure, reason in faults.items():
            console.print(f"{name}: {figure}: {reason}", markup=False)
