"""A request's body with other values for some of its top-level fields, and what it then says.

Owns: a body and its fields changed together, so that the changed body can be changed once more like any other.
Refuses: to decode either. All other bytes stay as they came.
"""

from collections.abc import Mapping

import msgspec

from proxy_cli.shapes import Fields
from proxy_cli.wire.members import Member
from proxy_cli.wire.skeleton import Spanned
from proxy_cli.wire.splice import edit, encode


def overlaid(body: bytes, fields: Fields, values: Mapping[str, msgspec.Raw]) -> tuple[bytes, Fields]:
    """The body with these values, and its fields; `fields` are those of `body`."""
    changes = {name: bytes(raw) for name, raw in values.items()}
    if isinstance(fields, Spanned):
        return _overlaid_large(body, fields, changes)
    return edit(body, dict(changes), fields), {**fields, **values}


def _overlaid_large(body: bytes, fields: Spanned, changes: Mapping[str, bytes]) -> tuple[bytes, Spanned]:
    """The same where it is known where each member stands, and must be known of the result too."""
    whole = memoryview(body)
    pieces: list[bytes | memoryview] = []
    found: list[Member] = []
    at = shift = 0
    for member in fields.members:
        value = changes.get(member.name)
        start, value_start = member.start + shift, member.value_start + shift
        if value is not None:
            pieces += (whole[at : member.value_start], value)
            at = member.value_end
            shift += len(value) - (member.value_end - member.value_start)
        found.append(Member(member.name, start, value_start, member.value_end + shift))
    end = fields.members[-1].value_end if fields.members else body.index(b"{") + 1
    pieces.append(whole[at:end])
    known = {member.name for member in fields.members}
    _append(pieces, found, {name: value for name, value in changes.items() if name not in known}, end + shift)
    return _joined([*pieces, whole[end:]], found)


def _append(pieces: list[bytes | memoryview], found: list[Member], added: Mapping[str, bytes], at: int) -> None:
    """Members behind the last one, which ends at `at`."""
    for name, value in added.items():
        head = (b"," if found else b"") + encode(name) + b":"
        start = at + (1 if found else 0)
        pieces += (head, value)
        value_start = at + len(head)
        at = value_start + len(value)
        found.append(Member(name, start, value_start, at))


def _joined(pieces: list[bytes | memoryview], found: list[Member]) -> tuple[bytes, Spanned]:
    body = b"".join(pieces)
    view = memoryview(body)
    result = Spanned()
    result.members = found
    for member in found:
        result[member.name] = msgspec.Raw(view[member.value_start : member.value_end])
    return body, result
