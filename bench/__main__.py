"""The command: `python -m bench`."""

import tempfile
from pathlib import Path

import click

from bench import machine, report, scenarios
from bench.gateways import BY_NAME, GATEWAYS, Gateway
from bench.results import Results

_OPEN_FILES = 20000
SCENARIOS = {"requests": scenarios.requests, "streams": scenarios.streams}


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
@click.option("--scenario", "names", type=click.Choice(list(SCENARIOS)), multiple=True, help="What to measure.")
@click.option("--only", help="Gateways, with commas between; else all that are installed.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds, interleaved.")
@click.option("--seconds", type=click.FloatRange(1), default=4.0, show_default=True, help="Length of each load.")
def main(names: tuple[str, ...], only: str | None, rounds: int, seconds: float) -> None:
    """Measure llmproxy beside nginx and its peers, on this machine's loopback."""
    try:
        tools = machine.find_tools(["nginx", "wrk"])
        machine.raise_open_files(_OPEN_FILES)
    except machine.MissingTool as error:
        raise click.ClickException(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="llmproxy-bench-") as folder:
        run = scenarios.Run(
            gateways=chosen(only),
            rounds=rounds,
            seconds=seconds,
            folder=Path(folder),
            tools=tools,
            results=Results(),
            say=lambda text: click.echo(text, err=True),
        )
        for name in names or SCENARIOS:
            SCENARIOS[name](run)
        report.show(run.results)


if __name__ == "__main__":
    main()
