"""Where log lines end up: a bounded buffer and one thread that writes, so that a slow terminal stops no request.

When the buffer is full, lines are dropped and counted, and the count is handed on with the next lines. A process that
is forked off starts with an empty buffer and a thread of its own.
"""

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
_ROOM: Final = 10_000  # lines that may wait
_BATCH: Final = 256
_PAUSE_S: Final = 0.01
_PATIENCE_S: Final = 2.0  # how long the end of the program waits for the writer


class Sink(Generic[Item]):
    """Takes items from any thread and writes them in order from its own; `write` gets some, and how many were lost."""

    def __init__(self, write: Callable[[Sequence[Item], int], None], *, room: int = _ROOM) -> None:
        self._write = write
        self._room = room
        self._begin()
        atexit.register(self.close)

    def _begin(self) -> None:
        """Start with nothing, in this process."""
        # Owned by this object. A deque's append and popleft need no lock.
        self._waiting: deque[Item] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: int = os.getpid()
        self._closed: bool = False
        self._dropped: int = 0

    def put(self, item: Item) -> None:
        """Have an item written soon; drop it when too many wait already."""
        if self._process != os.getpid():
            self._begin()
        if len(self._waiting) >= self._room:
            self._dropped += 1
            return
        self._waiting.append(item)
        if self._closed:
            self._drain()
        elif self._thread is None:
            self._thread = threading.Thread(target=self._run, name="llmproxy-log", daemon=True)
            self._thread.start()
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what waits and stop the thread; an item that comes later is written by whoever brings it."""
        atexit.unregister(self.close)
        if self._closed or self._process != os.getpid():
            return
        self._closed = True
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            # Some lines at once: waking a thread for each costs the requests more than the writing does.
            self._stop.wait(_PAUSE_S)
            self._wake.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while items := self._batch():
            dropped, self._dropped = self._dropped, 0
            try:
                self._write(items, dropped)
            except (OSError, ValueError):
                # The output is gone (a closed pipe, a full disk), and with it the place to say so.
                self._dropped += dropped + len(items)

    def _batch(self) -> list[Item]:
        items: list[Item] = []
        while len(items) < _BATCH:
            try:
                items.append(self._waiting.popleft())
            except IndexError:
                break
        return items
