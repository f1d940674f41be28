"""Journals into the store: the one process of a folder that holds its lock does it for all.

Owns the lock and the pace. What it reads waits in the journal while the store is away: one batch is in memory, however
long that takes. Rule: a batch is tried until it is in, or until its place is found taken; then all is read anew from
where the store says it is.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from proxy_cli.clock import Clock
from proxy_cli.ledger.crash import CrashPoint
from proxy_cli.ledger.journal import Journal
from proxy_cli.ledger.posting import Batch, Moved, forget, positions, post
from proxy_cli.ledger.reading import BATCH_ROWS, Reader
from proxy_cli.ledger.row import Row
from proxy_cli.ledger.segments import hold
from proxy_cli.store.base import Store
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.moments import now_us

logger = logging.getLogger(__name__)

LOCK: Final = "lock"
_PAUSE_S: Final = 0.25  # rows that come one by one are put in together: that costs less for each
_BUSY_PAUSE_S: Final = 0.01  # a long replay leaves room for the work
_LOOK_S: Final = 1.0  # a whole round, and upkeep, come at least so often
_LOCK_PAUSE_S: Final = 1.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0  # for a store that is away
_SAY_EVERY_S: Final = 30.0

Work = Callable[[Connection], None]
Told = Callable[[list[Row]], None]
Upkeep = Callable[[Store], Awaitable[None]]


class Drainer:
    """One process's turn at draining, if it gets it."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        *,
        node: str,
        keeps_rows: bool,
        crash: CrashPoint,
        told: Told | None = None,
        upkeep: Upkeep | None = None,
        journal: Journal | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._folder = folder
        self._store = store
        self._node = node
        self._keeps_rows = keeps_rows
        self._crash = crash
        self._told = told
        self._upkeep = upkeep
        self._journal = journal  # of this process, whose rows need not wait for the next look
        self._clock = clock
        self._looked_s = clock() - _LOOK_S
        self._lock: int | None = None
        self._reader: Reader | None = None
        self._said_s = -_SAY_EVERY_S
        self._stopping = False
        self._awake = asyncio.Event()  # there is a reason not to wait

    @property
    def has_turn(self) -> bool:
        """Whether this process is the one."""
        return self._lock is not None

    async def run(self) -> None:
        """Drain until `stop`, and then what is left, if nobody else does."""
        wait_s = _FIRST_WAIT_S
        while not self._stopping:
            try:
                pause_s = await self._turn()
                wait_s = _FIRST_WAIT_S
            except (StoreUnavailable, SQLAlchemyError, OSError, Moved) as error:
                self._failed(error)
                pause_s, wait_s = wait_s, min(wait_s * 2, _LONGEST_WAIT_S)
            await self._pause(pause_s)
        try:
            await self._finish()
        except (StoreUnavailable, SQLAlchemyError, OSError, Moved) as error:
            logger.warning("what is left in the journal %s waits there for the next start: %s", self._folder, error)
        finally:
            self._let_go()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping

    def forget(self) -> None:
        """Begin where the store says that it is, next time."""
        self._reader = None

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping = True
        self._awake.set()

    async def _turn(self) -> float:
        """One round, where it is this process's turn; how long to wait for the next one."""
        if self._journal is not None:
            self._journal.say_what_waits()
        if not self._take_lock():
            return _LOCK_PAUSE_S
        if self._is_quiet():
            return _PAUSE_S
        self._looked_s = self._clock()
        rows = await self.round()
        if rows >= BATCH_ROWS:
            return _BUSY_PAUSE_S
        if self._upkeep is not None:
            await self._upkeep(self._store)
        if not rows and self._journal is not None:
            self._awake.clear()
            self._journal.call_with_next(self._awake.set)
        return _PAUSE_S

    def _is_quiet(self) -> bool:
        """Whether nothing was written since the last round: to see that costs little, to have a round costs more."""
        is_fresh = self._clock() - self._looked_s < _LOOK_S
        return is_fresh and self._reader is not None and self._reader.is_quiet()

    async def round(self, *, is_last: bool = False) -> int:
        """Put in what there is, up to a batch; how many rows that were."""
        reader = await self._reader_now()
        batch = await asyncio.to_thread(reader.next, is_last=is_last)
        if batch.steps or batch.rows:
            await self._put_in(reader, batch)
        for orphans in await asyncio.to_thread(reader.orphans, now_us()):
            await self._put_in(reader, orphans)
            logger.warning(
                "%d requests were under way when their process ended; they are charged what was reserved for them",
                len(orphans.rows),
            )
            if self._told is not None and not orphans.foreign:
                self._told(orphans.rows)
        await self._remove(reader)
        return len(batch.rows)

    async def _put_in(self, reader: Reader, batch: Batch) -> None:
        self._crash.at("before_flush")
        wait_s = _FIRST_WAIT_S
        work: Work = partial(post, batch=batch, node=self._node, keeps_rows=self._keeps_rows)
        if self._crash.point == "in_flush":
            work = partial(_crashing, work, self._crash)
        while True:
            try:
                await self._store.write(work)
                break
            except StoreUnavailable as error:
                if self._stopping:
                    raise
                self._say(error)
                await self._pause(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        self._crash.at("after_flush")
        await asyncio.to_thread(reader.stored, batch)

    async def _remove(self, reader: Reader) -> None:
        done = reader.done()
        if not done:
            return
        self._crash.at("before_unlink")
        await asyncio.to_thread(reader.remove, done)
        self._crash.at("after_unlink")
        await self._store.write(partial(forget, names=done))

    async def _reader_now(self) -> Reader:
        """The reader, which knows what the store has of each journal."""
        if self._reader is None:
            reader = Reader(self._folder, self._node)
            names = reader.found()
            known = await self._store.read(partial(positions, names=names))
            await asyncio.to_thread(reader.recover, names, known)
            self._reader = reader
        return self._reader

    async def _finish(self) -> None:
        if not self._take_lock():
            return
        while await self.round(is_last=True):
            pass

    def _take_lock(self) -> bool:
        if self._lock is not None:
            return True
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._lock = hold(self._folder / LOCK)
        except BlockingIOError:
            return False
        self._reader = None
        return True

    def _let_go(self) -> None:
        self._reader = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _failed(self, error: Exception) -> None:
        """Nothing that was remembered of the journal counts any more."""
        self._reader = None
        self._say(error)

    def _say(self, error: Exception) -> None:
        now_s = self._clock()
        if now_s - self._said_s >= _SAY_EVERY_S:
            self._said_s = now_s
            logger.warning("what requests cost waits in the journal %s: %s", self._folder, error)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        except TimeoutError:
            return
        if not self._stopping:
            self._awake.clear()


def _crashing(work: Callable[[Connection], None], crash: CrashPoint, connection: Connection) -> None:
    work(connection)
    crash.at("in_flush")
