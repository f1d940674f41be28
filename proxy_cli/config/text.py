"""From the bytes of a file to text that YAML can hold, with the place of every byte and character it cannot.

UTF-8 and UTF-16 with or without a byte order mark, UTF-32 with one. Reading goes on past what is wrong, with U+FFFD
in its stead, so that the rest of the file is looked at too.
"""

import codecs
import re
import unicodedata
from array import array
from bisect import bisect_right
from itertools import islice
from typing import Final

from proxy_cli.config.problem import Place, Problem
from proxy_cli.config.tree import Spot

_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # the line ends of YAML 1.1, so that lines count as libyaml's
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_MOST_TOLD: Final = 20
_BINARY: Final = 5  # control characters beside bytes that are no letters: nobody wrote that
_MARKS: Final = (  # the longer ones first: UTF-32's mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_JAPANESE: Final = (("cp932", "Shift_JIS"), ("euc_jp", "EUC-JP"))
_KANA: Final = re.compile("[\u3041-\u30ff]")


class Text:
    """The characters of a file, and where its lines begin; lines are counted when somebody asks."""

    __slots__ = ("_starts", "whole")

    def __init__(self, whole: str) -> None:
        self.whole = whole
        self._starts: array[int] | None = None

    @property
    def starts(self) -> "array[int]":
        """The index of the first character of each line."""
        if self._starts is None:
            self._starts = array("I", (0,))
            self._starts.extend(found.end() for found in _BREAK.finditer(self.whole))
        return self._starts

    def spot(self, index: int) -> Spot:
        """Line and column of a character, from 1."""
        line = bisect_right(self.starts, index)
        return line, index - self.starts[line - 1] + 1

    def line(self, number: int) -> str:
        """A line without its end; lines count from 1, and there is none past the last."""
        if not 1 <= number <= len(self.starts):
            return ""
        end = self.starts[number] if number < len(self.starts) else len(self.whole)
        return self.whole[self.starts[number - 1] : end].rstrip("\r\n\x85\u2028\u2029")


def decode(data: bytes, file: str) -> tuple[Text, list[Problem]]:
    """The text in the bytes, and a problem for all that is no text."""
    mark, codec, name = next((each for each in _MARKS if data.startswith(each[0])), _unmarked(data))
    body = data[len(mark) :]
    problems: list[Problem] = []
    try:
        text = Text(body.decode(codec))
    except UnicodeDecodeError as failure:
        text = Text(body.decode(codec, "replace"))
        problems.append(_undecodable(data, len(mark), failure, name, file))
    forbidden = [_forbidden(text, found, file) for found in islice(_FORBIDDEN.finditer(text.whole), _MOST_TOLD)]
    if problems and len(forbidden) >= _BINARY:
        message = f"this is no text file: {problems[0].message}, and control characters stand in it"
        return Text(""), [Problem(problems[0].place, message, "name a file of YAML; unpack it first if it is packed")]
    if forbidden:
        text = Text(_FORBIDDEN.sub("\ufffd", text.whole))
    return text, problems + forbidden


def _unmarked(data: bytes) -> tuple[bytes, str, str]:
    """UTF-8, unless every other byte of the first two letters is zero, as editors that leave the mark out write it."""
    zeros = tuple(byte == 0 for byte in data[:4])
    if zeros == (False, True, False, True):
        return b"", "utf-16-le", "UTF-16"
    if zeros == (True, False, True, False):
        return b"", "utf-16-be", "UTF-16"
    return b"", "utf-8", "UTF-8"


def code_point(letter: str, spot: Spot) -> str:
    """A character and its place, for a reader who cannot see it: `U+00A0 at 2:1 (no-break space)`."""
    name = unicodedata.name(letter, "control character").lower()
    return f"U+{ord(letter):04X} at {spot[0]}:{spot[1]} ({name})"


def _undecodable(data: bytes, skipped: int, failure: UnicodeDecodeError, name: str, file: str) -> Problem:
    offset = skipped + failure.start
    before = failure.object[: failure.start].decode(failure.encoding, "replace")
    spot = Text(before).spot(len(before))
    message = f"byte 0x{data[offset]:02x} at offset {offset} is not {name}"
    guess = _guess(data) if name == "UTF-8" else ""
    return Problem(Place(file, *spot), message + guess, "save as UTF-8")


def _guess(data: bytes) -> str:
    for codec, name in _JAPANESE:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        if _KANA.search(text):
            return f"; the file looks like {name}"
    return ""


def _forbidden(text: Text, found: re.Match[str], file: str) -> Problem:
    spot = text.spot(found.start())
    message = f"{code_point(found.group(), spot)} may not stand in YAML"
    return Problem(Place(file, *spot), message, "remove it")
