"""The migrations lead, one after the other, to the very tables that the program declares."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from proxy_cli.store.postgres import engine_of
from proxy_cli.store.schema import REVISIONS, VERSION_TABLE, migrate, version_of
from proxy_cli.store.settings import settings_of
from proxy_cli.store.tables import METADATA, PREFIX
from proxy_cli.store.upgrade import config_of, upgrade


def differences(connection):
    """What a database has otherwise than it is declared."""
    options = {
        "version_table": VERSION_TABLE,
        "compare_type": True,
        "include_name": lambda name, kind, _: kind != "table" or name.startswith(PREFIX),
    }
    return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)


@pytest.fixture
def connection():
    """An empty database."""
    engine = create_engine("sqlite://")
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def test_the_versions_that_are_named_are_those_there_are(connection):
    """In order, and each follows the one before it."""
    scripts = ScriptDirectory.from_config(config_of(connection))

    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == REVISIONS


def test_all_migrations_lead_to_the_tables_that_are_declared(connection):
    """Whoever comes from the first version has what a new database has."""
    upgrade(connection)

    assert version_of(connection) == REVISIONS[-1]
    assert differences(connection) == []


def test_so_they_do_on_a_server(postgres_server, tmp_path):
    """By PostgreSQL's own types; a database that is made at once is the same."""
    migrated, made = (postgres_server.new(has_tables=False) for _ in range(2))
    migrate(settings_of(postgres_server.url(made), {}, tmp_path))

    async def both():
        found = []
        for name, work in ((migrated, upgrade), (made, version_of)):
            engine = engine_of(settings_of(postgres_server.url(name), {}, tmp_path), size=1)
            async with engine.begin() as connection:
                await connection.run_sync(work)
                found.append(await connection.run_sync(differences))
            await engine.dispose()
        return found

    assert asyncio.run(both()) == [[], []]


def test_a_second_upgrade_changes_nothing(connection):
    """It may be run at any time."""
    upgrade(connection)
    upgrade(connection)

    assert version_of(connection) == REVISIONS[-1]
