"""`llmproxy check`: the same checks as a start, without serving.

It prints every problem with its place and cure, what each model resolves to, the outline of each secret (its length,
its end), and what becomes of each key of the file. Exit code 0 when it would serve, 2 when it would not, or when
`--strict` is given and there is any warning.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from proxy_cli.cli.columns import columns
from proxy_cli.cli.options import flags_from, with_variables
from proxy_cli.cli.surroundings import Surroundings, gather, working_folder
from proxy_cli.config.flags import Flags
from proxy_cli.shapes import Json

if TYPE_CHECKING:
    from proxy_cli.cli.banner import ModelRow
    from proxy_cli.config.load import SettingState
    from proxy_cli.secret import Secret
    from proxy_cli.server.setup import Prepared, Setup

DEFAULT_FILE: Final = "config.yaml"
_FAILED: Final = 2


@click.command()
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for CI.")
@click.option("--strict", is_flag=True, help="Fail for warnings too.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file and exit.")
def check(file: str | None, as_json: bool, strict: bool, schema: bool) -> int:
    """Check a file without serving it: problems, what each model resolves to, and every key's state.

    FILE is the one of --config, or config.yaml, when it is not named.
    """
    if schema:
        return _print_schema()
    ctx = click.get_current_context()
    surroundings = gather(os.environ, working_folder())
    before = ctx.parent.params if ctx.parent else {}
    flags = flags_from(with_variables(before, surroundings.variables))
    chosen = Path(file) if file else flags.config or Path(DEFAULT_FILE)
    if not file and flags.config is None and not chosen.exists():
        raise click.UsageError("name a file to check: llmproxy check FILE; `llmproxy init` writes a first one")
    return report(replace(flags, config=chosen), surroundings, as_json=as_json, strict=strict)


def report(flags: Flags, surroundings: Surroundings, *, as_json: bool = False, strict: bool = False) -> int:
    """Check, print what was found, and say by the exit code whether it would serve."""
    from proxy_cli.cli.rows import model_rows  # noqa: PLC0415 - commands import when they run
    from proxy_cli.config.problem import Severity  # noqa: PLC0415
    from proxy_cli.server.setup import prepare  # noqa: PLC0415

    prepared = prepare(flags, surroundings.environ, surroundings.sources)
    rows = model_rows(prepared.setup.table.deployments) if prepared.setup else []
    # What the setup notes depends on this machine (is a master key set here?), so it fails no check of a file.
    notes = [*prepared.sentences, *(f"note: {note}" for note in (prepared.setup.notes if prepared.setup else ()))]
    warned = any(not note.startswith("note: ") for note in notes) or any(
        problem.severity is Severity.WARNING for problem in prepared.problems
    )
    ok = prepared.setup is not None and not (strict and warned)
    if as_json:
        click.echo(json.dumps(_as_json(flags, prepared, rows, notes, ok=ok), ensure_ascii=False, indent=2))
    else:
        _print(flags, prepared, rows, notes, ok=ok)
    return 0 if ok else _FAILED


def _print_schema() -> int:
    from proxy_cli.config.schema import json_schema  # noqa: PLC0415

    click.echo(json.dumps(json_schema(), ensure_ascii=False, indent=2))
    return 0


def _print(flags: Flags, prepared: "Prepared", rows: "Sequence[ModelRow]", notes: Sequence[str], *, ok: bool) -> None:
    for line in (*map(str, prepared.problems), *notes):
        click.echo(line, err=True)
    if rows:
        click.echo("Models:")
        _print_columns([(row.name, f"-> {row.provider}", row.backend_model, row.url) for row in rows])
    if keys := _keys(prepared.setup):
        click.echo("Keys:")
        _print_columns(keys)
    states = prepared.loaded.states if prepared.loaded else []
    if states:
        click.echo("Settings:")
        _print_columns(list(_collapsed(states).items()))
    click.echo(f"{flags.config}: {_verdict(prepared, ok=ok)}")


def _keys(setup: "Setup | None") -> list[tuple[str, str]]:
    """Each key once, by the first model that sends it: how long it is and how it ends, so that a cut one is seen."""
    if setup is None:
        return []
    users: dict[Secret, list[str]] = {}
    for each in setup.table.deployments:
        if each.api_key:
            users.setdefault(each.api_key, []).append(each.group)
    lines = [
        (names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", key.outline())
        for key, names in users.items()
    ]
    master = setup.config.general_settings.master_key or setup.variables.master_key
    return [*lines, ("master key", master.outline())] if master else lines


def _verdict(prepared: "Prepared", *, ok: bool) -> str:
    if ok:
        return "ok"
    return "it would serve, but there are warnings" if prepared.setup else "it would not serve"


def _print_columns(table: Sequence[Sequence[str]]) -> None:
    for line in columns(table):
        click.echo(f"  {line}")


def _collapsed(states: "Sequence[SettingState]") -> Mapping[str, str]:
    """What becomes of each key; the same key of many entries once, with their number."""
    counts: dict[tuple[str, str], int] = {}
    for state in states:
        told = f"{state.state}: {state.why}" if state.why else str(state.state)
        key = re.sub(r"\[\d+\]", "[*]", state.path), told
        counts[key] = counts.get(key, 0) + 1
    lines: dict[str, str] = {}
    for (path, told), count in counts.items():
        counted = f"{told} ({count} times)" if count > 1 else told
        lines[path] = f"{lines[path]}; {counted}" if path in lines else counted
    return lines


def _as_json(flags: Flags, prepared: "Prepared", rows: "Sequence[ModelRow]", notes: Sequence[str], *, ok: bool) -> Json:
    states = prepared.loaded.states if prepared.loaded else []
    return {
        "ok": ok,
        "file": str(flags.config),
        "problems": [problem.as_json() for problem in prepared.problems],
        "notes": list(notes),
        "models": [asdict(row) for row in rows],
        "keys": [{"of": of, "outline": outline} for of, outline in _keys(prepared.setup)],
        "settings": [
            {"path": state.path, "state": str(state.state), "why": state.why, "place": str(state.place)}
            for state in states
        ],
    }
