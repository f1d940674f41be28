"""`llmproxy backend`: the deployments of a running proxy, and an operator's word on them.

`list` shows how each stands. `drain` gives one no more work while what it is at is finished, `disable` takes one out of
use, `resume` brings it back; with `--for 1h` it comes back by itself. A name is a deployment's id, a model's name (all
its deployments), or the host and port of a server (all that stand on it).
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import click

from proxy_cli.cli.client import (
    Client,
    ClientOptions,
    ClientProblem,
    client_parameters,
    find_key,
    find_target,
    given,
    short_id,
    tell,
)
from proxy_cli.cli.kinds import Kind, Text, shown
from proxy_cli.shapes import Json
from proxy_cli.telemetry.escape import one_line

if TYPE_CHECKING:
    from rich.table import Table

TIMEOUT_S: Final = 30.0
_WORDS: Final = ("drain", "resume", "disable")
_UNITS_S: Final[Mapping[str, float]] = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_LONGEST_S: Final = 366 * 86400.0
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:min|[smhd]))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(min|[smhd])")
_STYLES: Final[Mapping[str, str]] = {"ready": "green", "busy": "green", "unknown": "", "loading": "yellow"}


class Span(Kind):
    """A length of time, with its unit."""

    name = "time"

    def read(self, text: str) -> float:
        """The seconds in a text such as 90s, 30m, 1h30m or 2d."""
        compact = text.strip().lower().replace(" ", "")
        if not _SPAN.fullmatch(compact):
            raise ValueError(f"{shown(text)} is not a length of time; write it as 90s, 30m, 1h or 2d")
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(compact))
        if not 0 < seconds <= _LONGEST_S:
            raise ValueError(f"{shown(text)} is not a time above 0 and of at most a year")
        return seconds


def run(action: str, name: str | None, for_s: float | None, options: ClientOptions, environ: Mapping[str, str]) -> int:
    """Do what was asked for and show what came of it; the exit code."""
    try:
        client = Client(find_target(options, environ), find_key(options, environ), options.timeout or TIMEOUT_S)
        found = _list(client, name) if action == "list" else _say(client, action, name or "", for_s)
    except ClientProblem as problem:
        return tell(problem, options)
    if options.json:
        click.echo(json.dumps({"ok": True, "backends": found}, ensure_ascii=False, indent=2))
    elif action == "list":
        from proxy_cli.cli.console import console_of  # noqa: PLC0415 - --help stays quick

        console_of().print(_table(found))
    else:
        for each in found:
            click.echo(_sentence(action, each, for_s))
    return 0


def _list(client: Client, name: str | None) -> list[Json]:
    found = _backends(client, client.get_json("/backends"))
    if name is None:
        return found
    wanted = _bare(name)
    chosen = [each for each in found if wanted in {each["id"], short_id(str(each["id"])), each["name"], _server(each)}]
    if not chosen:
        near = difflib.get_close_matches(wanted, {str(each[key]) for each in found for key in ("name", "id")}, n=3)
        cure = f"did you mean {' or '.join(map(repr, near))}?" if near else "llmproxy backend list shows them all"
        raise ClientProblem(f"no backend is named {shown(name)}; {cure}")
    return chosen


def _say(client: Client, action: str, name: str, for_s: float | None) -> list[Json]:
    path = f"/backends/{quote(_bare(name), safe='')}/{action}"
    return _backends(client, client.post_json(path, {} if for_s is None else {"for_s": for_s}))


def _backends(client: Client, told: Json) -> list[Json]:
    listed = told.get("backends") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise ClientProblem(f"{client.target}/backends did not answer as an llmproxy does; is it the right address?")
    return listed


def _bare(name: str) -> str:
    """A name as the proxy takes it: of a server's address, its host and port."""
    return urlsplit(name).netloc if name.startswith(("http://", "https://")) else name


def _server(backend: Json) -> str:
    return urlsplit(str(backend.get("api_base") or "")).netloc


def _sentence(action: str, backend: Json, for_s: float | None) -> str:
    which = one_line(f"{backend['name']} ({short_id(str(backend['id']))})")
    count = backend.get("in_flight") or 0
    if action == "resume":
        return f"{which} is in use again: {backend['state']}"
    under_way = f"; {count} under way {'is' if count == 1 else 'are'} finished first" if count else ""
    end = "until it is resumed" if for_s is None else f"for {_spoken(for_s)}"
    return f"{which} gets no more requests {end}{under_way}"


def _spoken(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s" if seconds < 100 else f"{seconds / 60:.4g} min"


def _table(found: Sequence[Json]) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - --help stays quick
    from rich.text import Text as Words  # noqa: PLC0415

    table = Table("Name", "Id", "Server", "State", "In flight", "Why")
    for each in found:
        # Text, not markup: a backend's words are not ours, and may hold brackets or control characters.
        address = each["api_base"] or "mock_response"
        cells = [each["name"], short_id(str(each["id"])), address, each["state"], str(each["in_flight"]), each["why"]]
        style = _STYLES.get(str(each["state"]), "red")
        table.add_row(*(Words(one_line(str(cell)), overflow="fold") for cell in cells), style=style)
    return table


@click.command(
    params=[
        click.Argument(["action"], type=click.Choice(["list", *_WORDS])),
        click.Argument(["name"], required=False, type=Text()),
        click.Option(["--for", "for_s"], type=Span(), help="Come back by itself after this time: 90s, 30m, 1h, 2d."),
        *client_parameters(),
    ]
)
def backend(action: str, name: str | None, for_s: float | None, **_values: object) -> int:
    """See how the deployments of a running proxy stand, and take one out of use or back.

    NAME is a deployment's id, a model name, or a server's host:port. `list` shows all; `drain` gives it no more
    requests while those under way are finished, `disable` takes it out of use, `resume` brings it back.
    """
    if action != "list" and name is None:
        raise click.UsageError(
            f"name what to {action}: llmproxy backend {action} NAME; llmproxy backend list shows them"
        )
    if for_s is not None and action not in {"drain", "disable"}:
        raise click.UsageError(f"--for goes with drain and disable; `{action}` takes no time")
    options, environ = given()
    return run(action, name, for_s, options, environ)
