"""Serving through gunicorn: its master, our server in each worker."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

AT_MOST_S = 20


@pytest.fixture
def port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def serve(root, port):
    """Start the small program under gunicorn and wait until it is ready; whatever is left of it is killed."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, root / "tests/fakes/serving.py", str(port), *arguments, "gunicorn"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def get(port):
    """One request on a connection of its own; the process that answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=AT_MOST_S) as reply:
        return int(reply.read())


def test_gunicorn_serves_with_its_workers_and_ends_cleanly(serve, port):
    """The master answers nothing itself; a signal to it ends all with exit code 0. It writes no lines of its own."""
    process = serve("2", "-")

    answered = get(port)
    process.send_signal(signal.SIGTERM)

    assert answered != process.pid
    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""


def test_gunicorn_replaces_a_worker_after_its_number_of_requests(serve, port):
    """`--max_requests_before_restart` holds here too."""
    process = serve("1", "3")
    first, *_ = [get(port) for _ in range(3)]

    until = time.monotonic() + AT_MOST_S
    while Path(f"/proc/{first}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    now = get(port)
    process.send_signal(signal.SIGTERM)

    assert now != first
    assert process.wait(AT_MOST_S) == 0
