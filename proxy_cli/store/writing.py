"""Insert, or else update: one way to write it for both databases."""

from typing import Any, Self, TypeVar

from sqlalchemy import Table
from sqlalchemy.dialects.sqlite import Insert


class Upsert(Insert):
    """SQLite's insert with `on_conflict_do_update` and `_do_nothing`, which PostgreSQL's compiler reads as well.

    Both databases share the syntax; PostgreSQL's own class would cost every process its dialect.
    """

    inherit_cache = True

    def on_conflict_do_update(self, *arguments: Any, **named: Any) -> Self:
        """The row that is there already is changed; `excluded` is the one that was to be inserted."""
        return _for_both(super().on_conflict_do_update(*arguments, **named))

    def on_conflict_do_nothing(self, *arguments: Any, **named: Any) -> Self:
        """The row that is there already stays."""
        return _for_both(super().on_conflict_do_nothing(*arguments, **named))


_Statement = TypeVar("_Statement", bound=Insert)


def _for_both(statement: _Statement) -> _Statement:
    clause: Any = statement._post_values_clause  # noqa: SLF001 - no public way leads to it
    clause.constraint_target = None  # PostgreSQL could name a constraint here; we name columns
    return statement


def upsert(table: Table) -> Upsert:
    """An insert into a table that may say `on_conflict_do_update(index_elements=..., set_=...)`."""
    return Upsert(table)
