"""The sink: lines in order, never waiting for the output, losses counted."""

import os
import threading
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
