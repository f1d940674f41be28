"""What routers make of bad servers, in virtual time: `python -m bench.simulate`.

Ten minutes of two hundred callers for each strategy, and the same for LiteLLM's router where it is installed
(`make bench-peers`). See `bench/fleet.py` for the servers.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from bench import fleet_ours
from bench.fleet import BAD

OURS: Final = ("simple-shuffle", "least-busy", "latency-based-routing", "power-of-two", "round-robin")
THEIRS: Final = ("simple-shuffle", "least-busy", "latency-based-routing")
LITELLM: Final = Path("build/peers/litellm/bin/python")
_COLUMNS: Final = (
    "router", "strategy", "requests", "failed", "cut", "calls a request", *BAD, "bad in all", "first p50 s", "p99 s",
)  # fmt: skip


class Run(NamedTuple):
    """One router with one strategy."""

    router: str
    strategy: str
    figures: dict[str, Any]

    @property
    def row(self) -> tuple[str, ...]:
        """The figures as a row of the table."""
        found = self.figures
        shares = [found["shares"][name] for name in BAD]
        return (
            self.router,
            self.strategy,
            f"{found['requests']:,}",
            f"{sum(found['failed'].values()):,}",
            f"{found['cut']:,}",
            f"{found['upstream'] / max(found['requests'], 1):.3f}",
            *(f"{share:.2%}" for share in shares),
            f"{sum(shares):.2%}",
            f"{found['first_p50_s']:.2f}",
            f"{found['first_p99_s']:.2f}",
        )


def theirs(strategy: str, callers: int, seconds: float, seed: int) -> dict[str, Any]:
    """One run of LiteLLM's router, in its own environment."""
    given = ["--strategy", strategy, "--callers", str(callers), "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(
        [LITELLM, "-m", "bench.fleet_litellm", *given],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(runs: Iterable[Run]) -> str:
    """All runs as a table in Markdown."""
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS), *(run.row for run in runs)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@click.command()
@click.option("--seconds", default=600.0, help="Virtual time of each run.")
@click.option("--callers", default=200, help="Callers who ask at the same time.")
@click.option("--seed", default=1, help="Of all chances.")
@click.option("--strategy", "strategies", multiple=True, help="Only these; several may be given.")
@click.option("--ours", "only_ours", is_flag=True, help="Leave LiteLLM's router out.")
def main(seconds: float, callers: int, seed: int, strategies: Sequence[str], only_ours: bool) -> None:
    """Simulate and print one table."""
    runs = []
    for strategy in strategies or OURS:
        began_s = time.monotonic()
        found = fleet_ours.result(strategy, callers=callers, seconds=seconds, seed=seed)
        runs.append(Run("llmproxy", strategy, found))
        click.echo(f"llmproxy {strategy}: {time.monotonic() - began_s:.0f} s", err=True)
    if not only_ours and not LITELLM.exists():
        click.echo("LiteLLM's router is left out: `make bench-peers` installs it", err=True)
    for strategy in [each for each in THEIRS if not strategies or each in strategies]:
        if only_ours or not LITELLM.exists():
            break
        began_s = time.monotonic()
        runs.append(Run("LiteLLM", strategy, theirs(strategy, callers, seconds, seed)))
        click.echo(f"LiteLLM {strategy}: {time.monotonic() - began_s:.0f} s", err=True)
    click.echo(table(runs))


if __name__ == "__main__":
    main()
