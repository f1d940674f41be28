"""The parent of the workers, with real processes, signals and sockets."""

import contextlib
import http.client
import os
import signal
import threading
import time

import pytest

from tests.fakes.small import AT_MOST_S, is_alive, small, soon


@pytest.fixture
def program():
    """The small program, on a free port."""
    with small() as running:
        yield running


def die(program):
    """End the process that takes this request."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        program.get("/die")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_several_workers_share_the_port_and_end_cleanly(program, number):
    """Each of them answers; a signal to the parent ends all with exit code 0."""
    process = program("3", "-")

    seen = program.pids(3)
    process.send_signal(number)

    assert process.pid not in seen
    assert process.wait(AT_MOST_S) == 0
    assert not any(is_alive(pid) for pid in seen)
    assert process.stderr.read() == ""


def test_workers_end_cleanly_when_the_terminal_sends_ctrl_c_to_all(program):
    """Ctrl-C reaches parent and workers at once; it counts once."""
    process = program("2", "-")

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""


def test_workers_finish_what_is_under_way_when_every_process_is_told_to_end(program):
    """As systemd does: a signal to each counts once."""
    process, answers = program("2", "-"), []
    asking = threading.Thread(target=lambda: answers.append(program.get("/slow")))
    asking.start()
    time.sleep(0.2)

    os.killpg(process.pid, signal.SIGTERM)
    asking.join(AT_MOST_S)

    assert len(answers) == 1
    assert process.wait(AT_MOST_S) == 0
    assert "at once" not in process.stderr.read()


def test_workers_that_never_come_up_end_all_with_the_reason(program):
    """The next would fail too: one sentence, exit code 1, no restart in circles."""
    process = program("2", "-", "fail", wait=False)

    assert process.wait(AT_MOST_S) == 1
    assert "ended by itself (RuntimeError: no bread in the house); so all end" in process.stderr.read()


@pytest.mark.row("K-05")
def test_worker_that_dies_is_replaced_while_the_others_serve(program):
    """One of four is killed; none of the others' requests fails, and soon there are four again."""
    process = program("4", "-")
    before = program.pids(4)
    victim = min(before)

    os.kill(victim, signal.SIGKILL)

    assert "ended by itself (signal SIGKILL); another takes its place in 0.5 s" in process.stderr.readline()
    after = program.pids(4)
    assert len(after & before) == 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(AT_MOST_S) == 0


@pytest.mark.row("K-05")
def test_worker_that_dies_again_and_again_is_started_later_and_later_and_then_ends_all(program):
    """Twice as long each time; after the fifth time exit code 1, with the reason."""
    process, said = program("1", "1000000", BACK_OFF_S="0.05"), []

    for _ in range(4):
        die(program)
        said.append(process.stderr.readline())
    die(program)

    assert [line.split("; ")[1].strip() for line in said] == [
        f"another takes its place in {delay} s" for delay in ("0.05", "0.1", "0.2", "0.4")
    ]
    assert process.wait(AT_MOST_S) == 1
    assert "(signal SIGKILL) for the 5th time in a row soon after its start; so all end" in process.stderr.read()


def test_workers_end_when_their_parent_is_gone(program):
    """A parent that is killed leaves nobody behind who holds the port."""
    process = program("2", "-")
    workers = program.pids(2)

    process.kill()
    process.wait()

    assert soon(lambda: not any(is_alive(pid) for pid in workers))


def test_worker_is_replaced_after_its_number_of_requests(program):
    """The old one ends, the new one answers on the same port."""
    process = program("1", "5")

    answers = {int(program.get()) for _ in range(5)}
    assert soon(lambda: not any(is_alive(pid) for pid in answers))
    after = int(program.get())
    process.send_signal(signal.SIGTERM)

    assert len(answers) == 1
    assert after not in {*answers, process.pid}
    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""


def test_worker_that_starts_later_begins_with_the_newest_configuration(program, tmp_path):
    """What was reloaded meanwhile is not forgotten with a worker's end."""
    word = tmp_path / "word.txt"
    word.write_text("old")
    program("1", "1000000", WORD_FILE=str(word))
    word.write_text("new")
    assert program.get("/reload") == "True "
    word.write_text("bad")

    before = program.get("/word")
    die(program)

    after = program.get("/word")
    assert before.split()[1] == after.split()[1] == "new"
    assert before != after
