"""What Alembic runs: the migrations, in the transaction of the connection that it was given."""

from alembic import context

from proxy_cli.store.schema import VERSION_TABLE
from proxy_cli.store.tables import METADATA, PREFIX


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Other programs' tables in the same database are none of our business."""
    return kind != "table" or (name or "").startswith(PREFIX)


def _run() -> None:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=METADATA,
        version_table=VERSION_TABLE,
        include_name=_is_ours,
        compare_type=True,
        # SQLite can undo a change of tables as well; Alembic takes it for a database that cannot.
        transactional_ddl=True,
        render_as_batch=True,
    )
    context.run_migrations()


if hasattr(context, "config"):  # whoever imports all modules to look at them has no migration under way
    _run()
