"""Which version of our tables a database has, and bringing it to the one this program needs.

It is done before anything is served, under a lock (a file beside SQLite's, PostgreSQL's advisory lock) and in one
transaction, which takes the number of the version with it: whoever dies on the way leaves the database as it was. A
database that is newer than the program is left alone. Alembic is loaded only where there is something to do.
"""

import sqlite3
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from proxy_cli.store import place
from proxy_cli.store.failures import StoreProblem, meaning
from proxy_cli.store.settings import StoreSettings
from proxy_cli.store.sqlite import connect, engine_of
from proxy_cli.store.tables import METADATA, PREFIX

# Every version there has been, oldest first: the files in migrations/versions.
REVISIONS: Final = ("0001",)
VERSION_TABLE: Final = PREFIX + "schema"
_VERSION: Final = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
_MIGRATION_WAIT_S: Final = 60.0
_CURES: Final = {
    "its disk is full": "make room on it",
    "another program holds it locked": "end that program, or try again later",
    "it can only be read": "let this user write it, and the folder it is in",
    "its file is damaged": "put a backup in its place",
}

# Tables of LiteLLM's own, of which one is enough to know its database by.
_LITELLM: Final = "LiteLLM_VerificationToken"


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was found and done: from which version to which, and what is to be said of it."""

    before: str  # empty: there were no tables of ours
    after: str
    is_new: bool = False  # the file has just been made
    beside_litellm: bool = False  # LiteLLM's tables are in the same database

    @property
    def has_changed(self) -> bool:
        """Whether anything was done."""
        return self.before != self.after


def version_of(connection: Connection) -> str:
    """The version that a database has; empty where our tables are not there."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    return connection.execute(select(_VERSION.c.version_num)).scalar() or ""


def migrate(settings: StoreSettings, *, may_change: bool = True) -> Migrated:
    """Make the database and its tables what this program needs, once for all processes. Raises StoreProblem.

    Without `may_change` it is only seen to that they are.
    """
    if settings.path is not None:
        return _migrate_file(settings, may_change=may_change)
    migrated = import_module("proxy_cli.store.postgres").migrate(settings, may_change=may_change)
    assert isinstance(migrated, Migrated)
    return migrated


def _migrate_file(settings: StoreSettings, *, may_change: bool) -> Migrated:
    path = settings.path
    assert path is not None, "a file was asked for"
    with place.alone_with(path, _MIGRATION_WAIT_S) as lock:
        is_new = place.make_file(path, lock)
        engine = engine_of(lambda: connect(path, timeout_s=settings.timeout_s), begin="BEGIN IMMEDIATE")
        try:
            with engine.connect() as connection:
                raw = connection.connection.cursor()
                raw.execute("PRAGMA journal_mode=WAL")  # not in a transaction, and remembered by the file
                raw.close()
                with connection.begin():
                    migrated = bring_up(connection, settings.shown, may_change=may_change)
        except (SQLAlchemyError, sqlite3.Error) as error:
            why = meaning(error)
            cure = _CURES.get(why, "name another file in general_settings.database_url")
            raise StoreProblem(f"the database {settings.shown} cannot be used: {why}; {cure}") from error
        finally:
            engine.dispose()
        place.note_made(lock)
    return replace(migrated, is_new=is_new)


def bring_up(connection: Connection, shown: str, *, may_change: bool) -> Migrated:
    """The same within a transaction that is under way and holds the lock."""
    before = version_of(connection)
    newest = REVISIONS[-1]
    beside = inspect(connection).has_table(_LITELLM)
    if before == newest:
        return Migrated(before, newest, beside_litellm=beside)
    if before and before not in REVISIONS:
        raise StoreProblem(
            f"the database {shown} has tables of version {before}, and this program knows none after {newest}; "
            "start the newer llmproxy that has changed them, or put a backup of before in its place"
        )
    if not may_change:
        raise StoreProblem(
            f"the database {shown} has tables of version {before or 'none'} and needs {newest}; "
            "run `llmproxy db upgrade`"
        )
    if before:
        import_module("proxy_cli.store.upgrade").upgrade(connection)
    else:
        _make_tables(connection)
    return Migrated(before, newest, beside_litellm=beside)


def _make_tables(connection: Connection) -> None:
    """All tables as they are today, at once: where there is nothing to keep, no history has to be gone through."""
    METADATA.create_all(connection, checkfirst=False)
    _VERSION.create(connection)
    connection.execute(insert(_VERSION).values(version_num=REVISIONS[-1]))
