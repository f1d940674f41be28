"""What `llmproxy teams`, `users` and `budgets` share: five actions on objects of one kind at a running proxy.

A `Sort` says what differs: the paths, what an object is called by, and which options are which of its fields. An
option that would do nothing with an action is a mistake, told before anything is changed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import click

from proxy_cli.cli.client import (
    Client,
    ClientOptions,
    ClientProblem,
    client_parameters,
    find_key,
    find_target,
    given,
    plain,
    tell,
)
from proxy_cli.cli.kinds import Number, Text
from proxy_cli.shapes import Json
from proxy_cli.telemetry.escape import one_line

if TYPE_CHECKING:
    from rich.table import Table

TIMEOUT_S: Final = 30.0
ACTIONS: Final = ("create", "list", "info", "update", "delete")
_NAMED: Final = ("info", "update", "delete")
_PAGE: Final = 100
Values = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """One kind of object: how it is spoken of, and where it is found."""

    name: str  # team
    root: str  # /team
    id: str  # team_id, the field that it is called by
    fields: Mapping[str, str]  # an option to the field that it is
    columns: Mapping[str, str]  # a heading to the field below it
    deleted_by: Callable[[str], Mapping[str, Json]]  # an id to the body that deletes it
    list_path: str = ""
    listed_in: str = ""  # the field of a page that holds the objects; empty where the answer is the list
    made: Mapping[str, Json] | None = None  # sent with every new one
    lists: frozenset[str] = frozenset({"models"})  # options that are written with commas

    def info(self, client: Client, name: str) -> Json:
        """One object."""
        if self.id == "budget_id":
            found = client.post_json(f"{self.root}/info", {"budgets": [name]})
            if not found:
                raise ClientProblem(
                    f"there is no {self.name} {name!r}; llmproxy {self.name}s list shows those there are"
                )
            return found[0]
        told = client.get_json(f"{self.root}/info?{urlencode({self.id: name})}")
        return told.get(f"{self.name}_info", told) if isinstance(told, dict) else told


def command_of(sort: Sort, options: Sequence[click.Option], text: str) -> click.Command:
    """The command for objects of one kind."""

    def command(action: str, name: str | None, **values: object) -> int:
        plural = f"{sort.name}s"
        if (action in _NAMED) != (name is not None):
            wanted = f"llmproxy {plural} {action}{' NAME' if action in _NAMED else ''}"
            raise click.UsageError(f"`{action}` {'needs a' if action in _NAMED else 'takes no'} name: {wanted}")
        strays = (
            [] if action in {"create", "update"} else [each for each in sort.fields if values.get(each) is not None]
        )
        if strays:
            raise click.UsageError(f"--{strays[0].replace('_', '-')} does nothing with `{action}`; leave it out")
        found, environ = given()
        return run(sort, action, name or "", values, found, environ)

    return click.Command(
        f"{sort.name}s",
        callback=command,
        help=text,
        params=[
            click.Argument(["action"], type=click.Choice(ACTIONS)),
            click.Argument(["name"], required=False, type=Text()),
            *options,
            *client_parameters(),
        ],
    )


def limit_options() -> list[click.Option]:
    """The limits that all kinds have."""
    return [
        click.Option(["--max-budget", "max_budget"], type=Number(0, whole=False), help="What may be spent, in USD."),
        click.Option(["--budget-duration", "budget_duration"], type=Text(), help="How long that lasts: 1d, 30d, 1mo."),
        click.Option(["--rpm"], type=Number(0), help="Requests a minute."),
        click.Option(["--tpm"], type=Number(0), help="Tokens a minute."),
        click.Option(["--max-parallel", "max_parallel"], type=Number(0), help="Requests at a time."),
    ]


LIMITS: Final[Mapping[str, str]] = {
    "max_budget": "max_budget",
    "budget_duration": "budget_duration",
    "rpm": "rpm_limit",
    "tpm": "tpm_limit",
    "max_parallel": "max_parallel_requests",
}


def run(sort: Sort, action: str, name: str, values: Values, options: ClientOptions, environ: Mapping[str, str]) -> int:
    """Do what was asked for and show what came of it; the exit code."""
    try:
        client = Client(find_target(options, environ), find_key(options, environ), options.timeout or TIMEOUT_S)
        told = _done(client, sort, action, name, values)
    except ClientProblem as problem:
        return tell(problem, options)
    if options.json:
        key = f"{sort.name}s" if action == "list" else sort.name
        click.echo(json.dumps({"ok": True, key: told}, ensure_ascii=False, indent=2))
    else:
        _show(sort, action, name, told)
    return 0


def _done(client: Client, sort: Sort, action: str, name: str, values: Values) -> Json:
    match action:
        case "list":
            return _all(client, sort)
        case "create":
            return client.post_json(f"{sort.root}/new", {**(sort.made or {}), **_fields(sort, values)})
        case "info":
            return sort.info(client, name)
        case "update":
            return client.post_json(f"{sort.root}/update", {**_fields(sort, values), sort.id: name})
    return client.post_json(f"{sort.root}/delete", sort.deleted_by(name))


def _fields(sort: Sort, values: Values) -> dict[str, Json]:
    """What was said of an object, as the proxy takes it."""
    said = {option: values[option] for option in sort.fields if values.get(option) is not None}
    return {sort.fields[option]: _several(value) if option in sort.lists else value for option, value in said.items()}


def _several(value: object) -> list[str]:
    return [part for each in str(value).split(",") if (part := each.strip())]


def _all(client: Client, sort: Sort) -> list[Json]:
    """Every object that the caller may see, page by page where they come so."""
    path = sort.list_path or f"{sort.root}/list"
    if not sort.listed_in:
        return list(client.get_json(path))
    found: list[Json] = []
    page = pages = 1
    while page <= pages:
        told = client.get_json(f"{path}?{urlencode({'page': page, 'page_size': _PAGE})}")
        found += told.get(sort.listed_in) or []
        page, pages = page + 1, int(told.get("total_pages") or 0)
    return found


def _show(sort: Sort, action: str, name: str, told: Json) -> None:
    match action:
        case "list":
            from proxy_cli.cli.console import console_of  # noqa: PLC0415 - --help stays quick

            console_of().print(_table(sort, told))
        case "create":
            click.echo(one_line(str(told.get(sort.id))))
        case "info":
            for field, value in sorted(told.items()):
                if value not in (None, "", [], {}):
                    click.echo(one_line(f"{field}: {value if isinstance(value, str) else plain(value)}"))
        case _:
            click.echo(one_line(f"the {sort.name} {name} was {'changed' if action == 'update' else 'deleted'}"))


def _table(sort: Sort, found: Sequence[Json]) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - --help stays quick
    from rich.text import Text as Words  # noqa: PLC0415

    table = Table(*sort.columns)
    for each in found:
        cells = (_cell(field, each.get(field)) for field in sort.columns.values())
        # Text, not markup: names are not ours, and may hold brackets or control characters.
        table.add_row(
            *(Words(one_line(cell), overflow="fold") for cell in cells), style="dim" if each.get("blocked") else ""
        )
    return table


def _cell(field: str, value: Json) -> str:
    match value:
        case None:
            return "-"
        case []:
            return "all" if field == "models" else "-"
        case list():
            return str(len(value)) if field in {"members_with_roles", "teams"} else ", ".join(map(str, value))
        case float() if field == "spend":
            return f"{value:.6f}"
    return str(value)
