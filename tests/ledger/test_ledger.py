"""The ledger of one server, through kills and restarts."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import func, select

from proxy_cli.callers import Scope
from proxy_cli.ledger.crash import POINTS, VARIABLE
from proxy_cli.ledger.journal import CrashingJournal, JournalFull
from proxy_cli.ledger.ledger import Ledger
from proxy_cli.ledger.row import State
from proxy_cli.ledger.segments import segments_in
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.opening import open_store
from proxy_cli.store.tables import LEDGER, SPEND
from tests.fakes.disk import fill, small_disk
from tests.fakes.ledger_process import OPEN_AT_ONCE
from tests.fakes.rows import CHARGE, intent, settled
from tests.fakes.store import fresh_settings

KEY = Scope(kind="key", id="k")


@pytest.fixture
async def store(tmp_path):
    """A store in a file."""
    opened = open_store(fresh_settings(tmp_path))
    yield opened
    await opened.close()


def ledger_in(folder, *, number=0, **more):
    """One process's ledger."""
    ledger = Ledger(folder, node="n", environ={}, **more)
    ledger.enter(number)
    return ledger


async def totals(store):
    """How many rows there are, and what stands in the sums."""
    return await store.read(
        lambda connection: (
            connection.execute(select(func.count()).select_from(LEDGER)).scalar(),
            connection.execute(select(func.coalesce(func.sum(SPEND.c.nano), 0))).scalar(),
        )
    )


def process_of(folder, run, requests, crash=""):
    """A process that keeps the ledger of a folder."""
    environ = {**os.environ, VARIABLE: crash}
    words = [sys.executable, "-m", "tests.fakes.ledger_process", str(folder), run, str(requests)]
    return subprocess.Popen(words, env=environ, stdout=subprocess.PIPE)


async def recovered(folder, store):
    """Start again, and stop when all is in."""
    ledger = ledger_in(folder)
    await ledger.start(store)
    await ledger.stop()


async def check_sound(folder, store, *, kills):
    """No request that was sent is missing, none is there that was not, none is counted twice, and sums are equal."""
    rows = await store.read(
        lambda connection: connection.execute(select(LEDGER.c.request_id, LEDGER.c.state, LEDGER.c.cost_nano)).all()
    )
    sent = set((folder / "sent").read_text().split())
    unknown = {row.request_id for row in rows if row.state == State.UNKNOWN}
    assert sent - {row.request_id for row in rows} == set()
    assert {row.request_id for row in rows} - sent <= unknown
    assert len(unknown) <= kills * (OPEN_AT_ONCE + 2)
    assert (await totals(store))[1] == sum(row.cost_nano for row in rows)
    assert {row.cost_nano for row in rows if row.state == State.SETTLED} <= {3}
    assert segments_in(folder / "journal") == []
    return rows


async def test_every_request_is_in_the_ledger_after_an_orderly_end(store, tmp_path):
    """Nothing is lost and nothing is estimated, however shortly before the end it came."""
    ledger = ledger_in(tmp_path)
    await ledger.start(store)
    for number in range(500):
        ledger.journal.intent(intent(str(number)))
        ledger.journal.settle(settled(str(number), cost=3))
    await ledger.stop()

    assert await totals(store) == (500, 1500)
    assert os.listdir(ledger.folder) == ["lock"]  # noqa: PTH208


async def test_several_processes_have_one_ledger(store, tmp_path):
    """Whoever has the turn puts in what all of them say; the last that ends leaves nothing."""
    ledgers = [ledger_in(tmp_path, number=number) for number in range(3)]
    for ledger in ledgers:
        await ledger.start(store)
    await asyncio.sleep(0.05)
    turns = [ledger.is_draining for ledger in ledgers]
    for number in range(300):
        row = settled(str(number), cost=1)
        ledgers[number % 3].journal.intent(intent(str(number)))
        ledgers[number % 3].journal.settle(row)
    for ledger in ledgers:
        await ledger.stop()

    assert turns.count(True) == 1
    assert await totals(store) == (300, 300)
    assert segments_in(tmp_path / "journal") == []


async def test_sums_are_the_same_before_and_after_rows_reach_the_store(store, tmp_path):
    """What this node has spent counts journal and store together; what others have spent stands apart."""
    other = Ledger(tmp_path / "other", node="other", environ={})
    other.enter(0)
    other.journal.settle(settled("elsewhere", cost=100))
    await other.start(store)
    await other.stop()
    ledger = ledger_in(tmp_path)
    for number in range(50):
        ledger.journal.settle(settled(str(number), cost=3))

    before = await ledger.sums(store, [(KEY, 0), (KEY, 60)])
    pending = ledger.pending(*CHARGE)
    await ledger.start(store)
    await ledger.stop()
    after = await ledger.sums(store, [(KEY, 0), (KEY, 60)])

    assert before == after == {CHARGE: (100, 150), ("key", "k", 60): (0, 0)}
    assert (pending, ledger.pending(*CHARGE)) == (150, 0)


async def test_sums_never_waver_while_a_journal_is_replayed(store, tmp_path):
    """However far the replay is, the same is spent."""
    former = ledger_in(tmp_path)
    for number in range(3000):
        former.journal.intent(intent(str(number)))
        former.journal.settle(settled(str(number), cost=3))
    former.journal.close()
    ledger = ledger_in(tmp_path)
    await ledger.start(store)

    seen = set()
    while (await totals(store))[0] < 3000:
        seen.add((await ledger.sums(store, [(KEY, 0)]))[CHARGE])
    await ledger.stop()

    assert seen == {(0, 9000)}


async def test_many_who_ask_at_once_for_sums_get_the_same(store, tmp_path):
    """A worker that has just begun is asked for many keys at once, and what its killed forerunner spent is counted."""
    former = Ledger(tmp_path, node="former", environ={})
    former.enter(0)
    for number in range(500):
        former.journal.intent(intent(str(number), reserved=2))
    former.journal.close()
    ledger = ledger_in(tmp_path)
    keys = [Scope(kind="key", id=name) for name in "klmnopqr"]

    found = await asyncio.gather(*(ledger.sums(store, [(key, 0)]) for key in keys * 4))

    assert found == [{("key", key.id, 0): (1000 if key == KEY else 0, 0)} for key in keys * 4]


async def test_who_asks_for_sums_while_the_store_is_away_is_told_at_once_with_the_others(store, tmp_path):
    """Nobody waits for the store in the place of another, and once it is back it is asked again."""
    ledger = ledger_in(tmp_path)
    (tmp_path / "llmproxy.db").rename(tmp_path / "away")

    told = await asyncio.gather(*(ledger.sums(store, [(KEY, 0)]) for _ in range(8)), return_exceptions=True)
    (tmp_path / "away").rename(tmp_path / "llmproxy.db")

    assert [type(each) for each in told] == [StoreUnavailable] * 8
    assert await ledger.sums(store, [(KEY, 0)]) == {CHARGE: (0, 0)}


async def test_what_servers_of_one_folder_spend_is_counted_by_each_for_itself(store, tmp_path):
    """Whichever of two drains, what the other spends is elsewhere, in the journal and in the store alike."""
    one, two = Ledger(tmp_path, node="one", environ={}), Ledger(tmp_path, node="two", environ={})
    for ledger, cost in ((one, 5), (two, 11)):
        ledger.enter(0)
        ledger.journal.intent(intent(f"{ledger.node}-a"))
        ledger.journal.settle(settled(f"{ledger.node}-a", cost=cost))

    before = [(await ledger.sums(store, [(KEY, 0)]))[CHARGE] for ledger in (one, two)]
    await one.start(store)
    while (await totals(store))[0] < 2:
        await asyncio.sleep(0.02)
    after = [(await ledger.sums(store, [(KEY, 0)]))[CHARGE] for ledger in (one, two)]
    await one.stop()
    await two.stop()

    assert before == after == [(11, 5), (5, 11)]


async def test_without_rows_what_is_spent_is_counted(store, tmp_path):
    """Where the ledger's rows are not wanted the sums are there, and those of ended processes, too."""
    ledger = ledger_in(tmp_path, keeps_rows=False)
    ledger.journal.intent(intent("a"))
    ledger.journal.settle(settled("a", cost=3))
    ledger.journal.intent(intent("b", reserved=7))
    await ledger.start(store)
    await ledger.stop()

    assert await totals(store) == (0, 10)


@pytest.mark.row("D-01")
async def test_a_disk_that_is_really_full_refuses_what_is_new_and_loses_nothing(tmp_path):
    """Journal and database on one full disk: requests under way get their rows, new ones 503, and all recovers."""
    with small_disk(tmp_path / "disk", 4 * 1024 * 1024) as is_there:
        if not is_there:
            pytest.skip("no tmpfs can be mounted: this needs root")
        folder = tmp_path / "disk"
        store = open_store(fresh_settings(folder))
        ledger = ledger_in(folder, segment_bytes=64 * 1024)
        await ledger.start(store)
        ledger.journal.intent(intent("first"))
        await totals(store)
        fill(folder / "filler")

        sent = ["first"]
        refused = await refusal(ledger, sent)
        for name in sent:
            ledger.journal.settle(settled(name, cost=3))
        known = (await ledger.sums(store, [(KEY, 0)]))[CHARGE]
        (folder / "filler").unlink()
        async with asyncio.timeout(20):
            while (await totals(store))[0] < len(sent):
                await asyncio.sleep(0.05)
        ledger.journal.intent(intent("after"))
        ledger.journal.settle(settled("after", cost=3))
        await ledger.stop()
        found = await totals(store)
        await store.close()

    assert (refused.status, refused.code) == (503, "ledger_full")
    assert "No space left" in str(refused)
    assert 0 < known[1] <= 3 * len(sent)  # what found no room is known to the limits alone, until it is written
    assert found == (len(sent) + 1, 3 * len(sent) + 3)


async def refusal(ledger, sent):
    """Begin requests until one is refused; what with."""
    while True:
        name = f"new-{len(sent)}"
        try:
            ledger.journal.intent(intent(name))
        except JournalFull as full:
            return full
        sent.append(name)
        await asyncio.sleep(0)


async def test_a_fault_while_draining_is_logged_and_tried_again(store, tmp_path, caplog):
    """What nobody has thought of does not end the draining for good."""
    faults = [ValueError("unthought of")]

    def told(rows):
        if faults:
            raise faults.pop()

    ledger = ledger_in(tmp_path)
    ledger.journal.intent(intent("a"))
    ledger.journal.close()
    ledger.enter(1)
    await ledger.start(store, told=told)
    ledger.journal.settle(settled("b"))
    async with asyncio.timeout(10):
        while faults or (await totals(store))[0] < 2 or ledger._drainer._reader is None:
            await asyncio.sleep(0.05)
    ledger.journal.settle(settled("c"))
    await ledger.stop()

    assert (await totals(store))[0] == 3
    assert "unthought of" in caplog.text


def test_a_node_may_have_any_name(tmp_path):
    """What no file can be called is replaced."""
    assert Ledger(tmp_path, node="pod/1 ü", environ={}).node == "pod_1__"


def test_a_place_to_crash_at_is_taken_from_the_environment(tmp_path):
    """Only where the variable is set does a journal look for its place."""
    ledger = Ledger(tmp_path, node="n", environ={VARIABLE: "after_intent"})
    ledger.enter(0)

    assert isinstance(ledger.journal, CrashingJournal)
    assert not isinstance(ledger_in(tmp_path).journal, CrashingJournal)


@pytest.mark.row("K-02")
@pytest.mark.parametrize("point", POINTS)
async def test_a_process_that_ends_at_any_place_loses_nothing_and_counts_nothing_twice(store, tmp_path, point):
    """Ended there as if killed, and started again: each request that was sent has one row."""
    times = {"after_intent": 400, "before_settle": 400, "after_settle": 400}.get(point, 1)
    child = process_of(tmp_path, "first", 2000, f"{point}:{times}")
    assert child.stdout is not None
    await asyncio.to_thread(child.wait)
    child.stdout.close()

    await recovered(tmp_path, store)

    assert child.returncode == -signal.SIGKILL
    assert await check_sound(tmp_path, store, kills=1)


@pytest.mark.row("K-01")
async def test_a_process_that_is_killed_at_any_moment_loses_nothing_and_counts_nothing_twice(store, tmp_path, deep):
    """Killed again and again, each time where nobody has chosen: the ledger is what was sent."""
    moments = random.Random(7)
    kills = 100 if deep else 2
    for number in range(kills):
        child = process_of(tmp_path, str(number), 1_000_000)
        assert child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
        await asyncio.sleep(10 ** moments.uniform(-2, -0.5))
        child.kill()
        child.wait()
        child.stdout.close()

    await recovered(tmp_path, store)

    assert await check_sound(tmp_path, store, kills=kills)


@pytest.mark.row("K-09")
async def test_a_long_journal_is_replayed_beside_the_work(store, tmp_path):
    """A start with twenty thousand rows in the journal takes new ones at once, and knows what was spent."""
    await replayed(store, tmp_path, 20_000)


@pytest.mark.deep
@pytest.mark.row("K-09")
async def test_a_journal_of_a_million_rows_is_replayed_beside_the_work(store, tmp_path):
    """The same with a million."""
    await replayed(store, tmp_path, 1_000_000)


async def replayed(store, folder, count):
    """Start with a journal of so many rows that no store has yet."""
    former = ledger_in(folder)
    for number in range(count):
        former.journal.intent(intent(str(number)))
        former.journal.settle(settled(str(number), cost=3))
    former.journal.close()
    ledger = ledger_in(folder)

    await ledger.start(store)
    began_s = time.monotonic()
    ledger.journal.intent(intent("new"))
    ledger.journal.settle(settled("new", cost=5))
    rows_when_it_served = (await totals(store))[0]
    known = (await ledger.sums(store, [(KEY, 0)]))[CHARGE]
    print("sums known after", time.monotonic() - began_s)
    while (await totals(store))[0] < count + 1:
        await asyncio.sleep(0.05)
    await ledger.stop()

    assert rows_when_it_served < count
    assert known == (0, 3 * count + 5)
    assert await totals(store) == (count + 1, 3 * count + 5)
