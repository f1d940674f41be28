"""`llmproxy db`: the database that a proxy keeps keys and spend in, without a proxy.

`upgrade` makes it and brings its tables up, `check` looks at it and changes nothing, `backup` copies a SQLite database
while it is in use, `copy` moves everything into another database and proves that it has arrived, `rotate` seals the
secrets of stored models with the present key. Which database it is, is found as a proxy finds it: the file's
`database_url`, else DATABASE_URL, else the usual file.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from proxy_cli.cli.client import ClientOptions, ClientProblem, given, tell
from proxy_cli.cli.columns import columns
from proxy_cli.cli.kinds import Text
from proxy_cli.secret import Secret
from proxy_cli.shapes import Json

if TYPE_CHECKING:
    from proxy_cli.store.settings import StoreSettings

_VARIABLE: Final = "os.environ/"
_ACTIONS: Final = ("upgrade", "check", "backup", "copy", "rotate")


class DatabaseProblem(ClientProblem):
    """The database is at fault, or how it is named."""


def run(action: str, name: str | None, to: str | None, options: ClientOptions, environ: Mapping[str, str]) -> int:
    """Do what was asked for and show what came of it; the exit code."""
    from proxy_cli.store.failures import StoreProblem  # noqa: PLC0415 - --help stays quick

    try:
        settings = find_database(options, environ)
        match action:
            case "upgrade":
                return _upgrade(settings, options)
            case "check":
                return _check(settings, options)
            case "backup":
                return _backup(settings, Path(name or ""), options)
            case "rotate":
                return _rotate(settings, to or "", options, environ)
            case _:
                return _copy(settings, to or "", options, environ)
    except StoreProblem as problem:
        return tell(DatabaseProblem(str(problem)), options)
    except ClientProblem as problem:
        return tell(problem, options)


def find_database(options: ClientOptions, environ: Mapping[str, str]) -> "StoreSettings":
    """The database that a proxy with this file and these variables uses. Raises StoreProblem or ClientProblem."""
    from proxy_cli.config.load import load  # noqa: PLC0415
    from proxy_cli.store.settings import data_dir, settings_of  # noqa: PLC0415

    if options.config is None:
        return settings_of(None, environ, data_dir(environ))
    loaded = load(Path(options.config), environ)
    if loaded.config is None:
        for problem in loaded.problems:
            click.echo(str(problem), err=True)
        raise DatabaseProblem(f"{options.config} cannot be used; `llmproxy check` shows all that is wrong with it")
    general = loaded.config.general_settings
    return settings_of(
        general.database_url,
        loaded.environ,
        data_dir(loaded.environ),
        pool=general.database_connection_pool_limit,
        timeout_s=general.database_connection_timeout,
    )


def _upgrade(settings: "StoreSettings", options: ClientOptions) -> int:
    from proxy_cli.store.schema import migrate  # noqa: PLC0415

    done = migrate(settings)
    was = f"was {done.before}" if done.before else "there were no tables"
    told = f"{was}, now {done.after}" if done.has_changed else f"{done.after}, nothing to do"
    result = {"database": settings.shown, "before": done.before, "after": done.after, "changed": done.has_changed}
    return _say(result, f"{settings.shown}: {told}", options)


def _check(settings: "StoreSettings", options: ClientOptions) -> int:
    from proxy_cli.store.survey import survey  # noqa: PLC0415

    found = asyncio.run(survey(settings))
    verdict = "ok"
    if found.damage:
        verdict = f"it is damaged ({found.damage}); put a backup in its place"
    elif not found.is_good:
        verdict = f"its tables are of version {found.version or 'none'}, not {found.newest}; run `llmproxy db upgrade`"
    result = {"database": settings.shown, "version": found.version, "bytes": found.bytes, "rows": found.rows}
    lines = [f"  {line}" for line in columns([(name, str(count)) for name, count in found.rows.items()])]
    text = "\n".join([f"{settings.shown}: version {found.version or 'none'}, {found.bytes:,} bytes", *lines, verdict])
    _say({"ok": found.is_good, **result, "verdict": verdict}, text, options)
    return 0 if found.is_good else 1


def _backup(settings: "StoreSettings", target: Path, options: ClientOptions) -> int:
    from proxy_cli.store.backup import back_up  # noqa: PLC0415

    if settings.path is None:
        raise DatabaseProblem(f"{settings.shown} is not a file; PostgreSQL's own pg_dump makes a backup of it")
    size = back_up(settings.path, target)
    text = (
        f"{settings.shown} was copied to {target} ({size:,} bytes); to restore, stop the proxy and put it in its place"
    )
    return _say({"database": settings.shown, "backup": str(target), "bytes": size}, text, options)


def _copy(settings: "StoreSettings", to: str, options: ClientOptions, environ: Mapping[str, str]) -> int:
    from proxy_cli.money import usd_of  # noqa: PLC0415
    from proxy_cli.store.copying import copy_all  # noqa: PLC0415
    from proxy_cli.store.settings import settings_of  # noqa: PLC0415

    target = settings_of(_named("--to", to, environ), {}, Path())
    copied = asyncio.run(copy_all(settings, target))
    rows = [
        (each.table, str(each.rows), "" if each.nano is None else f"{usd_of(each.nano):.9f} USD") for each in copied
    ]
    head = f"{settings.shown} was copied to {target.shown}; rows and sums were compared and are the same:"
    result = {
        "from": settings.shown,
        "to": target.shown,
        "tables": [{"table": each.table, "rows": each.rows, "nano_usd": each.nano} for each in copied],
    }
    return _say(result, "\n".join([head, *(f"  {line.rstrip()}" for line in columns(rows))]), options)


def _rotate(settings: "StoreSettings", from_key: str, options: ClientOptions, environ: Mapping[str, str]) -> int:
    from proxy_cli.admin.stored import rotate  # noqa: PLC0415
    from proxy_cli.errors import GatewayError  # noqa: PLC0415
    from proxy_cli.store.opening import open_store  # noqa: PLC0415

    if settings.path is not None and not settings.path.exists():
        raise DatabaseProblem(f"{settings.shown} is not there, so nothing in it is sealed")
    former, present = Secret(_named("--from-key", from_key, environ)), _present_key(options, environ)

    async def sealed_anew() -> int:
        store = open_store(settings)
        try:
            return await store.write(lambda connection: rotate(connection, former, present))
        finally:
            await store.close()

    try:
        count = asyncio.run(sealed_anew())
    except GatewayError as problem:
        raise DatabaseProblem(problem.message) from problem
    text = f"{settings.shown}: the secrets of {count} stored models are sealed with the present key; restart the proxy"
    return _say({"database": settings.shown, "models": count}, text, options)


def _present_key(options: ClientOptions, environ: Mapping[str, str]) -> Secret:
    """What a proxy with this file and these variables seals with. Raises DatabaseProblem where that is nothing."""
    from proxy_cli.config.environment import read_environment  # noqa: PLC0415
    from proxy_cli.config.load import load  # noqa: PLC0415

    loaded = load(Path(options.config), environ) if options.config is not None else None
    of_file = loaded.config.general_settings.master_key if loaded is not None and loaded.config is not None else None
    variables, _ = read_environment(loaded.environ if loaded is not None else environ)
    key = variables.salt_key or of_file or variables.master_key
    if key is None:
        raise DatabaseProblem("there is no key to seal with: set LITELLM_SALT_KEY, or a master_key (-c names the file)")
    return key


def _named(option: str, value: str, environ: Mapping[str, str]) -> str:
    """The value itself, or that of the variable it names: who lists processes would see a secret."""
    name = value.removeprefix(_VARIABLE)
    if name == value:
        return value
    if not environ.get(name):
        raise DatabaseProblem(f"{option} names the variable {name}, which is not set")
    return environ[name]


def _say(result: dict[str, Json], text: str, options: ClientOptions) -> int:
    told = json.dumps({"ok": True, **result}, ensure_ascii=False, indent=2) if options.json else text
    click.echo(told)
    return 0


@click.command(
    params=[
        click.Argument(["action"], type=click.Choice(_ACTIONS)),
        click.Argument(["name"], metavar="[FILE]", required=False, type=Text()),
        click.Option(
            ["--to"],
            type=Text(),
            help="Where `copy` moves everything: postgresql://..., a path, or os.environ/NAME.",
        ),
        click.Option(
            ["--from-key"],
            type=Text(),
            help="The key that `rotate` opens secrets with: os.environ/NAME.",
        ),
        click.Option(["-c", "--config"], type=Text(), help="The YAML file (else DATABASE_URL, else the usual place)."),
        click.Option(["--json"], is_flag=True, default=None, help="Print the result as JSON."),
    ]
)
def db(action: str, name: str | None, to: str | None, from_key: str | None, **_values: object) -> int:
    """Look after the database of keys and spend.

    `upgrade` makes it and brings its tables up; `check` looks at it and changes nothing; `backup FILE` copies a SQLite
    database, also while a proxy uses it; `copy --to URL` moves everything into an empty database and compares the sums;
    `rotate --from-key os.environ/NAME` seals the secrets of stored models with the key that is set now.
    """
    if (action == "backup") != (name is not None):
        raise click.UsageError("name a file with `backup`, and with it alone: llmproxy db backup FILE")
    if (action == "copy") != (to is not None):
        raise click.UsageError("--to goes with `copy`, which needs it: llmproxy db copy --to postgresql://...")
    if (action == "rotate") != (from_key is not None):
        raise click.UsageError(
            "--from-key goes with `rotate`, which needs it: llmproxy db rotate --from-key os.environ/OLD"
        )
    options, environ = given()
    return run(action, name, to or from_key, options, environ)
