"""A copy of a database that is in use: whole, of one moment, and never in the place of another."""

import asyncio
import os
import shutil
import sqlite3
import threading

import pytest
from sqlalchemy import insert, select, update

from proxy_cli.store.backup import back_up
from proxy_cli.store.failures import StoreProblem
from proxy_cli.store.opening import open_store
from proxy_cli.store.schema import migrate
from proxy_cli.store.settings import StoreSettings
from proxy_cli.store.tables import LEDGER, SPEND
from tests.fakes.store import fresh_file


def charge(number):
    """Work that writes a row of the ledger, and adds it to its sum."""

    def work(connection):
        connection.execute(insert(LEDGER).values(request_id=f"r{number}", cost_nano=number))
        connection.execute(update(SPEND).values(nano=SPEND.c.nano + number))

    return work


def sums(path):
    """What the rows come to, and what stands in the sum."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT count(*), coalesce(sum(cost_nano), 0) FROM llmproxy_ledger").fetchone()
    total = connection.execute("SELECT nano FROM llmproxy_spend").fetchone()[0]
    connection.close()
    return rows, total


@pytest.mark.row("D-08")
async def test_a_backup_under_load_is_of_one_moment(tmp_path):
    """Rows and sums agree in it, nothing waits for it, and a store goes on from it as from the original."""
    source = fresh_file(tmp_path)
    store = open_store(StoreSettings(path=source))
    await store.write(
        lambda connection: connection.execute(insert(SPEND).values(kind="key", id="k", window=0, node="n")) and None
    )
    ended = False

    async def load():
        number = 0
        while not ended:
            number += 1
            await store.write(charge(number))
        return number

    writing = asyncio.ensure_future(load())
    backups = []
    for each in range(4):
        target = tmp_path / f"backup{each}.db"
        await asyncio.to_thread(back_up, source, target)
        backups.append(sums(target))
    ended = True
    count = await writing

    assert all(total == cost for (_, cost), total in backups)
    assert 0 <= backups[0][0][0] <= backups[-1][0][0] <= count
    await store.close()

    shutil.copyfile(tmp_path / "backup3.db", tmp_path / "restored.db")
    restored = StoreSettings(path=tmp_path / "restored.db")
    assert migrate(restored).has_changed is False
    again = open_store(restored)
    await again.write(charge(1_000_000))
    assert await again.read(lambda connection: connection.scalar(select(SPEND.c.nano))) == backups[-1][1] + 1_000_000
    await again.close()


def test_a_backup_is_one_file_for_its_owner_alone(tmp_path):
    """No companions have to be taken along, and nothing is left of the making."""
    source = fresh_file(tmp_path)
    (tmp_path / "to").mkdir()
    target = tmp_path / "to" / "backup.db"

    size = back_up(source, target)

    assert [each.name for each in target.parent.iterdir()] == ["backup.db"]
    assert target.stat().st_size == size > 0
    assert target.stat().st_mode & 0o777 == 0o600


def test_an_older_backup_is_not_replaced(tmp_path):
    """Somebody may need it."""
    source = fresh_file(tmp_path)
    (tmp_path / "backup.db").write_text("older")

    with pytest.raises(StoreProblem, match="is there already"):
        back_up(source, tmp_path / "backup.db")

    assert (tmp_path / "backup.db").read_text() == "older"


def test_without_a_database_there_is_no_backup(tmp_path):
    """It makes none, either."""
    with pytest.raises(StoreProblem, match="there is no database"):
        back_up(tmp_path / "none.db", tmp_path / "backup.db")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path):
    """It is not made: it may be a disk that is not mounted."""
    with pytest.raises(StoreProblem, match="no backup can be written to"):
        back_up(fresh_file(tmp_path), tmp_path / "none" / "backup.db")


@pytest.mark.row("D-03")
def test_a_damaged_database_makes_no_backup(tmp_path):
    """A copy of what is broken would be trusted."""
    source = fresh_file(tmp_path)
    data = bytearray(source.read_bytes())
    data[4096 * 3 :] = os.urandom(len(data) - 4096 * 3)
    source.write_bytes(data)

    with pytest.raises(StoreProblem, match="damaged"):
        back_up(source, tmp_path / "backup.db")

    assert not (tmp_path / "backup.db").exists()
    assert list(tmp_path.glob("*.part")) == []


def test_of_two_backups_at_once_with_one_name_one_is_made(tmp_path):
    """The other is told, and the one that is there is whole."""
    source = fresh_file(tmp_path)
    problems = []

    def run():
        try:
            back_up(source, tmp_path / "backup.db")
        except StoreProblem as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(problems) == 2
    connection = sqlite3.connect(tmp_path / "backup.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
