"""Characters that look like YAML's own and are not: no-break spaces, full-width colons, curly quotes, zero width.

They are welcome inside text (Japanese has its own space and colon) and a slip where the structure of the file is meant.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_SPACES: Final = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_UNSEEN: Final = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
_QUOTES: Final = "\u2018-\u201f\u00ab\u00bb\uff02\uff07"
_DASHES: Final = "\u2010-\u2015\u2212\uff0d\u2022\u30fb"
ODD: Final = re.compile(f"[{_SPACES}{_UNSEEN}{_QUOTES}{_DASHES}\uff1a]")

_SPACE: Final = re.compile(f"[{_SPACES}]")
_BLANK: Final = re.compile(f"[{_SPACES}{_UNSEEN}]")
_QUOTE: Final = re.compile(f"[{_QUOTES}]")
_COLON: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*(\uff1a)")
_SPACE_AFTER_COLON: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_]*:([{_SPACES}{_UNSEEN}])")
_DASH: Final = re.compile(rf"([{_DASHES}])[\s{_SPACES}]")
_COMMENT: Final = re.compile(r"(?:^|(?<=[ \t]))#.*")
_LONGEST: Final = 2000  # a slip in the structure shows before; each look at a blank reads the text around it
_OR_QUOTE: Final = "or quote the text"


class Found(NamedTuple):
    """A character that is likely a slip: where in the text it stands, what it does there, and what to type instead."""

    offset: int
    letter: str
    what: str
    cure: str


def in_key(text: str) -> Found | None:
    """What is odd in a name that is not quoted."""
    text = text[:_LONGEST]
    blank = next((each for each in _BLANK.finditer(text) if _parts_ascii(text, each.start())), None)
    return _blank(text, blank.start()) if blank else _slip(text)


def in_value(text: str) -> Found | None:
    """What is odd in a value that is not quoted; what may be meant as text is left alone."""
    text = text[:_LONGEST]
    blank = next((each for each in _BLANK.finditer(text) if _cannot_be_meant(text, each.start())), None)
    return _blank(text, blank.start()) if blank else _slip(text)


def in_line(line: str) -> Iterator[Found]:
    """What is odd in a line that could not be read, comments aside."""
    line = _COMMENT.sub("", line[:_LONGEST])
    if (found := in_key(line)) is not None:
        yield found
        return
    content = line.lstrip(" -")
    if (found := _slip(content)) is not None:
        yield found._replace(offset=found.offset + len(line) - len(content))
    elif quote := _QUOTE.search(line):
        yield _quote(line, quote.start())


def _slip(text: str) -> Found | None:
    if colon := _COLON.match(text):
        return Found(colon.start(1), colon[1], "stands for the colon of a key", f'type ":" and a space, {_OR_QUOTE}')
    if space := _SPACE_AFTER_COLON.match(text):
        what = "stands for the space after the colon"
        return Found(space.start(1), space[1], what, f"type a plain space, {_OR_QUOTE}")
    if dash := _DASH.match(text):
        return Found(dash.start(1), dash[1], "stands for the dash of a list entry", f'type "- ", {_OR_QUOTE}')
    if _QUOTE.match(text):
        return _quote(text, 0)
    return None


def _quote(text: str, offset: int) -> Found:
    return Found(offset, text[offset], "is no quote to YAML", "type straight quotes")


def _blank(text: str, offset: int) -> Found:
    letter = text[offset]
    if not _SPACE.match(letter):
        return Found(offset, letter, "cannot be seen", f"remove it, {_OR_QUOTE}")
    indents = not _BLANK.sub("", text[:offset]).strip(" -")
    what = "stands in the indentation" if indents else "stands for a space"
    return Found(offset, letter, what, f"type plain spaces, {_OR_QUOTE}")


def _at_an_end(text: str, offset: int) -> bool:
    return not _BLANK.sub("", text[:offset]).strip() or not _BLANK.sub("", text[offset:]).strip()


def _parts_ascii(text: str, offset: int) -> bool:
    """Between two letters of other scripts it is writing: an ideographic space, a joined emoji."""
    return _at_an_end(text, offset) or text[offset - 1].isascii() or text[offset + 1].isascii()


def _cannot_be_meant(text: str, offset: int) -> bool:
    """A no-break space in running text is typography; an unseen character inside a word is a slip."""
    if _at_an_end(text, offset):
        return True
    return text[offset - 1].isascii() and text[offset + 1].isascii() and not _SPACE.match(text[offset])
