"""`llmproxy spend`: what was spent at a running proxy, by model, key, team, user, tag or day.

It reads the proxy's sums of days, as a caller with this key may see them.
"""

import json
from collections.abc import Mapping, Sequence
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
    short_id,
    tell,
)
from proxy_cli.cli.kinds import Text
from proxy_cli.shapes import Json
from proxy_cli.telemetry.escape import one_line

if TYPE_CHECKING:
    from rich.table import Table

TIMEOUT_S: Final = 30.0
# What it may be told by, and where the proxy's answer has it: whose days, and which part of a day.
_BY: Final[Mapping[str, tuple[str, str]]] = {
    "model": ("user", "models"),
    "provider": ("user", "providers"),
    "key": ("user", "api_keys"),
    "user": ("user", "entities"),
    "team": ("team", "entities"),
    "tag": ("tag", "entities"),
    "customer": ("customer", "entities"),
    "organization": ("organization", "entities"),
    "day": ("user", ""),
}
_COUNTS: Final = ("api_requests", "failed_requests", "prompt_tokens", "completion_tokens", "spend")
_MOST_PAGES: Final = 1000


def run(by: str, since: str | None, until: str | None, options: ClientOptions, environ: Mapping[str, str]) -> int:
    """Ask, and show what was spent; the exit code."""
    try:
        client = Client(find_target(options, environ), find_key(options, environ), options.timeout or TIMEOUT_S)
        rows = _summed(_days(client, _BY[by][0], since, until), by)
    except ClientProblem as problem:
        return tell(problem, options)
    total = _total(rows)
    if options.json:
        click.echo(json.dumps({"ok": True, "by": by, "rows": rows, "total": total}, ensure_ascii=False, indent=2))
    else:
        from proxy_cli.cli.console import console_of  # noqa: PLC0415 - --help stays quick

        console_of().print(_table(by, rows, total))
    return 0


def _days(client: Client, whose: str, since: str | None, until: str | None) -> list[Json]:
    """Every day that the proxy tells, page by page."""
    query = {name: value for name, value in (("start_date", since), ("end_date", until)) if value}
    days: list[Json] = []
    for page in range(1, _MOST_PAGES + 1):
        told = client.get_json(f"/{whose}/daily/activity?{urlencode({**query, 'page': page, 'page_size': 100})}")
        if not isinstance(told, dict) or not isinstance(told.get("results"), list):
            raise ClientProblem(f"{client.target} did not answer as an llmproxy does; is it the right address?")
        days += told["results"]
        if not (told.get("metadata") or {}).get("has_more"):
            break
    return days


def _summed(days: Sequence[Json], by: str) -> list[dict[str, Json]]:
    """One row for each name, what cost most first; of days, the newest first."""
    part = _BY[by][1]
    found: dict[str, dict[str, Json]] = {}
    for day in days:
        entries = day["breakdown"].get(part, {}) if part else {day["date"]: {"metrics": day["metrics"]}}
        for name, entry in entries.items():
            row = found.setdefault(name, {"name": name, "label": _label(name, entry), **dict.fromkeys(_COUNTS, 0)})
            for count in _COUNTS:
                row[count] += entry["metrics"].get(count) or 0
    rows = list(found.values())
    return rows if not part else sorted(rows, key=lambda row: (-row["spend"], row["name"]))


def _label(name: str, entry: Json) -> str:
    """What people call it: an alias where it has one."""
    about = entry.get("metadata") or {}
    known = next((about[key] for key in ("key_alias", "team_alias", "user_email") if about.get(key)), None)
    return str(known or short_id(name) or "-")


def _total(rows: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    return {count: sum(row[count] for row in rows) for count in _COUNTS}


def _table(by: str, rows: Sequence[Mapping[str, Json]], total: Mapping[str, Json]) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - --help stays quick
    from rich.text import Text as Words  # noqa: PLC0415

    table = Table(by.capitalize(), show_footer=len(rows) > 1)
    for name in ("Requests", "Failed", "Tokens in", "Tokens out", "USD"):
        table.add_column(name, justify="right")
    for column, cell in zip(table.columns, ["all", *_cells(total)], strict=True):
        column.footer = cell
    for row in rows:
        # Text, not markup: names are not ours, and may hold brackets or control characters.
        table.add_row(Words(one_line(str(row["label"])), overflow="fold"), *_cells(row))
    return table


def _cells(row: Mapping[str, Json]) -> list[str]:
    return [*(f"{row[count]:,}" for count in _COUNTS[:-1]), f"{row['spend']:.6f}"]


@click.command(
    params=[
        click.Option(["--by"], type=click.Choice(list(_BY)), default="model", help="What it is told by (model)."),
        click.Option(["--since"], type=Text(), help="The first day: 2026-01-31 (30 days before the last)."),
        click.Option(["--until"], type=Text(), help="The last day (today, UTC)."),
        *client_parameters(),
    ]
)
def spend(by: str, since: str | None, until: str | None, **_values: object) -> int:
    """Say what was spent at a running proxy.

    With the master key of all callers, with another key of its own.
    """
    options, environ = given()
    return run(by, since, until, options, environ)
