"""A store in a file: what it promises to those who read and write, and what it says when the file fails it."""

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from proxy_cli.store.tables import SETTINGS
from tests.fakes.store import fresh_store


@pytest.fixture
async def store(tmp_path):
    """A fresh store, closed at the end."""
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


def put(name):
    """Work that writes a setting."""
    return lambda connection: connection.execute(insert(SETTINGS).values(name=name, value={"of": name}))


def names(connection):
    """Work that reads the names of all settings."""
    return sorted(connection.scalars(select(SETTINGS.c.name)))


async def test_what_was_written_is_read(store):
    """A write that has come back is seen by every read after it."""
    await store.write(put("a"))

    assert await store.read(names) == ["a"]


async def test_work_that_fails_has_written_nothing(store):
    """A transaction happens as a whole or not at all, and the rule that was broken is told."""

    def both(connection):
        put("a")(connection)
        put("a")(connection)

    with pytest.raises(IntegrityError):
        await store.write(both)

    assert await store.read(names) == []
