"""Shared memory: each process writes its own, everyone reads all, nothing counted is lost."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from proxy_cli.shared import Shared


def in_a_child(work: Callable[[], object]) -> None:
    """Do some work in a forked process, and wait for its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@contextmanager
def living_child(work: Callable[[], object]) -> Iterator[None]:
    """A forked process that has done some work and lives on; after the block it is killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
            os.write(writer, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 1) == b"!"
        yield
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def written(shared: Shared) -> list[tuple[int, tuple[str, ...], tuple[float, ...]]]:
    return [(each.kind, each.labels, each.figures) for each in shared.entries()]


def test_a_name_keeps_its_place_and_its_figures():
    """The same kind and labels lead to the same cells; others to cells of their own."""
    shared = Shared(slots=2, slot_bytes=4096)

    first = shared.place(3, ("日本", ""), 2)
    assert first is not None
    shared.cells[first] = 1.5
    shared.cells[first + 1] = 7
    second = shared.place(3, ("日本", "x"), 1)

    assert shared.place(3, ("日本", ""), 2) == first != second
    assert written(shared) == [(3, ("日本", ""), (1.5, 7.0)), (3, ("日本", "x"), (0.0,))]


def test_no_labels_are_no_labels():
    """An entry without labels comes back without, and one empty label as one."""
    shared = Shared(slots=1, slot_bytes=4096)

    shared.place(1, (), 1)

    assert written(shared) == [(1, (), (0.0,))]


def test_processes_write_beside_each_other_and_stay_counted():
    """What a process has written is read by all, also after its end, also when a later one gets its slot."""
    shared = Shared(slots=2, slot_bytes=4096)

    def work(number):
        def run():
            shared.enter(number)
            at = shared.place(0, ("a",), 1)
            assert at is not None
            shared.cells[at] += number

        return run

    for number in (1, 3, 5):  # all of them find slot 1, which nobody has any more
        in_a_child(work(number))

    assert written(shared) == [(0, ("a",), (9.0,))]


def test_a_slot_of_a_living_process_is_left_alone():
    """Two processes that live at the same time never write to the same slot, whatever their numbers."""
    shared = Shared(slots=2, slot_bytes=4096)
    mine = shared.place(0, ("a",), 1)
    assert mine is not None

    def work():
        shared.enter(2)  # modulo two that is the slot of the parent
        at = shared.place(0, ("a",), 1)
        assert at is not None
        assert at != mine
        shared.cells[at] += 5

    in_a_child(work)

    assert shared.cells[mine] == 0
    assert len(written(shared)) == 2


def test_a_full_slot_takes_no_more_names():
    """What there is room for goes in; what comes after gets no place, and what was there stays readable."""
    shared = Shared(slots=1, slot_bytes=256)

    places = [shared.place(0, (f"name {number}",), 4) for number in range(10)]

    found = [place for place in places if place is not None]
    assert 0 < len(found) < 10
    assert len(written(shared)) == len(found)
    assert shared.place(0, ("name 0",), 4) == places[0]


def test_signs_of_life_count_the_processes():
    """A process counts from its first sign on until it leaves."""
    shared = Shared(slots=2, slot_bytes=4096)
    shared.place(0, (), 1)
    assert (shared.processes(), [each.alive for each in shared.entries()]) == (0, [False])

    shared.beat()
    assert (shared.processes(), [each.alive for each in shared.entries()]) == (1, [True])

    shared.leave()
    assert shared.processes() == 0


def test_another_entry_is_noticed():
    """The mark stays the same while figures change, and differs as soon as somebody has written another entry."""
    shared = Shared(slots=3, slot_bytes=4096)
    at = shared.place(0, ("a",), 1)
    assert at is not None
    before = shared.mark()
    shared.cells[at] = 7
    assert shared.mark() == before

    def work() -> None:
        shared.enter(1)
        shared.place(0, ("a",), 1)

    in_a_child(work)

    assert shared.mark() != before


def test_entries_of_a_slot_are_found_by_kind():
    """Of each slot it is known how much is written in it, and where the figures of one kind begin."""
    shared = Shared(slots=2, slot_bytes=4096)
    first, _, third = (shared.place(kind, (name,), 2) for kind, name in ((1, "a"), (2, "b"), (1, "c")))

    assert list(shared.places(shared.slot, 1)) == [(("a",), first), (("c",), third)]
    assert [size > 0 for size in shared.sizes()] == [True, False]


def test_a_slots_process_exists_or_not():
    """It runs while it lives, whether it gives signs of life or not; a slot that nobody ever had is nobody's."""
    shared = Shared(slots=3, slot_bytes=4096)

    with living_child(lambda: shared.enter(1)):
        assert [shared.runs(slot) for slot in range(3)] == [True, True, False]

    assert [shared.runs(slot) for slot in range(3)] == [True, False, False]
