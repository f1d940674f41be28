"""Single fields of a request, read by us: each has one type, and the refusal of another names the field.

Owns the words of such refusals. A field that is missing or null has no value: clients send null for what they leave
out.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Fields, Json
from proxy_cli.wire.splice import decoded

LONGEST_S: Final = 1e7
_FLAGS: Final = {b"true": True, b"false": False, b"null": False}
_KINDS: Final = (
    (bool, "a boolean"),
    (int | float, "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
)


def read(fields: Fields, name: str) -> Json:
    """The value of a field, whatever it is. Raises InvalidRequest."""
    raw = fields.get(name)
    return None if raw is None else value_of(raw, name)


def value_of(raw: msgspec.Raw, path: str) -> Json:
    """What stands in some bytes. Raises InvalidRequest, naming the path."""
    try:
        return decoded(raw)
    except (msgspec.DecodeError, RecursionError):
        raise unreadable(path) from None


def unreadable(path: str) -> InvalidRequest:
    """What is told of a value that is valid as bytes only."""
    return InvalidRequest(f"'{path}' cannot be read; send plain JSON", code="invalid_json", param=path)


def wrong_type(name: str, wanted: str, value: Json) -> InvalidRequest:
    """What is told of a value of another type."""
    got = next((words for kind, words in _KINDS if isinstance(value, kind)), "null")
    return InvalidRequest(f"'{name}' must be {wanted}, got {got}", code="invalid_type", param=name)


def text(fields: Fields, name: str) -> str | None:
    """A field that must be a string; None where it is missing or null."""
    value = read(fields, name)
    if value is None or isinstance(value, str):
        return value
    raise wrong_type(name, "a string", value)


def flag(fields: Fields, name: str) -> bool:
    """A field that must be true or false; False where it is missing or null."""
    raw = fields.get(name)
    if raw is None:
        return False
    if (value := _FLAGS.get(bytes(raw))) is not None:
        return value
    raise wrong_type(name, "true or false", read(fields, name))


def seconds(fields: Fields, name: str) -> float | None:
    """A field that must be a number of seconds above 0; None where it is missing or null."""
    value = read(fields, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(name, "a number of seconds", value)
    if value <= 0:
        raise InvalidRequest(f"'{name}' must be more than 0 seconds, got {value}", code="invalid_value", param=name)
    # What is longer is as good as no limit, and may be more than a timer takes.
    return float(min(value, LONGEST_S))


def count(fields: Fields, name: str, most: int) -> int | None:
    """A field that must be a whole number from 0 up to a bound; None where it is missing or null."""
    value = read(fields, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "a whole number", value)
    if not 0 <= value <= most:
        raise InvalidRequest(f"'{name}' must be from 0 to {most}, got {value}", code="invalid_value", param=name)
    return value


def names(fields: Fields, name: str) -> tuple[str, ...]:
    """A field that must be a list of strings; empty where it is missing or null."""
    return texts(read(fields, name), name)


def texts(value: Json, path: str) -> tuple[str, ...]:
    """A value that must be a list of strings; empty where it is null."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong_type(path, "a list of strings", value)
    _refuse_others(value, path)
    return tuple(value)


def _refuse_others(found: Sequence[Json], path: str) -> None:
    for item in found:
        if not isinstance(item, str):
            raise wrong_type(path, "a list of strings", item)
