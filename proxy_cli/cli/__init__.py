"""The door: the Click group. A command's module is imported when the command is named, and not before.

`--help` and `--version` must stay quick, so nothing that is imported here may reach for the server, the settings or
rich. Without a command the group serves; options before a command count for it as well.
"""

import difflib
import importlib
from pathlib import Path
from typing import Final

import click

from proxy_cli import __version__
from proxy_cli.cli.options import OPTIONS, Option, click_options

# Name to what the help page says of it; the command `x` is the attribute `x` of the module `proxy_cli.cli.x`.
COMMANDS: Final = {
    "serve": "Serve the models of a file (also without naming the command).",
    "check": "Check a file without serving it: problems, models, every key's state.",
    "init": "Write a first file, with comments.",
    "health": "Ask every model of a file once; or the proxy, without a file.",
    "backend": "See how a running proxy's backends stand; drain, disable or resume one.",
    "explain": "Say what would become of a request: who is asked, why, and what is sent.",
    "test": "Send a running proxy a test request, plain and streamed.",
    "keys": "Make keys of a running proxy, see, change, revoke and rotate them.",
    "teams": "Make teams of a running proxy, see, change and delete them.",
    "users": "Make users of a running proxy, see, change and delete them.",
    "budgets": "Make named budgets of a running proxy, see, change and delete them.",
    "spend": "Say what was spent at a running proxy, by model, key, team, user or tag.",
    "prices": "Say what models cost; take newer prices from a file.",
    "db": "Look after the database: upgrade, check, backup, copy, rotate.",
    "mock": "A backend to try things with: deterministic answers, errors on request.",
}

# They read all options of the group, which mean the same to them.
_TAKE_ALL: Final = ("serve", "check")

_EPILOG = (
    "LiteLLM's other options are accepted as well, and each says at start why it does nothing. "
    "Options may be spelled with - or _."
)


class Sectioned(click.Command):
    """A command whose help page shows the options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections in the order of the table."""
        sections: dict[str, list[tuple[str, str]]] = {}
        rows: dict[str, Option] = {option.name: option for option in OPTIONS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                row = rows.get(str(parameter.name))
                sections.setdefault(row.section if row else "Help", []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Door(Sectioned, click.Group):
    """The group: serves without a command, imports a command when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """The commands in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - Click's
        """Import the command that is named."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"proxy_cli.cli.{cmd_name}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named, or a sentence with what may have been meant."""
        name = args[0]
        if name not in COMMANDS:
            raise click.UsageError(f"there is no command {name!r}; {_meant(name)}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands first, then the options in sections."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        Sectioned.format_options(self, ctx, formatter)


def _meant(name: str) -> str:
    if name.endswith((".yaml", ".yml", ".json")) or Path(name).is_file():
        return f"to serve a file: llmproxy --config {name}"
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(COMMANDS)}"


def _print_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"llmproxy {__version__}")
        ctx.exit()


def _serve(**_values: object) -> int:
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is not None:
        _hand_down(ctx, ctx.invoked_subcommand)
        return 0
    from proxy_cli.cli.serve import start  # noqa: PLC0415 - --help and --version stay quick

    return start(ctx.params)


def _hand_down(ctx: click.Context, name: str) -> None:
    """Make options that stand before a command the command's own, or say that it has no such option."""
    command = group.get_command(ctx, name)
    assert command is not None, "the group has found it"
    given = {option: value for option, value in ctx.params.items() if value is not None}
    own = {flag.lstrip("-"): option for option in command.params for flag in option.opts}
    foreign = [option for option in given if option not in own]
    if foreign and name not in _TAKE_ALL:
        raise click.UsageError(f"--{foreign[0]} is not an option of `llmproxy {name}`; see llmproxy {name} --help")
    taken = {own[option]: value for option, value in given.items() if option in own}
    ctx.default_map = {
        name: {str(option.name): [value] if option.multiple else value for option, value in taken.items()}
    }


def version_option() -> click.Option:
    """`--version`, which ends the program once it has printed."""
    return click.Option(
        ["-v", "--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Print the version and exit.",
    )


group = Door(
    "llmproxy",
    params=[*click_options(), version_option()],
    callback=_serve,
    invoke_without_command=True,
    help="One OpenAI-compatible address for every model a team runs or rents: a drop-in for LiteLLM Proxy.",
    epilog=_EPILOG,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        # Both spellings of every option, for the commands below as well; the help page shows one.
        "token_normalize_func": lambda token: token.replace("-", "_"),
    },
)
