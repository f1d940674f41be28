"""What a complete segment comes to, in a small file beside it: a start knows what was spent without reading it all.

The process that has sealed a segment writes it, in a thread. Nobody relies on it: where it is missing, or not whole,
the segment itself is read. Rule: it is gone when its segment is, whichever of the two was there last.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from proxy_cli.callers import Charge
from proxy_cli.ledger.framing import SETTLED, frame, records
from proxy_cli.ledger.row import Row
from proxy_cli.ledger.segments import SUMS_SUFFIX

_PART: Final = ".part"
_MODE: Final = 0o600

Charges = tuple[Charge, ...]


class Reserved(msgspec.Struct, array_like=True, gc=False):
    """What a request without an outcome will be charged, if its process ends before it does."""

    request_id: str
    nano: int
    charges: Charges


class Tally(msgspec.Struct, array_like=True, gc=False):
    """What is settled in a segment, and what has no outcome at its end, wherever its intent stands."""

    settled: list[tuple[Charge, int]]
    open: list[Reserved]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Tally).decode


def reserved_of(row: Row) -> Reserved:
    """What stands in the intent of a request."""
    return Reserved(row.request_id, row.reserved_nano, row.charges)


def file_beside(segment: Path) -> Path:
    """Where it stands."""
    return segment.with_suffix(SUMS_SUFFIX)


def by_charge(settled: Mapping[Charges, int]) -> Counter[Charge]:
    """What comes to each charge of what comes to several together."""
    sums: Counter[Charge] = Counter()
    for charges, nano in settled.items():
        for charge in charges:
            sums[charge] += nano
    return sums


def write_beside(segment: Path, settled: Mapping[Charges, int], open_rows: list[Row], *, most_bytes: int) -> None:
    """Put it beside its segment, whole or not at all; where that fails, or there is no room, it is not there."""
    path = file_beside(segment)
    part = path.with_suffix(_PART)
    try:
        tally = Tally(list(by_charge(settled).items()), [reserved_of(row) for row in open_rows])
        data = frame(SETTLED, _encode(tally))
        if len(data) > most_bytes:
            return
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        part.rename(path)
        if not segment.exists():  # it was put into the store meanwhile, by somebody who did not see this one
            path.unlink(missing_ok=True)
    except (OSError, UnicodeEncodeError, OverflowError):
        part.unlink(missing_ok=True)


def read_beside(segment: Path) -> Tally | None:
    """What a segment comes to; None where nobody has said so."""
    try:
        found, _ = records(file_beside(segment).read_bytes(), 0)
        return _decode(found[0].data) if found else None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
