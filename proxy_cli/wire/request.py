"""A request's body cut into its top-level fields, and what those say to us.

Owns: JSON that is refused before anything is decided on it, and the numbers that nobody can use.
Refuses: to read what it does not need. A field that is nobody's business here stays the bytes it came as.
Rule: what is checked is what is sent. An object that names a routing field twice has no single meaning and is refused.
"""

import codecs
import math
import re
from typing import Final

import msgspec

from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Fields
from proxy_cli.wire.forbidden import refuse_form_field, refuse_server_fields
from proxy_cli.wire.members import FIELDS_DECODER, NamedTwice, members
from proxy_cli.wire.skeleton import (
    MOST_LEVELS,
    MOST_VALUES,
    POSITION,
    Work,
    check_shape,
    cut_large,
    finished,
    twice_named,
)
from proxy_cli.wire.splice import strip_bom
from proxy_cli.wire.values import flag, read, text, wrong_type

__all__ = [
    "cut",
    "cutting",
    "flag",
    "refuse_form_field",
    "refuse_server_fields",
    "strip_bom",
    "text",
    "wants_usage",
]

# Fields of every request that are no numbers; if one is, whoever reads it says so.
_NO_NUMBERS = frozenset(
    {"model", "messages", "stream", "stream_options", "tools", "prompt", "input", "user", "stop", "response_format"}
)
# An escape of a letter or an underscore: another way to spell a routing field, which no honest client writes.
_ESCAPED_LETTER = re.compile(rb"\\u00[567]")
_SMALL: Final = 4096
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
_MOST_BRACKETS: Final = 20_000  # beyond, taking them away level by level costs more than a walk
_NUMBER_STARTS = frozenset(b"-0123456789")
_LONGEST_NUMBER = 400  # characters; more is no number anybody can use
_PIECE = 1 << 20
_FEW = 10  # digits
# What a count may be at most; OpenAI's own limit where it has one.
_COUNTS = {"n": 128, "max_tokens": 10**9, "max_completion_tokens": 10**9, "max_output_tokens": 10**9}
_LIST_START = 0x5B
_BOM = codecs.BOM_UTF8
MAX_AT_ONCE_BYTES: Final = 1024 * 1024


def cut(body: bytes) -> Fields:
    """The top-level fields of the request, each still as its bytes. Raises InvalidRequest."""
    if len(body) > MAX_AT_ONCE_BYTES:
        return finished(cutting(body))
    try:
        fields = FIELDS_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if body.startswith(_BOM):
            return cut(strip_bom(body))
        raise _malformed(body, error) from None
    if not body.isascii() and (fault := _utf8_fault(body)) is not None:
        raise _not_utf8(fault)
    _refuse_wrong_values(fields)
    if not _is_modest(body):
        finished(check_shape(body))
    _refuse_second_spellings(body, fields)
    return fields


def _is_modest(body: bytes) -> bool:
    """Whether an object is seen at once to hold no more than it may; if not, somebody has to walk through it."""
    # Of a small body, taking them away costs a third of a search for each; and it has no more values than bytes.
    if (
        len(body) <= _SMALL
        and 2 * len(body) - len(body.replace(b"{", b"")) - len(body.replace(b"[", b"")) <= MOST_LEVELS
    ):
        return True
    opened = 0
    for opening in b"{[":
        at = body.find(opening)
        # Searching for the next one is ten times as fast as counting all, and in most requests there are few.
        while at >= 0 and opened <= MOST_LEVELS:
            opened += 1
            at = body.find(opening, at + 1)
    if opened <= MOST_LEVELS:
        return len(body) <= 2 * MOST_VALUES or body.count(b",") <= MOST_VALUES
    # It is valid JSON: without escapes, every second piece between quotes is what stands around the texts.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if body.find(b"\\") >= 0 else body
    bare = b"".join(plain.split(b'"')[::2])
    shape = bare.translate(_ONE_KIND, _NO_BRACKETS)
    if len(shape) > _MOST_BRACKETS or bare.count(b",") + len(shape) // 2 > MOST_VALUES:
        return False
    # Each round takes away what is empty: the innermost level.
    for _ in range(MOST_LEVELS):
        shape = shape.replace(b"[]", b"")
        if not shape:
            return True
    return False


def cutting(body: bytes) -> Work[Fields]:
    """The same for a body of any size, a little at a time: a large one would hold up everybody else meanwhile."""
    if len(body) <= MAX_AT_ONCE_BYTES:
        return cut(body)
    body = strip_bom(body)
    try:
        fields = yield from cut_large(body)
        _refuse_wrong_values({name: raw for name, raw in fields.items() if memoryview(raw).nbytes <= _LONGEST_NUMBER})
        return fields
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from None


def wants_usage(fields: Fields) -> bool:
    """Whether the caller asked for the usage chunk of a stream: `stream_options.include_usage`."""
    if "stream_options" not in fields:
        return False
    options = read(fields, "stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise wrong_type("stream_options", "an object", options)
    return options.get("include_usage") is True


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_json", param="request_body")


def _not_utf8(position: int) -> InvalidRequest:
    return _invalid(f"the request body is not UTF-8 at byte {position}; send JSON in UTF-8")


def _utf8_fault(body: bytes) -> int | None:
    """The first byte that is not UTF-8: raw fields are cut out without a look at their characters."""
    if len(body) <= _PIECE:
        try:
            body.decode()
        except UnicodeDecodeError as error:
            return error.start
        return None
    if body.isascii():
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    # In pieces, so that a large body is not held once more as text.
    for start in range(0, len(body), _PIECE):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(body[start : start + _PIECE], final=start + _PIECE >= len(body))
        except UnicodeDecodeError as error:
            return start - held + error.start
    return None


def _malformed(body: bytes, error: Exception) -> InvalidRequest:
    if not body[:64].strip() and not body.strip():
        return _invalid("the request body is empty; send a JSON object")
    if b"\0" in body[:4]:
        return _invalid("the request body is not UTF-8 (it looks like UTF-16 or UTF-32); send JSON in UTF-8")
    match error:
        case RecursionError():
            return _invalid("the request body is nested too deeply; send less than a few hundred levels")
        case UnicodeDecodeError():
            return _not_utf8(_utf8_fault(body) or 0)
        case msgspec.ValidationError():
            return _invalid('the request body must be a JSON object: {"model": ...}')
    found = POSITION.search(str(error))
    if found is None:
        return _invalid(f"the request body is not valid JSON: it ends too early, after {len(body)} bytes")
    return _invalid(f"the request body is not valid JSON: {found[1]} at byte {found[2]}")


def _refuse_wrong_values(fields: Fields) -> None:
    """Raise InvalidRequest for numbers that nobody can use, and for messages that are no list."""
    for name, raw in fields.items():
        if name not in _NO_NUMBERS:
            value = bytes(raw)
            # Nearly all are a few digits, which every field takes that takes a number, but for `n`.
            usual = value.isdigit() and len(value) < _FEW and name != "n"
            if not usual and value[0] in _NUMBER_STARTS:
                _check_number(name, value)
    if (messages := fields.get("messages")) is not None and memoryview(messages)[0] != _LIST_START:
        raise wrong_type("messages", "a list", read(fields, "messages"))


def _check_number(name: str, digits: bytes) -> None:
    if len(digits) > _LONGEST_NUMBER or not math.isfinite(value := float(digits)):
        raise InvalidRequest(
            f"'{name}' is not a number that fits: {digits[:20].decode()}...", code="invalid_json", param=name
        )
    if name in _COUNTS and not 0 <= value <= _COUNTS[name]:
        raise InvalidRequest(
            f"'{name}' must be from 0 to {_COUNTS[name]}, got {digits[:20].decode()}", code="invalid_value", param=name
        )


def _refuse_second_spellings(body: bytes, fields: Fields) -> None:
    """Raise InvalidRequest if an object names a field twice; looked for only where a routing field may be one."""
    doubtful = body.count(b'"model"') > 1 or (
        ("stream" in fields or "stream_options" in fields)
        and body.count(b'"stream') > 1
        and (body.count(b'"stream"') > 1 or body.count(b'"stream_options"') > 1)
    )
    # A search for one byte costs next to nothing, and most bodies have no escape.
    if not doubtful and (b"\\" not in body or b"\\u00" not in body or not _ESCAPED_LETTER.search(body)):
        return
    try:
        for _ in members(body, fields):
            pass
    except NamedTwice as twice:
        raise twice_named(twice.name) from None
