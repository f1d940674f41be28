"""What is in the journals of a folder and not in the store yet, as sums: budgets must know all that is spent.

Each process reads for itself, one look after the other, and changes nothing. A complete segment that nobody has begun
to put in is known by what its process said that it comes to (`ledger/tally.py`), or is read once, and remembered:
asking is cheap while a long replay goes on.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from proxy_cli.callers import Charge
from proxy_cli.ledger.framing import CLOSED, INTENT, SETTLED, START, Record
from proxy_cli.ledger.posting import DONE
from proxy_cli.ledger.reading import request_of, row_of
from proxy_cli.ledger.segments import LOCK_SUFFIX, SegmentName, is_held, read, segments_in
from proxy_cli.ledger.tally import Reserved, read_beside, reserved_of

Sums = Counter[Charge]
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)


class _Scan(msgspec.Struct):
    """What was found in a run's segments; one that goes meanwhile does not make all be read again."""

    done: set[SegmentName] = set()
    open: dict[str, Reserved] = {}  # requests without an outcome


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
            tally = read_beside(self._folder / name.file) if is_final else None
            known = Counter(dict(tally.settled)) if tally is not None else _settled(self._records(name, START))
            if is_final:
                self._whole[name] = known
        return known

    def _of_ended(self, run: str, names: list[SegmentName]) -> Sums:
        """What is charged for the intents of a run that is over; its segments are read once for all that is asked."""
        known = self._orphans.get(run)
        if known is None:
            scan = self._scans.get(run)
            if scan is None:
                scan = self._scans[run] = self._begun(names)
            for name in names:
                if name not in scan.done:
                    self._whole[name] = _settled(_watched(self._records(name, START), scan.open))
                    scan.done.add(name)
            known = Counter()
            for reserved in scan.open.values():
                _charge(known, reserved.charges, reserved.nano)
            self._orphans[run] = known
            del self._scans[run]
        return known

    def _begun(self, names: list[SegmentName]) -> _Scan:
        """Where to begin: behind the last segment that says what had no outcome at its end."""
        for count in range(len(names), 0, -1):
            tally = read_beside(self._folder / names[count - 1].file)
            if tally is not None:
                return _Scan(set(names[:count]), {reserved.request_id: reserved for reserved in tally.open})
        return _Scan()

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
            except _UNREADABLE:  # the drainer says so, once
                continue
            _charge(sums, row.charges, row.cost_nano)
    return sums


def _watched(records: Iterable[Record], open_rows: dict[str, Reserved]) -> Iterator[Record]:
    """The same records; which requests are open after them is put down."""
    for record in records:
        with contextlib.suppress(*_UNREADABLE):
            if record.kind == INTENT:
                reserved = reserved_of(row_of(record.data))
                open_rows[reserved.request_id] = reserved
            elif record.kind != CLOSED:
                open_rows.pop(request_of(record), None)
        yield record


def _charge(sums: Sums, charges: Iterable[Charge], nano: int) -> None:
    if nano:
        for charge in charges:
            sums[charge] += nano
