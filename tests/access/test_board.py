"""The memory that limits are counted in."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_cli.access.board import (
    HEAD,
    IDENT,
    MARK,
    PARALLEL,
    REQUEST_RING,
    REQUESTS,
    RESERVED,
    SECONDS,
    TOKEN_RING,
    TOKENS,
    UNUSED_S,
    WAYS,
    Board,
    advance,
)
from proxy_cli.errors import Overloaded
from tests.access.desk import start, wait_for


class Watch:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def board_of(*, processes: int = 1, capacity: int = 8) -> tuple[Board, Watch]:
    """A board and its clock."""
    watch = Watch()
    return Board(processes=processes, capacity=capacity, clock=watch), watch


@settings(max_examples=30, deadline=None)
@given(st.sets(st.tuples(st.integers(-(2**63), 2**63 - 1).filter(bool), st.integers(-9, 9)), max_size=40))
def test_every_row_is_found_and_no_other(names):
    """By key and what tells its rows apart, whatever the numbers are; a row that is not there is 0."""
    board, _ = board_of(capacity=256)

    rows = {(key, ident): board.make(key, ident, 0) for key, ident in names}

    assert len(set(rows.values())) == len(names)
    assert {name: board.find(*name) for name in names} == rows
    assert sorted(board.used()) == sorted(rows.values())
    assert all(board.find(key, 10) == 0 for key, _ in names)


def test_a_row_that_was_given_away_is_empty_and_marked_anew():
    """Nothing of its former use shows, and whoever remembers it notices."""
    board, watch = board_of()
    rows = [board.make(number + 1, 7, 3) for number in range(WAYS)]
    marks = {board.cells[row + MARK] for row in rows}
    for row in rows:
        board.cells[row + RESERVED] = 0 if row == rows[5] else 1
    board.cells[rows[5] + TOKENS] = 99
    with pytest.raises(Overloaded):
        board.make(1000, 8, 0)
    watch.now_s += UNUSED_S

    row = board.make(1000, 8, 0)

    assert row == rows[5]
    assert board.cells[row + MARK] not in marks
    assert (board.cells[row + IDENT], board.cells[row + TOKENS]) == (8, 0)
    assert (board.find(6, 7), board.find(1000, 8)) == (0, row)


@given(st.lists(st.tuples(st.integers(0, 130), st.integers(0, 5)), max_size=30))
def test_rings_hold_the_last_minute(steps):
    """After any pauses the sums are those of what is not older than sixty seconds, counted by whole seconds."""
    board, _ = board_of()
    row, cells, second, told = board.make(1, 1, 0), board.cells, 500, []

    for pause, tokens in steps:
        second += pause
        advance(cells, row, second)
        cells[row + REQUESTS] += 1
        cells[row + TOKENS] += tokens
        cells[row + REQUEST_RING + second % SECONDS] += 1
        cells[row + TOKEN_RING + second % SECONDS] += tokens
        told.append((second, tokens))

        last = [each for moment, each in told if moment > second - SECONDS]
        assert (cells[row + REQUESTS], cells[row + TOKENS]) == (len(last), sum(last))


def test_a_clock_that_lags_does_not_turn_a_ring_back():
    """A process that has read the time before another, and comes after it, changes nothing."""
    board, _ = board_of()
    row = board.make(1, 1, 0)
    advance(board.cells, row, 1000)

    advance(board.cells, row, 999)

    assert board.cells[row + HEAD] == 1000


def test_a_step_that_was_not_ended_is_mended_by_the_next():
    """Sums are made from their parts again, whichever of both was written last."""
    board, _ = board_of(processes=2)
    row = board.make(1, 1, 0)

    def work() -> None:
        board.enter(1)
        board.hold()
        board.cells[row + RESERVED] += 50
        board.cells[row + PARALLEL] -= 1
        board.cells[row + REQUESTS] += 1
        board.cells[row + TOKEN_RING + 3] += 9

    assert wait_for(start(work)) == 0
    board.hold()
    board.clean()
    board.free()

    cells = board.cells
    assert (cells[row + RESERVED], cells[row + PARALLEL], cells[row + REQUESTS], cells[row + TOKENS]) == (0, 0, 0, 9)


def test_processes_have_slots_of_their_own_and_successors_those_of_the_dead():
    """Two with the same number do not share one; that of a process that has ended is used again, under a new epoch."""
    board, _ = board_of(processes=2)
    read, write = os.pipe()

    def work() -> None:
        board.enter(0)
        os.write(write, bytes([board.slot, board.epoch]))

    slots = []
    for _ in range(2):
        assert wait_for(start(work)) == 0
        slots.append(tuple(os.read(read, 2)))
    os.close(read)
    os.close(write)

    assert slots == [(1, 1), (1, 2)]  # slot 0 is the parent's


def test_more_processes_than_slots_are_refused():
    """The message says how many there may be."""
    board, _ = board_of(processes=1)
    for slot in range(board.slots):
        board.cells[8 + slot * 3] = os.getppid()  # a process that lives
        board.cells[8 + slot * 3 + 1] = 1000

    with pytest.raises(Overloaded, match="more than 4 processes share the limits"):
        board.enter(1)


def test_memory_that_is_not_used_is_not_taken():
    """A large table costs addresses, not pages."""
    before = pages_in_memory()

    board = Board(processes=4, capacity=100_000, clock=Watch())

    assert len(board.cells) * 8 > 200 * 2**20
    assert (pages_in_memory() - before) * os.sysconf("SC_PAGESIZE") < 8 * 2**20


def pages_in_memory() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1])


def open_files() -> int:
    """How many this process has, once nothing is left to be let go of."""
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_board_that_nobody_has_any_more_keeps_no_file_open():
    """The file of the lock is closed with the board."""
    before = open_files()

    boards = [board_of()[0] for _ in range(5)]
    during = open_files()
    boards.clear()

    assert during == before + 5
    assert open_files() == before
