"""`llmproxy mock` as a process: serves, says where, takes its options, ends on a signal."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from proxy_cli.cli.mock import mock
from proxy_cli.mock.faults import CONTROLS

COMMAND = [sys.executable, "-c", "from proxy_cli.cli.mock import mock; mock()"]


@contextmanager
def running(root, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command with a free port, and the base URL that it prints."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+/v1", process.stdout.readline())
        assert found, process.stderr.read() if process.stderr else ""
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


def ask(url: str, **headers: str) -> tuple[int, str]:
    """Status and content of a chat answer."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "こんにちは"}]}).encode()
    request = urllib.request.Request(f"{url}/chat/completions", body, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request) as answer:
            return 200, json.load(answer)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]["message"]


def test_command_serves_until_it_is_told_to_end(root):
    """It prints where it serves, echoes Japanese, and ends with 0 on SIGTERM."""
    with running(root) as (url, process):
        answer = ask(url)
        process.send_signal(signal.SIGTERM)

        assert answer == (200, "こんにちは")
        assert process.wait(10) == 0


def test_key_and_fault_hold_for_every_request(root):
    """`--key` asks for the key; `--fault` makes each request suffer, as often as it says."""
    with running(root, "--key", "sk-mock", "--fault", "status=503 times=1") as (url, _):
        assert ask(url)[0] == 401
        assert ask(url, authorization="Bearer sk-mock")[0] == 503
        assert ask(url, authorization="Bearer sk-mock")[0] == 200


def test_port_in_use_is_one_sentence():
    """A busy port ends with 1 and what to do, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        result = CliRunner().invoke(mock, ["--port", str(busy.getsockname()[1])])

    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "choose another with --port" in result.output


@pytest.mark.parametrize(
    "options", [["--port", "abc"], ["--port", "70000"], ["--delay", "-1"], ["--fault", "statsu=1"]]
)
def test_bad_options_end_with_2(options):
    """What cannot be meant is a usage error that names the option."""
    result = CliRunner().invoke(mock, options)

    assert result.exit_code == 2
    assert options[0] in result.output


def test_help_names_every_control():
    """`--help` documents each control with what it does."""
    text = CliRunner().invoke(mock, ["--help"]).output

    assert all(name in text and control.help in text for name, control in CONTROLS.items())
