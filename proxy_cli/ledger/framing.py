"""How records lie in a segment of a journal: bytes in, records out. No file is opened here.

A segment begins with a mark of sixteen bytes. Each record is its length, a checksum and its kind, and then its data.
What was never written is zeros, for a segment is allocated whole, so a length of zero is the present end. A record is
written in one piece, but a reader in another process may see it half done, as one does whose writer was killed: the
checksum tells. The kind of an intent is the one byte that changes later (`CLOSED`), so the checksum leaves it out.
"""

from enum import Enum
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

MARK: Final = b"llmproxy journl\x01"
START: Final = len(MARK)  # where the first record begins
HEAD: Final = Struct("<IIB")  # bytes of data, checksum, kind
KIND_AT: Final = 8  # in a head
SEAL: Final = 0xFFFFFFFF  # as a length: nothing comes after, the next segment goes on
SEALED: Final = HEAD.pack(SEAL, 0, 0)

INTENT: Final = 1
SETTLED: Final = 2
VOID: Final = 3
CLOSED: Final = 4  # an intent whose outcome is in the store, though that stood in another segment


class Stop(Enum):
    """Why no more records were read."""

    END = "nothing more is written yet"
    MORE = "a record goes on behind the bytes that were given"
    SEAL = "the segment is complete"
    TORN = "a record is not whole"


class Record(NamedTuple):
    """One record, and where it stands in its segment."""

    kind: int
    at: int
    end: int
    data: memoryview


def frame(kind: int, data: bytes) -> bytes:
    """A record as its bytes."""
    return HEAD.pack(len(data), crc32(data), kind) + data


def records(data: bytes, at: int) -> tuple[list[Record], Stop]:
    """The whole records in bytes that begin at a place of a segment, and why there are no more."""
    found: list[Record] = []
    view, offset, size = memoryview(data), 0, len(data)
    while size - offset >= HEAD.size:
        length, checksum, kind = HEAD.unpack_from(data, offset)
        if length == 0:
            return found, Stop.TORN if checksum or kind else Stop.END
        if length == SEAL:
            return found, Stop.SEAL
        begin = offset + HEAD.size
        end = begin + length
        if end > size:
            return found, Stop.MORE
        content = view[begin:end]
        if crc32(content) != checksum or not INTENT <= kind <= CLOSED:
            return found, Stop.TORN
        found.append(Record(kind, at + offset, at + end, content))
        offset = end
    return found, Stop.MORE
