"""The group: what it offers, how it is spelled, and what it says to what it does not know."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from proxy_cli.cli import COMMANDS, group
from proxy_cli.cli.options import OPTIONS
from tests.fakes.command import ask

HEAVY = {"aiohttp", "pydantic", "rich", "uvloop", "yaml", "msgspec", "asyncio", "proxy_cli.server"}


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["-v"]])
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
        (["--temperature", "1", "mock"], "--temperature is not an option of `llmproxy mock`; see llmproxy mock --help"),
        (["--key", "sk-secret", "init"], "--key is not an option of `llmproxy init`"),
        (["serve", "config.yaml"], "'config.yaml' is no option; to serve a file: llmproxy --config config.yaml"),
        (["--config", "a", "--key", "sk-secret"], "--key belongs to --health and --test, and this line serves"),
        (["--model", "openai/m", "--api_base", "a b"], "Invalid value for '--api_base': the address holds a blank"),
    ],
)
def test_unknown_words_are_one_sentence_with_what_was_meant(command, arguments, sentence):
    """Exit code 2, nothing on standard output, one line."""
    done = command.run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_options_before_a_command_are_the_commands_own(command, port):
    """`llmproxy --port N --model m mock` is `llmproxy mock --port N --model m`."""
    command.serve("--port", str(port), "--model", "own", "mock", port=port)

    assert [model["id"] for model in ask(port)[1]["data"]] == ["own"]


def test_version_is_told_after_serve_too(command):
    """`serve` takes every option of the group."""
    assert command.run("serve", "-v").stdout == command.run("--version").stdout


def test_a_working_folder_that_is_gone_is_one_sentence(command):
    """No traceback, and what to do."""
    gone = command.folder / "gone"
    gone.mkdir()

    code = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); from proxy_cli.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "check"], env=command.environ({}), capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "llmproxy: the working folder does not exist any more; change to one that does\n"


def test_output_on_a_full_disk_is_one_sentence(command):
    """What cannot be written is told where it can be."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "proxy_cli", "check", "--schema"],
            cwd=command.folder,
            env=command.environ({}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert done.returncode == 1
    assert done.stderr == "llmproxy: what it has to say cannot be written: No space left on device\n"
