"""`llmproxy serve`, and `llmproxy` without a command: from the command line to a listening server.

The order is that of cheapness: what the command line alone can tell is told first, then what the file says, then
whether the certificate and the port can be had; only then is a process started.
"""

import gc
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from proxy_cli import __version__
from proxy_cli.cli import Sectioned, saved
from proxy_cli.cli.options import Values, click_options, flags_from, unused, with_variables
from proxy_cli.cli.surroundings import Surroundings, gather
from proxy_cli.config.flags import Flags

if TYPE_CHECKING:
    from proxy_cli.cli.client import ClientOptions
    from proxy_cli.server.setup import Setup
    from proxy_cli.server.workers import Plan

    Run = Callable[[ClientOptions, Mapping[str, str]], int]

_LATER: Final = ("use_queue", "test_async", "num_requests")
_NOTHING_TO_SERVE: Final = (
    "nothing to serve: name a file with --config, or a model with --model; `llmproxy init` writes a first file"
)
_NO_GUNICORN: Final = "--run_gunicorn needs gunicorn, which is not installed: pip install 'llmproxy[gunicorn]'"
_PIPE_WIDTH: Final = 160  # of a table that no terminal limits
_TELEMETRY: Final = "--telemetry changes nothing: llmproxy never phones home"


def _serve(**_values: object) -> int:
    ctx = click.get_current_context()
    before = ctx.parent.params if ctx.parent else {}
    # What stands after the command wins over what stands before it.
    return start({**before, **{name: value for name, value in ctx.params.items() if value is not None}})


serve = Sectioned(
    "serve", params=click_options(), callback=_serve, help="Serve the models of a file, or one model without a file."
)


def start(values: Values) -> int:
    """Do what one command line asks for; the exit code."""
    surroundings = gather(os.environ, Path.cwd())
    chosen = with_variables(values, surroundings.variables)
    _refuse_what_comes_later(chosen)
    for option, action in _INSTEAD.items():
        if chosen.get(option) is not None:
            return action(chosen, surroundings)
    kept = _keep(chosen, surroundings)
    if chosen.get("model") is not None:
        chosen = saved.with_saved_model(saved.folder(surroundings.environ), chosen)
    flags = flags_from(chosen)
    if flags.config is None and flags.model is None:
        if kept:
            return 0
        raise click.UsageError(_NOTHING_TO_SERVE)
    notes = [*surroundings.notes, *unused(chosen)]
    if chosen.get("telemetry") is not None:
        notes.append(_TELEMETRY)
    _say(notes)
    if chosen.get("skip_server_startup") is not None:
        _say(["--skip_server_startup: there is no database to set up yet, so nothing was done"])
        return 0
    return _listen(flags, surroundings)


def _refuse_what_comes_later(values: Values) -> None:
    option = next((name for name in _LATER if values.get(name) is not None), None)
    if option is not None:
        raise click.UsageError(f"--{option} comes with a later version of llmproxy: there is no request queue yet")


def _keep(values: Values, surroundings: Surroundings) -> bool:
    """Keep what --add_key and --save ask for; whether there was anything."""
    place = saved.folder(surroundings.environ)
    assignment = values.get("add_key")
    if isinstance(assignment, tuple):
        name, secret = assignment
        _say([f"the key {name} is kept in {saved.keep_key(place, name, secret)}"])
    if values.get("save") is None:
        return assignment is not None
    if values.get("model") is None:
        raise click.UsageError("--save keeps the defaults of one model; name it with --model")
    entry, file = saved.keep_model(place, values)
    _say([f"the defaults of {entry!r} are kept in {file}; use them with --model {entry}"])
    return True


def _listen(flags: Flags, surroundings: Surroundings) -> int:
    """Load, check, open the port and serve."""
    from proxy_cli.server.listen import CannotListen, check_address  # noqa: PLC0415 - loaded only to serve
    from proxy_cli.server.tls import UnusableTls  # noqa: PLC0415

    try:
        # Before the rest is even imported: who has typed the wrong port need not wait for it.
        check_address(flags.listen_host(), flags.listen_port())
    except CannotListen as problem:
        raise click.ClickException(str(problem)) from problem

    from proxy_cli.server.setup import prepare  # noqa: PLC0415

    gc.disable()  # a large file makes a million small objects, all of which stay
    prepared = prepare(flags, surroundings.environ, surroundings.sources)
    gc.freeze()
    gc.enable()
    for line in (*prepared.problems, *prepared.sentences):
        click.echo(str(line), err=True)
    if prepared.setup is None:
        return 2
    try:
        return _run(prepared.setup)
    except UnusableTls as problem:
        raise click.UsageError(str(problem)) from problem
    except CannotListen as problem:
        raise click.ClickException(str(problem)) from problem


def _run(setup: "Setup") -> int:
    """Open the port, set up the log, and serve until the end."""
    from proxy_cli.server.app import Server  # noqa: PLC0415
    from proxy_cli.server.listen import open_listeners  # noqa: PLC0415
    from proxy_cli.server.tls import tls_context  # noqa: PLC0415
    from proxy_cli.server.workers import Plan  # noqa: PLC0415
    from proxy_cli.telemetry.log import configure  # noqa: PLC0415

    flags = setup.flags
    run = _way_to_run(flags)
    tls = tls_context(flags.ssl_certfile, flags.ssl_keyfile, datetime.now(UTC))
    plan = Plan(
        make=lambda: Server(setup),
        enter=setup.budget.enter_process,
        listeners=open_listeners(setup.host, setup.port, 1 if flags.run_gunicorn else flags.num_workers),
        tls=tls,
        on_ready=lambda: _announce(setup, secure=tls is not None),
        max_requests=flags.max_requests_before_restart,
        max_requests_jitter=flags.max_requests_before_restart_jitter,
    )
    logs = configure(
        setup.level,
        json_logs=setup.config.litellm_settings.json_logs,
        log_level=setup.variables.log_level,
        local=flags.local,
        scrubber=setup.scrubber,
    )
    try:
        return run(plan)
    finally:
        # Also in the worker processes, which leave through here.
        logs.close()


def _announce(setup: "Setup", *, secure: bool) -> None:
    """Say what is served and where."""
    from rich.console import Console  # noqa: PLC0415

    from proxy_cli.cli.banner import print_table  # noqa: PLC0415
    from proxy_cli.cli.rows import model_rows  # noqa: PLC0415

    plain = setup.host.strip("[]")
    host = f"[{plain}]" if ":" in plain else plain
    console = Console(stderr=True, highlight=False)
    print_table(
        console if console.is_terminal else Console(stderr=True, highlight=False, width=_PIPE_WIDTH),
        model_rows(setup.table.deployments),
        [f"{'https' if secure else 'http'}://{host}:{setup.port}"],
        warnings=setup.notes,
        version=__version__,
        json_logs=setup.config.litellm_settings.json_logs,
        needs_key=setup.keys.required,
    )


def _way_to_run(flags: Flags) -> "Callable[[Plan], int]":
    """Through our own parent of workers, or through gunicorn's."""
    if not flags.run_gunicorn:
        from proxy_cli.server.workers import run  # noqa: PLC0415

        return run
    try:
        from proxy_cli.server import gunicorn_worker  # noqa: PLC0415 - an optional extra
    except ImportError as problem:
        raise click.ClickException(_NO_GUNICORN) from problem
    return lambda plan: gunicorn_worker.run(plan, flags.num_workers)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(f"llmproxy: {line}", err=True)


def _setup(values: Values, _surroundings: Surroundings) -> int:
    from proxy_cli.cli.init import DEFAULT_FILE, write  # noqa: PLC0415

    return write(Path(str(values.get("config") or DEFAULT_FILE)))


def _validate(values: Values, surroundings: Surroundings) -> int:
    from proxy_cli.cli.check import report  # noqa: PLC0415

    flags = flags_from(values)
    if flags.config is None:
        raise click.UsageError("--validate_config needs a file; name it with --config")
    # LiteLLM's exit codes: 0 or 1.
    return min(report(flags, surroundings, as_json=values.get("json") is not None), 1)


def _health(values: Values, surroundings: Surroundings) -> int:
    from proxy_cli.cli.health import run  # noqa: PLC0415

    return _client(run, values, surroundings)


def _test(values: Values, surroundings: Surroundings) -> int:
    from proxy_cli.cli.test import run  # noqa: PLC0415

    return _client(run, {**values, "url": values.get("test") or values.get("url")}, surroundings)


def _client(run: "Run", values: Values, surroundings: Surroundings) -> int:
    from proxy_cli.cli.client import ClientOptions, ClientProblem  # noqa: PLC0415

    flags = flags_from(values)
    options = ClientOptions(
        url=_text(values.get("url")),
        host=flags.host,
        port=flags.port,
        key=_text(values.get("key")),
        model=flags.model,
        config=str(flags.config) if flags.config else None,
        json=values.get("json") is not None,
        timeout=flags.request_timeout_s,
    )
    try:
        return run(options, surroundings.environ)
    except ClientProblem as problem:
        raise click.ClickException(str(problem)) from problem


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


_INSTEAD: Final[Mapping[str, Callable[[Values, Surroundings], int]]] = {
    "setup": _setup,
    "validate_config": _validate,
    "health": _health,
    "test": _test,
}
