"""What is kept of keys and money, and how a process works with it: the store, the limits, the ledger.

`open_books` comes once, before the fork; a `Clerk` is one process's. Owns the order in which they begin and end: the
store is there before the first request, and every row of this process is in the journal before it goes.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

from proxy_cli.access.limits import Limits
from proxy_cli.admin import stored
from proxy_cli.admin.stored import Stored
from proxy_cli.callers import Scope
from proxy_cli.errors import Overloaded
from proxy_cli.ledger.ledger import Ledger
from proxy_cli.ledger.retention import Retention
from proxy_cli.ledger.row import Row
from proxy_cli.secret import Secret
from proxy_cli.store.base import Store
from proxy_cli.store.opening import open_store
from proxy_cli.store.ready import Ready, make_ready
from proxy_cli.store.settings import StoreSettings
from proxy_cli.tasks import Tasks

_BEAT_S: Final = 1.0
_REFRESH_S: Final = 2.0  # how late another node's spend is known here
_MOST_AT_ONCE: Final = 500  # sums that are asked for together


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTerms:
    """What the configuration says of them."""

    processes: int = 1
    limits_capacity: int = 16384
    budget_status: int = 422
    may_change: bool = True  # bring the tables up to date
    is_required: bool | None = None  # no start without the database; None: if somebody has named it
    keeps_rows: bool = True
    retention: Retention | None = None


@dataclass(slots=True, kw_only=True)
class Books:
    """Of one server, whatever its configuration. Made before the fork."""

    settings: StoreSettings
    limits: Limits
    ledger: Ledger
    is_entered: bool = False

    def enter(self, number: int) -> None:
        """Called first in a worker process."""
        self.is_entered = True
        self.limits.enter(number)
        self.ledger.enter(number)

    def enter_once(self) -> None:
        """The same in a process that was not forked."""
        if not self.is_entered:
            self.enter(0)


def open_books(settings: StoreSettings, folder: Path, *, terms: BookTerms) -> tuple["Books | None", Ready]:
    """The store brought up to date and the memory that workers share, or None; and what is to be said of it.

    Raises StoreProblem where serving must not begin without it.
    """
    ready = make_ready(settings, is_required=terms.is_required, may_change=terms.may_change)
    if ready.settings is None:
        return None, ready
    books = Books(
        settings=ready.settings,
        limits=Limits(
            processes=terms.processes,
            capacity=terms.limits_capacity,
            clock=time.monotonic,
            budget_status=terms.budget_status,
        ),
        ledger=Ledger(
            folder,
            node=uuid4().hex[:12],
            keeps_rows=terms.keeps_rows,
            retention=terms.retention,
            power_safe=settings.power_safe,
        ),
    )
    return books, ready


class Clerk:
    """One process's work with the books. Made after the fork, closed after the last request."""

    def __init__(self, books: Books) -> None:
        self.books = books
        books.enter_once()
        self.store: Store = open_store(books.settings)
        self._tasks = Tasks()

    async def start(self) -> None:
        """Begin to put rows into the store, and to hear what other nodes have counted."""
        await self.books.ledger.start(self.store, told=self._count_lost)
        self._tasks.spawn(self._each_second(), "signs of life")
        self._tasks.spawn(self._learn_of_others(), "sums of other nodes")

    async def stop(self) -> None:
        """Put in what is left, and close the store."""
        await self._tasks.close()
        await self.books.ledger.stop()
        await self.store.close()

    async def load(self, scopes: Sequence[Scope]) -> None:
        """Learn what has been spent of these. Raises StoreUnavailable."""
        limits = self.books.limits
        windows = [(scope, limits.window(scope)) for scope in scopes]
        sums = await self.books.ledger.sums(self.store, windows)
        for scope, window in windows:
            elsewhere, own = sums.get((scope.kind, scope.id, window), (0, 0))
            limits.learn(scope, window, elsewhere, own)

    async def models(self, secret: Secret | None) -> Stored:
        """The models that the database adds. Raises SealProblem or StoreUnavailable."""
        return await self.store.read(partial(stored.load, secret=secret))

    def _count_lost(self, rows: Sequence[Row]) -> None:
        """Requests whose process has died are charged what was reserved for them."""
        for row in rows:
            self.books.limits.count(row.charges, row.cost_nano)

    async def _each_second(self) -> None:
        while True:
            self.books.limits.beat()
            await asyncio.sleep(_BEAT_S)

    async def _learn_of_others(self) -> None:
        """What other nodes count, and what an operator sets, becomes known within seconds."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            scopes = self.books.limits.scopes()
            for begin in range(0, len(scopes), _MOST_AT_ONCE):
                try:
                    await self.load(scopes[begin : begin + _MOST_AT_ONCE])
                except Overloaded:
                    break  # the store is away, or the limits are held: what is known goes on
