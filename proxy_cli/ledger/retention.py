"""Old rows of the ledger go, a few at a time; the sums of spend and of days stay. And nodes that are gone are merged.

The list of changes is shortened with them: whoever has not read it for a day forgets all that he knows.

Owns when it was done last. It is done by the process that drains, between two rounds, so that it never stands in the
way of rows that come.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection, delete, select, tuple_

from proxy_cli.clock import Clock
from proxy_cli.store.base import Store
from proxy_cli.store.changes import forget_changes
from proxy_cli.store.moments import now_us
from proxy_cli.store.tables import LEDGER, NODES, SPEND
from proxy_cli.store.writing import upsert

logger = logging.getLogger(__name__)

MERGED: Final = "merged"  # the node that holds what was spent by nodes that are gone
_BATCH: Final = 1000
_BATCH_PAUSE_S: Final = 0.05
_BEAT_S: Final = 60.0
_GONE_US: Final = 24 * 3600 * 1_000_000
_DAY_S: Final = 86_400
_MICRO: Final = 1_000_000
_DURATION: Final = re.compile(r"\s*([1-9][0-9]{0,8})\s*(mo|[smhdw])\s*")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": _DAY_S, "w": 7 * _DAY_S, "mo": 30 * _DAY_S}


def seconds_of(text: str) -> int:
    """How long a duration like `90d` is. Raises ValueError for what is none."""
    found = _DURATION.fullmatch(text.lower())
    if found is None:
        raise ValueError(f"{text!r} is no duration; write a number and one of s, m, h, d, w, mo, as 90d")
    return int(found[1]) * _UNITS[found[2]]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows are kept, and how many; None: for ever, and all."""

    period_s: int | None = None
    interval_s: int = _DAY_S
    most_rows: int | None = None


class Upkeep:
    """What is done now and then by the process that drains."""

    def __init__(
        self,
        retention: Retention,
        *,
        node: str,
        clock: Clock = time.monotonic,
        now: Callable[[], int] = now_us,
        pause_s: float = _BATCH_PAUSE_S,
    ) -> None:
        self._retention = retention
        self._node = node
        self._clock = clock
        self._now = now
        self._pause_s = pause_s
        self._beat_s = clock() - _BEAT_S
        self._due_s = clock()
        self._oldest: int | None = None  # rows that began before this moment are going

    async def __call__(self, store: Store) -> None:
        """Do what is due, a small piece of it."""
        now_s = self._clock()
        if now_s - self._beat_s >= _BEAT_S:
            self._beat_s = now_s
            await store.write(partial(_beat, node=self._node, now=self._now()))
        if now_s >= self._due_s:
            await self._clean(store)

    async def _clean(self, store: Store) -> None:
        if self._oldest is None:
            await store.write(partial(forget_changes, before_us=self._now() - _GONE_US))
            self._oldest = await store.read(partial(_oldest_kept, retention=self._retention, now=self._now()))
        gone = await store.write(partial(_delete_before, moment=self._oldest)) if self._oldest else 0
        if gone:
            logger.debug("%d old rows of the ledger were deleted", gone)
        if gone == _BATCH:  # the next batch after the next round of draining
            await asyncio.sleep(self._pause_s)
            return
        self._oldest = None
        self._due_s = self._clock() + self._retention.interval_s


def _oldest_kept(connection: Connection, *, retention: Retention, now: int) -> int:
    """The first moment whose rows stay; 0 where all do."""
    oldest = 0
    if retention.period_s is not None:
        oldest = now - retention.period_s * _MICRO
    if retention.most_rows is not None:
        newest_first = select(LEDGER.c.started_at).order_by(LEDGER.c.started_at.desc())
        first_gone = connection.execute(newest_first.offset(retention.most_rows).limit(1)).scalar()
        if first_gone is not None:
            oldest = max(oldest, first_gone + 1)
    return max(oldest, 0)


def _delete_before(connection: Connection, *, moment: int) -> int:
    old = select(LEDGER.c.request_id).where(LEDGER.c.started_at < moment).order_by(LEDGER.c.started_at).limit(_BATCH)
    return connection.execute(delete(LEDGER).where(LEDGER.c.request_id.in_(old))).rowcount


def _beat(connection: Connection, *, node: str, now: int) -> None:
    """This node is there; what one spent that has long been away is put together with others of its kind."""
    insert = upsert(NODES).values(node=node, seen_at=now)
    connection.execute(insert.on_conflict_do_update(index_elements=["node"], set_={"seen_at": now}))
    gone = select(NODES.c.node).where(NODES.c.seen_at < now - _GONE_US).order_by(NODES.c.node).limit(1)
    name = connection.execute(gone.with_for_update(skip_locked=True)).scalar()
    if name is not None:
        merge(connection, name)


def merge(connection: Connection, node: str) -> None:
    """What a node spent is added to MERGED, some of its rows at a time; without any left the node is forgotten."""
    mine = SPEND.c.node == node
    keys = (SPEND.c.kind, SPEND.c.id, SPEND.c.window)
    query = select(*keys, SPEND.c.nano).where(mine).order_by(*keys).limit(_BATCH).with_for_update()
    rows = connection.execute(query).all()
    if rows:
        insert = upsert(SPEND)
        added = {"nano": SPEND.c.nano + insert.excluded.nano}
        statement = insert.on_conflict_do_update(index_elements=["kind", "id", "window", "node"], set_=added)
        values = [
            {"kind": kind, "id": name, "window": at, "node": MERGED, "nano": nano} for kind, name, at, nano in rows
        ]
        connection.execute(statement, values)
        connection.execute(delete(SPEND).where(mine, tuple_(*keys).in_([tuple(row[:3]) for row in rows])))
    if len(rows) < _BATCH:
        connection.execute(delete(NODES).where(NODES.c.node == node))
