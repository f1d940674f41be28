"""What is in the journals of a folder and not in the store yet, as sums: budgets must know all that is spent.

Each process reads for itself; it needs no lock and changes nothing. A segment that nobody has begun to put in is read
once and remembered, so that asking again is cheap while a long replay goes on.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from proxy_cli.ledger.framing import CLOSED, INTENT, SETTLED, START, Record
from proxy_cli.ledger.posting import DONE
from proxy_cli.ledger.reading import request_of, row_of
from proxy_cli.ledger.row import Charge, Row
from proxy_cli.ledger.segments import LOCK_SUFFIX, SegmentName, is_held, read, segments_in

Sums = Counter[Charge]


class _Scan(msgspec.Struct):
    """What was found in a run's segments; one that goes meanwhile does not make all be read again."""

    done: set[SegmentName] = set()
    open: dict[str, tuple[SegmentName, int]] = {}  # requests without an outcome, and where their intent stands


class Backlog:
    """One folder's. Owns what it remembers of whole segments and of runs that are over.

    What our own ended processes had under way is left out: it is told to whoever counts once it is in the store.
    """

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node
        self._whole: dict[SegmentName, Sums] = {}
        self._orphans: dict[str, Sums] = {}
        self._scans: dict[str, _Scan] = {}  # of runs that are over, as far as they have come
        self.sums: dict[str, Sums] = {}  # of each node, as of the last look

    def names(self) -> list[SegmentName]:
        """The segments that are there."""
        return segments_in(self._folder)

    def look(self, positions: Mapping[SegmentName, int]) -> dict[str, Sums]:
        """By node: the sums behind these places, and what intents will be charged whose process has ended.

        Raises FileNotFoundError when a segment goes meanwhile: then the places are out of date.
        """
        over = {run for run in {name.run for name in self.names()} if not is_held(self._folder / f"{run}{LOCK_SUFFIX}")}
        runs: dict[str, list[SegmentName]] = {}
        for name in self.names():
            runs.setdefault(name.run, []).append(name)
        self._forget(runs)
        found: dict[str, Sums] = {}
        for run, names in runs.items():
            sums = found.setdefault(names[0].node, Counter())
            if DONE in [positions.get(name, 0) for name in names]:
                continue
            if run in over and names[0].node != self._node:
                sums.update(self._of_ended(run, names))
            for name in names:
                is_final = run in over or name is not names[-1]
                sums.update(self._of_segment(name, positions.get(name, 0), is_final=is_final))
        self.sums = found
        return found

    def _of_segment(self, name: SegmentName, position: int, *, is_final: bool) -> Sums:
        if position > START:
            self._whole.pop(name, None)
            return _settled(self._records(name, position))
        known = self._whole.get(name)
        if known is None:
            known = _settled(self._records(name, START))
            if is_final:
                self._whole[name] = known
        return known

    def _of_ended(self, run: str, names: Iterable[SegmentName]) -> Sums:
        """What is charged for the intents of a run that is over; its segments are read once for all that is asked."""
        known = self._orphans.get(run)
        if known is None:
            scan = self._scans.setdefault(run, _Scan())
            for name in names:
                if name not in scan.done:
                    self._whole[name] = _settled(_watched(self._records(name, START), name, scan.open))
                    scan.done.add(name)
            known = Counter()
            for name, at in scan.open.values():
                row = row_of(next(self._records(name, at)).data)
                _charge(known, row, row.reserved_nano)
            self._orphans[run] = known
            del self._scans[run]
        return known

    def _records(self, name: SegmentName, position: int) -> Iterator[Record]:
        for records, _ in read(self._folder / name.file, position):
            yield from records

    def _forget(self, runs: Mapping[str, list[SegmentName]]) -> None:
        names = {name for each in runs.values() for name in each}
        self._whole = {name: sums for name, sums in self._whole.items() if name in names}
        self._orphans = {run: sums for run, sums in self._orphans.items() if run in runs}
        self._scans = {run: scan for run, scan in self._scans.items() if run in runs}


def _settled(records: Iterable[Record]) -> Sums:
    sums: Sums = Counter()
    for record in records:
        if record.kind == SETTLED:
            try:
                row = row_of(record.data)
            except msgspec.DecodeError:  # the drainer says so, once
                continue
            _charge(sums, row, row.cost_nano)
    return sums


def _watched(
    records: Iterable[Record], name: SegmentName, open_rows: dict[str, tuple[SegmentName, int]]
) -> Iterator[Record]:
    """The same records; which intents are open after them is put down."""
    for record in records:
        if record.kind == INTENT:
            open_rows[request_of(record)] = (name, record.at)
        elif record.kind != CLOSED:
            open_rows.pop(request_of(record), None)
        yield record


def _charge(sums: Sums, row: Row, nano: int) -> None:
    if nano:
        for charge in row.charges:
            sums[charge] += nano
