"""`llmproxy prices`: what models cost, and a newer price list taken from a file.

`show` says what one model costs and where that is written, `update` takes the prices of a file (LiteLLM's
model_prices_and_context_window.json, or one's own of that shape), `check` says whether a file would be taken, or which
prices are in use, `reset` goes back to the prices that ship. Nothing is downloaded; a proxy uses new prices from its
next start on.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from proxy_cli.cli.kinds import Text
from proxy_cli.cli.say import say
from proxy_cli.shapes import Json

if TYPE_CHECKING:
    from rich.table import Table

    from proxy_cli.prices.table import PriceTable

_FAILED: Final = 2
_MOST_LINES: Final = 20
_MILLION: Final = 1_000_000


def run(action: str, name: str | None, folder: Path, *, provider: str | None = None, as_json: bool = False) -> int:
    """Do what was asked for with the prices that are kept in a folder; the exit code."""
    if action == "show":
        return _show(name or "", folder, provider, as_json=as_json)
    if action == "update":
        return _update(Path(name or ""), folder, as_json=as_json)
    if action == "check":
        return _check(Path(name) if name else None, folder, as_json=as_json)
    return _reset(folder, as_json=as_json)


def _update(source: Path, folder: Path, *, as_json: bool) -> int:
    from proxy_cli.prices import kept  # noqa: PLC0415 - commands import when they run

    try:
        models, doubts = kept.take(source, folder, datetime.now(UTC))
    except kept.BadPrices as error:
        return _refused(str(error), as_json=as_json)
    except OSError as error:
        return _refused(_unusable(error, source), as_json=as_json)
    told = f"taken: the prices of {models} models; a proxy uses them from its next start on"
    _tell(told, {"models": models, "warnings": doubts, "kept_in": str(folder)}, as_json=as_json)
    return 0


def _check(source: Path | None, folder: Path, *, as_json: bool) -> int:
    from proxy_cli.prices import kept  # noqa: PLC0415

    if source is None:
        table = _table(folder)
        told = table.note or f"the prices that ship with llmproxy are in use, of {len(table)} models"
        _tell(told, {"models": len(table), "note": told}, as_json=as_json)
        return 0
    try:
        models, doubts = kept.load(source)
    except kept.BadPrices as error:
        return _refused(str(error), as_json=as_json)
    except OSError as error:
        return _refused(_unusable(error, source), as_json=as_json)
    told = f"{source}: sound, {len(models)} models"
    _tell(told, {"models": len(models), "warnings": doubts}, as_json=as_json)
    return 0


def _reset(folder: Path, *, as_json: bool) -> int:
    from proxy_cli.prices import kept  # noqa: PLC0415

    try:
        had = kept.forget(folder)
    except OSError as error:
        return _refused(_unusable(error, folder / kept.FILE_NAME), as_json=as_json)
    told = (
        "the prices that ship with llmproxy hold again, from the next start on" if had else "no other prices are kept"
    )
    _tell(told, {"reset": had}, as_json=as_json)
    return 0


def _show(model: str, folder: Path, provider: str | None, *, as_json: bool) -> int:
    table = _table(folder)
    entry = table.find(model, provider)
    if entry is None:
        whose = f" of {provider}" if provider else ""
        return _refused(
            f"no price of a model named {model!r}{whose} is known; set input_cost_per_token and output_cost_per_token "
            "in its litellm_params, or take a newer list: llmproxy prices update FILE",
            as_json=as_json,
        )
    if as_json:
        click.echo(json.dumps({"ok": True, "model": model, "entry": entry}, ensure_ascii=False, indent=2))
        return 0
    from proxy_cli.cli.console import console_of  # noqa: PLC0415 - --help stays quick

    console_of().print(_rows(model, entry))
    return 0


def _table(folder: Path) -> "PriceTable":
    from proxy_cli.prices.table import PriceTable  # noqa: PLC0415

    return PriceTable.load(folder)


def _rows(model: str, entry: Mapping[str, Json]) -> "Table":
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text as Cell  # noqa: PLC0415

    from proxy_cli.prices.cost import own_prices  # noqa: PLC0415

    shown = Table("", "USD", title=Cell(f"{model} ({entry.get('litellm_provider', 'no provider')})"))
    for name, value in own_prices(entry).items():
        shown.add_row(Cell(name), Cell(_usd(name, value)))
    return shown


def _usd(name: str, value: Json) -> str:
    """A price of tokens as people compare them, by the million; all else as it is written."""
    from proxy_cli.prices.exact import price  # noqa: PLC0415

    exact = price(value)
    if exact is None:
        return json.dumps(value, ensure_ascii=False)
    if "token" in name:
        return f"{_plain(exact * _MILLION)} a million"
    return _plain(exact)


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tell(sentence: str, told: Mapping[str, Json], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"ok": True, **told}, ensure_ascii=False, indent=2))
        return
    for doubt in told.get("warnings", ()):
        say(f"warning: {doubt}")
    click.echo(sentence)


def _refused(message: str, *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"ok": False, "errors": message.splitlines()}, ensure_ascii=False, indent=2))
        return _FAILED
    lines = message.splitlines()
    for line in lines[:_MOST_LINES]:
        say(f"Error: {line}")
    if len(lines) > _MOST_LINES:
        say(f"Error: and {len(lines) - _MOST_LINES} more")
    return _FAILED


def _unusable(error: OSError, path: Path) -> str:
    return f"{error.filename or path}: {error.strerror or error}"


@click.command(
    params=[
        click.Argument(["action"], type=click.Choice(["show", "update", "check", "reset"])),
        click.Argument(["name"], required=False, type=Text()),
        click.Option(["--provider"], type=Text(), help="Whose model it is, where several have one of that name."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
    ]
)
def prices(action: str, name: str | None, provider: str | None, as_json: bool) -> int:
    """Say what models cost, and take newer prices from a file.

    `show MODEL` says what one costs. `update FILE` takes the prices of a file of LiteLLM's shape, and a proxy uses
    them from its next start on; `check FILE` says whether it would, `check` which prices are in use, and `reset` goes
    back to those that ship. Nothing is downloaded.
    """
    if name is None and action in {"show", "update"}:
        what = "MODEL" if action == "show" else "FILE"
        raise click.UsageError(f"name it: llmproxy prices {action} {what}")
    if name is not None and action == "reset":
        raise click.UsageError("reset takes no name: llmproxy prices reset")
    if provider is not None and action != "show":
        raise click.UsageError(f"--provider goes with show; `{action}` takes none")
    from proxy_cli.store.settings import data_dir  # noqa: PLC0415 - --help stays quick

    return run(action, name, data_dir(os.environ), provider=provider, as_json=as_json)
