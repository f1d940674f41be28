"""The first version of the tables."""

from sqlalchemy import create_engine, inspect

from proxy_cli.store.tables import PREFIX
from proxy_cli.store.upgrade import upgrade


def test_every_table_has_our_prefix():
    """A database that another program uses is safe."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection)

        names = inspect(connection).get_table_names()
    engine.dispose()

    assert len(names) > 15
    assert all(name.startswith(PREFIX) for name in names)
