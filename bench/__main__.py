"""The command: `python -m bench`."""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from subprocess import SubprocessError

import click
from rich.console import Console

from bench import machine, plot, report
from bench.gateways import BY_NAME, GATEWAYS, Gateway
from bench.ground import Run
from bench.page import filled
from bench.program import Unready
from bench.results import Results
from bench.scenarios import SCENARIOS

_OPEN_FILES = 20000
_NARROW = 200  # for tables in a file or a pipe


def chosen(only: str | None) -> tuple[Gateway, ...]:
    """The gateways to compare, in the order of the table; without a choice, all that are installed."""
    if only is None:
        return tuple(gateway for gateway in GATEWAYS if gateway.is_installed())
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in BY_NAME:
            raise click.BadParameter(f"no gateway named {name!r}; known: {', '.join(BY_NAME)}", param_hint="--only")
        if not BY_NAME[name].is_installed():
            raise click.BadParameter(f"{name} is not installed: run `make bench-peers`", param_hint="--only")
    return tuple(gateway for gateway in GATEWAYS if gateway.name in names)


@click.command()
@click.option("--scenario", "names", type=click.Choice(list(SCENARIOS)), multiple=True, help="What to measure (all).")
@click.option("--only", help="Gateways, with commas between; else all that are installed.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds, interleaved.")
@click.option("--seconds", type=click.FloatRange(1), default=4.0, show_default=True, help="Length of each load.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every figure of every round here.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw the comparison into this SVG.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Write the tables into this Markdown page.")
def main(
    names: tuple[str, ...],
    only: str | None,
    rounds: int,
    seconds: float,
    json_file: Path | None,
    plot_file: Path | None,
    page: Path | None,
) -> None:
    """Measure llmproxy beside nginx and its peers, on this machine's loopback.

    Without --scenario everything is measured: the comparison with all gateways, and what has an aim of its own for
    llmproxy and nginx alone.
    """
    gateways = chosen(only)
    try:
        tools = machine.find_tools(["nginx", "wrk"])
        machine.raise_open_files(_OPEN_FILES)
    except machine.MissingTool as error:
        raise click.ClickException(str(error)) from error
    results, load_before, broken = Results(), os.getloadavg(), list[str]()
    with tempfile.TemporaryDirectory(prefix="llmproxy-bench-") as folder:
        run = Run(
            gateways=gateways,
            rounds=rounds,
            seconds=seconds,
            folder=Path(folder),
            tools=tools,
            results=results,
            say=lambda text: click.echo(text, err=True),
        )
        for gateway in GATEWAYS if only is None else ():
            if gateway not in gateways:
                run.say(f"{gateway.name}: left out, as it is not installed (`make bench-peers`)")
        for name in names or SCENARIOS:
            scenario = SCENARIOS[name]
            everyone = scenario.for_all or name in names or only is not None
            try:
                scenario.run(run if everyone else replace(run, gateways=gateways[:2]))
            except (Unready, SubprocessError) as error:
                # What was measured before is worth its table.
                broken.append(f"{name}: {error}")
    console = Console()
    report.show(results, console if console.is_terminal else Console(width=_NARROW))
    for line in broken:
        click.echo(f"broken off: {line}", err=True)
    told = report.as_json(results, rounds=rounds, seconds=seconds, load_before=load_before)
    if json_file is not None:
        json_file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if plot_file is not None:
        plot_file.write_text(plot.draw(results), "utf-8")
    if page is not None:
        page.write_text(filled(page.read_text("utf-8"), results, told), "utf-8")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
