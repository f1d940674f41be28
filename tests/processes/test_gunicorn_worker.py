"""Serving through gunicorn: its master, our server in each worker."""

import signal

import pytest

from tests.fakes.small import AT_MOST_S, is_alive, small, soon


@pytest.fixture
def program():
    """The small program, on a free port."""
    with small() as running:
        yield running


def test_gunicorn_serves_with_its_workers_and_ends_cleanly(program):
    """The master answers nothing itself; a signal to it ends all with exit code 0. It writes no lines of its own."""
    process = program("2", "-", "gunicorn")

    answered = int(program.get())
    process.send_signal(signal.SIGTERM)

    assert answered != process.pid
    assert process.wait(AT_MOST_S) == 0
    assert process.stderr.read() == ""


def test_gunicorn_replaces_a_worker_after_its_number_of_requests(program):
    """`--max_requests_before_restart` holds here too."""
    process = program("1", "3", "gunicorn")

    first = {int(program.get()) for _ in range(3)}.pop()
    assert soon(lambda: not is_alive(first))
    now = int(program.get())
    process.send_signal(signal.SIGTERM)

    assert now != first
    assert process.wait(AT_MOST_S) == 0


def says(program, end: str) -> bool:
    """Whether all processes say a word; the small server has aiohttp's accepting, which drops a client at its end."""
    try:
        return all(program.get("/word").endswith(end) for _ in range(8))
    except ConnectionError:
        return False


@pytest.mark.parametrize("way", ["SIGHUP", "request"])
def test_gunicorn_replaces_its_workers_for_a_new_configuration(program, tmp_path, way):
    """A signal to the master or a request to any worker; the master stays."""
    word = tmp_path / "word.txt"
    word.write_text("old")
    process = program("2", "-", "gunicorn", WORD_FILE=str(word))
    before = program.get("/word")

    word.write_text("new")
    if way == "request":
        assert program.get("/reload") == "True "
    else:
        process.send_signal(signal.SIGHUP)

    assert before.endswith(" old")
    assert soon(lambda: says(program, " new"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(AT_MOST_S) == 0


@pytest.mark.row("C-62")
def test_gunicorn_keeps_the_configuration_when_the_new_one_has_errors(program, tmp_path):
    """The request is told why, and so is the log."""
    word = tmp_path / "word.txt"
    word.write_text("old")
    process = program("2", "-", "gunicorn", WORD_FILE=str(word))

    word.write_text("bad")
    told = program.get("/reload")

    assert told == "False word.txt:1:1: the word is bad; write another"
    assert "the former one stays in force" in process.stderr.readline()
    assert program.get("/word").endswith(" old")
