"""The group: what it offers, how it is spelled, and what it says to what it does not know."""

import json
import subprocess
import sys

import click
import pytest

from proxy_cli.cli import COMMANDS, group
from proxy_cli.cli.options import OPTIONS

HEAVY = {"aiohttp", "pydantic", "rich", "uvloop", "yaml", "msgspec", "asyncio", "proxy_cli.server"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-v"]])
def test_help_and_version_load_nothing_heavy(command, arguments):
    """Neither the server nor the settings' validation nor rich are needed to print a page."""
    code = (
        "import json, sys\n"
        "from proxy_cli.__main__ import run\n"
        "code = run(sys.argv[1:])\n"
        "print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=command.folder,
        env=command.environ({}),
        capture_output=True,
        text=True,
    )

    status, loaded = json.loads(done.stdout.splitlines()[-1])

    assert status == 0, done.stderr
    assert not HEAVY & set(loaded)


def test_version_is_one_line(command):
    """The program's name and its version."""
    done = command.run("-v")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("llmproxy 0.")
    assert done.stdout.count("\n") == 1


def test_help_shows_each_option_and_command_once(command):
    """One spelling of each; LiteLLM's that do nothing are named in a sentence only."""
    page = command.run("--help").stdout

    named = {word.rstrip(",") for line in page.splitlines() for word in line.split()[:2] if line.startswith("  -")}
    shown = {option.flag for option in OPTIONS if option.section != "LiteLLM's"}
    assert shown <= named
    assert not {word for word in named if word.startswith("--") and "-" in word[2:]}
    assert not {option.flag for option in OPTIONS if option.section == "LiteLLM's"} & named
    assert all(f"\n  {name} " in page for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_of_the_table_exist(name):
    """Each name leads to a command of its own module."""
    found = group.get_command(click.Context(group), name)

    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--prot", "1"], "No such option '--prot'"),
        (["--num-worker", "1"], "--num_workers"),
        (["chek"], "there is no command 'chek'; did you mean check?"),
        (["xai-oauth", "login"], "there is no command 'xai-oauth'; known: serve, check"),
        (["config.yaml"], "there is no command 'config.yaml'; to serve a file: llmproxy --config config.yaml"),
        (["--port"], "Option '--port' requires an argument"),
    ],
)
def test_unknown_words_are_one_sentence_with_what_was_meant(command, arguments, sentence):
    """Exit code 2, nothing on standard output, one line."""
    done = command.run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
