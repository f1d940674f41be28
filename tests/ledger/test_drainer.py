"""Journals into the store, by one process at a time."""

import asyncio
import contextlib
import sqlite3

import pytest
from sqlalchemy import func, select

from proxy_cli.ledger.crash import CrashPoint
from proxy_cli.ledger.drainer import Drainer
from proxy_cli.ledger.journal import Journal, Room
from proxy_cli.ledger.row import Row
from proxy_cli.ledger.segments import segments_in
from proxy_cli.store.opening import open_store
from proxy_cli.store.tables import LEDGER, SPEND
from tests.fakes.rows import intent, settled
from tests.fakes.store import fresh_settings

NO_CRASH = CrashPoint({})


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path):
    """A store of either kind."""
    settings = fresh_settings(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres")
    opened = open_store(settings)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite(tmp_path):
    """A store in a file."""
    opened = open_store(fresh_settings(tmp_path))
    yield opened
    await opened.close()


def journal_in(folder, number=0):
    """One process's journal."""
    return Journal(Room(folder / "journal", segment_bytes=16 * 1024), node="n", number=number)


def drainer_of(folder, store, **more):
    """Somebody who may have the turn."""
    return Drainer(folder / "journal", store, node="n", keeps_rows=True, crash=NO_CRASH, **more)


@contextlib.asynccontextmanager
async def running(drainer):
    """A drainer at work; it ends in order."""
    task = asyncio.create_task(drainer.run())
    yield task
    drainer.stop()
    await task


async def totals(store):
    """How many rows there are, and what stands in the sums."""
    return await store.read(
        lambda connection: (
            connection.execute(select(func.count()).select_from(LEDGER)).scalar(),
            connection.execute(select(func.coalesce(func.sum(SPEND.c.nano), 0))).scalar(),
        )
    )


async def until(condition):
    """Wait until something has come about."""
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.02)


async def has(store, rows):
    """Whether so many rows are there."""
    return (await totals(store))[0] >= rows


async def test_rows_reach_the_store_while_requests_go_on(store, tmp_path):
    """What is settled is in the ledger a moment later; at the end everything is, and no journal is left."""
    journal = journal_in(tmp_path)
    async with running(drainer_of(tmp_path, store)):
        for number in range(300):
            journal.intent(intent(str(number)))
            journal.settle(settled(str(number), cost=3))
        await until(lambda: has(store, 300))
        journal.intent(intent("last"))
        journal.settle(settled("last", cost=3))
        journal.close()

    assert await totals(store) == (301, 903)
    assert segments_in(tmp_path / "journal") == []


async def test_a_journal_that_is_never_at_rest_does_not_grow(sqlite, tmp_path):
    """While rows come without a pause, segments that are in the store go, and whoever has ended is seen."""
    journal, ended = journal_in(tmp_path), journal_in(tmp_path, number=1)
    ended.intent(intent("under way"))
    ended.close()
    drainer = drainer_of(tmp_path, sqlite)
    left = []
    for turn in range(20):
        for number in range(100):
            journal.intent(intent(f"{turn}-{number}"))
            journal.settle(settled(f"{turn}-{number}", cost=1))
        await drainer.round()
        left.append(len(segments_in(tmp_path / "journal")))
    drainer.stop()
    journal.close()
    await drainer.run()

    assert max(left[1:]) <= 3
    assert (await totals(sqlite))[0] == 2001


async def test_a_row_after_a_quiet_time_does_not_wait_for_the_next_look(sqlite, tmp_path):
    """This process's own journal wakes the one that drains; it says so once."""
    woken = []
    journal = journal_in(tmp_path)
    journal.call_with_next(lambda: woken.append(1))
    journal.intent(intent("a"))
    before = len(woken)
    journal.settle(settled("a"))
    journal.settle(settled("b"))
    journal.close()

    assert (before, len(woken)) == (0, 1)


async def test_rows_of_other_processes_are_seen_without_being_told(store, tmp_path):
    """Where nothing wakes the one that drains, it looks."""
    mine, other = journal_in(tmp_path), journal_in(tmp_path, number=1)
    mine.settle(settled("mine", cost=1))
    async with running(drainer_of(tmp_path, store, journal=mine)):
        await until(lambda: has(store, 1))
        await asyncio.sleep(0.3)
        other.settle(settled("other", cost=1))
        await until(lambda: has(store, 2))
        mine.settle(settled("mine again", cost=1))
        await until(lambda: has(store, 3))
        mine.close()
        other.close()

    assert await totals(store) == (3, 3)


async def test_two_that_take_turns_put_everything_in_once(store, tmp_path):
    """While one drains the other waits; when it is gone the other goes on where it was."""
    journal = journal_in(tmp_path)
    first, second = drainer_of(tmp_path, store), drainer_of(tmp_path, store)
    async with running(second):
        await until(lambda: asyncio.sleep(0, second.has_turn))
        async with running(first):
            for number in range(50):
                journal.settle(settled(str(number), cost=1))
            await until(lambda: has(store, 50))
            turns = (first.has_turn, second.has_turn)
            second.stop()
            for number in range(50, 100):
                journal.settle(settled(str(number), cost=1))
            await until(lambda: has(store, 100))
    journal.close()

    assert turns == (False, True)
    assert await totals(store) == (100, 100)


async def test_two_that_both_believe_to_have_the_turn_put_everything_in_once(sqlite, tmp_path):
    """Where a file system's locks do not hold, the place in the store does."""
    journal = journal_in(tmp_path)
    drainers = [drainer_of(tmp_path, sqlite) for _ in range(2)]
    for number in range(2000):
        journal.intent(intent(str(number)))
        journal.settle(settled(str(number), cost=1))
    journal.close()

    async def rounds(drainer):
        while segments_in(tmp_path / "journal"):
            try:
                await drainer.round()
            except Exception as error:  # noqa: BLE001 - what `run` does with whatever comes
                drainer._failed(error)

    await asyncio.gather(*map(rounds, drainers))

    assert await totals(sqlite) == (2000, 2000)


async def test_those_of_ended_processes_are_told(store, tmp_path):
    """Requests without an outcome get their row, and whoever has to know is told of them once."""
    journal = journal_in(tmp_path)
    told: list[Row] = []
    journal.intent(intent("a", reserved=9))
    journal.close()

    async with running(drainer_of(tmp_path, store, told=told.extend)):
        await until(lambda: has(store, 1))

    assert await totals(store) == (1, 9)
    assert [row.request_id for row in told] == ["a"]


async def test_those_of_another_server_are_not_told(sqlite, tmp_path):
    """A former server's requests get their rows under its name; here they count as another node's."""
    journal = Journal(Room(tmp_path / "journal"), node="former", number=0)
    told: list[Row] = []
    journal.intent(intent("a", reserved=9))
    journal.close()

    async with running(drainer_of(tmp_path, sqlite, told=told.extend)):
        await until(lambda: has(sqlite, 1))

    nodes = await sqlite.read(lambda connection: connection.execute(select(SPEND.c.node)).scalars().all())
    assert (nodes, told) == (["former"], [])


@pytest.mark.row("D-02")
async def test_a_database_that_is_locked_holds_nobody_up(sqlite, tmp_path):
    """While another program holds it rows gather in the journal; afterwards all of them arrive."""
    journal = journal_in(tmp_path)
    other = sqlite3.connect(tmp_path / "llmproxy.db", isolation_level=None)
    async with running(drainer_of(tmp_path, sqlite)):
        other.execute("BEGIN EXCLUSIVE")
        for number in range(1000):
            journal.intent(intent(str(number)))
            journal.settle(settled(str(number), cost=1))
            if number % 100 == 0:
                await asyncio.sleep(0.02)
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: has(sqlite, 1000))
    journal.close()

    assert await totals(sqlite) == (1000, 1000)


@pytest.mark.row("D-04")
async def test_a_server_that_is_away_gets_all_rows_when_it_is_back(postgres_server, postgres, tmp_path, caplog):
    """PostgreSQL is stopped, requests go on, it is started: nothing is lost, nothing comes twice."""
    store = open_store(postgres)
    journal = journal_in(tmp_path)
    async with running(drainer_of(tmp_path, store)):
        journal.settle(settled("before", cost=1))
        await until(lambda: has(store, 1))
        postgres_server.stop()
        for number in range(200):
            journal.settle(settled(str(number), cost=1))
            await asyncio.sleep(0.002)
        postgres_server.start()  # it ends with the thread that starts it
        await until(lambda: has(store, 201))
    journal.close()

    assert await totals(store) == (201, 201)
    await store.close()


async def test_at_the_end_what_cannot_be_put_in_waits_in_the_journal(sqlite, tmp_path, caplog):
    """A stop does not hang on a store that is away, and says where the rows are."""
    journal = journal_in(tmp_path)
    journal.settle(settled("a", cost=1))
    journal.close()
    (tmp_path / "llmproxy.db").unlink()
    (tmp_path / "llmproxy.db").mkdir()

    async with running(drainer_of(tmp_path, sqlite)):
        await asyncio.sleep(0.1)

    assert "waits" in caplog.text
    assert len(segments_in(tmp_path / "journal")) == 1
