"""Stores to test with: a file of SQLite that costs a copy, and databases of a real PostgreSQL server."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from proxy_cli.store.base import Store
from proxy_cli.store.opening import open_store
from proxy_cli.store.schema import migrate
from proxy_cli.store.settings import StoreSettings


@cache
def _template() -> Path:
    """A database with all tables and no rows, made once in each process."""
    path = Path(tempfile.mkdtemp(prefix="llmproxy-store-")) / "template.db"
    migrate(StoreSettings(path=path))
    return path


def fresh_settings(folder: Path) -> StoreSettings:
    """The settings of a new, empty database in a folder."""
    path = folder / "llmproxy.db"
    shutil.copyfile(_template(), path)
    return StoreSettings(path=path)


def fresh_store(folder: Path) -> Store:
    """A new, empty store in a folder; whoever asks for it closes it."""
    return open_store(fresh_settings(folder))
