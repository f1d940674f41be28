"""The turn: one process at a time, and free again when that one dies."""

import os
import signal

from proxy_cli.server.turn import Turn


def child(work) -> int:
    """A forked process that does some work and then waits for its end."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(writing, b"1" if work() else b"0")
            signal.pause()
        finally:
            os._exit(0)
    assert os.read(reading, 1) == b"1"
    os.close(reading)
    os.close(writing)
    return process


def test_only_one_process_has_the_turn_until_it_dies():
    """A worker that is killed leaves nothing locked."""
    turn = Turn("turn")
    process = child(turn.take)

    while_it_lived = turn.take()
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)

    assert not while_it_lived
    assert turn.take()


def test_a_turn_is_taken_once_in_a_process_and_can_be_given_back():
    """The kernel would lend it to the same process twice."""
    turn = Turn("turn")

    taken = turn.take(), turn.take(), turn.is_ours
    turn.give()

    assert taken == (True, False, True)
    assert not turn.is_ours
    assert turn.take()


def test_a_child_has_not_what_its_parent_has():
    """What was taken before the fork stays the parent's."""
    turn = Turn("turn")
    assert turn.take()

    process = child(lambda: not turn.is_ours and not turn.take())
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)

    assert turn.is_ours
