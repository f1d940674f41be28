"""The variables a command sees: the real environment, over a `.env` in the working folder, over the saved keys.

It also keeps which file each variable came from, so that a message about a bad value can name it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from proxy_cli.cli import saved
from proxy_cli.config.environment import Variables, dotenv, read_environment


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What surrounds a command."""

    environ: Mapping[str, str]
    sources: Mapping[str, str]  # a variable's name to the file that it came from
    variables: Variables  # those that stand for options; what is wrong with them is told by who loads the rest
    notes: tuple[str, ...] = ()  # what is worth saying at start


def working_folder() -> Path:
    """The folder the command was started in. Raises click.UsageError when it has been removed since."""
    try:
        return Path.cwd()
    except OSError:
        raise click.UsageError("the working folder does not exist any more; change to one that does") from None


def gather(environ: Mapping[str, str], working: Path) -> Surroundings:
    """Read what lies around; the real environment wins. Raises click.UsageError for a file that is broken."""
    place = saved.folder(environ)
    kept = saved.read_keys(place)
    notes = []
    if (loose := saved.open_to_others(place)) is not None:
        notes.append(f"{loose} can be read by other users; close it: chmod 600 {loose}")
    near = _near(working / ".env", {**kept, **environ})
    if near:
        notes.append(f"read {working / '.env'}: {', '.join(near)}")
    files = {**dict.fromkeys(kept, str(place / "secrets.env")), **dict.fromkeys(near, ".env")}
    merged = {**kept, **near, **environ}
    sources = {name: file for name, file in files.items() if name not in environ}
    variables, _ = read_environment(merged, sources)
    return Surroundings(merged, sources, variables, tuple(notes))


def _near(file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a `.env`, which LiteLLM does not read in production either."""
    if environ.get("LITELLM_MODE", "").upper() == "PRODUCTION":
        return {}
    found, problems = dotenv(file, environ)
    if problems:
        raise click.UsageError("\n".join(map(str, problems)))
    return found
