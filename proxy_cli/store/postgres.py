"""A store in PostgreSQL, by asyncpg beneath SQLAlchemy: a pool in each process, and an end to every wait.

Whoever waits is answered in time even where the server is frozen: the work is then given up in the background, and its
connection is thrown away, never used again. Work is done a second time, once, where the server says that it may
succeed, or where the connection was found dead before anything could have been committed.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateSchema

from proxy_cli.store.base import READ_WITHIN_S, WRITE_WITHIN_S, Session
from proxy_cli.store.failures import (
    AGAIN,
    READ_ONLY,
    NotThere,
    StoreProblem,
    StoreUnavailable,
    is_ours,
    meaning,
    sqlstate,
)
from proxy_cli.store.login import driver_options
from proxy_cli.store.schema import Migrated, bring_up
from proxy_cli.store.settings import StoreSettings

T = TypeVar("T")

FAILURES: Final = (SQLAlchemyError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
_TURN: Final = 0x6C6C6D71  # of PostgreSQL's advisory locks, ours for changes of the tables
_MIGRATION_WAIT_S: Final = 60.0
_CURE: Final = "see to the server, or correct general_settings.database_url (DATABASE_URL)"
_LONG_S: Final = 3600.0  # for a statement that moves a whole table
_CLOSE_S: Final = 2.0


def engine_of(settings: StoreSettings, *, size: int, statement_s: float = WRITE_WITHIN_S) -> AsyncEngine:
    """SQLAlchemy's engine for an address. Nothing is connected yet. Raises StoreProblem."""
    address = settings.postgres
    assert address is not None, "a server was asked for"
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=driver_options(address, timeout_s=settings.timeout_s, statement_s=statement_s),
        pool_size=size,
        max_overflow=0,
        pool_timeout=settings.timeout_s,
        pool_recycle=1800,  # firewalls forget connections that are older
    )
    event.listen(engine.sync_engine, "before_cursor_execute", _without_nul, retval=True)
    if address.is_pooled and address.schema:
        _choose_schema(engine, address.schema)
    return engine


def _without_nul(
    _connection: Connection, _cursor: object, statement: str, parameters: Any, _context: object, is_many: bool
) -> tuple[str, Any]:
    """PostgreSQL's texts hold every character but NUL, and a caller's text must not make a row that is never taken."""
    if is_many:
        return statement, [tuple(map(_clean, row)) for row in parameters]
    return statement, tuple(map(_clean, parameters))


def _clean(value: object) -> object:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) and "\0" in value else value


def _choose_schema(engine: AsyncEngine, schema: str) -> None:
    """Behind a pooler a session is anybody's: each transaction says which tables it means."""

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(f'SET LOCAL search_path TO "{schema}"')


class PostgresStore:
    """A store on a server. It may be made before a fork, for it connects with the first work."""

    dialect = "postgresql"

    def __init__(self, settings: StoreSettings) -> None:
        self.shown = settings.shown
        self._engine = engine_of(settings, size=settings.pool)
        self._given_up: set[asyncio.Task[object]] = set()  # work that nobody waits for any more

    async def read(self, work: Callable[[Connection], T], *, within_s: float = READ_WITHIN_S) -> T:
        """What the work finds, in one transaction that writes nothing."""
        return await self._within(self._twice(work, reads_only=True), within_s)

    async def write(self, work: Callable[[Connection], T], *, within_s: float = WRITE_WITHIN_S) -> T:
        """What the work returns, in one transaction."""
        return await self._within(self._twice(work, reads_only=False), within_s)

    async def _within(self, doing: Coroutine[object, object, T], within_s: float) -> T:
        """Wait for it so long and no longer: taking it back from a server that is frozen takes time as well."""
        task = asyncio.ensure_future(doing)
        try:
            done, _ = await asyncio.wait({task}, timeout=within_s)
        except asyncio.CancelledError:
            self._give_up(task)
            raise
        if not done:
            self._give_up(task)
            raise StoreUnavailable("it does not answer in time")
        return task.result()

    def _give_up(self, task: "asyncio.Task[T]") -> None:
        task.cancel()
        held: asyncio.Task[object] = task
        self._given_up.add(held)
        held.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()  # it was given up: nobody else will ask

    async def _twice(self, work: Callable[[Connection], T], *, reads_only: bool) -> T:
        try:
            try:
                return await self._once(work, reads_only=reads_only)
            except FAILURES as error:
                if not _is_worth_another(error, reads_only=reads_only):
                    raise
            return await self._once(work, reads_only=reads_only)
        except FAILURES as error:
            if is_ours(error):
                raise
            if sqlstate(error) == READ_ONLY:
                await self._engine.dispose()  # it may be a primary no more: the next connection finds the new one
            raise StoreUnavailable(meaning(error)) from error

    async def _once(self, work: Callable[[Connection], T], *, reads_only: bool) -> T:
        options = {"postgresql_readonly": True} if reads_only else {}
        async with self._engine.connect() as connection:
            if options:
                await connection.execution_options(**options)
            async with connection.begin():
                try:
                    result = await connection.run_sync(work)
                except FAILURES as error:
                    _mark_uncommitted(error)
                    raise
            return result

    async def close(self) -> None:
        """Give the connections back, and those of work that was given up."""
        for task in self._given_up:
            task.cancel()
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=_CLOSE_S)
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._engine.dispose()
        except TimeoutError:
            await self._engine.dispose(close=False)


def _mark_uncommitted(error: BaseException) -> None:
    error.add_note(_UNCOMMITTED)


_UNCOMMITTED: Final = "nothing was committed"


def _is_worth_another(error: BaseException, *, reads_only: bool) -> bool:
    if sqlstate(error) in AGAIN:
        return True
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_lost and (reads_only or _UNCOMMITTED in getattr(error, "__notes__", ()))


def migrate(settings: StoreSettings, *, may_change: bool) -> Migrated:
    """Bring the server's tables to the version of this program. Raises StoreProblem.

    It has an event loop in a thread of its own, so that it can be called with and without one running; the thread has
    ended when this comes back, so that a fork is safe.
    """
    outcome: list[Migrated | BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(_migrate(settings, may_change=may_change)))
        except (StoreProblem, *FAILURES) as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="store-migrate")
    thread.start()
    thread.join()
    match outcome[0]:
        case Migrated() as migrated:
            return migrated
        case StoreProblem() as problem:
            raise problem
        case error:
            raise NotThere(f"the database {settings.shown} cannot be used: {meaning(error)}; {_CURE}") from error


async def _migrate(settings: StoreSettings, *, may_change: bool) -> Migrated:
    engine = engine_of(settings, size=1, statement_s=_MIGRATION_WAIT_S)
    try:
        async with asyncio.timeout(2 * _MIGRATION_WAIT_S), engine.begin() as connection:
            return await connection.run_sync(_alone, settings, may_change)
    finally:
        await engine.dispose()


def _alone(connection: Connection, settings: StoreSettings, may_change: bool) -> Migrated:
    """Bring the tables up under a lock that ends with the transaction, however that ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
    schema = settings.postgres.schema if settings.postgres else None
    if schema and may_change and not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
    return bring_up(connection, settings.shown, may_change=may_change)


@asynccontextmanager
async def transaction(settings: StoreSettings, *, reads_only: bool) -> AsyncIterator[Session]:
    """One long transaction that sees the database as it is at its beginning; an error undoes it."""
    engine = engine_of(settings, size=1, statement_s=_LONG_S)
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if reads_only else {}
    try:
        async with engine.connect() as connection:
            await connection.execution_options(**options)
            async with connection.begin():
                yield connection.run_sync
    finally:
        await engine.dispose()
