"""A file that fails those who use it: full, locked, gone, damaged; each is told in time, and passes by itself."""

import asyncio
import os
import sqlite3
import time
from dataclasses import replace

import pytest
from sqlalchemy import insert, select

from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.sqlite import SqliteStore
from proxy_cli.store.tables import SETTINGS
from tests.fakes.store import fresh_settings


@pytest.fixture
def settings(tmp_path):
    """A fresh file, whose lock is not waited for long."""
    return replace(fresh_settings(tmp_path), timeout_s=0.2)


@pytest.fixture
async def store(settings):
    """A store in it, closed at the end."""
    opened = SqliteStore(settings)
    yield opened
    await opened.close()


def put(name, value=0):
    """Work that writes a setting."""
    return lambda connection: connection.execute(insert(SETTINGS).values(name=name, value=value)) and None


def names(connection):
    """Work that reads the names of all settings."""
    return sorted(connection.scalars(select(SETTINGS.c.name)))


@pytest.mark.row("D-01")
async def test_a_full_disk_is_told_and_passes(store):
    """What does not fit is refused whole, reads go on, and once there is room writes do."""

    def pages(count):
        def work(connection):
            number = count or connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={number}")

        return work

    await store.write(put("a"))
    await store.write(pages(None))

    with pytest.raises(StoreUnavailable, match="disk is full") as failure:
        await store.write(put("b", "x" * 100_000))

    assert (failure.value.status, failure.value.code) == (503, "store_unavailable")
    assert failure.value.retry_after_s is not None
    assert await store.read(names) == ["a"]
    await store.write(pages(1_000_000))
    await store.write(put("b", "x" * 100_000))
    assert await store.read(names) == ["a", "b"]


@pytest.mark.row("D-02")
async def test_a_lock_of_another_process_is_waited_for_in_bounds(store, settings):
    """Writes are refused after the time that was set, reads go on, and all is well once it is free."""
    other = sqlite3.connect(settings.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await store.read(names)
    began = time.monotonic()

    with pytest.raises(StoreUnavailable, match="another program holds it locked"):
        await store.write(put("a"))

    assert 0.2 <= time.monotonic() - began < 10
    assert await store.read(names) == []
    other.execute("ROLLBACK")
    other.close()
    await store.write(put("a"))


@pytest.mark.row("D-03")
async def test_a_file_that_is_removed_while_open_is_told(store, settings):
    """What were written into it then would be lost; no new file appears in its place."""
    await store.write(put("a"))
    aside = settings.path.with_name("aside")
    settings.path.rename(aside)

    for work in (store.read(names), store.write(put("b"))):
        with pytest.raises(StoreUnavailable, match="has been removed"):
            await work

    assert not settings.path.exists()
    aside.rename(settings.path)
    await store.write(put("b"))
    assert await store.read(names) == ["a", "b"]


@pytest.mark.row("D-03")
async def test_a_file_that_is_replaced_while_open_is_told(store, settings, tmp_path):
    """The companions of the old file would damage the new one: a restart is needed."""
    await store.write(put("a"))
    (tmp_path / "other.db").write_bytes(settings.path.read_bytes())
    (tmp_path / "other.db").rename(settings.path)

    with pytest.raises(StoreUnavailable, match="another file has been put in its place"):
        await store.write(put("b"))


@pytest.mark.row("D-03")
async def test_a_file_that_becomes_damaged_is_told(settings):
    """It is a 503 with its reason, not an error of ours."""
    data = bytearray(settings.path.read_bytes())
    data[4096 * 2 :] = os.urandom(len(data) - 4096 * 2)
    settings.path.write_bytes(data)
    store = SqliteStore(settings)

    with pytest.raises(StoreUnavailable, match="damaged"):
        await store.read(names)

    await store.close()


async def test_a_read_that_takes_too_long_is_ended(store):
    """It gives its thread back: the next one is answered."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    with pytest.raises(StoreUnavailable, match="too long"):
        await store.read(lambda connection: connection.exec_driver_sql(endless).scalar(), within_s=0.1)

    assert await store.read(names) == []


async def test_work_that_waited_too_long_is_not_begun(store):
    """Whoever asked has gone; nothing is written for nobody."""
    blocked = [asyncio.ensure_future(store.write(lambda _: time.sleep(0.3))) for _ in range(1)]
    await asyncio.sleep(0.05)

    with pytest.raises(StoreUnavailable, match="too much to do"):
        await store.write(put("late"), within_s=0.1)

    await asyncio.gather(*blocked)
    assert await store.read(names) == []


async def test_readers_do_not_wait_for_the_writer(store):
    """A long transaction leaves what was there before to be read."""
    await store.write(put("a"))

    def slowly(connection):
        put("b")(connection)
        time.sleep(0.3)

    writing = asyncio.ensure_future(store.write(slowly))
    await asyncio.sleep(0.05)
    seen = await store.read(names)

    assert seen == ["a"]
    assert not writing.done()
    await writing


async def test_power_safe_writes_reach_the_disk(settings):
    """The setting is SQLite's own."""
    for power_safe, expected in ((True, 2), (False, 1)):
        store = SqliteStore(replace(settings, power_safe=power_safe))

        level = await store.write(lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar())

        assert level == expected
        await store.close()


async def test_what_is_under_way_at_the_end_is_finished(settings):
    """Closing waits for the transaction, and what had not begun never happens."""
    store = SqliteStore(settings)

    def slowly(connection):
        time.sleep(0.1)
        put("a")(connection)

    writing = asyncio.ensure_future(store.write(slowly))
    await asyncio.sleep(0.02)
    await store.close()
    await writing

    again = SqliteStore(settings)
    assert await again.read(names) == ["a"]
    await again.close()
