"""All journals of a folder, read on from where they were read to: whole rows, and intents that never will be ones.

Owns where each segment was read to, and which intents are open. Touches no database: `ledger/drainer.py` puts a batch
in and says so (`stored`). Rules: a segment goes when all in it is in the store and none of its intents is open, so each
intent whose outcome stood in another segment is marked as closed in its own before that other one goes; a run is over
only when its lock was found free *before* its segments were listed and read.
"""

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from proxy_cli.ledger.framing import CLOSED, INTENT, KIND_AT, SETTLED, START, VOID, Record, Stop
from proxy_cli.ledger.posting import DONE, Batch
from proxy_cli.ledger.row import Row, State
from proxy_cli.ledger.segments import (
    LOCK_SUFFIX,
    NEW_SUFFIX,
    SegmentName,
    has_more,
    is_held,
    leftover,
    read,
    segments_in,
)
from proxy_cli.ledger.tally import file_beside

logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 2000
_SWEEP_AFTER_S: Final = 60.0  # a lock is there a moment before the first segment is
_BYTES_WITHOUT_ROWS: Final = 1024 * 1024  # so much may be read before its place is put down without a row


class _Named(msgspec.Struct, array_like=True, gc=False):
    """The beginning of a row."""

    request_id: str


row_of: Final = msgspec.msgpack.Decoder(Row).decode
_named: Final = msgspec.msgpack.Decoder(_Named).decode
_voided: Final = msgspec.msgpack.Decoder(str).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)


def request_of(record: Record) -> str:
    """Whose record it is. Raises msgspec.DecodeError."""
    return _voided(record.data) if record.kind == VOID else _named(record.data).request_id


class Cursor(msgspec.Struct):
    """How far a segment has been read."""

    read: int = START
    stored: int = 0  # what the store says of it
    open: int = 0  # intents in it that have no outcome yet
    is_complete: bool = False  # nothing will be added to it


class Reader:
    """Reads one folder's journals; one thread at a time."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node
        self._cursors: dict[SegmentName, Cursor] = {}
        self._open: dict[str, tuple[SegmentName, int]] = {}  # request to where its intent stands
        self._to_mark: list[tuple[SegmentName, int]] = []
        self._marked: set[SegmentName] = set()  # not certainly on the disk yet
        self._over: set[str] = set()  # runs that had ended before their segments were listed
        self._turn = 0  # whose journal is read first, so that a busy one does not keep the others waiting
        self.unreadable = 0  # records
        self.dropped_bytes = 0

    def found(self) -> list[SegmentName]:
        """The segments that are there."""
        return segments_in(self._folder)

    def recover(self, names: Iterable[SegmentName], positions: dict[SegmentName, int]) -> None:
        """Begin where the store says that a former reader has ended."""
        for name in names:
            position = positions.get(name, 0)
            cursor = self._cursors[name] = Cursor(read=max(position, START), stored=position)
            if position == DONE:
                cursor.is_complete = True
                continue
            for records, _ in read(self._folder / name.file, START, max(position, START)):
                for record in records:
                    self._take(record, name, cursor, None)
        self._mark()
        self._sweep()

    def next(self, *, is_last: bool = False) -> Batch:
        """What has been written since. What it steps over is stored only when there is a reason, or at the end."""
        rows: list[Row] = []
        foreign: dict[str, str] = {}
        self._look()
        runs = list(self._runs().items())
        self._turn += 1
        first = self._turn % max(len(runs), 1)
        for run, names in runs[first:] + runs[:first]:
            before = len(rows)
            self._read_run(run, names, rows)
            if names[0].node != self._node:
                foreign.update((row.request_id, names[0].node) for row in rows[before:])
        steps = {name: (each.stored, each.read) for name, each in self._cursors.items() if self._moved(each)}
        if not rows and not is_last and not self._is_due(steps):
            steps = {}
        return Batch(rows=rows, steps=steps, foreign=foreign)

    def is_quiet(self) -> bool:
        """Whether nothing was written since the last reading, and no process that writes has ended."""
        if set(self.found()) != self._cursors.keys():
            return False
        unfinished = [(name, cursor.read) for name, cursor in self._cursors.items() if not cursor.is_complete]
        return all(
            self._lives(name.run) and not has_more(self._folder / name.file, position) for name, position in unfinished
        )

    def orphans(self, at_us: int) -> list[Batch]:
        """Of each run that is over and wholly in the store: rows for the intents that will never have an outcome."""
        batches = []
        for run, names in self._runs().items():
            cursors = [self._cursors[name] for name in names]
            if run in self._over and all(each.is_complete and not self._moved(each) for each in cursors):
                rows = [self._unknown(name, at, at_us) for name, at in self._open.values() if name.run == run]
                if rows:
                    steps = {name: (self._cursors[name].stored, DONE) for name in names}
                    node = names[0].node
                    foreign = {row.request_id: node for row in rows} if node != self._node else {}
                    batches.append(Batch(rows=rows, steps=steps, foreign=foreign))
        return batches

    def stored(self, batch: Batch) -> None:
        """A batch is in the store."""
        for name, (_, after) in batch.steps.items():
            self._cursors[name].stored = after
            if after == DONE:
                self._close_all(name)
        self._mark()

    def done(self) -> list[SegmentName]:
        """Segments that nobody needs any more."""
        done = []
        for run, names in self._runs().items():
            unneeded = [name for name in names if self._is_unneeded(self._cursors[name])]
            done += unneeded
            if run in self._over and unneeded == names:
                (self._folder / f"{run}{NEW_SUFFIX}").unlink(missing_ok=True)
                (self._folder / f"{run}{LOCK_SUFFIX}").unlink(missing_ok=True)
        return done

    def remove(self, names: Iterable[SegmentName]) -> None:
        """Delete the files of segments; first everything that was marked in others is put on the disk."""
        for marked in self._marked:
            descriptor = os.open(self._folder / marked.file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._marked.clear()
        for name in names:
            path = self._folder / name.file
            path.unlink(missing_ok=True)
            file_beside(path).unlink(missing_ok=True)
            self._cursors.pop(name, None)
        self._sync_folder()

    def _look(self) -> None:
        """Which segments there are, and whose process has ended: in this order, no segment of those can be missed."""
        ended = {run for run in {name.run for name in self.found()} if not self._lives(run)}
        names = self.found()
        for gone in self._cursors.keys() - set(names):
            logger.error("the journal %s was deleted by somebody else; what stood in it is lost", gone)
            self._close_all(gone)
            del self._cursors[gone]
        for name in names:
            self._cursors.setdefault(name, Cursor())
        self._over = ended

    def _read_run(self, run: str, names: list[SegmentName], rows: list[Row]) -> None:
        is_over = run in self._over
        for name in names:
            cursor = self._cursors[name]
            if cursor.is_complete:
                continue
            # A process seals a segment before it shows the next: one that is not the last is as long as it will be.
            self._read_segment(name, cursor, rows, is_final=is_over or name is not names[-1])
            if not cursor.is_complete:
                return

    def _read_segment(self, name: SegmentName, cursor: Cursor, rows: list[Row], *, is_final: bool) -> None:
        for records, stop in self._pieces(name, cursor.read):
            for record in records:
                if len(rows) >= BATCH_ROWS:
                    return
                self._take(record, name, cursor, rows)
                cursor.read = record.end
            if stop is Stop.SEAL:
                cursor.is_complete = True
            elif stop is not Stop.MORE and is_final:
                cursor.is_complete = True
                self._say_dropped(name, cursor)

    def _take(self, record: Record, name: SegmentName, cursor: Cursor, rows: list[Row] | None) -> None:
        """What one record says. Without `rows` its row is in the store already."""
        try:
            if record.kind == INTENT:
                self._open[request_of(record)] = (name, record.at)
                cursor.open += 1
            elif record.kind == SETTLED and rows is not None:
                row = row_of(record.data)
                self._close(row.request_id, name)
                rows.append(row)
            elif record.kind != CLOSED:
                self._close(request_of(record), name)
        except _UNREADABLE as error:
            self.unreadable += 1
            logger.error("a record of the journal %s at %d cannot be read: %s", name, record.at, error)

    def _close(self, request_id: str, name: SegmentName) -> None:
        place = self._open.pop(request_id, None)
        if place is None:
            return
        self._cursors[place[0]].open -= 1
        if place[0] != name:
            self._to_mark.append(place)

    def _close_all(self, name: SegmentName) -> None:
        self._cursors[name].open = 0
        for request_id in [each for each, place in self._open.items() if place[0] == name]:
            del self._open[request_id]

    def _mark(self) -> None:
        """Say in segments which of their intents have an outcome that stands in another one."""
        for name, at in self._to_mark:
            descriptor = os.open(self._folder / name.file, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, bytes([CLOSED]), at + KIND_AT)
            finally:
                os.close(descriptor)
            self._marked.add(name)
        self._to_mark.clear()

    def _unknown(self, name: SegmentName, at: int, at_us: int) -> Row:
        row = row_of(self._record(name, at).data)
        row.state, row.usage_source = State.UNKNOWN, "reserved"
        row.cost_nano, row.ended_at = row.reserved_nano, at_us
        row.error_code, row.error = "process_ended", "the process that answered it ended before it did"
        return row

    def _record(self, name: SegmentName, at: int) -> Record:
        return next(records[0] for records, _ in self._pieces(name, at) if records)

    def _pieces(self, name: SegmentName, position: int) -> Iterable[tuple[list[Record], Stop]]:
        return read(self._folder / name.file, position)

    def _runs(self) -> dict[str, list[SegmentName]]:
        runs: dict[str, list[SegmentName]] = {}
        for name in sorted(self._cursors):
            runs.setdefault(name.run, []).append(name)
        return runs

    def _lives(self, run: str) -> bool:
        return is_held(self._folder / f"{run}{LOCK_SUFFIX}")

    def _is_unneeded(self, cursor: Cursor) -> bool:
        return cursor.is_complete and not self._moved(cursor) and not cursor.open

    def _moved(self, cursor: Cursor) -> bool:
        return cursor.stored != DONE and cursor.read != max(cursor.stored, START)

    def _is_due(self, steps: dict[SegmentName, tuple[int, int]]) -> bool:
        return any(
            self._cursors[name].is_complete or after - before > _BYTES_WITHOUT_ROWS
            for name, (before, after) in steps.items()
        )

    def _say_dropped(self, name: SegmentName, cursor: Cursor) -> None:
        dropped = leftover(self._folder / name.file, cursor.read)
        if dropped:
            self.dropped_bytes += dropped
            logger.warning(
                "the journal %s ends within a record: its last %d bytes, from byte %d on, were dropped; what stands "
                "before them is kept",
                self._folder / name.file,
                dropped,
                cursor.read,
            )

    def _sweep(self) -> None:
        """Delete what processes left that were killed before they had a segment."""
        runs = {name.run for name in self.found()}
        for path in self._folder.glob(f"*{LOCK_SUFFIX}"):
            is_old = time.time() - path.stat().st_mtime > _SWEEP_AFTER_S
            if path.stem not in runs and is_old and not is_held(path):
                path.unlink(missing_ok=True)
                path.with_suffix(NEW_SUFFIX).unlink(missing_ok=True)

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
