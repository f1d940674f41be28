"""The books of a server: opened before the fork, worked with by each process, closed with nothing left to say."""

import asyncio
from pathlib import Path

from proxy_cli.callers import Scope
from proxy_cli.ledger.journal import SafeJournal
from proxy_cli.ledger.row import Row, State
from proxy_cli.server.books import Books, BookTerms, Clerk, open_books
from proxy_cli.store.settings import StoreSettings
from tests.fakes.backend import running_backend
from tests.server.test_money import house

KEY = Scope(kind="key", id="k", max_nano=1_000)


def opened(folder: Path) -> Books:
    books, _ = open_books(StoreSettings(path=folder / "llmproxy.db"), folder, terms=BookTerms())
    assert books is not None
    return books


def spend(books: Books, number: int, nano: int) -> None:
    row = Row(request_id=f"r{number}", state=State.SETTLED, cost_nano=nano, charges=(("key", "k", 0),))
    books.ledger.journal.intent(row)
    books.ledger.journal.settle(row)


async def test_what_was_spent_is_known_after_a_restart(tmp_path):
    """Also by a server that has never seen the one which counted it."""
    first = Clerk(opened(tmp_path))
    await first.start()
    spend(first.books, 1, 700)
    await first.stop()

    second = Clerk(opened(tmp_path))
    await second.start()
    await second.load([KEY])

    assert second.books.limits.spent(KEY) == 700
    await second.stop()


async def test_what_a_server_left_in_its_journal_is_known_before_it_is_in_the_store(tmp_path):
    """A budget that does not know of it would be spent twice."""
    killed = opened(tmp_path)
    killed.enter_once()
    spend(killed, 1, 400)

    clerk = Clerk(opened(tmp_path))
    await clerk.load([KEY])

    assert clerk.books.limits.spent(KEY) == 400
    await clerk.store.close()


async def test_what_another_server_counts_becomes_known(tmp_path):
    """Two servers on one database."""
    here, there = Clerk(opened(tmp_path)), Clerk(opened(tmp_path))
    await here.start()
    await here.load([KEY])
    assert here.books.limits.spent(KEY) == 0

    spend(there.books, 1, 300)
    async with asyncio.timeout(10):
        while here.books.limits.spent(KEY) != 300:
            await asyncio.sleep(0.05)
    await here.stop()
    await there.store.close()


async def test_requests_whose_process_has_died_are_charged_what_was_reserved(tmp_path):
    """In the limits at once, and in the store."""
    clerk = Clerk(opened(tmp_path))
    await clerk.load([KEY])

    clerk._count_lost([Row(request_id="r", cost_nano=50, charges=(("key", "k", 0),))])

    assert clerk.books.limits.spent(KEY) == 50
    await clerk.store.close()


def test_books_are_entered_once(tmp_path):
    """A worker enters with its number; a process that was not forked with none."""
    books = opened(tmp_path)
    books.enter(3)
    journal = books.ledger.journal
    books.enter_once()

    assert books.ledger.journal is journal


def test_room_for_limits_is_as_configured(tmp_path):
    """What `general_settings.limits_capacity` says is what the memory of the limits has."""
    books, _ = open_books(StoreSettings(path=tmp_path / "llmproxy.db"), tmp_path, terms=BookTerms(limits_capacity=5000))

    assert books is not None
    assert books.limits.capacity == 5000


async def test_no_more_rows_stay_than_the_settings_say(tmp_path):
    """The newest; what was spent stays known. Looked at when a server begins, and then once a day."""
    async with running_backend() as backend:
        async with house(tmp_path, backend) as first:
            key = await first.key()
            for _ in range(3):
                assert (await first.ask(key))[0] == 200
            newest = max(await first.rows(), key=lambda row: row["startTime"])
        async with house(tmp_path, backend, "maximum_spend_logs_rows: 1") as second:
            rows = await second.rows()
            _, info = await second.get(f"/key/info?key={key}")

    assert [each["request_id"] for each in rows] == [newest["request_id"]]
    assert info["info"]["spend"] == 0.000_009


async def test_books_that_power_may_fail_are_kept_on_the_disk(tmp_path):
    """The ledger's journal and the database alike."""
    settings = StoreSettings(path=tmp_path / "llmproxy.db", power_safe=True)
    books, _ = open_books(settings, tmp_path, terms=BookTerms())
    assert books is not None
    books.enter_once()

    assert isinstance(books.ledger.journal, SafeJournal)
