"""The changes of the tables, as Alembic applies them; each file is as it was when it was published."""
