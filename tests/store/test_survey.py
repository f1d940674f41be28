"""A look at a database that changes nothing."""

import os

import pytest

from proxy_cli.store.failures import NotThere, StoreProblem
from proxy_cli.store.schema import REVISIONS
from proxy_cli.store.settings import StoreSettings, settings_of
from proxy_cli.store.survey import survey
from proxy_cli.store.tables import METADATA
from tests.fakes.store import fresh_settings


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_good_database_is_known_by_its_version_and_rows(tmp_path, request, kind):
    """Every table is counted."""
    settings = fresh_settings(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgres")

    found = await survey(settings)

    assert found.is_good
    assert found.version == found.newest == REVISIONS[-1]
    assert found.rows == {table.name: 0 for table in METADATA.sorted_tables}
    assert found.bytes > 0


async def test_what_has_no_tables_of_ours_is_not_good(tmp_path, postgres_server):
    """Another program's database."""
    name = postgres_server.new(has_tables=False)

    found = await survey(settings_of(postgres_server.url(name), {}, tmp_path))

    assert (found.is_good, found.version, found.rows) == (False, "", {})


async def test_a_damaged_file_is_not_good(tmp_path):
    """Where it can be read at all, SQLite says what is wrong."""
    settings = fresh_settings(tmp_path)
    assert settings.path is not None
    data = bytearray(settings.path.read_bytes())
    data[-4096:] = os.urandom(4096)
    settings.path.write_bytes(data)

    found = await survey(settings)

    assert found.damage
    assert not found.is_good


async def test_a_database_that_is_not_there_is_not_made(tmp_path):
    """A look leaves no trace."""
    with pytest.raises(NotThere, match="there is no database"):
        await survey(StoreSettings(path=tmp_path / "a.db"))
    with pytest.raises(StoreProblem, match="nothing listens there"):
        await survey(settings_of("postgresql://u:p@127.0.0.1:1/d", {}, tmp_path))

    assert list(tmp_path.iterdir()) == []
