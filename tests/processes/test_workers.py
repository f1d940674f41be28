"""One process that serves, with real processes, signals and sockets."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.fakes.small import AT_MOST_S, ROOT, small, soon


@pytest.fixture
def program():
    """The small program, on a free port."""
    with small() as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_worker_serves_in_the_process_itself_and_ends_cleanly(program, number):
    """No child is needed for one; a signal means exit code 0."""
    process = program("1", "-")

    answered = int(program.get())
    process.send_signal(number)

    assert answered == process.pid
    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("count", ["1", "2"])
def test_workers_finish_what_is_under_way(program, count):
    """A request that was accepted is answered although the end was asked for."""
    process, answers = program(count, "-"), []
    asking = threading.Thread(target=lambda: answers.append(program.get("/slow")))
    asking.start()
    time.sleep(0.2)

    process.send_signal(signal.SIGTERM)
    asking.join(AT_MOST_S)

    assert len(answers) == 1
    assert process.wait(AT_MOST_S) == 0


@pytest.mark.row("O-02")
@pytest.mark.parametrize("count", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_end_at_once_when_asked_twice(program, count, number):
    """Whoever does not want to wait for requests under way is told how, and asks again."""
    process = program(count, "-")
    with socket.create_connection(("127.0.0.1", program.port)) as client:
        client.sendall(b"GET /forever HTTP/1.1\r\nhost: here\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")

        process.send_signal(number)
        assert "a second signal ends them" in process.stderr.readline()
        waited = process.poll()
        process.send_signal(number)

        assert waited is None
        assert process.wait(AT_MOST_S) == 1
    assert "ended at once, with requests under way" in process.stderr.read()


@pytest.mark.parametrize("count", ["1", "3"])
def test_sighup_has_every_process_read_the_configuration_again(program, count, tmp_path):
    """The processes stay, and answer with the new one."""
    word = tmp_path / "word.txt"
    word.write_text("old")
    process = program(count, "-", WORD_FILE=str(word))
    pids = program.pids(int(count))

    word.write_text("new")
    process.send_signal(signal.SIGHUP)

    assert soon(lambda: {program.get("/word") for _ in range(8)} <= {f"{pid} new" for pid in pids})
    process.send_signal(signal.SIGTERM)
    assert process.wait(AT_MOST_S) == 0


@pytest.mark.row("C-62")
@pytest.mark.parametrize("count", ["1", "2"])
def test_sighup_with_a_broken_configuration_changes_nothing_and_says_why(program, count, tmp_path):
    """The former one stays in force."""
    word = tmp_path / "word.txt"
    word.write_text("old")
    process = program(count, "-", WORD_FILE=str(word))

    word.write_text("bad")
    process.send_signal(signal.SIGHUP)

    assert "has errors, so the former one stays in force" in process.stderr.readline()
    assert process.stderr.readline() == "word.txt:1:1: the word is bad; write another\n"
    assert program.get("/word").endswith(" old")


@pytest.mark.row("C-63")
@pytest.mark.parametrize("count", ["1", "2"])
def test_sighup_tries_once_more_where_a_file_is_half_written(program, count, tmp_path):
    """An editor that is in the middle of writing costs a second and no error."""
    word = tmp_path / "word.txt"
    word.write_text("old")
    process = program(count, "-", WORD_FILE=str(word))

    word.write_text("bad")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    meanwhile = program.get("/word")
    word.write_text("new")

    assert meanwhile.endswith(" old")
    assert soon(lambda: program.get("/word").endswith(" new"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("count", ["1", "2"])
def test_changed_file_is_taken_without_being_asked_where_it_is_watched(program, count, tmp_path):
    """In every process, though one of them watches."""
    word = tmp_path / "word.txt"
    word.write_text("old")
    program(count, "-", "watch", WORD_FILE=str(word))

    word.write_text("newer")

    assert soon(lambda: all(program.get("/word").endswith(" newer") for _ in range(10)))


@pytest.mark.parametrize("count", ["1", "3"])
def test_request_for_a_reload_comes_back_when_every_process_has_it(program, count, tmp_path):
    """Whoever asked can rely on it from then on."""
    word = tmp_path / "word.txt"
    word.write_text("old")
    program(count, "-", WORD_FILE=str(word))
    program.pids(int(count))

    word.write_text("new")
    told = program.get("/reload")
    words = {program.get("/word").split()[1] for _ in range(8)}
    word.write_text("bad")
    refused = program.get("/reload")

    assert told == "True "
    assert words == {"new"}
    assert refused == "False word.txt:1:1: the word is bad; write another"


# Takes a terminal for its own, as a login does, and becomes the program.
_IN_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
os.close(int(sys.argv[1]))
# Whoever started the tests may have it ignored, which children inherit.
signal.signal(signal.SIGHUP, signal.SIG_IGN if os.environ["IGNORED"] else signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.parametrize("is_ignored", [False, True], ids=["plain", "nohup"])
def test_end_of_the_terminal_ends_what_was_started_in_it(program, is_ignored):
    """As every program of a terminal does; `nohup` keeps it alive, and SIGHUP is a reload then."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_TERMINAL, str(theirs), ROOT / "tests/fakes/serving.py", str(program.port), "1", "-"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "IGNORED": "1" if is_ignored else ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[theirs],
        text=True,
    )
    program.started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    os.close(theirs)
    os.close(ours)

    if is_ignored:
        time.sleep(0.3)
        assert int(program.get()) == process.pid
    else:
        assert process.wait(AT_MOST_S) == 0
