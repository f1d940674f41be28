"""Opening a store: the one place that knows which database stands behind which settings."""

from importlib import import_module
from typing import cast

from proxy_cli.store.base import Store
from proxy_cli.store.settings import StoreSettings
from proxy_cli.store.sqlite import SqliteStore


def open_store(settings: StoreSettings) -> Store:
    """A process's way to the database. Nothing is connected, and no thread made, before the first work."""
    if settings.path is not None:
        return SqliteStore(settings)
    # PostgreSQL's half of SQLAlchemy is megabytes that nobody pays who has a file.
    return cast("Store", import_module("proxy_cli.store.postgres").PostgresStore(settings))
