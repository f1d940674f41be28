"""Raw messages made readable: headers without secrets, JSON laid out, streams in whole characters.

Nothing is hidden but secrets, and what is left out is said: the rest of a long body, the middle of a long base64 text,
bytes that are no text. Japanese that came as `\\u65e5` is shown as it reads.
"""

import codecs
import re
from typing import Final

import msgspec

from proxy_cli.shapes import BodySource, Headers
from proxy_cli.telemetry.escape import whole_characters
from proxy_cli.telemetry.masking import masked_headers

_MAX_CHARACTERS: Final = 64 * 1024
_MAX_LAID_OUT_BYTES: Final = 1024 * 1024  # larger JSON is shown as it came
_NUMBERS: Final = re.compile(r"\[\s*([\d.eE+-]+(?:,\s+[\d.eE+-]+)+)\s*\]")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{2048,}={0,2}")
_TAIL: Final = 64  # characters at the end that are looked through for an escape cut in two
# The end of a piece that may be half of an escape, or the first half of a pair. A run of backslashes is kept
# together, because only its whole length tells whether the last one begins an escape.
_UNFINISHED: Final = re.compile(r"(?:\\u[dD][89abAB][0-9a-fA-F]{2})?\\+(?:u[0-9a-fA-F]{0,3})?$|\\u[dD][89abAB]..$")


def header_lines(headers: Headers) -> list[str]:
    """One line for each header, secrets masked."""
    return [f"{name}: {value}" for name, value in masked_headers(headers)]


def body_lines(body: bytes | BodySource) -> list[str]:
    """A body as people read it."""
    if not isinstance(body, bytes):
        length = f"{body.length:,} bytes" if body.length is not None else "unknown length"
        return [f"<upload of {length}>"]
    if not body:
        return []
    try:
        text = _laid_out(body) if len(body) <= _MAX_LAID_OUT_BYTES else _beginning(body)
    except UnicodeDecodeError:
        return [f"<{len(body):,} bytes that are no text, beginning with {body[:16].hex(' ')}>"]
    return capped(_BASE64.sub(_shortened, whole_characters(text)))


def _beginning(body: bytes) -> str:
    """As much of a large body as is worth the time of everyone who waits: no more is shown of any."""
    text = codecs.getincrementaldecoder("utf-8")().decode(body[:_MAX_LAID_OUT_BYTES])
    return f"<the beginning of {len(body):,} bytes>\n{text}"


def capped(text: str) -> list[str]:
    """The lines of a text, and of a long one the beginning and how much is missing."""
    lines = text[:_MAX_CHARACTERS].rstrip("\r\n").split("\n")
    if len(text) > _MAX_CHARACTERS:
        lines.append(f"<{len(text) - _MAX_CHARACTERS:,} more characters are not shown>")
    return lines


class Pieces:
    """The pieces of one stream as text: a character that is cut in two is shown with the second half."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""

    def feed(self, data: bytes) -> list[str]:
        """The lines of a piece; none while there is no whole character."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _TAIL))
        self._held = unfinished[0] if unfinished else ""
        return self._lines(text[: len(text) - len(self._held)])

    def end(self) -> list[str]:
        """What is left when the stream has ended."""
        text, self._held = self._held + self._decoder.decode(b"", final=True), ""
        return self._lines(text)

    def _lines(self, text: str) -> list[str]:
        return capped(_BASE64.sub(_shortened, whole_characters(text))) if text.strip("\r\n") else []


def _laid_out(body: bytes) -> str:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return body.decode()
    # Laid out without decoding: numbers and double keys stay what they are.
    text = msgspec.json.format(body, indent=2).decode()
    return _NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", text)


def _shortened(match: re.Match[str]) -> str:
    return f"{match[0][:32]}<{len(match[0]) - 32:,} more characters of base64>"
