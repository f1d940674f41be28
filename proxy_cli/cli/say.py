"""What a command says on standard error before there is a log: sentences for people, or JSON lines for collectors.

A stream that takes nothing more (a full disk, a closed pipe) must not keep a proxy from serving, so what cannot be
said is dropped, as the log drops it later.
"""

import contextlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import click

from proxy_cli.shapes import Json
from proxy_cli.telemetry.escape import json_line

Level = Literal["INFO", "WARNING", "ERROR"]


def say(sentence: str, *, level: Level = "INFO", as_json: bool = False) -> None:
    """One line on standard error."""
    with contextlib.suppress(OSError):
        click.echo(record(sentence, level=level) if as_json else sentence, err=True)


def say_all(sentences: Iterable[str], *, as_json: bool = False) -> None:
    """A line for each of the program's own sentences."""
    for sentence in sentences:
        say(sentence if as_json else f"llmproxy: {sentence}", as_json=as_json)


def record(message: str, *, level: Level = "INFO", **more: Json) -> str:
    """A message as a line of JSON, with the keys that the log's own lines have."""
    values = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "logger": "proxy_cli.start",
        "message": message,
        **more,
    }
    return json_line(json.dumps(values, ensure_ascii=False))
