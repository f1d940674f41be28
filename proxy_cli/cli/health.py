"""`llmproxy --health`, `llmproxy health`: does every model answer?

With a file, every model of it is asked at its own backend, all at once, over the same path that a served request
takes: no proxy has to run. Without one, the running proxy is told to ask them. Exit code 1 when one fails.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
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
from proxy_cli.cli.of_file import setup_of
from proxy_cli.shapes import Deployment, Json

if TYPE_CHECKING:
    from rich.table import Table

    from proxy_cli.providers.base import Provider
    from proxy_cli.secret import Scrubber
    from proxy_cli.server.probes import Probe
    from proxy_cli.server.setup import Setup
    from proxy_cli.upstream.client import Upstream

# A proxy asks its deployments one after the other, and each may take a minute.
PROXY_TIMEOUT_S: Final = 600.0
BACKEND_TIMEOUT_S: Final = 60.0
_NOT_SUPPORTED: Final = 501
_PATH: Final = "/health/test"
_NO_SUCH_PATH: Final = frozenset({404, 405})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is known of one model now."""

    model: str
    backend: str
    ok: bool
    asked: bool  # wildcards, and kinds that have no cheap request, are not
    latency_s: float
    why: str = ""

    @property
    def failed(self) -> bool:
        """Whether it was asked and did not answer."""
        return self.asked and not self.ok


def run(options: ClientOptions, environ: Mapping[str, str] = os.environ) -> int:
    """Ask every model and show what came of it; the exit code."""
    try:
        findings = _from_file(options, environ) if options.config else _from_proxy(options, environ)
    except ClientProblem as problem:
        return tell(problem, options)
    ok = not any(finding.failed for finding in findings)
    if options.json:
        told = {"ok": ok, "models": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        _show(findings)
    return 0 if ok else 1


async def ask_all(
    deployments: Sequence[Deployment],
    upstream: "Upstream",
    providers: "Callable[[Deployment], Provider]",
    *,
    scrubber: "Scrubber",
    timeout_s: float = BACKEND_TIMEOUT_S,
    on_answer: Callable[[], None] = lambda: None,
) -> list[Finding]:
    """Ask every deployment at once; `on_answer` is called as each has been heard."""
    from proxy_cli.server.probes import probe  # noqa: PLC0415 - commands import when they run

    async def ask(deployment: Deployment) -> Finding:
        result = await probe(deployment, upstream, providers, clock=time.monotonic, timeout_s=timeout_s)
        on_answer()
        return _finding(result, scrubber)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(deployment)) for deployment in deployments]
    return [task.result() for task in tasks]


def _finding(result: "Probe", scrubber: "Scrubber") -> Finding:
    deployment = result.deployment
    return Finding(
        model=deployment.group,
        backend="mock_response" if deployment.mock_response is not None else deployment.url("").rstrip("/"),
        ok=result.ok,
        asked=result.ok or _was_asked(deployment.model, result.status, result.latency_s),
        latency_s=round(result.latency_s, 4),
        why=scrubber.scrub(result.why),
    )


def _was_asked(model: str, status: int, latency: float) -> bool:
    """A probe that never went out took no time at all."""
    return latency > 0 or not ("*" in model or status == _NOT_SUPPORTED)


def _from_file(options: ClientOptions, environ: Mapping[str, str]) -> list[Finding]:
    return asyncio.run(_ask_setup(setup_of(options, environ), options.timeout or BACKEND_TIMEOUT_S))


async def _ask_setup(setup: "Setup", timeout_s: float) -> list[Finding]:
    from rich.progress import Progress  # noqa: PLC0415

    from proxy_cli.cli.console import console_of  # noqa: PLC0415
    from proxy_cli.providers.table import provider_for  # noqa: PLC0415
    from proxy_cli.upstream.client import Upstream  # noqa: PLC0415

    upstream = Upstream(pool_limit=setup.pool_limit)
    console = console_of(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("Asking every model", total=len(setup.table.deployments))
            return await ask_all(
                setup.table.deployments,
                upstream,
                provider_for,
                scrubber=setup.scrubber,
                timeout_s=timeout_s,
                on_answer=lambda: progress.advance(task),
            )
    finally:
        await upstream.close()


def _from_proxy(options: ClientOptions, environ: Mapping[str, str]) -> list[Finding]:
    client = Client(find_target(options, environ), find_key(options, environ), options.timeout or PROXY_TIMEOUT_S)
    with _waiting(f"Asking {client.target} to try its models ..."), client.exchange("POST", _PATH) as reply:
        told = reply.json()
    if reply.status in _NO_SUCH_PATH or (reply.status < 400 and not _is_ours(told)):
        raise ClientProblem(f"{client.target}{_PATH} did not answer as an llmproxy does; is it the right address?")
    if reply.status >= 400:
        raise ClientProblem(refusal(reply.status, told))
    healthy, unhealthy = told["healthy_endpoints"], told.get("unhealthy_endpoints", [])
    return [*(_told(entry, ok=True) for entry in healthy), *(_told(entry, ok=False) for entry in unhealthy)]


def _is_ours(told: Json) -> bool:
    return isinstance(told, dict) and "healthy_endpoints" in told


def _told(entry: Json, *, ok: bool) -> Finding:
    latency_s = float(entry.get("latency_ms") or 0) / 1000
    model = str(entry.get("model_name") or entry.get("model"))
    status = int(entry.get("exception_status") or 0)
    return Finding(
        model=model,
        backend=str(entry.get("api_base", "")),
        ok=ok,
        asked=ok or _was_asked(str(entry.get("model", "")), status, latency_s),
        latency_s=latency_s,
        why=str(entry.get("error", "")),
    )


def _show(findings: Iterable[Finding]) -> None:
    from proxy_cli.cli.console import console_of  # noqa: PLC0415

    console_of().print(_table(findings))


def _table(findings: Iterable[Finding]) -> "Table":
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("Model", "Backend", "OK", "Latency", "Why not")
    for finding in findings:
        mark, style = _mark(finding)
        latency = f"{finding.latency_s * 1000:.0f} ms" if finding.asked else "-"
        # Text, not markup: a backend's words are not ours, and may hold brackets or control characters.
        cells = [finding.model, finding.backend, mark, latency, finding.why]
        table.add_row(*(Text(_printable(cell), overflow="fold") for cell in cells), style=style)
    return table


def _mark(finding: Finding) -> tuple[str, str | None]:
    if not finding.asked:
        return "not asked", "dim"
    return ("yes", None) if finding.ok else ("NO", "red")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _waiting(what: str) -> AbstractContextManager[object]:
    """A sign of life on a terminal, on standard error: the result is all that goes to standard output."""
    from proxy_cli.cli.console import console_of  # noqa: PLC0415

    return console_of(stderr=True).status(what)


@click.command(params=client_parameters())
def health(**_values: object) -> int:
    """Ask every model of a file once, or a running proxy for what it knows."""
    return run(*given())
