"""Rows of the journal into the tables, in one transaction: the ledger, its sums, and how far the journal has been read.

The sums count the rows that were really put in. The transaction begins with the place in the journal: where that is not
where the batch began, somebody else has been there, and nothing is done (`Moved`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Dialect, Table, delete, select, tuple_, update

from proxy_cli.ledger.row import Row, State
from proxy_cli.ledger.segments import SegmentName
from proxy_cli.ledger.tally import Charges
from proxy_cli.store.tables import DAILY, DAILY_TAGS, JOURNALS, LEDGER, SPEND
from proxy_cli.store.writing import upsert

DONE: Final = 2**62  # as a position: the whole segment, and what became of its intents, is in the store
Sums = dict[tuple[Any, ...], list[int]]  # key of a row of sums to what is added to it

_LARGEST: Final = 2**63 - 1
_LARGEST_SMALL: Final = 2**31 - 1
_SMALL_NUMBERS: Final = ("attempts", "status")
_NUMBERS: Final = tuple(column.name for column in LEDGER.columns if column.type.python_type is int)
_TEXTS: Final = tuple(  # but for the state, which is one of few words
    column.name
    for column in LEDGER.columns
    if column.type.python_type is str and not column.nullable and column.name != "state"
)
_TOGETHER: Final = 20  # rows in one statement: older SQLite takes 999 values
_AT_ONCE: Final = 500  # names in one query
_DAY_KEYS: Final = tuple(column.name for column in DAILY.primary_key)
_DAY_SUMS: Final = tuple(column.name for column in DAILY.columns if not column.primary_key)
_TAG_KEYS: Final = tuple(column.name for column in DAILY_TAGS.primary_key)
_TAG_SUMS: Final = tuple(column.name for column in DAILY_TAGS.columns if not column.primary_key)
_MICROSECONDS_OF_DAY: Final = 24 * 3600 * 1_000_000
_FIRST_DAY: Final = date(1970, 1, 1)
_LAST_DAY: Final = 2_900_000  # more would not have a year of four digits
_who_of: Final = attrgetter(
    *("key", "user_id", "team_id", "organization_id", "end_user", "backend_model", "model_group", "provider")
)
_numbers_of: Final = attrgetter(*_NUMBERS)
_small_numbers_of: Final = attrgetter(*_SMALL_NUMBERS)
_texts_of: Final = attrgetter(*_TEXTS)


class Moved(Exception):
    """The journal was read on by another process."""


class Batch(msgspec.Struct):
    """What is put into the store together."""

    rows: list[Row]
    steps: dict[SegmentName, tuple[int, int]]  # how far each segment was read before, and is now
    foreign: dict[str, str] = {}  # requests that another server of this folder has answered, and its node


def post(connection: Connection, batch: Batch, *, node: str, keeps_rows: bool) -> None:
    """Put a batch in. Raises Moved where that was done already."""
    for name, (before, after) in sorted(batch.steps.items()):
        _step(connection, name, before, after)
    rows = _new(connection, [sound(row) for row in batch.rows])
    if not rows:
        return
    if keeps_rows:
        _insert(connection, rows)
    _add(connection, SPEND, ("kind", "id", "window", "node"), ("nano",), _spend_of(rows, batch.foreign, node))
    _add(connection, DAILY, _DAY_KEYS, _DAY_SUMS, _days_of(rows))
    _add(connection, DAILY_TAGS, _TAG_KEYS, _TAG_SUMS, _tags_of(rows))


def positions(connection: Connection, names: Iterable[SegmentName]) -> dict[SegmentName, int]:
    """How far each segment is in the store; those of which nothing is are missing."""
    known = {str(name): name for name in names}
    found: dict[SegmentName, int] = {}
    for some in _pieces(list(known)):
        query = select(JOURNALS.c.name, JOURNALS.c.position).where(JOURNALS.c.name.in_(some))
        found.update((known[name], position) for name, position in connection.execute(query))
    return found


def forget(connection: Connection, names: Iterable[SegmentName]) -> None:
    """Segments whose files are gone need no place any more."""
    for some in _pieces([str(name) for name in names]):
        connection.execute(delete(JOURNALS).where(JOURNALS.c.name.in_(some)))


def spent(
    connection: Connection, charges: Iterable[tuple[str, str, int]]
) -> list[tuple[tuple[str, str, int], str, int]]:
    """What stands in the sums of some scopes and windows: charge, node and nano-dollars."""
    keys = tuple_(SPEND.c.kind, SPEND.c.id, SPEND.c.window)
    found: list[tuple[tuple[str, str, int], str, int]] = []
    for some in _pieces(list(charges)):
        query = select(SPEND.c.kind, SPEND.c.id, SPEND.c.window, SPEND.c.node, SPEND.c.nano).where(keys.in_(some))
        found += [((kind, name, window), node, nano) for kind, name, window, node, nano in connection.execute(query)]
    return found


def sound(row: Row) -> Row:
    """The row as any database takes it: a row that is refused would stand in the way of all that follow."""
    numbers = _numbers_of(row)
    if min(numbers) < 0 or max(numbers) > _LARGEST or max(_small_numbers_of(row)) > _LARGEST_SMALL:
        for name in _NUMBERS:
            largest = _LARGEST_SMALL if name in _SMALL_NUMBERS else _LARGEST
            setattr(row, name, min(max(getattr(row, name), 0), largest))
    if "\0" in "".join(_texts_of(row)):
        for name in _TEXTS:
            setattr(row, name, getattr(row, name).replace("\0", ""))
    if row.messages is not None:
        row.messages = row.messages.replace("\0", "")
    if row.response is not None:
        row.response = row.response.replace("\0", "")
    if row.metadata:
        row.metadata = msgspec.json.decode(msgspec.json.encode(row.metadata))  # what JSON has no word for is null
    if row.tags:
        row.tags = tuple(tag.replace("\0", "") for tag in row.tags)
    row.charges = _sound_charges(row.charges)
    return row


def _sound_charges(charges: Charges) -> Charges:
    for charge in charges:
        if "\0" in charge[1]:
            return tuple((kind, name.replace("\0", ""), window) for kind, name, window in charges)
    return charges


def _step(connection: Connection, name: SegmentName, before: int, after: int) -> None:
    known = update(JOURNALS).where(JOURNALS.c.name == str(name), JOURNALS.c.position == before).values(position=after)
    if connection.execute(known).rowcount:
        return
    fresh = upsert(JOURNALS).values(name=str(name), segment=name.number, position=after).on_conflict_do_nothing()
    if before or not connection.execute(fresh).rowcount:
        raise Moved(f"{name} was not at {before}")


def _new(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """Those that are not in the ledger yet, each once."""
    fresh = {row.request_id: row for row in reversed(rows)}
    for some in _pieces(list(fresh)):
        for (name,) in connection.execute(select(LEDGER.c.request_id).where(LEDGER.c.request_id.in_(some))):
            del fresh[name]
    return list(reversed(fresh.values()))


def _insert(connection: Connection, rows: Sequence[Row]) -> None:
    statement, values_of = _insert_for(connection.dialect)
    values = [values_of(row) for row in rows]
    if connection.dialect.name == "sqlite":
        # Each statement hands the interpreter over to whoever serves, and back; so it is one for many rows.
        many = _for_many(statement)
        while len(values) >= _TOGETHER:
            connection.exec_driver_sql(many, tuple(chain.from_iterable(values[:_TOGETHER])))
            del values[:_TOGETHER]
    if values:
        connection.exec_driver_sql(statement, [tuple(each) for each in values])


@lru_cache(maxsize=8)
def _for_many(statement: str) -> str:
    """An insert of one row as one of many: the same places for values, so many times."""
    head, _, rest = statement.partition("VALUES ")
    places, _, tail = rest.partition(")")
    return f"{head}VALUES {', '.join([places + ')'] * _TOGETHER)}{tail}"


@lru_cache(maxsize=8)
def _insert_for(dialect: Dialect) -> tuple[str, Callable[[Row], list[Any]]]:
    """The statement that puts rows in, and what takes a row apart for it.

    SQLAlchemy would look at each of forty values of each row; that costs more than the database.
    """
    statement = upsert(LEDGER).on_conflict_do_nothing()
    compiled = statement.compile(dialect=dialect, column_keys=[column.name for column in LEDGER.columns])
    names = compiled.positiontup
    assert names is not None, "values of a row have places in both databases"
    fields_of, tags, metadata = attrgetter(*names), names.index("tags"), names.index("metadata")

    def values_of(row: Row) -> list[Any]:
        values = list(fields_of(row))
        values[tags] = _json(row.tags) if row.tags else "[]"
        values[metadata] = _json(row.metadata) if row.metadata else "{}"
        return values

    return str(compiled), values_of


def _json(value: Sequence[str] | Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _day(row: Row) -> str:
    return _day_of(row.started_at // _MICROSECONDS_OF_DAY)


@lru_cache(maxsize=64)
def _day_of(number: int) -> str:
    return (_FIRST_DAY + timedelta(days=min(number, _LAST_DAY))).isoformat()


def _spend_of(rows: Iterable[Row], foreign: Mapping[str, str], node: str) -> Sums:
    together: dict[tuple[str, Charges], int] = {}  # most rows are of few callers
    for row in rows:
        if row.cost_nano:
            key = (foreign.get(row.request_id, node) if foreign else node, row.charges)
            together[key] = together.get(key, 0) + row.cost_nano
    sums: Sums = defaultdict(lambda: [0])
    for (counted_by, charges), nano in together.items():
        for kind, name, window in charges:
            sums[kind, name, window, counted_by][0] += nano
    return sums


def _days_of(rows: Iterable[Row]) -> Sums:
    sums: Sums = {}
    for row in rows:
        key = (_day(row), *_who_of(row))
        entry = sums.get(key)
        if entry is None:
            entry = sums[key] = [0] * len(_DAY_SUMS)
        entry[0] += 1
        entry[1] += row.state is State.FAILED
        entry[2] += row.prompt_tokens
        entry[3] += row.completion_tokens
        entry[4] += row.cached_tokens
        entry[5] += row.cache_creation_tokens
        entry[6] += row.cost_nano
    return sums


def _tags_of(rows: Iterable[Row]) -> Sums:
    sums: Sums = defaultdict(lambda: [0] * len(_TAG_SUMS))
    for row in rows:
        for tag in set(row.tags):
            entry = sums[_day(row), tag, row.key, row.backend_model]
            _sum(entry, (1, _failed(row), row.prompt_tokens, row.completion_tokens, row.cost_nano))
    return sums


def _failed(row: Row) -> int:
    return int(row.state is State.FAILED)


def _sum(entry: list[int], more: Sequence[int]) -> None:
    for place, value in enumerate(more):
        entry[place] += value


def _add(connection: Connection, table: Table, keys: tuple[str, ...], names: tuple[str, ...], sums: Sums) -> None:
    """Add to rows of sums, always in the same order, so that two who do it never wait for each other in a circle."""
    if not sums:
        return
    statement, in_order = _adding(connection.dialect, table, keys, names)
    connection.exec_driver_sql(statement, [in_order((*key, *sums[key])) for key in sorted(sums)])


@lru_cache(maxsize=16)
def _adding(
    dialect: Dialect, table: Table, keys: tuple[str, ...], names: tuple[str, ...]
) -> tuple[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]]:
    """The statement that adds to rows of sums, and what puts keys and sums into its order."""
    insert = upsert(table)
    added = {name: table.c[name] + insert.excluded[name] for name in names}
    statement = insert.on_conflict_do_update(index_elements=list(keys), set_=added)
    compiled = statement.compile(dialect=dialect, column_keys=[*keys, *names])
    places = compiled.positiontup
    assert places is not None, "values of a row have places in both databases"
    return str(compiled), itemgetter(*((*keys, *names).index(place) for place in places))


def _pieces(many: list[Any]) -> Iterable[list[Any]]:
    return (many[begin : begin + _AT_ONCE] for begin in range(0, len(many), _AT_ONCE))
