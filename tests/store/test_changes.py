"""The list of changes: nothing is missed, whatever comes at once, and what is gone is told."""

import asyncio
from functools import partial

import pytest

from proxy_cli.store.changes import EVERYTHING, changes_after, forget_changes, newest_change, say_changed
from proxy_cli.store.moments import now_us
from proxy_cli.store.opening import open_store
from tests.fakes.store import fresh_settings


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path):
    """A fresh store of each kind."""
    settings = fresh_settings(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres")
    opened = open_store(settings)
    yield opened
    await opened.close()


def said(*ids):
    """Work that puts keys on the list."""

    def work(connection):
        for id_ in ids:
            say_changed(connection, "key", id_)

    return work


async def test_what_was_changed_is_told_once_and_in_order(store):
    """Whoever asks with the number of last time gets what came since."""
    await store.write(said("a", "b"))
    first, told = await store.read(lambda connection: changes_after(connection, 0))
    await store.write(said("c"))
    second, then = await store.read(lambda connection: changes_after(connection, first))

    assert told == [("key", "a"), ("key", "b")]
    assert then == [("key", "c")]
    assert await store.read(lambda connection: changes_after(connection, second)) == (second, [])
    assert await store.read(newest_change) == second


async def test_an_empty_list_tells_nothing(store):
    """There is a number to begin with before anything was changed."""
    assert await store.read(newest_change) == 0
    assert await store.read(lambda connection: changes_after(connection, 0)) == (0, [])


async def test_a_change_that_was_undone_is_not_told(store):
    """It is written in the transaction of the change."""

    def failing(connection):
        say_changed(connection, "key", "a")
        raise LookupError

    with pytest.raises(LookupError):
        await store.write(failing)

    assert await store.read(lambda connection: changes_after(connection, 0)) == (0, [])


async def test_no_change_is_missed_by_whoever_follows(store):
    """A number that has been read is never followed by a lower one, however many write at once."""
    seen: list[tuple[str, str]] = []
    number = 0

    async def follow():
        nonlocal number
        while len(seen) < 40:
            number, told = await store.read(partial(changes_after, number=number))
            seen.extend(told)
            await asyncio.sleep(0)

    await asyncio.gather(follow(), *(store.write(said(f"{each}-1", f"{each}-2")) for each in range(20)))

    assert sorted(id_ for _, id_ in seen) == sorted(f"{each}-{part}" for each in range(20) for part in (1, 2))


async def test_a_shortened_list_keeps_its_newest(store):
    """Numbers are never given again, and whoever has kept up notices nothing."""
    await store.write(said("a", "b", "c"))
    newest = await store.read(newest_change)

    gone = await store.write(lambda connection: forget_changes(connection, now_us() + 1))
    await store.write(said("d"))

    assert gone == 2
    assert await store.read(lambda connection: changes_after(connection, newest)) == (newest + 1, [("key", "d")])


async def test_whoever_comes_too_late_forgets_everything(store):
    """Where a part of the list is gone, all may have changed."""
    await store.write(said("a", "b", "c"))
    await store.write(lambda connection: forget_changes(connection, now_us() + 1))

    newest, told = await store.read(lambda connection: changes_after(connection, 1))

    assert told == [EVERYTHING]
    assert newest == await store.read(newest_change)


async def test_a_number_of_another_database_forgets_everything(store):
    """A backup has been put in its place: numbers that it has not given yet say nothing."""
    await store.write(said("a"))

    assert await store.read(lambda connection: changes_after(connection, 99)) == (1, [EVERYTHING])
