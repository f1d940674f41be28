"""What other processes have changed is forgotten here, once, and nothing is missed while the store is away."""

import asyncio
from typing import Any, cast

import pytest

from proxy_cli.access.news import News
from proxy_cli.store.changes import say_changed
from proxy_cli.store.failures import StoreUnavailable
from tests.fakes.store import fresh_store


class Away:
    """A store that can be away."""

    def __init__(self, store):
        self._store = store
        self.is_away = False

    async def read(self, work, *, within_s=5.0):
        if self.is_away:
            raise StoreUnavailable("it is switched off")
        return await self._store.read(work, within_s=within_s)


@pytest.fixture
async def store(tmp_path):
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


async def say(store, *named):
    """Changes of keys with these ids."""

    def work(connection):
        for each in named:
            say_changed(connection, "key", each)

    await store.write(work)


async def test_each_change_is_told_once_in_order(store):
    """What was there before the first look is told as everything."""
    told = []
    news = News(store, lambda *change: told.append(change))
    await say(store, "before")

    await news.look()
    await say(store, "a", "b")
    await news.look()
    await news.look()

    assert told == [("*", ""), ("key", "a"), ("key", "b")]


async def test_nothing_is_missed_while_the_store_is_away(store, caplog):
    """It is read from where it was left, and said once that it cannot be."""
    told = []
    away = Away(store)
    news = News(cast("Any", away), lambda *change: told.append(change))
    await news.look()
    away.is_away = True
    await say(store, "a")

    await news.look()
    await news.look()
    away.is_away = False
    await news.look()

    assert told == [("*", ""), ("key", "a")]
    assert [record.getMessage() for record in caplog.records] == [
        "changes of keys are not seen: the database is not available: it is switched off"
    ]


async def test_it_looks_again_and_again(store):
    """Until it is ended."""
    told = []
    running = asyncio.create_task(News(store, lambda *change: told.append(change), every_s=0.01).run())
    async with asyncio.timeout(2):
        while not told:
            await asyncio.sleep(0.01)
        await say(store, "a")
        while ("key", "a") not in told:
            await asyncio.sleep(0.01)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
