"""A JSON text's shape, found without decoding it.

Owns: the budget of what a request may hold (levels, values), and large bodies: their long strings are checked piece by
piece and left out, so that what remains, the skeleton, is small enough to be cut into fields at once.
Keeps: no copy of a long string. A large body's fields are views of its own bytes.
Rule: every function that may take long is a generator. It gives way after each piece of work, which is short, and
returns its result at the end; `finished` runs one that is known to be short.
"""

import re
from bisect import bisect_right
from collections.abc import Generator
from typing import Final, TypeVar

import msgspec

from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Fields
from proxy_cli.wire.members import FIELDS_DECODER, Member, NamedTwice, members

MOST_LEVELS: Final = 64
MOST_VALUES: Final = 100_000  # numbers apart: a list of token ids is one thing to whoever wrote it
MOST_NUMBERS: Final = 1_000_000
MOST_SKELETON_BYTES: Final = 8 * 1024 * 1024
_LONG: Final = 512  # a string from which on it is left out of the skeleton
_PIECE: Final = 256 * 1024  # what is worked on at once: about a millisecond
_STRINGS_AT_ONCE: Final = 200
_BACKSLASH: Final = 0x5C

# Structure with one sign for each kind: all digits alike, all brackets square, no blanks.
_ALIKE: Final = bytes.maketrans(b"123456789.+{}E", b"00000000000[]e")
_BLANKS: Final = b" \t\r\n"
_NUMBER_ENDS: Final = (b"0,", b"0]")
_HUGE_NUMBER: Final = re.compile(rb"[eE]\+?0*(?:[1-9][0-9]{3}|[4-9][0-9]{2}|3[1-9][0-9]|309)").search
_HUGE_DIGITS: Final = b"0" * 400
POSITION: Final = re.compile(r"(?:malformed: )?([^:]*) \(byte (\d+)\)$")
_SHORT_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL).match
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]"))
_HIGH_SURROGATE: Final = re.compile(rb"\\u[dD][89abAB]").match
_STRING_DECODER: Final = msgspec.json.Decoder(msgspec.Raw)

T = TypeVar("T")
Work = Generator[None, None, T]


class Spanned(dict[str, msgspec.Raw]):
    """The fields of a large body, with where each stands in it."""

    members: list[Member]


def finished(work: Work[T]) -> T:
    """The result of work that need not give way."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def check_shape(body: bytes) -> Work[None]:
    """Look at a small JSON text's levels and values. Raises InvalidRequest."""
    shape = _Shape()
    yield from _walk(body, shape, _Skeleton(body, kept=False))
    shape.check()


def cut_large(body: bytes) -> Work[Spanned]:
    """The fields of a large JSON object, as views of its bytes. Raises InvalidRequest or what the decoder raises."""
    shape, skeleton = _Shape(), _Skeleton(body, kept=True)
    yield from _walk(body, shape, skeleton)
    shape.check()
    text = skeleton.text()
    yield
    _check_utf8(text, 0)
    yield
    try:
        fields = FIELDS_DECODER.decode(text)
    except msgspec.DecodeError as error:
        if (found := POSITION.search(str(error))) is None:
            raise
        raise _refused(f"is not valid JSON: {found[1]} at byte {skeleton.place(int(found[2]))}") from None
    yield
    return _spanned(body, text, fields, skeleton)


class _Shape:
    """What has been counted so far outside of strings."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._brackets: list[bytes] = []
        self._values = self._numbers = 0
        self._end = b""  # the last sign that was counted

    def add(self, part: bytes) -> None:
        """Structure that comes next; counted with the next `count`."""
        self._parts.append(part)

    def count(self) -> None:
        """Count what was added. Raises InvalidRequest as soon as it is too much."""
        text = b"".join(self._parts)
        self._parts.clear()
        alike = self._end + text.translate(_ALIKE, _BLANKS)
        self._end, new = alike[-1:], alike[len(self._end) :]
        brackets = new.translate(None, _NOT_BRACKETS)
        self._brackets.append(brackets)
        numbers = sum(map(alike.count, _NUMBER_ENDS))
        self._numbers += numbers
        self._values += new.count(b",") + brackets.count(b"[") - numbers
        if self._values > MOST_VALUES or self._numbers > MOST_NUMBERS:
            raise _refused(f"holds more than {MOST_VALUES:,} values or {MOST_NUMBERS:,} numbers; send less")
        if _HUGE_DIGITS in alike or (b"e000" in alike and _HUGE_NUMBER(text)):
            raise _refused("holds a number that no computer can use; send numbers that fit")

    def check(self) -> None:
        """Raise InvalidRequest if the text is nested too deeply. What is no JSON may pass: its decoder tells."""
        self.count()
        brackets = b"".join(self._brackets)
        for _ in range(MOST_LEVELS):
            brackets = brackets.replace(b"[]", b"")
        if b"[]" in brackets:
            raise _refused(f"is nested more than {MOST_LEVELS} levels deep; send it flatter")


class _Skeleton:
    """A body without its long strings: the pieces between them, and where each piece stands in the body."""

    def __init__(self, body: bytes, *, kept: bool) -> None:
        self._body = body
        self._kept = kept
        self._pieces: list[bytes] = []
        self._starts = [0]  # of pieces, in the skeleton
        self._shifts = [0]  # by how much the same byte comes later in the body
        self._from = 0
        self._size = 0

    def leave_out(self, start: int, end: int) -> None:
        """The bytes between are a long string's content."""
        if not self._kept:
            return
        self._keep(start)
        self._from = end
        self._starts.append(self._size)
        self._shifts.append(end - self._size)

    def text(self) -> bytes:
        """The skeleton, when all has been seen."""
        self._keep(len(self._body))
        return b"".join(self._pieces)

    def member(self, found: Member) -> Member:
        """A member of the skeleton, by its offsets in the body."""
        # An end is the place behind the last byte: what was left out before that byte belongs to the member.
        start, value_start, last = map(self.place, (found.start, found.value_start, found.value_end - 1))
        return Member(found.name, start, value_start, last + 1)

    def place(self, offset: int) -> int:
        """Where a byte of the skeleton stands in the body."""
        return offset + self._shifts[bisect_right(self._starts, offset) - 1]

    def _keep(self, end: int) -> None:
        self._size += end - self._from
        if self._size > MOST_SKELETON_BYTES:
            raise _refused(f"is over {MOST_SKELETON_BYTES >> 20} MiB beside its long texts; send less of it")
        self._pieces.append(self._body[self._from : end])


def _walk(body: bytes, shape: _Shape, skeleton: _Skeleton) -> Work[None]:
    """From string to string."""
    at = seen = 0
    while (quote := body.find(b'"', at)) >= 0:
        if quote - at > _PIECE:
            yield from _count_pieces(body, at, quote, shape)
        else:
            shape.add(body[at:quote])
        end = body.find(b'"', quote + 1, quote + _LONG)
        if end > 0 and body[end - 1] == _BACKSLASH:
            found = _SHORT_STRING(body, quote + 1, quote + _LONG)
            end = found.end() - 1 if found else -1
        if end < 0:
            end = yield from _end_of_long(body, quote + 1)
            skeleton.leave_out(quote + 1, end)
        at = end + 1
        seen += 1
        if seen % _STRINGS_AT_ONCE == 0:
            shape.count()
            yield
    yield from _count_pieces(body, at, len(body), shape)


def _count_pieces(body: bytes, start: int, end: int, shape: _Shape) -> Work[None]:
    for piece in range(start, end, _PIECE):
        shape.add(body[piece : min(piece + _PIECE, end)])
        shape.count()
        yield


def _end_of_long(body: bytes, start: int) -> Work[int]:
    """The offset of a long string's closing quote; its content is checked on the way."""
    at, size = start, 2 * _LONG
    while at < len(body):
        piece = body[at : _between_characters(body, at, at + size)]
        size = min(2 * size, _PIECE)
        plain = piece.replace(b"\\\\", b"..").replace(b'\\"', b"..") if b"\\" in piece else piece
        quote = plain.find(b'"')
        piece = piece if quote < 0 else piece[:quote]
        _check_utf8(piece, at)
        try:
            _STRING_DECODER.decode(b'"' + piece + b'"')
        except msgspec.DecodeError:
            raise _refused(f"is not valid JSON: a text has a bad character or escape after byte {at}") from None
        at += len(piece)
        if quote >= 0:
            return at
        yield
    raise _refused(f"is not valid JSON: it ends too early, after {len(body)} bytes")


def _between_characters(body: bytes, start: int, end: int) -> int:
    """The last place up to `end` that splits neither an escape nor a character, for a piece that begins so."""
    if end >= len(body):
        return len(body)
    escape = body.rfind(b"\\", end - 6, end)
    if escape >= 0:
        end = _before_run(body, start, escape)
        # Two escapes may be one character.
        return _before_run(body, start, end - 6) if _HIGH_SURROGATE(body, end - 6, end) else end
    for _ in range(3):
        end -= body[end] & 0xC0 == 0x80
    return end


def _before_run(body: bytes, start: int, last: int) -> int:
    """Where the backslashes that end at `last` begin, or after an even number of them if they are all there is."""
    first = start + len(body[start : last + 1].rstrip(b"\\"))
    return first if first > start else start + (last + 1 - start) // 2 * 2


def _check_utf8(piece: bytes, at: int) -> None:
    if piece.isascii():
        return
    try:
        piece.decode()
    except UnicodeDecodeError as error:
        raise _refused(f"is not UTF-8 at byte {at + error.start}; send JSON in UTF-8") from None


def _spanned(body: bytes, text: bytes, fields: Fields, skeleton: _Skeleton) -> Spanned:
    view = memoryview(body)
    result = Spanned()
    try:
        result.members = [skeleton.member(each) for each in members(text, fields)]
    except NamedTwice as twice:
        raise twice_named(twice.name) from None
    for member in result.members:
        result[member.name] = msgspec.Raw(view[member.value_start : member.value_end])
    return result


def twice_named(name: str) -> InvalidRequest:
    """The refusal of an object that has two values for a name."""
    message = f"the request names '{name}' twice; send it once"
    return InvalidRequest(message, code="duplicate_field", param=name)


def _refused(what: str) -> InvalidRequest:
    return InvalidRequest(f"the request body {what}", code="invalid_json", param="request_body")
