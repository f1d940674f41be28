"""Where the members of a JSON object stand in its bytes.

Owns: the walk over the top level of an object that msgspec has already decoded into raw fields, so it is known to be
well-formed. Values are never looked into: each is compared with the bytes that were cut out, and stepped over whole.
Rule: a name that comes twice is an error here, because two readers of such an object may see different values.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from proxy_cli.shapes import Fields

_NAME = re.compile(rb'[ \t\n\r]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_END = re.compile(rb"[ \t\n\r]*([,}])")

FIELDS_DECODER = msgspec.json.Decoder(Fields)
_NAME_DECODER = msgspec.json.Decoder(str)


class NamedTwice(ValueError):
    """A name comes twice at the top level of an object."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the name {name!r} comes twice")
        self.name = name


@dataclass(frozen=True, slots=True)
class Member:
    """One `"name": value` of an object, by offsets into its bytes."""

    name: str
    start: int  # of the name's opening quote
    value_start: int
    value_end: int


def members(body: bytes, fields: Fields) -> Iterator[Member]:
    """Each top-level member, in order; `fields` is what FIELDS_DECODER made of `body`. Raises NamedTwice."""
    seen: set[str] = set()
    at = body.index(b"{") + 1
    while named := _NAME.match(body, at):
        name = _NAME_DECODER.decode(named[1])
        value = bytes(fields[name])
        # A name that comes twice is cut out with its last value, so the first one usually does not match.
        if name in seen or not body.startswith(value, named.end()):
            raise NamedTwice(name)
        seen.add(name)
        value_end = named.end() + len(value)
        end = _END.match(body, value_end)
        if end is None:
            raise NamedTwice(name)
        yield Member(name, named.start(1), named.end(), value_end)
        at = end.end()
