"""Programs: waited for, heard when they fail, and ended with all their children."""

import sys
import time

import pytest

from bench import machine
from bench.program import Launch, Request, Unready, started

REQUEST = Request(b"{}", {})
SLEEP = "import time; time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"


def test_a_program_that_ends_is_heard(tmp_path):
    """The exception holds its exit code and its last words."""
    launch = Launch(argv=(sys.executable, "-c", "import sys; sys.exit('no bread in the house')"))

    with (
        started("baker", launch, tmp_path) as program,
        pytest.raises(Unready, match="baker ended with 1: no bread in the house"),
    ):
        program.wait_until_it_answers(machine.free_port(), REQUEST, within_s=10)


def test_a_program_that_never_answers_is_given_up(tmp_path):
    """After its time, with what was seen last."""
    launch = Launch(argv=(sys.executable, "-c", SLEEP))

    with (
        started("sleeper", launch, tmp_path) as program,
        pytest.raises(Unready, match=r"sleeper gave no good answer within 0 s: .*refused"),
    ):
        program.wait_until_it_answers(machine.free_port(), REQUEST, within_s=0.2)


def test_children_end_with_their_parent(tmp_path):
    """The whole group is ended when the block is left."""
    with started("parent", Launch(argv=(sys.executable, "-c", PARENT)), tmp_path) as program:
        until = time.monotonic() + 10
        while len(machine.tree(program.pid)) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        everyone = set(machine.tree(program.pid))

    until = time.monotonic() + 10
    while everyone & set(machine.read_processes()) and time.monotonic() < until:
        time.sleep(0.01)
    assert len(everyone) == 2
    assert not everyone & set(machine.read_processes())


def test_variables_of_this_machine_stay_outside(tmp_path, monkeypatch):
    """A proxy or key in our environment does not change what is measured."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    launch = Launch(argv=(sys.executable, "-c", "import os; print(sorted(os.environ))"), environ={"ADDED": "1"})

    with started("teller", launch, tmp_path) as program:
        program.process.wait(10)
        said = program.last_words()

    assert "ADDED" in said
    assert "OPENAI_API_KEY" not in said
