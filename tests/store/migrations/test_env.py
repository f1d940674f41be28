"""What Alembic runs works on the connection that it is given, and on our tables alone."""

from sqlalchemy import create_engine, inspect, text

from proxy_cli.store.schema import VERSION_TABLE
from proxy_cli.store.upgrade import upgrade


def test_other_programs_tables_stay_as_they_are():
    """Their version is not taken for ours, nor are their tables touched."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))

        upgrade(connection)

        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "theirs"
        assert inspect(connection).has_table(VERSION_TABLE)
    engine.dispose()


def test_the_caller_decides_whether_it_has_happened():
    """A transaction that is undone takes tables and version with it."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection)
        connection.exec_driver_sql("ROLLBACK")

        assert inspect(connection).get_table_names() == []
    engine.dispose()
