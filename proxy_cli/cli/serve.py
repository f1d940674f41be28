"""`llmproxy serve`, and `llmproxy` without a command: from the command line to a listening server.

The order is that of cheapness: what the command line alone can tell is told first, then what the file says, then
whether the certificate and the port can be had; only then is a process started.
"""

import contextlib
import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from proxy_cli import __version__
from proxy_cli.cli import Sectioned, saved, version_option
from proxy_cli.cli.agreement import disagreement, idle
from proxy_cli.cli.options import Values, click_options, flags_from, unused, with_variables
from proxy_cli.cli.say import Level, say, say_all
from proxy_cli.cli.surroundings import Surroundings, gather, working_folder
from proxy_cli.config.flags import Flags

if TYPE_CHECKING:
    from proxy_cli.cli.client import ClientOptions
    from proxy_cli.config.problem import Problem
    from proxy_cli.processes.workers import Plan
    from proxy_cli.server.admin_address import AdminAddress
    from proxy_cli.server.reload import Renewal
    from proxy_cli.server.setup import Prepared, Setup

    Run = Callable[[ClientOptions, Mapping[str, str]], int]

_LATER: Final = ("use_queue", "test_async", "num_requests")
_NOTHING_TO_SERVE: Final = (
    "nothing to serve: name a file with --config, or a model with --model; `llmproxy init` writes a first file"
)
_NO_GUNICORN: Final = "--run_gunicorn needs gunicorn, which is not installed: pip install gunicorn"
_CERTIFICATES: Final = "SSL_CERT_FILE"  # OpenSSL's own name for where they are
_CLOSING_S: Final = 30.0  # for a worker's end, beyond what its requests may take
_LEVELS: Final[Mapping[str, Level]] = {"error": "ERROR", "warning": "WARNING", "note": "INFO"}
_TELEMETRY: Final = "--telemetry changes nothing: llmproxy never phones home"


def _serve(**_values: object) -> int:
    ctx = click.get_current_context()
    if ctx.args:
        raise click.UsageError(f"{ctx.args[0]!r} is no option; to serve a file: llmproxy --config {ctx.args[0]}")
    before = ctx.parent.params if ctx.parent else {}
    # What stands after the command wins over what stands before it.
    return start({**before, **{name: value for name, value in ctx.params.items() if value is not None}})


serve = Sectioned(
    "serve",
    params=[*click_options(), version_option()],
    callback=_serve,
    help="Serve the models of a file, or one model without a file.",
    context_settings={"allow_extra_args": True},
)


def start(values: Values) -> int:
    """Do what one command line asks for; the exit code."""
    _refuse_what_comes_later(values)
    if (sentence := disagreement(values)) is not None:
        raise click.UsageError(sentence)
    surroundings = gather(os.environ, working_folder())
    chosen = with_variables(values, surroundings.variables)
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
    notes = [*surroundings.notes, *unused(chosen), *idle(chosen)]
    if chosen.get("telemetry") is not None:
        notes.append(_TELEMETRY)
    if chosen.get("skip_server_startup") is not None:
        say_all([*notes, "--skip_server_startup: there is no database to set up yet, so nothing was done"])
        return 0
    return _listen(flags, _with_version(surroundings, flags), notes)


def _with_version(surroundings: Surroundings, flags: Flags) -> Surroundings:
    """With a file, --api_version is what Azure's models are asked with that name none."""
    if flags.config is None or flags.api_version is None:
        return surroundings
    return replace(surroundings, environ={**surroundings.environ, "AZURE_API_VERSION": flags.api_version})


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
        say_all([f"the key {name} is kept in {saved.keep_key(place, name, secret)}"])
    if values.get("save") is None:
        return assignment is not None
    if values.get("model") is None:
        raise click.UsageError("--save keeps the defaults of one model; name it with --model")
    entry, file = saved.keep_model(place, values)
    say_all([f"the defaults of {entry!r} are kept in {file}; use them with --model {entry}"])
    return True


def _listen(flags: Flags, surroundings: Surroundings, notes: Sequence[str]) -> int:
    """Load, check, open the port and serve."""
    from proxy_cli.processes.listen import CannotListen, check_address  # noqa: PLC0415 - loaded only to serve
    from proxy_cli.server.tls import UnusableTls  # noqa: PLC0415
    from proxy_cli.store.failures import StoreProblem  # noqa: PLC0415

    try:
        # Before the rest is even imported: who has typed the wrong port need not wait for it.
        check_address(flags.listen_host(), flags.listen_port())
    except CannotListen as problem:
        say_all(notes)
        raise click.ClickException(str(problem)) from problem
    prepared = _prepare(flags, surroundings)
    as_json = _wants_json(prepared)
    say_all(notes, as_json=as_json)
    _say_problems(prepared, as_json=as_json)
    if prepared.setup is None:
        return 2
    if (sentence := _parser_missing()) is not None:
        return _failed(sentence, 1, as_json=as_json)
    try:
        return _run(_with_books(prepared), lambda: _prepare_again(flags))
    except StoreProblem as problem:
        return _failed(str(problem), 2, as_json=as_json)
    except UnusableTls as problem:
        return _failed(str(problem), 2, as_json=as_json)
    except CannotListen as problem:
        return _failed(str(problem), 1, as_json=as_json)


def _with_books(prepared: "Prepared") -> "Prepared":
    """The same with the database open, where keys and money are kept in one. Raises StoreProblem."""
    assert prepared.setup is not None
    return replace(prepared, setup=prepared.setup.with_books())


def _parser_missing() -> str | None:
    """What is wrong with the parser of requests, where something is."""
    from proxy_cli.server.connection import HAS_COMPILED_PARSER, NO_COMPILED_PARSER  # noqa: PLC0415

    return None if HAS_COMPILED_PARSER else NO_COMPILED_PARSER


def _prepare(flags: Flags, surroundings: Surroundings) -> "Prepared":
    """All that is decided before the first socket."""
    gc.disable()  # modules and a large file make a million small objects, all of which stay: see `_run`
    with _without_certificates():
        from proxy_cli.server.setup import prepare  # noqa: PLC0415

    if flags.config is None:
        from proxy_cli.cli.single import refuse_bad_values  # noqa: PLC0415

        refuse_bad_values(flags)
    return prepare(flags, surroundings.environ, surroundings.sources)


def _prepare_again(flags: Flags) -> "Prepared":
    """The same once more while serving; variables of a `.env` file may have changed too."""
    from proxy_cli.server.setup import prepare  # noqa: PLC0415

    again = gather(os.environ, working_folder())
    return prepare(flags, _with_version(again, flags).environ, again.sources)


@contextlib.contextmanager
def _without_certificates() -> Iterator[None]:
    """Keep what is imported from reading the system's certificates.

    aiohttp reads all of them, twice, when it is imported: for a client of its own, which serves nothing here. That
    takes as long as a third of all else it does, and 3 MB. What we check backends by is made later (`upstream`).
    """
    before = os.environ.get(_CERTIFICATES)
    os.environ[_CERTIFICATES] = os.devnull
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CERTIFICATES]
        else:
            os.environ[_CERTIFICATES] = before


def _wants_json(prepared: "Prepared") -> bool:
    """Whether the log is to be JSON: then every line is, from the first on."""
    config = prepared.setup.config if prepared.setup else prepared.loaded.config if prepared.loaded else None
    return config is not None and config.litellm_settings.json_logs


def _say_problems(prepared: "Prepared", *, as_json: bool) -> None:
    for problem in prepared.problems:
        say(_told(problem, prepared), level=_LEVELS[str(problem.severity)], as_json=as_json)
    for sentence in prepared.sentences:
        say(sentence, level="WARNING" if prepared.setup else "ERROR", as_json=as_json)


def _told(problem: "Problem", prepared: "Prepared") -> str:
    if prepared.loaded is not None:
        return str(problem)
    from proxy_cli.cli.single import spoken  # noqa: PLC0415

    return spoken(problem)


def _failed(sentence: str, code: int, *, as_json: bool) -> int:
    say(sentence if as_json else f"llmproxy: {sentence}", level="ERROR", as_json=as_json)
    return code


def _run(prepared: "Prepared", again: "Callable[[], Prepared]") -> int:
    """Open the port, set up the log, and serve until the end."""
    from proxy_cli.processes.listen import open_listeners, unix_path  # noqa: PLC0415
    from proxy_cli.processes.open_files import raise_limit  # noqa: PLC0415
    from proxy_cli.processes.workers import Plan  # noqa: PLC0415
    from proxy_cli.server.app import Server  # noqa: PLC0415
    from proxy_cli.server.reload import File  # noqa: PLC0415
    from proxy_cli.server.tls import tls_context  # noqa: PLC0415
    from proxy_cli.telemetry.log import configure  # noqa: PLC0415

    setup = prepared.setup
    assert setup is not None
    flags = setup.flags
    run = _way_to_run(flags)
    tls = tls_context(flags.ssl_certfile, flags.ssl_keyfile, datetime.now(UTC))
    source = File(prepared, again, tls)
    few_files = [sentence] if (sentence := raise_limit()) else []
    admin = _admin_address(setup)
    plan = Plan(
        make=partial(Server, admin=admin),
        source=source,
        enter=setup.enter_process,
        listeners=open_listeners(setup.host, setup.port, 1 if flags.run_gunicorn else flags.num_workers),
        tls=tls,
        on_ready=lambda: _announce(setup, few_files, secure=tls is not None),
        on_reload=lambda renewal: _told_of(setup, renewal),
        flush=lambda: logs.close(),  # noqa: PLW0108 - there are none yet
        watches=flags.reload,
        patience_s=lambda: source.setup.grace.longest_s + _CLOSING_S,
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
    starter = os.getpid()
    gc.freeze()  # nor are they written to by the collector of a worker that shares them
    gc.enable()
    try:
        return run(plan)
    finally:
        # Also in the worker processes, which leave through here.
        logs.close()
        for listener in (*plan.listeners, *([admin.listener] if admin else [])):
            listener.close()
        for host in (setup.host, setup.config.general_settings.admin_bind or ""):
            if starter == os.getpid() and (path := unix_path(host)) is not None:
                path.unlink(missing_ok=True)


def _admin_address(setup: "Setup") -> "AdminAddress | None":
    """Where operators come in, if that is elsewhere. Raises CannotListen."""
    from proxy_cli.config.bind import parse_bind  # noqa: PLC0415
    from proxy_cli.processes.listen import open_listeners  # noqa: PLC0415
    from proxy_cli.server.admin_address import AdminAddress  # noqa: PLC0415

    bind = setup.config.general_settings.admin_bind
    return None if bind is None else AdminAddress(open_listeners(*parse_bind(bind))[0])


def _told_of(setup: "Setup", renewal: "Renewal") -> None:
    """Say and count what came of a configuration that was read again."""
    from proxy_cli.server.reload import tell  # noqa: PLC0415

    setup.metrics.count("llmproxy_config_reloads_total" if renewal.taken else "llmproxy_config_reload_failed_total")
    tell(renewal)


def _announce(setup: "Setup", warnings: Sequence[str], *, secure: bool) -> None:
    """Say what is served and where."""
    from proxy_cli.cli.banner import start_lines  # noqa: PLC0415
    from proxy_cli.cli.rows import model_rows  # noqa: PLC0415

    lines = start_lines(
        model_rows(setup.table.deployments),
        [_address(setup, secure=secure), *_admin_shown(setup)],
        warnings=[*setup.notes, *warnings],
        notes=setup.news,
        version=__version__,
        json_logs=setup.config.litellm_settings.json_logs,
        needs_key=setup.keys.required,
    )
    # Where nobody can read it, it is not worth failing for: callers wait.
    with contextlib.suppress(OSError):
        click.echo("\n".join(lines), err=True, color=False if os.environ.get("NO_COLOR") else None)


def _address(setup: "Setup", *, secure: bool) -> str:
    """Where callers find us."""
    if setup.host.startswith("unix:"):
        return setup.host
    plain = setup.host.strip("[]")
    host = f"[{plain}]" if ":" in plain else plain
    return f"{'https' if secure else 'http'}://{host}:{setup.port}"


def _admin_shown(setup: "Setup") -> list[str]:
    bind = setup.config.general_settings.admin_bind
    return [f"{bind} (admin)"] if bind else []


def _way_to_run(flags: Flags) -> "Callable[[Plan], int]":
    """Through our own parent of workers, or through gunicorn's."""
    if not flags.run_gunicorn:
        from proxy_cli.processes.supervisor import run  # noqa: PLC0415

        return run
    try:
        from proxy_cli.processes import gunicorn_worker  # noqa: PLC0415 - an optional extra
    except ImportError as problem:
        raise click.ClickException(_NO_GUNICORN) from problem
    return lambda plan: gunicorn_worker.run(plan, flags.num_workers)


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
