"""Changes to single fields of a JSON object, made in its bytes.

Owns: setting and removing top-level members while every other byte stays as the other side wrote it.
Refuses: to look below the top level. A `"model":` inside a message or a tool's arguments is somebody's text.
"""

from collections.abc import Mapping

import msgspec

from proxy_cli.shapes import Fields, Json
from proxy_cli.wire.members import FIELDS_DECODER, Member, NamedTwice, members
from proxy_cli.wire.skeleton import Spanned
from proxy_cli.wire.surrogates import fields_around_halves, without_halves

_BOM = b"\xef\xbb\xbf"
_MODEL = b'"model"'
_SPACES = b" \t\n\r"
_QUOTE = 0x22
_BACKSLASH = 0x5C
_BRACE = 0x7D
_SENT_AT_ONCE = 256 * 1024
_SMALL = 4096  # bytes; up to here a slice is made sooner than a view

encode = msgspec.json.Encoder().encode


def strip_bom(body: bytes) -> bytes:
    """The body without a UTF-8 byte order mark, which JSON does not allow and some editors write."""
    return body[3:] if body[:3] == _BOM else body


def edit(body: bytes, changes: Mapping[str, bytes | None], fields: Fields | None = None) -> bytes:
    """The object with members set (bytes) or removed (None); what is not a JSON object comes back as it is.

    `fields`, where the caller has them from `request.cut` of the same bytes, saves a decoding.
    """
    if body[:3] == _BOM:
        body = body[3:]
    if fields is None:
        fields = object_fields(body)
    if fields is None:
        return body
    if isinstance(fields, Spanned):
        return _spliced(body, fields.members, changes)
    model, raw = changes.get("model"), fields.get("model")
    if model is not None and raw is not None:
        old = bytes(raw)
        at = only_model(body, old)
        added = _additions(changes, fields) if len(changes) > 1 else b""
        if at >= 0 and added is not None:
            return _replaced(body, at, len(old), model, added)
    try:
        return _spliced(body, list(members(body, fields)), changes)
    except NamedTwice:
        return _laid_out_anew(fields, changes)


class Spliced:
    """A large body with members set or removed, sent without having been put together (see shapes.BodySource)."""

    def __init__(self, body: bytes, changes: Mapping[str, bytes | None], fields: Spanned) -> None:
        self._parts = _parts(body, fields.members, changes)[::-1]
        self.length = sum(map(len, self._parts))

    def whole(self) -> bytes:
        """All that was not read yet, put together for somebody who wants to see it."""
        return b"".join(reversed(self._parts))

    async def read(self) -> bytes:
        """The next piece; empty at the end."""
        while self._parts:
            part = self._parts.pop()
            if len(part) > _SENT_AT_ONCE:
                self._parts.append(memoryview(part)[_SENT_AT_ONCE:])
            if part:
                return bytes(part[:_SENT_AT_ONCE])
        return b""


def with_model(body: bytes, raw: msgspec.Raw, new: bytes) -> bytes:
    """An object with `new` as its top-level `model`, which has been read as `raw`; if that is no string, the same."""
    old = bytes(raw)
    if old[0] != _QUOTE or old == new:
        return body
    at = only_model(body, old)
    return edit(body, {"model": new}) if at < 0 else _replaced(body, at, len(old), new)


def rename_model(body: bytes, name: str) -> bytes:
    """A reply with `name` as its top-level `model`; without one that is a string, the same bytes."""
    if _MODEL not in body:
        return body
    fields = object_fields(body)
    if fields is None or (old := fields.get("model")) is None:
        return body
    return with_model(body, old, encode(name))


def object_fields(body: bytes) -> Fields | None:
    """The top-level fields of an object, or None for anything that is not one."""
    try:
        return FIELDS_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return fields_around_halves(body)


def is_text(raw: msgspec.Raw | None) -> bool:
    """Whether a raw value is a JSON string."""
    return raw is not None and memoryview(raw)[0] == _QUOTE


def is_null(raw: msgspec.Raw | None) -> bool:
    """Whether a raw value is absent or `null`, which OpenAI's clients send alike."""
    return raw is None or bytes(raw) == b"null"


def decoded(raw: msgspec.Raw) -> Json:
    """The value of one field. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return msgspec.json.decode(without_halves(bytes(raw)))


def only_model(body: bytes, value: bytes) -> int:
    """Where the value of the top-level `model`, which has been read as `value`, starts if beyond doubt, else -1.

    Beyond doubt: the bytes `"model"` come once, with no escape that could spell it another way. In a string its quotes
    would be escaped, so the one place is the top-level name.
    """
    at = body.find(_MODEL)
    # A search for one byte costs next to nothing, and most bodies have no escape.
    if at < 0 or body.find(_MODEL, at + 7) >= 0 or (_BACKSLASH in body and body.find(b"\\u00") >= 0):
        return -1
    return body.index(value, body.index(b":", at) + 1)


def _replaced(body: bytes, at: int, length: int, new: bytes, added: bytes = b"") -> bytes:
    """The body with other bytes at a place, and members added behind its last one."""
    if not added and len(body) < _SMALL:
        return body[:at] + new + body[at + length :]
    end = _end_of_members(body) if added else len(body)
    # Without copies of the two halves: a body may be a hundred megabytes.
    whole: bytes | memoryview = body if len(body) < _SMALL else memoryview(body)
    return b"".join((whole[:at], new, whole[at + length : end], added, whole[end:]))


def _additions(changes: Mapping[str, bytes | None], fields: Fields) -> bytes | None:
    """The members that changes add, each after a comma; None if they do anything else to any but `model`."""
    added = b""
    for name, value in changes.items():
        if name != "model":
            if value is None or name in fields:
                return None
            added += b"," + encode(name) + b":" + value
    return added


def _end_of_members(body: bytes) -> int:
    """Where the last member of an object ends that has one: before its brace and the blanks around that."""
    end = len(body) - 1
    while body[end] != _BRACE:
        end -= 1
    while body[end - 1] in _SPACES:
        end -= 1
    return end


def _spliced(body: bytes, found: list[Member], changes: Mapping[str, bytes | None]) -> bytes:
    return b"".join(_parts(body, found, changes))


def _parts(body: bytes, found: list[Member], changes: Mapping[str, bytes | None]) -> list[bytes | memoryview]:
    pieces: list[bytes | memoryview] = []
    whole: bytes | memoryview = body if len(body) < _SMALL else memoryview(body)
    at = body.index(b"{") + 1
    before = (
        at  # where the bytes start that belong to the next member: its blanks, and its comma unless it is the first
    )
    for member in found:
        value = changes.get(member.name, b"")
        if value is not None:
            # A member that becomes the first leaves its comma behind.
            pieces.append(whole[before if pieces or before == at else member.start : member.value_start])
            pieces.append(value or whole[member.value_start : member.value_end])
        before = member.value_end
    names = {member.name for member in found}
    for name, value in changes.items():
        if value is not None and name not in names:
            pieces.append((b"," if pieces else b"") + encode(name) + b":" + value)
    return [whole[:at], *pieces, whole[before:]]


def _laid_out_anew(fields: Fields, changes: Mapping[str, bytes | None]) -> bytes:
    """For an object that names a field twice: each name once, with the value that decoders take, the last."""
    values: dict[str, bytes | None] = {name: bytes(raw) for name, raw in fields.items()}
    values.update(changes)
    return b"{" + b",".join(encode(name) + b":" + value for name, value in values.items() if value is not None) + b"}"
