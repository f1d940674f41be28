"""A server that fails those who use it: refused, killed, frozen, full, read-only. Every wait has an end."""

import asyncio
import signal
import time
from dataclasses import replace

import pytest
from sqlalchemy import insert, select, text, update

from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.opening import open_store
from proxy_cli.store.schema import migrate
from proxy_cli.store.settings import settings_of
from proxy_cli.store.tables import SETTINGS
from tests.fakes.store import PostgresServer, postgres_programs


@pytest.fixture
async def store(postgres):
    """A store on a fresh database, closed at the end."""
    opened = open_store(postgres)
    yield opened
    await opened.close()


@pytest.fixture
def own_server(postgres_server):
    """A server that a test may kill: its own."""
    programs = postgres_programs()
    assert programs is not None, "there is one, for the shared server runs"
    server = PostgresServer(programs, connections=6)
    yield server
    server.remove()


def put(name, value=0):
    """Work that writes a setting."""
    return lambda connection: connection.execute(insert(SETTINGS).values(name=name, value=value)) and None


def names(connection):
    """Work that reads the names of all settings."""
    return sorted(connection.scalars(select(SETTINGS.c.name)))


def database_of(settings):
    """The name of its database."""
    assert settings.postgres is not None
    return settings.postgres.database


@pytest.mark.row("D-04")
async def test_a_connection_that_was_cut_is_replaced(store, postgres, postgres_server):
    """A restart of the server between two calls is not seen by either."""
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_of(postgres)}'"

    for work in (put("a"), put("b")):
        await store.write(work)
        await asyncio.to_thread(postgres_server.sql, cut)
    found = await store.read(names)

    assert found == ["a", "b"]


@pytest.mark.row("D-04")
async def test_a_server_that_is_killed_and_comes_back_is_found_again(own_server, tmp_path):
    """Meanwhile each call is refused at once; what was committed is there."""
    store = open_store(settings_of(own_server.url(own_server.new()), {}, tmp_path, pool=2))
    await store.write(put("a"))
    await asyncio.to_thread(own_server.stop, signal.SIGQUIT)

    for work in (store.read(names), store.write(put("b"))):
        with pytest.raises(StoreUnavailable):
            await work

    await asyncio.to_thread(own_server.start)
    await store.write(put("c"))
    assert await store.read(names) == ["a", "c"]
    await store.close()


@pytest.mark.row("D-04")
async def test_a_frozen_server_holds_nobody_for_long(own_server, tmp_path):
    """Calls on connections that are open, and on new ones, end in time; it goes on as if nothing had been."""
    store = open_store(settings_of(own_server.url(own_server.new()), {}, tmp_path, pool=2, timeout_s=0.3))
    await store.write(put("a"))
    own_server.freeze()
    began = time.monotonic()

    failed = await asyncio.gather(*(store.read(names, within_s=0.5) for _ in range(20)), return_exceptions=True)

    assert all(isinstance(each, StoreUnavailable) for each in failed)
    assert time.monotonic() - began < 10
    own_server.freeze(signal.SIGCONT)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            assert await store.read(names) == ["a"]
            break
        except StoreUnavailable:
            await asyncio.sleep(0.1)
    else:
        pytest.fail("it does not come back")
    await store.close()


@pytest.mark.row("D-04")
async def test_a_server_without_room_is_told(own_server, tmp_path):
    """`too many clients` is a 503 that says so, and passes."""
    settings = settings_of(own_server.url(own_server.new()), {}, tmp_path, pool=1)
    others = [open_store(settings) for _ in range(6)]
    held = [
        asyncio.ensure_future(other.read(lambda c: c.execute(text("SELECT pg_sleep(1)")) and None)) for other in others
    ]
    await asyncio.sleep(0.4)
    store = open_store(settings)

    with pytest.raises(StoreUnavailable, match="takes no more connections"):
        await store.read(names)

    await asyncio.gather(*held)
    for other in others:
        await other.close()
    assert await store.read(names) == []
    await store.close()


@pytest.mark.row("D-04")
async def test_a_server_that_only_reads_is_told(store, postgres, postgres_server):
    """After a failover a former primary takes nothing; reads go on, and a new primary is found."""
    name = database_of(postgres)
    await asyncio.to_thread(postgres_server.sql, f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with pytest.raises(StoreUnavailable, match="only be read"):
        await store.write(put("a"))

    assert await store.read(names) == []
    await asyncio.to_thread(postgres_server.sql, f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    with pytest.raises(StoreUnavailable):
        await store.write(put("a"))
    await store.write(put("a"))


@pytest.mark.row("D-04")
async def test_two_changes_that_wait_for_each_other_are_both_made(store):
    """The one that the server breaks off is done again."""
    await store.write(put("a"))
    await store.write(put("b"))

    def both(first, second):
        def work(connection):
            for name in (first, second):
                connection.execute(update(SETTINGS).where(SETTINGS.c.name == name).values(value=first))
                connection.execute(text("SELECT pg_sleep(0.2)"))

        return work

    await asyncio.gather(store.write(both("a", "b")), store.write(both("b", "a")))

    values = await store.read(lambda connection: set(connection.scalars(select(SETTINGS.c.value))))
    assert values in ({"a"}, {"b"})


@pytest.mark.row("D-04")
async def test_tables_that_are_missing_are_told_with_the_cure(postgres_server, tmp_path):
    """Somebody has put an empty database in its place."""
    name = await asyncio.to_thread(lambda: postgres_server.new(has_tables=False))
    store = open_store(settings_of(postgres_server.url(name), {}, tmp_path))

    with pytest.raises(StoreUnavailable, match="run `llmproxy db upgrade`"):
        await store.read(names)

    await store.close()


async def test_a_statement_that_takes_too_long_is_ended(store):
    """Its connection is thrown away, and the next call gets another."""
    with pytest.raises(StoreUnavailable, match="in time"):
        await store.read(lambda connection: connection.execute(text("SELECT pg_sleep(5)")) and None, within_s=0.2)

    assert await store.read(names) == []


async def test_nobody_gets_the_answer_of_somebody_else(postgres):
    """Whoever is cut off in the midst of a query leaves no rows behind for the next on that connection."""
    store = open_store(replace(postgres, pool=2))

    async def ask(number):
        query = text("SELECT :number + 0 * length(pg_sleep(0.002)::text)")
        return await store.read(lambda connection: connection.execute(query, {"number": number}).scalar())

    tasks = [asyncio.ensure_future(ask(number)) for number in range(120)]
    for number, task in enumerate(tasks):
        if number % 3 == 0:
            await asyncio.sleep(0.002)
            task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    told = {number: answer for number, answer in enumerate(answers) if isinstance(answer, int)}
    assert len(told) > 40
    assert all(number == answer for number, answer in told.items())
    await store.close()


async def test_a_schema_is_kept_to_behind_a_pooler_too(postgres_server, tmp_path):
    """A session is anybody's there, so each transaction says which tables it means."""
    name = await asyncio.to_thread(lambda: postgres_server.new(has_tables=False))
    for schema in ("one", "two"):
        migrate(settings_of(postgres_server.url(name, f"?schema={schema}"), {}, tmp_path))
    stores = {
        schema: open_store(settings_of(postgres_server.url(name, f"?schema={schema}&pgbouncer=true"), {}, tmp_path))
        for schema in ("one", "two")
    }

    await stores["one"].write(put("a"))

    assert await stores["one"].read(names) == ["a"]
    assert await stores["two"].read(names) == []
    for store in stores.values():
        await store.close()


async def test_a_nul_character_keeps_no_row_out(store):
    """PostgreSQL's texts cannot hold it; it stands replaced, alone and among many rows."""
    rows = [{"name": "a\0b", "value": 1}, {"name": "c", "value": "x\0y"}]

    await store.write(lambda connection: connection.execute(insert(SETTINGS), rows) and None)
    await store.write(put("\0"))

    replaced = "\N{REPLACEMENT CHARACTER}"
    assert await store.read(names) == sorted([f"a{replaced}b", "c", replaced])
