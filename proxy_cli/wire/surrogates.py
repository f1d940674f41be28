"""Objects with half a character in them: an escape such as `\\ud83d` whose other half is missing.

Models that are cut short leave such halves, Python writes them without a word, and most clients read them as one odd
character. Our decoder refuses them; here an object is read all the same, so that it passes as the bytes it came in.
Owns nothing; refuses whatever else is wrong.
"""

import re
from typing import Final

import msgspec

from proxy_cli.shapes import Fields
from proxy_cli.wire.members import FIELDS_DECODER, NamedTwice, members

# One escape: a whole pair, a lone half, or anything else (a backslash that is itself escaped, mostly).
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_STANDS_IN: Final = b"\\ufffd"  # as long as what it stands for, so that every place stays the same


def without_halves(text: bytes) -> bytes:
    """JSON of the same length with U+FFFD for every half of a character, as decoders do that do not refuse it."""
    return _ESCAPE.sub(lambda match: _STANDS_IN if match[1] else match[0], text)


def fields_around_halves(body: bytes) -> Fields | None:
    """The top-level fields of an object that decodes but for halves of characters in its values, as their bytes."""
    tamed = without_halves(body)
    if tamed == body:
        return None
    try:
        found = list(members(tamed, FIELDS_DECODER.decode(tamed)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NamedTwice):
        return None
    if any(tamed[each.start : each.value_start] != body[each.start : each.value_start] for each in found):
        return None
    return {each.name: msgspec.Raw(body[each.value_start : each.value_end]) for each in found}
