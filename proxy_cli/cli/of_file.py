"""What client commands that need no proxy do alike: the setup of the file that they are given."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_cli.cli.client import ClientOptions, ClientProblem

if TYPE_CHECKING:
    from proxy_cli.server.setup import Setup


class FileProblem(ClientProblem):
    """The file is at fault, not what it names: the exit code is that of every command then."""

    exit_code = 2


def setup_of(options: ClientOptions, environ: Mapping[str, str]) -> "Setup":
    """What the file comes to; all that is wrong with it is told. Raises FileProblem."""
    from proxy_cli.config.flags import Flags  # noqa: PLC0415 - --help stays quick
    from proxy_cli.server.setup import prepare  # noqa: PLC0415

    # Local: nothing listens here, so nothing is to be said about a weak key that guards it.
    prepared = prepare(Flags(config=Path(str(options.config)), local=True), environ)
    for line in (*prepared.problems, *prepared.sentences):
        click.echo(str(line), err=True)
    if prepared.setup is None:
        raise FileProblem(f"{options.config} cannot be used; `llmproxy check` shows all that is wrong with it")
    return prepared.setup
