"""`llmproxy keys`: keys of a running proxy, from the shell.

`create` makes one and shows it, once. `list` and `info` tell what there is, `update` changes what a key may, `revoke`
takes keys back, `rotate` gives a key's holder another one. A name is a key, its alias, or its token: all of it,
or the beginning that `list` shows.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

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
    short_id,
    tell,
)
from proxy_cli.cli.kinds import Number, Text, shown
from proxy_cli.shapes import Json
from proxy_cli.telemetry.escape import one_line

if TYPE_CHECKING:
    from rich.table import Table

TIMEOUT_S: Final = 30.0
ACTIONS: Final = ("create", "list", "info", "update", "revoke", "rotate")
_NAMED: Final = ("info", "update", "revoke", "rotate")
_CHANGING: Final = ("create", "update", "rotate")
_DIGEST_LENGTH: Final = 64
_BEGINNING: Final = re.compile(r"[0-9a-f]{12,63}")  # of a token, as `list` shows it
_PAGE: Final = 100
# Options that are fields of a key, by LiteLLM's names; lists are written with commas.
_FIELDS: Final[Mapping[str, str]] = {
    "alias": "key_alias",
    "models": "models",
    "user": "user_id",
    "team": "team_id",
    "max_budget": "max_budget",
    "budget_duration": "budget_duration",
    "rpm": "rpm_limit",
    "tpm": "tpm_limit",
    "max_parallel": "max_parallel_requests",
    "expires": "duration",
    "tags": "tags",
}
_LISTS: Final = frozenset({"models", "tags"})
Values = Mapping[str, object]


def run(action: str, name: str | None, values: Values, options: ClientOptions, environ: Mapping[str, str]) -> int:
    """Do what was asked for and show what came of it; the exit code."""
    try:
        client = Client(find_target(options, environ), find_key(options, environ), options.timeout or TIMEOUT_S)
        told = _done(client, action, name or "", values)
    except ClientProblem as problem:
        return tell(problem, options)
    if options.json:
        click.echo(json.dumps({"ok": True, **told}, ensure_ascii=False, indent=2))
    else:
        _show(action, told)
    return 0


def _done(client: Client, action: str, name: str, values: Values) -> dict[str, Json]:
    match action:
        case "list":
            return {"keys": _all(client, values)}
        case "create":
            return _object(client.post_json("/key/generate", _fields(values)), client)
        case "info":
            return _object(client.get_json(f"/key/info?{urlencode({'key': _token(client, name)})}"), client)
        case "update":
            return _object(client.post_json("/key/update", {**_fields(values), "key": _token(client, name)}), client)
        case "revoke":
            return _object(client.post_json("/key/delete", {"keys": [_token(client, name)]}), client)
    body = _fields(values) | ({"grace_period": values["grace"]} if values.get("grace") else {})
    return _object(client.post_json(f"/key/{quote(_token(client, name), safe='')}/regenerate", body), client)


def _fields(values: Values) -> dict[str, Json]:
    """What was said of a key, as the proxy takes it."""
    said = {field: values[option] for option, field in _FIELDS.items() if values.get(option) is not None}
    return {field: _several(value) if field in _LISTS else value for field, value in said.items()}


def _several(value: object) -> list[str]:
    return [part for each in str(value).split(",") if (part := each.strip())]


def _all(client: Client, values: Values) -> list[Json]:
    """Every key that the caller may see, page by page."""
    query = {"return_full_object": "true", "size": _PAGE}
    query |= {_FIELDS[option]: str(values[option]) for option in ("alias", "user", "team") if values.get(option)}
    found: list[Json] = []
    page = pages = 1
    while page <= pages:
        told = _object(client.get_json(f"/key/list?{urlencode({**query, 'page': page})}"), client)
        found += told.get("keys") or []
        page, pages = page + 1, int(told.get("total_pages") or 0)
    return found


def _token(client: Client, name: str) -> str:
    """The key itself or its token, as it was named; of an alias or of a token's beginning, the token behind it."""
    if name.startswith("sk-") or len(name) == _DIGEST_LENGTH:
        return name
    aliased = [each for each in _all(client, {"alias": name}) if each.get("key_alias") == name]
    if not aliased and _BEGINNING.fullmatch(name):
        aliased = [each for each in _all(client, {}) if str(each.get("token")).startswith(name)]
    if not aliased:
        raise ClientProblem(f"no key has the alias or token {shown(name)}; llmproxy keys list shows those there are")
    if len(aliased) > 1:
        raise ClientProblem(f"{len(aliased)} keys have tokens that begin with {shown(name)}; write more of it")
    return str(aliased[0]["token"])


def _object(told: Json, client: Client) -> dict[str, Json]:
    if not isinstance(told, dict):
        raise ClientProblem(f"{client.target} did not answer as an llmproxy does; is it the right address?")
    return told


def _show(action: str, told: Mapping[str, Json]) -> None:
    match action:
        case "list":
            from proxy_cli.cli.console import console_of  # noqa: PLC0415 - --help stays quick

            console_of().print(_table(told["keys"]))
        case "create" | "rotate":
            click.echo(told["key"])
            click.echo("llmproxy: keep this key, it is not shown again", err=True)
        case "revoke":
            click.echo(f"{len(told.get('deleted_keys') or [])} key revoked; it opens nothing from now on")
        case "update":
            click.echo("the key was changed")
        case "info":
            for name, value in sorted((told.get("info") or {}).items()):
                if value not in (None, "", [], {}):
                    click.echo(one_line(f"{name}: {value if isinstance(value, str) else plain(value)}"))


def _table(keys: Sequence[Json]) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - --help stays quick
    from rich.text import Text as Words  # noqa: PLC0415

    table = Table("Key", "Alias", "Token", "User", "Team", "Models", "Spent", "Budget", "Expires")
    for each in keys:
        cells = (
            each.get("key_name"),
            each.get("key_alias"),
            short_id(str(each.get("token") or "")),
            each.get("user_id"),
            each.get("team_id"),
            ", ".join(each.get("models") or ()) or "all",
            f"{each.get('spend') or 0:.6f}",
            each.get("max_budget"),
            each.get("expires"),
        )
        # Text, not markup: aliases are not ours, and may hold brackets or control characters.
        words = (Words("-" if cell is None else one_line(str(cell)), overflow="fold") for cell in cells)
        table.add_row(*words, style="dim" if each.get("blocked") else "")
    return table


@click.command(
    params=[
        click.Argument(["action"], type=click.Choice(ACTIONS)),
        click.Argument(["name"], required=False, type=Text()),
        click.Option(["--alias"], type=Text(), help="What the key is called."),
        click.Option(["--models"], type=Text(), help="The models it may ask for, with commas (all)."),
        click.Option(["--user"], type=Text(), help="Whose it is."),
        click.Option(["--team"], type=Text(), help="The team it belongs to."),
        click.Option(["--max-budget", "max_budget"], type=Number(0, whole=False), help="What it may spend, in USD."),
        click.Option(["--budget-duration", "budget_duration"], type=Text(), help="How long that lasts: 1d, 30d, 1mo."),
        click.Option(["--rpm"], type=Number(0), help="Requests a minute."),
        click.Option(["--tpm"], type=Number(0), help="Tokens a minute."),
        click.Option(["--max-parallel", "max_parallel"], type=Number(0), help="Requests at a time."),
        click.Option(["--expires"], type=Text(), help="How long it is good: 30s, 12h, 30d, 1mo (for ever)."),
        click.Option(["--tags"], type=Text(), help="Tags of its calls, with commas."),
        click.Option(["--grace"], type=Text(), help="How long the former key is good beside the new one (rotate)."),
        *client_parameters(),
    ]
)
def keys(action: str, name: str | None, **values: object) -> int:
    """Make keys of a running proxy, see, change, revoke and rotate them.

    NAME is a key, its alias, or its token as `list` shows it. `create` and `rotate` write the new key to standard
    output, once.
    """
    if (action in _NAMED) != (name is not None):
        wanted = f"llmproxy keys {action} NAME" if action in _NAMED else f"llmproxy keys {action}"
        raise click.UsageError(f"`{action}` {'needs' if action in _NAMED else 'takes no'} name: {wanted}")
    _refuse_strays(action, values)
    options, environ = given()
    return run(action, name, values, options, environ)


def _refuse_strays(action: str, values: Values) -> None:
    """An option that would do nothing is a mistake, told before anything is changed."""
    takes = _FIELDS.keys() if action in _CHANGING else {"alias", "user", "team"} if action == "list" else set()
    known = {*takes, "grace"} if action == "rotate" else set(takes)
    for option in (*_FIELDS, "grace"):
        if values.get(option) is not None and option not in known:
            raise click.UsageError(f"--{option.replace('_', '-')} does nothing with `{action}`; leave it out")
