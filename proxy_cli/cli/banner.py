"""What is printed when the server stands: its models, where each of them goes, the address, a line to try.

Names and addresses come from a file that others may have written: they are escaped, and never read as markup.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlsplit

import click

from proxy_cli.cli.columns import columns
from proxy_cli.cli.say import record
from proxy_cli.telemetry.escape import one_line

_UNIX: Final = "unix:"
_SHOWN: Final = 40  # rows; a file may have thousands


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One deployment as the table shows it."""

    name: str
    backend_model: str
    provider: str
    url: str


def start_lines(
    models: Sequence[ModelRow],
    addresses: Sequence[str],
    *,
    warnings: Sequence[str],
    notes: Sequence[str] = (),
    version: str,
    json_logs: bool,
    needs_key: bool = False,
) -> list[str]:
    """Table, notes, warnings, addresses and a curl line, for a terminal; or with `json_logs` one line of JSON."""
    if json_logs:
        return [_as_json(models, addresses, warnings, notes, version)]
    lines = ["", *_table(models[:_SHOWN]), ""]
    if len(models) > _SHOWN:
        lines.append(f"and {len(models) - _SHOWN} more; GET /v1/models lists all")
    lines += [f"note: {one_line(note)}" for note in notes]
    lines += [click.style("warning: ", fg="yellow", bold=True) + one_line(warning) for warning in warnings]
    where = click.style(", ".join(addresses), fg="cyan")
    lines.append(f"{click.style(f'llmproxy {version}', bold=True)} on {where}")
    if addresses:
        lines.append(f"try: {curl_line(addresses[0], _example(models), needs_key=needs_key)}")
    return lines


def curl_line(address: str, model: str, *, needs_key: bool) -> str:
    """A command that can be pasted into a shell."""
    body = {"model": model, "messages": [{"role": "user", "content": "こんにちは"}]}
    socket, base = ([], address) if not address.startswith(_UNIX) else (_by_socket(address), "http://localhost")
    words = ["curl", *socket, f"{_reachable(base)}/v1/chat/completions", "-H", "content-type: application/json"]
    if needs_key:
        words += ["-H", "authorization: Bearer YOUR_KEY"]
    return one_line(shlex.join([*words, "-d", json.dumps(body, ensure_ascii=False)]))


def _by_socket(address: str) -> list[str]:
    return ["--unix-socket", address.removeprefix(_UNIX)]


def _table(models: Sequence[ModelRow]) -> list[str]:
    rows = [(row.name, row.backend_model, row.provider, row.url) for row in models]
    head, *below = columns([("model", "backend model", "provider", "address"), *rows])
    return [f"  {click.style(head, bold=True)}", *(f"  {line}" for line in below)]


def _as_json(
    models: Sequence[ModelRow],
    addresses: Sequence[str],
    warnings: Sequence[str],
    notes: Sequence[str],
    version: str,
) -> str:
    return record(
        f"llmproxy {version} on {', '.join(addresses)}",
        models=[asdict(row) for row in models],
        addresses=list(addresses),
        warnings=list(warnings),
        notes=list(notes),
    )


def _example(models: Sequence[ModelRow]) -> str:
    """A name that can be asked for as it is; wildcards cannot."""
    return next((row.name for row in models if "*" not in row.name), "gpt-4o-mini")


def _reachable(address: str) -> str:
    """The address a caller on this machine uses: nobody can connect to the one that means all interfaces."""
    parts = urlsplit(address)
    if parts.hostname not in {"0.0.0.0", "::"}:  # noqa: S104 - compared with, not bound to
        return address.rstrip("/")
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://localhost{port}{parts.path.rstrip('/')}"
