"""The id that a backend has given its answer. Never an id of ours: backends repeat theirs, and some send none."""

import re
from typing import Final

import msgspec

_LONGEST: Final = 200
_FIRST_ID: Final = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')
_LOOKED_AT_BYTES: Final = 2048


class _Identified(msgspec.Struct, gc=False):
    id: str = ""


_DECODER: Final = msgspec.json.Decoder(_Identified)


def answer_id(body: bytes) -> str:
    """The id of a whole answer; empty where it has none."""
    try:
        return _DECODER.decode(body).id[:_LONGEST]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def stream_id(begun: bytes) -> str:
    """The id in the first bytes of a stream of events; empty where there is none."""
    found = _FIRST_ID.search(begun, 0, _LOOKED_AT_BYTES)
    return found[1].decode("utf-8", "replace") if found else ""
