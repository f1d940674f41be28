"""Makes text of others fit for a log line: nothing in it can end the line, move the cursor or hide what follows.

Escaped are control characters (C0, DEL, C1), the line and paragraph separators, the marks that turn the direction of
writing, and lone surrogates. All else, Japanese above all, stays as it is.
"""

import re
from typing import Final

_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_UNSAFE_IN_JSON: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\x1b"}
# An escape of JSON: a pair of surrogates, one unit, or any other (so that `\\u3042` is not read as `\u3042`).
_JSON_ESCAPE: Final = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\.", re.DOTALL
)


def one_line(text: str) -> str:
    """The text with every character escaped that could act on a terminal or begin a new line."""
    # Almost every text is harmless: str.isprintable is a fast way to say so.
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def json_line(text: str) -> str:
    """The same for JSON that was already encoded: what the encoder lets pass is escaped in JSON's own way."""
    return text if text.isprintable() else _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def whole_characters(text: str) -> str:
    """JSON text in which `\\u65e5` is shown as the character it stands for, if that is a harmless one."""
    return _JSON_ESCAPE.sub(_unescape, text) if "\\u" in text else text


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    number = ord(character)
    return _SHORT.get(character) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        number = 0x10000 + ((int(match[1], 16) - 0xD800) << 10) + (int(match[2], 16) - 0xDC00)
    elif match[3]:
        number = int(match[3], 16)
    else:
        return match[0]
    character = chr(number)
    return match[0] if number < 0xA0 or _UNSAFE.match(character) else character
