"""Notices that a file has changed, by looking at it once a second.

Looking costs microseconds and finds every change: editors that put a new file in the old one's place, folders that a
container mounts and links that are turned over, also where no events of the file system arrive.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

EVERY_S: Final = 1.0

Mark = tuple[int, int, int, int] | None


class Watch:
    """Files and how they were when they were last looked at. Which files these are may change."""

    def __init__(self, files: Callable[[], Sequence[Path]], *, every_s: float = EVERY_S) -> None:
        self._files = files
        self._every_s = every_s
        self._seen = self._marks()

    async def change(self) -> None:
        """Come back when one of the files is not as it was when last looked at."""
        while not self._look():  # noqa: ASYNC110 - nobody tells us: that is what this is about
            await asyncio.sleep(self._every_s)

    def _look(self) -> bool:
        before, self._seen = self._seen, self._marks()
        return any(mark != before.get(file, mark) for file, mark in self._seen.items())

    def _marks(self) -> dict[Path, Mark]:
        return {file: _mark(file) for file in self._files()}


def _mark(file: Path) -> Mark:
    """What tells one state of a file from another; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
