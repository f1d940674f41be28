"""Event streams (text/event-stream), split into whole events that keep their bytes.

Owns: where an event ends, for LF, CRLF and CR in any mixture, and what its data lines say.
Refuses: events larger than 8 MiB, since each is held until it is whole.
Rule: however the network cuts a stream, the events that come out are the same.
"""

import re
from typing import Final

from proxy_cli.errors import BackendBroken

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024

_SMALL: Final = 64 * 1024
_CR: Final = 0x0D
_BOM = b"\xef\xbb\xbf"
# A line end that nothing but another one follows. Atomic, so that the halves of one CRLF are never taken for two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")


class Events:
    """Collects pieces of a stream and gives back whole events, each with the blank line that ends it."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        # What came after the last whole event, and from where on it has not been searched yet.
        self._held = bytearray()
        self._searched = 0
        self._started = False  # the first event is out: no byte order mark can come any more
        self._has_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are whole now. Raises BackendBroken for one that is too large."""
        if not self._has_cr and _CR in data:
            self._has_cr = True
        self._held += data
        return self._take()

    def block(self, data: bytes) -> bytes | None:
        """What is whole now as one piece, of which `events_of` makes events; None where `feed` must be asked instead.

        Most pieces of most streams are whole events whose lines end in LF. What is told of them all need not be told
        of each.
        """
        if self._has_cr or not self._started or _CR in data or len(data) > self._max_event_bytes:
            return None
        if self._held:
            if len(self._held) > _SMALL:
                return None  # a large event on its way: not copied once more for each of its pieces
            data = bytes(self._held) + data
        at = data.rfind(b"\n\n")
        end = at + 2 if at >= 0 else 0
        if self._held or end < len(data):
            self._held = bytearray(data[end:])
            self._searched = max(0, len(self._held) - 3)
        return data[:end]

    @property
    def is_between(self) -> bool:
        """Whether no part of an event is held, of a stream whose lines end in LF."""
        return not self._held and not self._has_cr

    def rest(self) -> bytes:
        """What is left when the stream has ended: empty, or an event that was not finished."""
        rest = bytes(self._held)
        self._held.clear()
        self._searched = 0
        return rest if self._started else rest.removeprefix(_BOM)

    def _take(self) -> list[bytes]:
        held = self._held
        events: list[bytes] = []
        start = 0
        while (end := self._end_of_event(max(start, self._searched))) >= 0:
            if end - start > self._max_event_bytes:
                break
            events.append(bytes(held[start:end]))
            start = self._searched = end
        if events and not self._started:
            self._started = True
            events[0] = events[0].removeprefix(_BOM)
        if not events and len(held) > self._max_event_bytes:
            raise self._too_large()
        del held[:start]
        # A blank line may have begun in the last three bytes at most: CR LF CR.
        self._searched = max(0, len(held) - 3)
        return events

    def _end_of_event(self, start: int) -> int:
        held = self._held
        if not self._has_cr:
            return found + 2 if (found := held.find(b"\n\n", start)) >= 0 else -1
        # The search must not begin with the second half of a CRLF.
        if start and held[start : start + 1] == b"\n" and held[start - 1 : start] == b"\r":
            start -= 1
        found_blank = _BLANK_LINE.search(held, start)
        if found_blank is None:
            return -1
        end = found_blank.end()
        # A lone CR at the very end may be half of a CRLF: hold it back until the next feed.
        return -1 if end == len(held) and held.endswith(b"\r") else end

    def _too_large(self) -> BackendBroken:
        return BackendBroken(
            f"the backend sent one event of more than {self._max_event_bytes} bytes, the most that is held at once",
            code="upstream_event_too_large",
        )


def events_of(block: bytes) -> list[bytes]:
    """The events of a piece that holds nothing but whole ones whose lines end in LF."""
    return [event + b"\n\n" for event in block[:-2].split(b"\n\n")] if block else []


def data_of(event: bytes) -> bytes | None:
    """The data of an event, its lines joined by LF; None for one that has none (comments, `event:` alone)."""
    if _is_plain(event):
        return event[6:-2]
    found = [line for text, _ in _lines(event) if (line := _data_line(text)) is not None]
    return b"\n".join(found) if found else None


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data; all else of it stays as it was written. One that has no data stays as it is."""
    if _is_plain(event) and b"\n" not in data:
        return b"data: " + data + b"\n\n"
    lines = _lines(event)
    at = [index for index, (text, _) in enumerate(lines) if _data_line(text) is not None]
    new = data.split(b"\n")
    pieces: list[bytes] = []
    for index, (text, end) in enumerate(lines):
        if index not in at:
            pieces += (text, end)
            continue
        # Each line takes the place of one; what there is more of comes in the last one's.
        count = len(new) if index == at[-1] else 1
        pieces += [_prefix(text, line) + line + (end or b"\n") for line in new[:count]]
        del new[:count]
    return b"".join(pieces)


def _prefix(old: bytes, line: bytes) -> bytes:
    """How the old line began; a blank after the colon belongs to the prefix, so a line with its own needs one more."""
    return b"data:" if old.startswith(b"data:") and old[5:6] != b" " and line[:1] != b" " else b"data: "


def _is_plain(event: bytes) -> bool:
    """Whether it is what nearly all events are: `data: ...` and two LF."""
    return event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event


def _lines(event: bytes) -> list[tuple[bytes, bytes]]:
    return [(found[1], found[2]) for found in _LINE.finditer(event) if found[0]]


def _data_line(text: bytes) -> bytes | None:
    if text.startswith(b"data:"):
        return text[5:].removeprefix(b" ")
    return b"" if text == b"data" else None
