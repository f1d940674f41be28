"""The ledger of one server: a journal for each of its processes, and the way of all of them into the store.

It is made before the fork and knows nothing but its folder then; `enter` makes this process's journal, `start` takes
part in draining, `stop` says that this process has ended and drains what is left, if nobody else does.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from proxy_cli.callers import Charge, Scope
from proxy_cli.ledger.backlog import Backlog
from proxy_cli.ledger.backlog import Sums as Pending
from proxy_cli.ledger.crash import CrashPoint
from proxy_cli.ledger.drainer import Drainer, Told
from proxy_cli.ledger.journal import JOURNAL_MAX_BYTES, SEGMENT_BYTES, CrashingJournal, Journal, Room, SafeJournal
from proxy_cli.ledger.posting import positions, spent
from proxy_cli.ledger.retention import Retention, Upkeep
from proxy_cli.ledger.segments import SegmentName
from proxy_cli.store.base import Store
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.tasks import Tasks

FOLDER: Final = "journal"
_AGAIN_AFTER_S: Final = 1.0
_STOP_WITHIN_S: Final = 10.0
_LOOKS: Final = 8  # at a journal whose segments go while it is read

Sums = dict[Charge, tuple[int, int]]  # what others have spent, and what this node has


class _Look:
    """One look at store and journals, for all who asked before it began."""

    __slots__ = ("charges", "error", "found")

    def __init__(self) -> None:
        self.charges: set[Charge] = set()
        self.found: Sums | None = None
        self.error: StoreUnavailable | None = None


class Ledger:
    """One server's. Every process has its own object after the fork."""

    def __init__(
        self,
        directory: Path,
        *,
        node: str,
        keeps_rows: bool = True,
        retention: Retention | None = None,
        max_bytes: int = JOURNAL_MAX_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        power_safe: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.node = re.sub(r"[^A-Za-z0-9_.-]", "_", node) or "node"
        self._room = Room(directory / FOLDER, segment_bytes=segment_bytes, max_bytes=max_bytes)
        self._kind = SafeJournal if power_safe else Journal
        self._keeps_rows = keeps_rows
        self._retention = retention or Retention()
        self._crash = CrashPoint(environ)
        self._backlog = Backlog(self._room.folder, self.node)
        self._looking = asyncio.Lock()  # the backlog is looked at by one at a time
        self._next_look = _Look()
        self._journal: Journal | None = None
        self._drainer: Drainer | None = None
        self._tasks = Tasks()

    @property
    def journal(self) -> Journal:
        """This process's; `enter` has made it."""
        assert self._journal is not None, "enter() comes first"
        return self._journal

    @property
    def folder(self) -> Path:
        """Where the journals lie."""
        return self._room.folder

    @property
    def is_draining(self) -> bool:
        """Whether this process puts all journals into the store."""
        return self._drainer is not None and self._drainer.has_turn

    def enter(self, number: int) -> None:
        """First in a process that serves: it writes a journal of its own from now on."""
        if self._crash.point:
            self._journal = CrashingJournal(self._room, node=self.node, number=number, crash=self._crash)
        else:
            self._journal = self._kind(self._room, node=self.node, number=number)

    async def start(self, store: Store, told: Told | None = None) -> None:
        """Take part in draining; `told` gets the rows of requests whose process has ended before they did."""
        self._drainer = Drainer(
            self._room.folder,
            store,
            node=self.node,
            keeps_rows=self._keeps_rows,
            crash=self._crash,
            told=told,
            upkeep=Upkeep(self._retention, node=self.node),
            journal=self._journal,
        )
        self._drain(self._drainer)

    async def stop(self) -> None:
        """This process makes no more rows; those it has made are put in by it, by another one, or at the next start."""
        if self._journal is not None:
            self._journal.close()
        if self._drainer is not None:
            self._drainer.stop()
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                await self._tasks.ended()
        except TimeoutError:
            await self._tasks.close()

    def _drain(self, drainer: Drainer) -> None:
        """Drain; a fault of ours in it is logged and does not let the journal grow until it is full."""
        if not drainer.is_stopping:
            task = self._tasks.spawn(drainer.run(), "ledger")
            task.add_done_callback(partial(self._ended, drainer))

    def _ended(self, drainer: Drainer, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            drainer.forget()
            task.get_loop().call_later(_AGAIN_AFTER_S, self._drain, drainer)

    def pending(self, kind: str, name: str, window: int) -> int:
        """What stood in the journals and not in the store for a scope's window when `sums` was last asked."""
        return sum(sums[kind, name, window] for sums in self._backlog.sums.values())

    async def sums(self, store: Store, wanted: Iterable[tuple[Scope, int]]) -> Sums:
        """For scopes and their windows: what other nodes have spent, and what this one has.

        Both count what stands in the journals here and not in the store yet; another server's of this folder, or a
        former one's, is another node's. Who asks while another is looking waits for the next look, with all others who
        do. Raises StoreUnavailable.
        """
        charges = {(scope.kind, scope.id, window) for scope, window in wanted}
        look = self._next_look
        look.charges |= charges
        async with self._looking:
            if look.found is None and look.error is None:
                self._next_look = _Look()
                try:
                    look.found = await self._looked(store, look.charges)
                except StoreUnavailable as error:
                    look.error = error
        if look.found is None:
            assert look.error is not None, "a look finds something, or says why not"
            raise StoreUnavailable(look.error.reason) from look.error
        return {charge: look.found[charge] for charge in charges}

    async def _looked(self, store: Store, charges: set[Charge]) -> Sums:
        for _ in range(_LOOKS):
            names = self._backlog.names()
            found, places = await store.read(partial(_known, charges=charges, names=names))
            try:
                pending = await asyncio.to_thread(self._backlog.look, places)
            except FileNotFoundError:
                continue
            # The rows of a segment that went meanwhile may have come into the store after it was read.
            if not set(names) - set(self._backlog.names()):
                return _joined(charges, found, pending, self.node)
        raise StoreUnavailable("it takes in the journal so fast that no moment of rest was found")


def _known(
    connection: Connection, *, charges: set[Charge], names: list[SegmentName]
) -> tuple[list[tuple[Charge, str, int]], dict[SegmentName, int]]:
    return spent(connection, charges), positions(connection, names)


def _joined(
    charges: set[Charge], found: list[tuple[Charge, str, int]], pending: Mapping[str, Pending], node: str
) -> Sums:
    elsewhere, own = dict.fromkeys(charges, 0), dict.fromkeys(charges, 0)
    waiting = [(charge, counted_by, sums[charge]) for counted_by, sums in pending.items() for charge in charges]
    for charge, counted_by, nano in found + waiting:
        into = own if counted_by == node else elsewhere
        into[charge] += nano
    return {charge: (elsewhere[charge], own[charge]) for charge in charges}
