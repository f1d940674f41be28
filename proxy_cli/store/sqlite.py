"""A store in one file of SQLite, in WAL mode: readers never wait for the writer, nor it for them.

Each process has one thread that writes and two that read; SQLite itself lets one process write at a time. The file is
never made here, and a connection is of no use once another file, or none, stands at its path: what is written then
would be lost, so it is refused until a restart.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from proxy_cli.store.base import READ_WITHIN_S, WRITE_WITHIN_S
from proxy_cli.store.failures import StoreUnavailable, is_ours, meaning
from proxy_cli.store.place import identity
from proxy_cli.store.settings import StoreSettings

T = TypeVar("T")

_READERS: Final = 2
_STEPS_BETWEEN_LOOKS: Final = 20_000  # of SQLite's machine: about a millisecond


def connect(path: Path, *, timeout_s: float, reads_only: bool = False, power_safe: bool = False) -> sqlite3.Connection:
    """A connection to a file that is there. Transactions are begun and ended by whoever uses it."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    # WAL keeps the file whole at a power cut in both; with FULL the last transactions are on the disk as well.
    connection.execute(f"PRAGMA synchronous={'FULL' if power_safe else 'NORMAL'}")
    connection.execute("PRAGMA temp_store=MEMORY")
    if reads_only:
        connection.execute("PRAGMA query_only=ON")
    return connection


def engine_of(connect_one: Callable[[], sqlite3.Connection], *, size: int = 1, begin: str = "BEGIN") -> Engine:
    """SQLAlchemy over such connections, kept open; each transaction begins as told."""
    engine = create_engine("sqlite://", creator=connect_one, poolclass=QueuePool, pool_size=size, max_overflow=0)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


class _Side:
    """The threads that read, or the one that writes, and their connections."""

    def __init__(self, settings: StoreSettings, *, threads: int, reads_only: bool) -> None:
        assert settings.path is not None, "a store of SQLite has a file"
        self._settings = settings
        self._path = settings.path
        self._reads_only = reads_only
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store-read" if reads_only else "store-write")
        self._engine = engine_of(self._connect, size=threads, begin="BEGIN" if reads_only else "BEGIN IMMEDIATE")
        self._file: tuple[int, int] | None = None  # which file was opened first

    async def run(self, work: Callable[[Connection], T], within_s: float) -> T:
        """Do the work in a thread. Whoever stops waiting for it keeps work from happening that has not begun."""
        until_s = time.monotonic() + within_s
        waiting = asyncio.get_running_loop().run_in_executor(self._threads, self._do, work, until_s)
        try:
            async with asyncio.timeout(within_s + self._settings.timeout_s):
                return await waiting
        except TimeoutError:
            raise StoreUnavailable("it does not answer in time") from None

    def _do(self, work: Callable[[Connection], T], until_s: float) -> T:
        if time.monotonic() > until_s:
            raise StoreUnavailable("it has too much to do")
        self._look_at_file()
        try:
            with self._engine.begin() as connection:
                raw: Any = connection.connection.driver_connection
                raw.set_progress_handler(lambda: time.monotonic() > until_s, _STEPS_BETWEEN_LOOKS)
                return work(connection)
        except (SQLAlchemyError, sqlite3.Error) as error:
            if is_ours(error):
                raise
            raise StoreUnavailable(meaning(error)) from error

    def _look_at_file(self) -> None:
        found = identity(self._path)
        if self._file is None:
            self._file = found
        if found is None:
            raise StoreUnavailable("its file has been removed; put it back and restart")
        if found != self._file:
            raise StoreUnavailable("another file has been put in its place; restart to use it")

    def _connect(self) -> sqlite3.Connection:
        settings = self._settings
        return connect(
            self._path,
            timeout_s=settings.timeout_s,
            reads_only=self._reads_only,
            power_safe=settings.power_safe,
        )

    def close(self) -> None:
        """End the threads, then the connections: what is under way is finished."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()


class SqliteStore:
    """A store in a file. Threads and connections come with the first work, so it may be made before a fork."""

    dialect = "sqlite"

    def __init__(self, settings: StoreSettings) -> None:
        self.shown = settings.shown
        self._reading = _Side(settings, threads=_READERS, reads_only=True)
        self._writing = _Side(settings, threads=1, reads_only=False)

    async def read(self, work: Callable[[Connection], T], *, within_s: float = READ_WITHIN_S) -> T:
        """What the work finds, in one transaction that writes nothing."""
        return await self._reading.run(work, within_s)

    async def write(self, work: Callable[[Connection], T], *, within_s: float = WRITE_WITHIN_S) -> T:
        """What the work returns, in one transaction of the one writer."""
        return await self._writing.run(work, within_s)

    async def close(self) -> None:
        """Finish what is under way; the event loop runs on meanwhile."""
        for side in (self._writing, self._reading):
            await asyncio.get_running_loop().run_in_executor(None, side.close)
