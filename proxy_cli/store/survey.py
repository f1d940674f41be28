"""A look at a database that changes nothing: is it there, is it whole, which version, how many rows."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from proxy_cli.store.copying import transaction
from proxy_cli.store.failures import NotThere, StoreProblem, meaning
from proxy_cli.store.schema import REVISIONS, version_of
from proxy_cli.store.settings import StoreSettings
from proxy_cli.store.tables import METADATA


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found."""

    version: str  # of our tables; empty where there are none
    rows: dict[str, int]  # by table, those that are there
    bytes: int
    damage: str = ""  # what SQLite says of a file that is not whole

    @property
    def newest(self) -> str:
        """The version that this program needs."""
        return REVISIONS[-1]

    @property
    def is_good(self) -> bool:
        """Whether this program can serve with it as it is."""
        return self.version == self.newest and not self.damage


async def survey(settings: StoreSettings) -> Survey:
    """Look at a database. Raises StoreProblem where it cannot be opened or read."""
    if settings.path is not None and not settings.path.is_file():
        raise NotThere(f"there is no database at {settings.path}; `llmproxy db upgrade` makes one")
    try:
        async with transaction(settings, reads_only=True) as read:
            return await read(lambda connection: _look(connection, settings))
    except (SQLAlchemyError, OSError) as error:
        raise StoreProblem(f"the database {settings.shown} cannot be read: {meaning(error)}") from error


def _look(connection: Connection, settings: StoreSettings) -> Survey:
    there = set(inspect(connection).get_table_names())
    rows = {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in METADATA.sorted_tables
        if table.name in there
    }
    return Survey(version_of(connection), rows, _bytes(connection, settings), _damage(connection))


def _bytes(connection: Connection, settings: StoreSettings) -> int:
    if settings.path is not None:
        return settings.path.stat().st_size
    return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())


def _damage(connection: Connection) -> str:
    if connection.dialect.name != "sqlite":
        return ""
    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    return "" if found == "ok" else found
