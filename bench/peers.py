"""Installs the gateways to compare with, each into its own environment: `python -m bench.peers [NAME ...]`.

Nothing of them ever enters our environment. One that does not install is named with the reason, and the rest go on.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import click

from bench.gateways import BY_NAME, PEERS

# What is asked of PyPI; each gets a virtual environment of its own.
PYTHON_PEERS: Final = {
    "vllm-router": "vllm-router",
    "sglang-router": "sglang-router",
    "litellm": "litellm[proxy]",
}
NODE_PEERS: Final = {"portkey": "@portkey-ai/gateway"}
NAMES: Final = (*PYTHON_PEERS, *NODE_PEERS)


class NotInstalled(Exception):
    """A peer could not be had; says why."""


def run(*argv: str) -> None:
    """Run an installer; its words are shown when it fails only."""
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NotInstalled(f"{argv[0]} is not installed") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise NotInstalled(words[-1])


def install(name: str) -> None:
    """Install one peer anew; raises NotInstalled, and leaves nothing half-done behind."""
    folder = PEERS / name
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if name in PYTHON_PEERS:
            run(sys.executable, "-m", "venv", str(folder))
            run(str(folder / "bin" / "pip"), "--quiet", "--disable-pip-version-check", "install", PYTHON_PEERS[name])
        else:
            folder.mkdir(parents=True)
            run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), NODE_PEERS[name])
    except NotInstalled:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: Sequence[str]) -> None:
    """Install the peers that are not there yet; a NAME installs that one anew."""
    for name in names or NAMES:
        if not names and BY_NAME[name].is_installed():
            click.echo(f"{name}: is installed")
            continue
        click.echo(f"{name}: installing into {PEERS / name} ...")
        try:
            install(name)
        except NotInstalled as error:
            click.echo(f"{name}: left out: {error}")
        else:
            click.echo(f"{name}: installed")


if __name__ == "__main__":
    main()
