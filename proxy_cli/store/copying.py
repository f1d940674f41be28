"""Everything that one database has, moved into another that is empty; and the proof that it has arrived.

It is read in one transaction of the source and written in one of the target, table by table and some rows at a time.
At the end rows and sums are compared, and where they differ all of it is undone.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final, cast

from sqlalchemy import BigInteger, Connection, Integer, RowMapping, Table, exists, func, insert, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from proxy_cli.store import sqlite
from proxy_cli.store.base import Session
from proxy_cli.store.failures import StoreProblem, meaning
from proxy_cli.store.schema import REVISIONS, migrate, version_of
from proxy_cli.store.settings import StoreSettings
from proxy_cli.store.tables import CHANGES, METADATA, PREFIX

_BATCH: Final = 500
_MONEY: Final = ("nano", "cost_nano")
Sums = Mapping[str, int]  # of a table: its rows, and each of its columns that counts something


@dataclass(frozen=True, slots=True)
class Copied:
    """A table that was copied: how many rows, and the money in it in nano-dollars, where it holds any."""

    table: str
    rows: int
    nano: int | None


async def copy_all(source: StoreSettings, target: StoreSettings) -> tuple[Copied, ...]:
    """Copy all tables into a database that has no rows of ours, which is made where it is missing. Raises StoreProblem.

    The rows are those of one moment; a proxy that serves meanwhile goes on writing to the source.
    """
    if (source.path or source.postgres) == (target.path or target.postgres):
        raise StoreProblem(f"{target.shown} is the database that is to be copied; name another with --to")
    migrate(target)
    try:
        async with transaction(source, reads_only=True) as read, transaction(target, reads_only=False) as write:
            await read(lambda connection: _see_that_it_is_current(connection, source))
            await write(lambda connection: _see_that_it_is_empty(connection, target))
            for table in METADATA.sorted_tables:
                await _copy(table, read, write)
            await write(_count_on)
            return tuple([await _compared(table, read, write) for table in METADATA.sorted_tables])
    except (SQLAlchemyError, OSError) as error:
        raise StoreProblem(f"{source.shown} cannot be copied to {target.shown}: {meaning(error)}") from error


def transaction(settings: StoreSettings, *, reads_only: bool) -> AbstractAsyncContextManager[Session]:
    """One transaction for as long as it is open, in which work is done step by step; an error undoes it."""
    if settings.path is not None:
        return _file_transaction(settings, reads_only=reads_only)
    opened = import_module("proxy_cli.store.postgres").transaction(settings, reads_only=reads_only)
    return cast("AbstractAsyncContextManager[Session]", opened)


@asynccontextmanager
async def _file_transaction(settings: StoreSettings, *, reads_only: bool) -> AsyncIterator[Session]:
    path = settings.path
    assert path is not None, "a file was asked for"
    begin = "BEGIN" if reads_only else "BEGIN IMMEDIATE"
    engine = sqlite.engine_of(lambda: sqlite.connect(path, timeout_s=30, reads_only=reads_only), begin=begin)
    try:
        with engine.begin() as connection:

            async def run(work: Callable[[Connection], Any]) -> Any:
                return work(connection)

            yield run
    finally:
        engine.dispose()


def _see_that_it_is_current(connection: Connection, settings: StoreSettings) -> None:
    found = version_of(connection)
    if found != REVISIONS[-1]:
        raise StoreProblem(
            f"the database {settings.shown} has tables of version {found or 'none'}, not {REVISIONS[-1]}; "
            "run `llmproxy db upgrade` first"
        )


def _see_that_it_is_empty(connection: Connection, settings: StoreSettings) -> None:
    for table in METADATA.sorted_tables:
        if connection.scalar(select(exists().select_from(table))):
            raise StoreProblem(
                f"the database {settings.shown} has rows in {table.name} already, and copying would mix them; "
                "name an empty one"
            )


async def _copy(table: Table, read: Session, write: Session) -> None:
    after: RowMapping | None = None
    while rows := await read(partial(_rows_after, table=table, after=after)):
        await write(partial(_put, table=table, rows=[dict(row) for row in rows]))
        after = rows[-1]


def _put(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(insert(table), rows)


def _rows_after(connection: Connection, table: Table, after: RowMapping | None) -> Sequence[RowMapping]:
    """The next rows in the order of the key, which is the same in a transaction as often as it is asked for."""
    key = list(table.primary_key.columns)
    query = select(table).order_by(*key).limit(_BATCH)
    if after is not None:
        query = query.where(tuple_(*key) > tuple(after[column] for column in key))
    return connection.execute(query).mappings().all()


def _count_on(connection: Connection) -> None:
    """Let the numbers of changes go on after those that were copied."""
    if connection.dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence(PREFIX + "change", "number")
        newest = func.max(CHANGES.c.number)
        connection.execute(select(func.setval(sequence, func.coalesce(newest, 1), newest.is_not(None))))


async def _compared(table: Table, read: Session, write: Session) -> Copied:
    before = await read(lambda connection: sums_of(connection, table))
    after = await write(lambda connection: sums_of(connection, table))
    differing = [name for name, value in before.items() if after[name] != value]
    if differing:
        name = differing[0]
        raise StoreProblem(
            f"{table.name} has not arrived whole: {name} is {after[name]} and was {before[name]}; "
            "nothing was kept in the target"
        )
    money = next((before[name] for name in _MONEY if name in before), None)
    return Copied(table.name, before["rows"], money)


def sums_of(connection: Connection, table: Table) -> Sums:
    """Rows of a table, and the sum of each column that counts something; moments do not."""
    counted = [column for column in table.columns if isinstance(column.type, BigInteger | Integer)]
    sums = [func.coalesce(func.sum(column), 0).label(column.name) for column in counted if _has_sum(column.name)]
    row = connection.execute(select(func.count().label("rows"), *sums).select_from(table)).mappings().one()
    return {name: int(value) for name, value in row.items()}


def _has_sum(name: str) -> bool:
    return not name.endswith("_at") and name not in {"at", "window", "number"}
