"""What processes tell each other of their places: all see the same, and those that have ended hold nothing."""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from proxy_cli.routing.fleet import Fleet
from proxy_cli.routing.neighbours import Neighbours
from proxy_cli.routing.queue import Places
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Backend, Deployment
from proxy_cli.shared import Shared
from tests.test_shared import in_a_child, living_child

LIMITED = Deployment(
    id="a", group="m", model="m", provider="openai", backend=Backend("http", "127.0.0.1", 9), max_parallel=2
)


def writes(shared: Shared, held: int, waiting: int = 0, *, taken_s: float = 0.0) -> Callable[[], None]:
    """What a process does that has taken so many places."""

    def work() -> None:
        shared.enter(1)
        Neighbours(shared).row("a").write(held, waiting, 100 * held, taken_s)

    return work


def test_a_living_process_is_seen():
    """Its places, its tokens and its queue are read by the others, and only under the deployment's name."""
    shared = Shared(slots=4, slot_bytes=4096)
    row, another = Neighbours(shared).row("a"), Neighbours(shared).row("b")
    row.write(5, 5, 5, None)  # its own do not count among the others'

    with living_child(writes(shared, 2, 3)):
        assert row.others_held(0.0) == (2, 200)
        assert row.others_waiting(0.0) == 3
        assert another.others_held(0.0) == (0, 0)


def test_one_that_has_ended_holds_nothing():
    """The places of a process that was killed are free within a second of the clock."""
    shared = Shared(slots=4, slot_bytes=4096)
    row = Neighbours(shared).row("a")
    with living_child(writes(shared, 2)):
        assert row.others_held(10.0) == (2, 200)

    assert row.others_held(11.0) == (0, 0)


def test_a_newcomer_is_seen_at_once():
    """A process that writes for the first time is seen at the next look, not a second later."""
    shared = Shared(slots=4, slot_bytes=4096)
    row = Neighbours(shared).row("a")
    assert row.others_held(0.0) == (0, 0)

    with living_child(writes(shared, 1)):
        assert row.others_held(0.0) == (1, 100)


def test_a_process_does_not_inherit_what_its_predecessor_held():
    """Whoever gets the slot of a process that has ended begins with nothing."""
    shared = Shared(slots=4, slot_bytes=4096)
    row = Neighbours(shared).row("a")
    in_a_child(writes(shared, 2))

    def begins() -> None:
        shared.enter(1)
        Neighbours(shared)

    with living_child(begins):
        assert row.others_held(0.0) == (0, 0)


def test_a_fork_writes_to_its_own():
    """One that was made before the fork follows its process into another slot."""
    shared = Shared(slots=4, slot_bytes=4096)
    row = Neighbours(shared).row("a")
    row.write(1, 0, 0, None)

    def work() -> None:
        shared.enter(1)
        assert row.others_held(0.0) == (1, 0)
        row.write(7, 0, 0, None)

    with living_child(work):
        assert row.others_held(0.0) == (7, 0)


@pytest.mark.parametrize(
    ("theirs", "held", "expected"),
    [
        ((0, 1, 5.0), 1, True),  # has fewer, and waits
        ((1, 1, 5.0), 1, True),  # as many, and took its last one earlier
        ((1, 1, 9.0), 1, False),
        ((2, 1, 5.0), 1, False),
        ((0, 0, 5.0), 1, False),  # does not wait
    ],
)
def test_whose_turn_it_is_among_processes(theirs: tuple[int, int, float], held: int, expected: bool):
    """The next place is for the process that waits and has the fewest, or has had none for the longest time."""
    shared = Shared(slots=4, slot_bytes=4096)
    row = Neighbours(shared).row("a")
    row.write(held, 1, 0, 7.0)

    with living_child(writes(shared, theirs[0], theirs[1], taken_s=theirs[2])):
        assert row.is_behind_another(held, 0.0) is expected


def test_memory_without_room_is_said_once(caplog: pytest.LogCaptureFixture):
    """A deployment more than the memory holds is counted here alone, and the log says so."""
    neighbours = Neighbours(Shared(slots=1, slot_bytes=256))
    rows = [neighbours.row(f"deployment {number}") for number in range(8)]

    with caplog.at_level(logging.WARNING):
        for row in rows:
            row.write(1, 1, 1, 1.0)

    assert len(caplog.records) == 1
    assert "has no room for deployment" in caplog.text
    assert not rows[-1].is_behind_another(1, 0.0)


def serves(shared: Shared, number: int, path: Path, calls: int) -> None:
    """A worker whose callers all come at once; it writes down when each had its place."""
    times: list[tuple[float, float]] = []

    async def run() -> None:
        random = Random(number)
        fleet = Fleet(Rules(), clock=time.monotonic, random=random, shared=shared)
        fleet.enter(number)
        places = Places(fleet, Rules(), clock=time.monotonic, shared=shared)

        async def call() -> None:
            taken = places.take_now([LIMITED], 0) or await places.take(
                [LIMITED], caller="", priority=100, deadline_s=time.monotonic() + 30, tokens=0
            )
            start_s = time.monotonic()
            state = fleet.state(taken)
            trial = state.begin()
            await asyncio.sleep(random.uniform(0.02, 0.06))
            state.end(trial)
            times.append((start_s, time.monotonic()))
            places.give_back(taken)

        await asyncio.gather(*(call() for _ in range(calls)))
        assert [each.held for each in places.figures()] == [0]

    asyncio.run(run())
    path.write_text(json.dumps(times))


def test_several_processes_together_never_take_more_than_there_are(tmp_path: Path):
    """Three processes with a crowd each: at no moment more than two calls, and all get their turns meanwhile."""
    shared = Shared(slots=8, slot_bytes=4096)
    gate, opener = os.pipe()
    children = []
    for number in (1, 2, 3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(opener)
                os.read(gate, 1)  # until all are here
                serves(shared, number, tmp_path / str(number), 10)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(opener)
    os.close(gate)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]

    times = {number: json.loads((tmp_path / str(number)).read_text()) for number in (1, 2, 3)}
    events = sorted(event for each in times.values() for start, end in each for event in ((start, 1), (end, -1)))
    under_way = most = 0
    for _, step in events:
        under_way += step
        most = max(most, under_way)
    assert most == 2
    firsts = [min(start for start, _ in each) for each in times.values()]
    lasts = [max(end for _, end in each) for each in times.values()]
    assert max(firsts) < min(lasts), "a process got no turn before another had had all of its own"
