"""The list of what was changed, so that other processes forget what they remember of it.

It is written in the transaction of the change itself. Numbers only grow, and none becomes visible after a higher one:
whoever has read up to a number has missed nothing.
"""

from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, text

from proxy_cli.store.moments import now_us
from proxy_cli.store.tables import CHANGES

EVERYTHING: Final = ("*", "")  # whoever gets this must forget all: the list does not reach back far enough
_TURN: Final = 0x6C6C6D70  # of PostgreSQL's advisory locks, ours for this list


def say_changed(connection: Connection, kind: str, id: str) -> None:  # noqa: A002 - the column's name
    """Put an object on the list, in the transaction that changes it. `kind` is its table without the prefix."""
    if connection.dialect.name == "postgresql":
        # Numbers are drawn before the commit, so without taking turns a lower one might come to light later.
        connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
    connection.execute(insert(CHANGES).values(kind=kind, id=id, at=now_us()))


def newest_change(connection: Connection) -> int:
    """The number to begin with for somebody who knows nothing yet."""
    number: int = connection.execute(select(func.coalesce(func.max(CHANGES.c.number), 0))).scalar_one()
    return number


def changes_after(connection: Connection, number: int) -> tuple[int, list[tuple[str, str]]]:
    """What was changed after a number, in order, and the number to ask with next time.

    The newest change is always kept, so a list that begins later than the number says that some are gone: then it is
    EVERYTHING.
    """
    rows = connection.execute(
        select(CHANGES.c.number, CHANGES.c.kind, CHANGES.c.id)
        .where(CHANGES.c.number >= number)
        .order_by(CHANGES.c.number)
    ).all()
    if not rows:
        newest = newest_change(connection)
        return newest, [EVERYTHING] if newest != number else []
    if rows[0].number != number:
        oldest = connection.execute(select(func.min(CHANGES.c.number))).scalar_one()
        if number > 0 and oldest == rows[0].number:
            return rows[-1].number, [EVERYTHING]
    return rows[-1].number, [(row.kind, row.id) for row in rows if row.number > number]


def forget_changes(connection: Connection, before_us: int) -> int:
    """Shorten the list by what is older; how many went. The newest stays, so that numbers are never given again."""
    old = delete(CHANGES).where(CHANGES.c.at < before_us, CHANGES.c.number < newest_change(connection))
    return connection.execute(old).rowcount
