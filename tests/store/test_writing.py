"""Insert or else update, by both databases."""

import pytest
from sqlalchemy import select

from proxy_cli.store.opening import open_store
from proxy_cli.store.tables import SETTINGS, SPEND
from proxy_cli.store.writing import upsert
from tests.fakes.store import fresh_settings

KEY = ["kind", "id", "window", "node"]


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path):
    """A fresh store of each kind."""
    settings = fresh_settings(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres")
    opened = open_store(settings)
    yield opened
    await opened.close()


def row(id_, nano):
    """A sum of a key."""
    return {"kind": "key", "id": id_, "window": 0, "node": "n", "nano": nano}


async def test_sums_are_added_to_those_that_are_there(store):
    """New rows are inserted, and the others changed, many in one statement."""
    statement = upsert(SPEND)
    statement = statement.on_conflict_do_update(
        index_elements=KEY, set_={"nano": SPEND.c.nano + statement.excluded.nano}
    )

    await store.write(lambda connection: connection.execute(statement, [row("a", 1), row("b", 2)]) and None)
    await store.write(lambda connection: connection.execute(statement, [row("b", 40), row("c", 3)]) and None)

    found = await store.read(lambda connection: connection.execute(select(SPEND.c.id, SPEND.c.nano)).all())
    assert sorted(map(tuple, found)) == [("a", 1), ("b", 42), ("c", 3)]


async def test_rows_that_are_there_may_stay(store):
    """`on_conflict_do_nothing` keeps the first."""
    statement = upsert(SETTINGS).on_conflict_do_nothing(index_elements=["name"])

    for value in (1, 2):
        await store.write(lambda connection, value=value: connection.execute(statement, {"name": "a", "value": value}))

    assert await store.read(lambda connection: connection.scalar(select(SETTINGS.c.value))) == 1


async def test_rows_that_are_there_may_be_changed_under_a_condition(store):
    """`where` says which of them."""
    statement = upsert(SPEND)
    statement = statement.on_conflict_do_update(
        index_elements=KEY, set_={"nano": statement.excluded.nano}, where=SPEND.c.nano < statement.excluded.nano
    )

    for nano in (5, 3, 9):
        await store.write(lambda connection, nano=nano: connection.execute(statement, row("a", nano)))

    assert await store.read(lambda connection: connection.scalar(select(SPEND.c.nano))) == 9
