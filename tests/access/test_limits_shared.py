"""Limits that several processes share: exact together, and nothing is lost with one that dies or stops."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from proxy_cli.access.board import PARALLEL, PARTS, REQUEST_RING, REQUESTS, RESERVED, TOKEN_RING, TOKENS
from proxy_cli.access.limits import Limits
from proxy_cli.callers import Scope
from proxy_cli.errors import BudgetExceeded, Overloaded, RateLimited
from tests.access.desk import Desk, key, start, wait_for


def counted_in_processes(work: Callable[[int], int], processes: int) -> list[int]:
    """What each of so many processes at once has counted."""
    read, write = os.pipe()

    def run(number: int) -> None:
        os.write(write, work(number).to_bytes(4, "big"))

    children = [start(partial(run, number)) for number in range(1, processes + 1)]
    assert [wait_for(child) for child in children] == [0] * processes
    os.close(write)
    with os.fdopen(read, "rb") as results:
        return [int.from_bytes(results.read(4), "big") for _ in range(processes)]


def pay(limits: Limits) -> None:
    """On a busy machine another process may hold the limits for long: what is owed is put down with a later step."""
    while limits._owed:
        limits.beat()


@pytest.mark.row("B-01", "B-02")
def test_four_processes_let_ten_of_500_pass():
    """A budget for ten calls lets exactly ten pass, whichever processes they come to."""
    limits = Limits(processes=4, capacity=64, clock=time.monotonic)
    scope = key(max_nano=1000)

    def work(number: int) -> int:
        limits.enter(number)
        taken = []
        for _ in range(125):
            try:
                taken.append(limits.take((scope,), nano=100, is_bound=True, tokens=0))
            except (BudgetExceeded, Overloaded):
                continue
        for ticket in taken:
            ticket.settle(100, 0)
        pay(limits)
        return len(taken)

    taken = counted_in_processes(work, 4)

    assert sum(taken) == 10
    assert (limits.spent(scope), limits.in_use(scope).reserved_nano) == (1000, 0)


@pytest.mark.row("B-05", "B-20")
def test_four_processes_never_have_more_under_way_than_one_may():
    """Takes and ends in any order in four processes at once: the sums are those of all, to the nano."""
    limits = Limits(processes=4, capacity=64, clock=time.monotonic)
    scopes = (key(max_parallel=3, rpm=10**6, tpm=10**9, max_nano=10**12), Scope(kind="team", id="t", max_nano=10**12))

    def work(number: int) -> int:
        limits.enter(number)
        rng, under_way, settled = random.Random(number), [], 0
        for _ in range(400):
            with contextlib.suppress(RateLimited, Overloaded):
                under_way.append(limits.take(scopes, nano=100, is_bound=True, tokens=10))
            assert 3 - len(under_way) >= (limits.in_use(scopes[0]).parallel_left or 0)
            while under_way and rng.random() < 0.7:
                under_way.pop().settle(7, 3)
                settled += 1
        for ticket in under_way:
            ticket.settle(7, 3)
        pay(limits)
        return settled + len(under_way)

    settled = sum(counted_in_processes(work, 4))

    use = limits.in_use(scopes[0])
    assert settled > 0
    assert (use.spent_nano, use.reserved_nano, use.parallel_left) == (7 * settled, 0, 3)
    assert (use.requests_left, use.tokens_left) == (10**6 - settled, 10**9 - 3 * settled)
    assert limits.spent(scopes[1]) == 7 * settled


def stopped_with(work: Callable[[], None], and_then: Callable[[], None] = lambda: None) -> int:
    """A process that has done its work and is stopped; it does the rest when it is continued."""

    def run() -> None:
        work()
        os.kill(os.getpid(), signal.SIGSTOP)
        and_then()

    child = start(run)
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    return child


@pytest.mark.row("B-05", "B-10")
def test_what_a_killed_process_held_is_free_again():
    """Money and places of a process that was killed come back with the next beat of another; its requests count on."""
    desk, scope = Desk(processes=2), key(max_parallel=5, max_nano=1000, rpm=10)

    def work() -> None:
        desk.limits.enter(1)
        for _ in range(5):
            desk.take(scope, nano=200)

    child = stopped_with(work)
    with pytest.raises(RateLimited):
        desk.take(scope, nano=1)
    os.kill(child, signal.SIGKILL)
    wait_for(child)

    desk.limits.beat()

    use = desk.limits.in_use(scope)
    assert (use.parallel_left, use.reserved_nano, use.requests_left) == (5, 0, 5)


@pytest.mark.row("K-04")
def test_a_process_that_stopped_and_goes_on_gives_nothing_back_twice():
    """Silent for 30 s it loses what it held; awake again its call is settled once, and others keep their places."""
    desk, scope = Desk(processes=2), key(max_parallel=2, max_nano=1000)
    held = []

    def work() -> None:
        desk.limits.enter(1)
        held.append(desk.take(scope, nano=600))

    def and_then() -> None:
        desk.clock_s += 31
        held.pop().settle(500, 0)
        desk.take(scope, nano=100)
        desk.limits.beat()

    child = stopped_with(work, and_then)
    desk.pass_s(29)
    desk.limits.beat()
    assert desk.limits.in_use(scope).parallel_left == 1
    desk.pass_s(2)
    desk.limits.beat()
    assert desk.limits.in_use(scope).parallel_left == 2
    mine = desk.take(scope, nano=300)

    os.kill(child, signal.SIGCONT)
    assert wait_for(child) == 0

    use = desk.limits.in_use(scope)
    assert (use.spent_nano, use.reserved_nano, use.parallel_left) == (500, 400, 0)
    desk.limits.beat()  # the child has ended without settling its second call
    mine.settle(300, 0)
    use = desk.limits.in_use(scope)
    assert (use.spent_nano, use.reserved_nano, use.parallel_left) == (800, 0, 2)


@pytest.mark.row("K-04")
def test_a_process_that_stops_within_a_step_delays_others_but_loses_nothing():
    """Calls are refused with 503 meanwhile; what ends is put down and counted with the next step."""
    desk, scope = Desk(processes=2), key(max_parallel=2, max_nano=1000)
    ticket = desk.take(scope, nano=600)
    board = desk.limits._board

    def work() -> None:
        desk.limits.enter(1)
        board.hold()

    def and_then() -> None:
        board.clean()
        board.free()

    child = stopped_with(work, and_then)
    with pytest.raises(Overloaded, match="held by another worker"):
        desk.take(scope, nano=1)
    ticket.settle(500, 0)
    desk.limits.count(ticket.charges, 30)
    desk.limits.beat()
    assert desk.limits.spent(scope) == 0

    os.kill(child, signal.SIGCONT)
    assert wait_for(child) == 0
    desk.limits.beat()

    use = desk.limits.in_use(scope)
    assert (use.spent_nano, use.reserved_nano, use.parallel_left) == (530, 0, 2)


def rows_that_do_not_add_up(limits: Limits) -> list[int]:
    """Rows whose sums are not those of their parts."""
    board, cells = limits._board, limits._board.cells
    return [
        row
        for row in board.used()
        if cells[row + RESERVED] != sum(cells[row + PARTS : row + board.width : 2])
        or cells[row + PARALLEL] != sum(cells[row + PARTS + 1 : row + board.width : 2])
        or cells[row + REQUESTS] != sum(cells[row + REQUEST_RING : row + TOKEN_RING])
        or cells[row + TOKENS] != sum(cells[row + TOKEN_RING : row + PARTS])
    ]


@pytest.mark.row("B-05", "K-02")
def test_processes_killed_at_any_instruction_leave_sums_that_add_up(deep):
    """Whatever was half written is added up anew, and nothing stays held."""
    limits = Limits(processes=2, capacity=64, clock=time.monotonic)
    scopes = (key(max_parallel=3, rpm=10**6, tpm=10**9, max_nano=10**12), Scope(kind="team", id="t", max_nano=10**12))
    rng = random.Random(9)

    def work() -> None:
        limits.enter(1)
        while True:
            tickets = [limits.take(scopes, nano=100, is_bound=True, tokens=10) for _ in range(2)]
            for ticket in tickets:
                ticket.settle(7, 3)

    for _ in range(500 if deep else 20):
        child = start(work)
        time.sleep(rng.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        wait_for(child)
        limits.beat()

        use = limits.in_use(scopes[0])
        assert (use.reserved_nano, use.parallel_left) == (0, 3)
        assert rows_that_do_not_add_up(limits) == []


def test_one_forked_worker_locks_too():
    """A single worker and its successor may overlap: what they count is one sum."""
    desk, scope = Desk(processes=1), key(max_parallel=2)

    def work() -> None:
        desk.limits.enter(1)
        desk.take(scope)

    first, second = stopped_with(work), stopped_with(work)

    assert desk.limits.in_use(scope).parallel_left == 0
    for child in (first, second):
        os.kill(child, signal.SIGCONT)
        assert wait_for(child) == 0
