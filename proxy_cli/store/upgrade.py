"""Alembic, put to work on a connection whose transaction is under way. Loaded only where there is something to do."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

SCRIPTS: Final = Path(__file__).with_name("migrations")


def config_of(connection: Connection) -> Config:
    """Alembic's settings, which `migrations/env.py` takes the connection from; no file is read."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest version; the caller commits."""
    command.upgrade(config_of(connection), "head")
