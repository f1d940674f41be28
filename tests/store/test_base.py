"""What every store promises, by the file of SQLite and by a real PostgreSQL."""

import asyncio

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.opening import open_store
from proxy_cli.store.tables import SETTINGS
from tests.fakes.store import fresh_settings


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, tmp_path):
    """The settings of a new database of each kind."""
    return fresh_settings(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
async def store(settings):
    """A fresh store, closed at the end."""
    opened = open_store(settings)
    yield opened
    await opened.close()


def put(name, value=0):
    """Work that writes a setting."""
    return lambda connection: connection.execute(insert(SETTINGS).values(name=name, value=value))


def names(connection):
    """Work that reads the names of all settings."""
    return sorted(connection.scalars(select(SETTINGS.c.name)))


async def test_what_was_written_is_read(store, settings):
    """A write that has come back is seen by every read after it, of every store on the same database."""
    other = open_store(settings)

    await store.write(put("a"))

    assert await store.read(names) == await other.read(names) == ["a"]
    await other.close()


async def test_json_comes_back_as_it_was(store):
    """Values of JSON keep their kinds, their letters and what is null in them."""
    value = {"max_budget": 0.1, "models": ["a", "ü"], "none": None, "yes": True, "big": 2**53}

    await store.write(put("a", value))

    assert await store.read(lambda connection: connection.scalar(select(SETTINGS.c.value))) == value


async def test_work_that_fails_has_written_nothing(store):
    """A transaction happens as a whole or not at all, and the rule that was broken is told."""

    def both(connection):
        put("a")(connection)
        put("a")(connection)

    with pytest.raises(IntegrityError):
        await store.write(both)

    assert await store.read(names) == []


async def test_what_the_work_raises_comes_out(store):
    """A refusal that the work decides on undoes the transaction and reaches whoever asked."""

    def refuse(connection):
        put("a")(connection)
        raise LookupError("no")

    with pytest.raises(LookupError):
        await store.write(refuse)

    assert await store.read(names) == []


async def test_a_read_cannot_write(store):
    """Work that is only to read is refused where it writes."""
    with pytest.raises(StoreUnavailable, match="only be read"):
        await store.read(put("a"))

    assert await store.read(names) == []


async def test_writes_at_once_take_turns(store):
    """Changes of the same row by many at once are all made."""
    await store.write(put("a"))
    count = SETTINGS.c.name == "a"

    def more(connection):
        value = connection.scalar(select(SETTINGS.c.value).where(count).with_for_update())
        connection.execute(update(SETTINGS).where(count).values(value=value + 1))

    await asyncio.gather(*(store.write(more) for _ in range(20)))

    assert await store.read(lambda connection: connection.scalar(select(SETTINGS.c.value))) == 20


async def test_whoever_is_cancelled_leaves_a_store_that_works(store):
    """Waiting may be given up at any time; the next one gets its own answer."""
    for _ in range(20):
        task = asyncio.ensure_future(store.read(names))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await store.write(put("b"))

    assert await store.read(names) == ["b"]


async def test_it_may_be_closed_unused(settings):
    """A store that nobody has asked has nothing to give back."""
    store = open_store(settings)

    await store.close()

    assert store.dialect == settings.dialect


async def test_it_tells_where_it_is_without_the_password(store, settings):
    """What is shown of a store names it, and holds no secret."""
    assert store.shown == settings.shown
    assert "p%40ss" not in store.shown
    assert "p@ss" not in store.shown
