"""Processes on one port, with real processes, signals and sockets."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
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
    """Start the small program and wait until it is ready; whatever is left of it is killed."""
    started = []

    def start(*arguments, wait=True):
        process = subprocess.Popen(
            [sys.executable, root / "tests/fakes/serving.py", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        started.append(process)
        if wait:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def get(port, path="/"):
    """One request on a connection of its own; the process that answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=AT_MOST_S) as reply:
        return int(reply.read())


def soon(what, *, within_s=AT_MOST_S):
    """Wait until something is true."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return False


def is_alive(pid):
    """Whether a process runs (one that has ended and waits to be collected does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_worker_serves_in_the_process_itself_and_ends_cleanly(serve, port, number):
    """No child is needed for one; a signal means exit code 0."""
    process = serve("1", "-")

    answered = get(port)
    process.send_signal(number)

    assert answered == process.pid
    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_several_workers_share_the_port_and_end_cleanly(serve, port, number):
    """Each of them answers; a signal to the parent ends all with exit code 0."""
    process = serve("3", "-")

    seen = {get(port) for _ in range(60)}
    process.send_signal(number)

    assert len(seen) == 3
    assert process.pid not in seen
    assert process.wait(AT_MOST_S) == 0
    assert not any(is_alive(pid) for pid in seen)
    assert process.stderr.read() == ""


def test_workers_end_cleanly_when_the_terminal_sends_ctrl_c_to_all(serve, port):
    """Ctrl-C reaches parent and workers at once; it counts once."""
    process = serve("2", "-")

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("count", ["1", "2"])
def test_workers_finish_what_is_under_way(serve, port, count):
    """A request that was accepted is answered although the end was asked for."""
    process, answers = serve(count, "-"), []
    asking = threading.Thread(target=lambda: answers.append(get(port, "/slow")))
    asking.start()
    time.sleep(0.2)

    process.send_signal(signal.SIGTERM)
    asking.join(AT_MOST_S)

    assert len(answers) == 1
    assert process.wait(AT_MOST_S) == 0


@pytest.mark.parametrize("count", ["1", "2"])
def test_workers_end_at_once_when_asked_twice(serve, port, count):
    """Whoever does not want to wait for requests under way is told how, and asks again."""
    process = serve(count, "-")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /forever HTTP/1.1\r\nhost: here\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")

        process.send_signal(signal.SIGTERM)
        assert "a second signal ends them" in process.stderr.readline()
        waited = process.poll()
        process.send_signal(signal.SIGTERM)

        assert waited is None
        assert process.wait(AT_MOST_S) == 1
    assert "ended at once, with requests under way" in process.stderr.read()


def test_workers_that_die_at_once_end_all_with_the_reason(serve):
    """The next would die too: one sentence, exit code 1, no restart in circles."""
    process = serve("2", "-", "fail", wait=False)

    assert process.wait(AT_MOST_S) == 1
    assert "ended by itself (RuntimeError: no bread in the house); so all end" in process.stderr.read()


def test_worker_killed_at_once_ends_all_with_the_signal(serve, port):
    """As when memory is too small: the signal is the reason."""
    process = serve("2", "-")

    with contextlib.suppress(OSError, http.client.HTTPException):
        get(port, "/die")

    assert process.wait(AT_MOST_S) == 1
    assert "ended by itself (signal SIGKILL); so all end" in process.stderr.read()


def test_workers_end_when_their_parent_is_gone(serve, port):
    """A parent that is killed leaves nobody behind who holds the port."""
    process = serve("2", "-")
    workers = {get(port) for _ in range(40)}

    process.kill()
    process.wait()

    assert len(workers) == 2
    assert soon(lambda: not any(is_alive(pid) for pid in workers))


def test_worker_is_replaced_after_its_number_of_requests(serve, port):
    """The old one ends, the new one answers on the same port."""
    process = serve("1", "5")

    answers = {get(port) for _ in range(5)}
    assert soon(lambda: not any(is_alive(pid) for pid in answers))
    after = get(port)
    process.send_signal(signal.SIGTERM)

    assert len(answers) == 1
    assert after not in {*answers, process.pid}
    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""
