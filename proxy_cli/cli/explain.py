"""`llmproxy explain`: what would become of one request. Nothing is sent to any backend.

With a file alone no proxy has to run: the account is that of one which has just been started with it. With `--url`, or
without a file, the running proxy is asked, which knows how its deployments stand. Exit code 0 when a deployment would
be asked, 1 when the request would be refused or the proxy does not say, 2 when the file cannot be used.
"""

import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import click

from proxy_cli.cli.client import (
    Client,
    ClientOptions,
    ClientProblem,
    client_parameters,
    find_key,
    find_target,
    given,
    refusal,
    tell,
)
from proxy_cli.cli.kinds import Kind, OptionalText, Text
from proxy_cli.cli.of_file import setup_of
from proxy_cli.shapes import Json

if TYPE_CHECKING:
    from proxy_cli.server.setup import Setup

TIMEOUT_S: Final = 30.0
CHAT_PATH: Final = "/v1/chat/completions"
_HEADER: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The request that is explained."""

    body: bytes
    path: str = CHAT_PATH
    headers: Mapping[str, str]  # names in lower case


class HeaderLine(Kind):
    """A header as curl takes it; the value, which may be a key, is in no sentence."""

    name = "name:value"

    def read(self, text: str) -> tuple[str, str]:
        """Its name in lower case, and its value."""
        found = _HEADER.fullmatch(text.strip())
        if found is None or not found[2].strip().isprintable():
            raise ValueError("a header is written as name:value, on one line")
        return found[1].lower(), found[2].strip()


def run(asked: Asked, options: ClientOptions, environ: Mapping[str, str]) -> int:
    """Get the account and show it; the exit code."""
    try:
        of_proxy = options.url or options.host or options.port or not options.config
        told = _from_proxy(asked, options, environ) if of_proxy else _from_file(asked, options, environ)
    except ClientProblem as problem:
        return tell(problem, options)
    ok = told["refused"] is None
    if options.json:
        click.echo(json.dumps({"ok": ok, **told}, ensure_ascii=False, indent=2))
    else:
        from proxy_cli.cli.account import show  # noqa: PLC0415 - --help stays quick

        show(told)
    return 0 if ok else 1


def read_body(data: str | None) -> bytes:
    """The body that `-d` names: itself, `@` and a file, or (`-`, or nothing) standard input."""
    if data is not None and data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as failure:
            raise click.UsageError(f"the body cannot be read from {data[1:]!r}: {failure.strerror}") from None
    if data is not None and data != "-":
        return data.encode()
    if data is None and sys.stdin.isatty():
        raise click.UsageError("""give the request's body: -d '{"model": ...}', -d @FILE, or on standard input""")
    return sys.stdin.buffer.read()


def account_of(setup: "Setup", asked: Asked) -> Json:
    """The account of a request by a configuration alone, as a proxy would give it right after its start."""
    from proxy_cli.errors import GatewayError, InvalidRequest  # noqa: PLC0415 - commands import when they run
    from proxy_cli.routing.queue import Places  # noqa: PLC0415
    from proxy_cli.routing.router import Router  # noqa: PLC0415
    from proxy_cli.server.calls import Calls  # noqa: PLC0415
    from proxy_cli.server.counter import new_request_id, path_of  # noqa: PLC0415
    from proxy_cli.server.routes import Routes  # noqa: PLC0415
    from proxy_cli.server.wiring import dry_run_of  # noqa: PLC0415
    from proxy_cli.shapes import Record  # noqa: PLC0415

    chance = Random()  # noqa: S311 - which of equal servers is shown is no secret
    places = Places(setup.fleet, setup.rules, clock=time.monotonic)
    router = Router(setup.table, setup.fleet, setup.rules, random=chance, clock=time.monotonic, active=lambda: 0)
    dry_run = dry_run_of(setup, router, places, lambda _: True)
    record = Record(request_id=new_request_id(), route=asked.path, started_s=time.monotonic())
    try:
        match = Routes(root=setup.variables.server_root_path or "").match("POST", path_of(asked.path))
        if match.route.operation is None:
            raise InvalidRequest(f"{asked.path} asks no model; --path names one that does, as {CHAT_PATH}")
        headers = tuple(asked.headers.items())
        call = Calls(setup.table, limits=setup.limits).of_json(match, record, headers, asked.body, asked.path)
    except GatewayError as failure:
        return dry_run.of_refusal(failure)
    return dry_run.of_call(call)


def _from_file(asked: Asked, options: ClientOptions, environ: Mapping[str, str]) -> Json:
    return account_of(setup_of(options, environ), asked)


def _from_proxy(asked: Asked, options: ClientOptions, environ: Mapping[str, str]) -> Json:
    from proxy_cli.wire.steering import EXPLAIN_HEADER  # noqa: PLC0415

    client = Client(find_target(options, environ), find_key(options, environ), options.timeout or TIMEOUT_S)
    with client.exchange("POST", asked.path, asked.body, {**asked.headers, EXPLAIN_HEADER: "1"}) as reply:
        told = reply.json()
    if reply.status >= 400:
        raise ClientProblem(refusal(reply.status, told))
    if not isinstance(told, dict) or not {"refused", "candidates", "request"} <= told.keys():
        raise ClientProblem(
            f"{client.target}{asked.path} did not explain the request; is it the address of an llmproxy?"
        )
    return told


@click.command(
    params=[
        click.Option(["-d", "--data"], type=OptionalText(), help="The request's body; @FILE, or - for standard input."),
        click.Option(["--path"], type=Text(), default=CHAT_PATH, help=f"The path it goes to ({CHAT_PATH})."),
        click.Option(["-H", "--header"], type=HeaderLine(), multiple=True, help="A header of it, as name:value."),
        *client_parameters(),
    ]
)
def explain(data: str | None, path: str, header: tuple[tuple[str, str], ...], **_values: object) -> int:
    """Say what would become of a request: who would be asked, why, and what would be sent. Nothing is.

    With --config the file alone is asked; with --url, or without a file, a running proxy.
    """
    asked = Asked(body=read_body(data), path=path if path.startswith("/") else f"/{path}", headers=dict(header))
    options, environ = given()
    return run(asked, options, environ)
