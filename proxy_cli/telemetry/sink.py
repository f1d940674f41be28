"""Where log lines wait to be written: a bounded buffer, so that a slow output stops no request.

What can be written in passing (a file) is written by the event loop, many lines at once, by a timer: a thread would
compete with the requests for every line. What may keep a writer waiting (a pipe, a terminal) gets a thread, and so does
a file that turns out to be slow. When the buffer is full, lines are dropped and counted, and the count is handed on
with the next lines. A process that is forked off starts with an empty buffer, and with a timer or thread of its own.
"""

import asyncio
import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
_ROOM: Final = 10_000  # lines that may wait
_BATCH: Final = 256
_PAUSE_S: Final = 0.05
_SLOW_S: Final = 0.25  # a file that keeps the event loop for so long gets a thread
_PATIENCE_S: Final = 2.0  # how long the end of the program waits for the writer


class _Forks:
    """How often this process and those before it were forked off: asking for the process's number is a system call."""

    def __init__(self) -> None:
        self.count = 0

    def another(self) -> None:
        """This is a process of its own now."""
        self.count += 1


_forks: Final = _Forks()
os.register_at_fork(after_in_child=_forks.another)


class Sink(Generic[Item]):
    """Takes items from any thread and writes them in order; `write` gets some, and how many were lost before them."""

    def __init__(self, write: Callable[[Sequence[Item], int], None], *, room: int = _ROOM, quick: bool = False) -> None:
        self._write = write
        self._room = room
        self._quick = quick
        self._begin()
        atexit.register(self.close)

    def _begin(self) -> None:
        """Start with nothing, in this process."""
        # Owned by this object. A deque's append and popleft need no lock.
        self._waiting: deque[Item] = deque()
        self._arranged = False  # somebody is going to write what waits
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._forks: int = _forks.count
        self._closed: bool = False
        self._dropped: int = 0
        self.lost: int = 0  # since the start of this process

    def put(self, item: Item) -> None:
        """Have an item written soon; drop it when too many wait already."""
        if self._forks != _forks.count:
            self._begin()
        waiting = self._waiting
        if len(waiting) >= self._room:
            self._lose(1)
            return
        waiting.append(item)
        if not self._arranged:
            self._arrange()
        elif self._quick and len(waiting) >= _BATCH:
            self._drain()

    def close(self) -> None:
        """Write what waits and stop the thread; an item that comes later is written by whoever brings it."""
        atexit.unregister(self.close)
        if self._closed or self._forks != _forks.count:
            return
        self._closed = True
        self._arranged = False
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
        else:
            self._drain()

    def _arrange(self) -> None:
        """See to it that what waits is written."""
        if self._closed:
            self._drain()
        elif self._quick:
            try:
                asyncio.get_running_loop().call_later(_PAUSE_S, self._on_time)
            except RuntimeError:  # no loop runs in this thread: there are no requests to hold up either
                self._drain()
            else:
                self._arranged = True
        else:
            self._arranged = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="llmproxy-log", daemon=True)
                self._thread.start()
            self._wake.set()

    def _on_time(self) -> None:
        self._arranged = False
        started_s = time.monotonic()
        self._drain()
        if time.monotonic() - started_s > _SLOW_S:
            self._quick = False

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            # Many lines at once: waking a thread for each costs the requests more than the writing does.
            self._stop.wait(_PAUSE_S)
            self._wake.clear()
            # Before anything is taken out: what is put from here on is arranged for anew.
            self._arranged = False
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while items := self._batch():
            dropped, self._dropped = self._dropped, 0
            try:
                self._write(items, dropped)
            except (OSError, ValueError):
                # The output is gone (a closed pipe, a full disk), and with it the place to say so.
                self._dropped += dropped
                self._lose(len(items))

    def _lose(self, number: int) -> None:
        self._dropped += number
        self.lost += number

    def _batch(self) -> list[Item]:
        items: list[Item] = []
        while len(items) < _BATCH:
            try:
                items.append(self._waiting.popleft())
            except IndexError:
                break
        return items
