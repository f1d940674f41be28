"""The sink: lines in order, never waiting for the output, losses counted."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence

from proxy_cli.telemetry.sink import Sink


class Output:
    """A place to write to that can be held up."""

    def __init__(self) -> None:
        self.items: list[object] = []
        self.dropped = 0
        self.busy = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def write(self, items: Sequence[object], dropped: int) -> None:
        self.busy.set()
        self.free.wait(10)
        self.items += items
        self.dropped += dropped


def test_items_are_written_in_order_by_close_at_the_latest():
    """Everything that was put is there once the sink is closed, in order."""
    output = Output()
    sink = Sink(output.write)

    for number in range(1000):
        sink.put(number)
    sink.close()

    assert output.items == list(range(1000))


def test_items_are_written_without_being_closed():
    """A line appears soon, not at the end."""
    output = Output()
    sink = Sink(output.write)

    sink.put("line")

    assert output.busy.wait(10)
    sink.close()


def test_full_sink_drops_and_counts():
    """With the output stuck, at most `room` items wait; the rest is dropped, and the number of them told."""
    output = Output()
    output.free.clear()
    sink = Sink(output.write, room=10)

    sink.put("first")
    assert output.busy.wait(10)
    for number in range(15):
        sink.put(number)
    output.free.set()
    sink.close()

    assert output.items == ["first", *range(10)]
    assert output.dropped == 5


def test_item_after_close_is_written_at_once():
    """The last words of a program that ends are not lost."""
    output = Output()
    sink = Sink(output.write)
    sink.close()

    sink.put("late")

    assert output.items == ["late"]


def test_broken_output_stops_nobody():
    """An output that is gone costs its lines and nothing else; the loss is told when it is back."""
    written: list[object] = []

    def write(items, dropped):
        if not written:
            written.append("broken")
            raise BrokenPipeError
        written.append((list(items), dropped))

    sink = Sink(write)
    sink.close()

    sink.put("lost")
    sink.put("kept")

    assert written == ["broken", (["kept"], 1)]


async def test_a_quick_output_needs_no_thread():
    """Lines for a file are written together by the event loop, soon, in order, and the rest at the end."""
    output = Output()
    sink = Sink(output.write, quick=True)

    sink.put(1)
    sink.put(2)
    assert output.items == []
    async with asyncio.timeout(5):
        while not output.items:
            await asyncio.sleep(0.01)
    sink.put(3)
    sink.close()

    assert output.items == [1, 2, 3]
    assert sink._thread is None


async def test_many_lines_do_not_wait_for_the_timer():
    """A batch that is full is written at once: memory is bounded by what the output is behind."""
    output = Output()
    sink = Sink(output.write, quick=True)

    for number in range(1000):
        sink.put(number)

    assert output.items == list(range(len(output.items)))
    assert len(output.items) >= 700
    sink.close()


def test_without_an_event_loop_a_quick_output_is_written_at_once():
    """What is said before the start and after the end is there immediately."""
    output = Output()
    sink = Sink(output.write, quick=True)

    sink.put("early")

    assert output.items == ["early"]
    sink.close()


async def test_a_file_that_turns_out_to_be_slow_gets_a_thread():
    """A network file system that hangs holds the event loop up once, not for every line."""
    output, threads = Output(), set()

    def write(items, dropped):
        threads.add(threading.current_thread())
        time.sleep(0.3)
        output.write(items, dropped)

    sink = Sink(write, quick=True)

    sink.put(1)
    async with asyncio.timeout(5):
        while not output.items:
            await asyncio.sleep(0.01)
    sink.put(2)
    async with asyncio.timeout(5):
        while len(output.items) < 2:
            await asyncio.sleep(0.01)
    sink.close()

    assert output.items == [1, 2]
    assert len(threads) == 2


def test_what_is_lost_is_counted_for_good():
    """Beside the number that goes with the next lines there is one since the start."""
    output = Output()
    output.free.clear()
    sink = Sink(output.write, room=1)

    sink.put("first")
    assert output.busy.wait(10)
    for number in range(4):
        sink.put(number)
    output.free.set()
    sink.close()

    assert sink.lost == 3


def test_forked_process_writes_its_own_items_only():
    """A child neither repeats what waited in its parent nor waits for a thread that it does not have."""
    reading, writing = os.pipe()
    output = Output()
    output.free.clear()

    def write(items: Sequence[str], dropped: int) -> None:
        output.write(items, dropped)
        os.write(writing, f"{items}\n".encode())

    sink = Sink(write)
    sink.put("of the parent")
    assert output.busy.wait(10)
    sink.put("waiting in the parent")

    child = os.fork()
    if child == 0:
        output.free.set()
        sink.put("of the child")
        sink.close()
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reading, 1000)
    output.free.set()
    sink.close()

    assert told == b"['of the child']\n"
    os.close(reading)
    os.close(writing)
