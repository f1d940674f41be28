"""A `.env` file: variables for a working folder.

`NAME=value` a line, `export` before it or not; `#` begins a comment at a line's start or after a blank. Single quotes
hold a text as it is; double quotes know \\n, \\t, \\" and \\\\ and may span lines; `${NAME}` outside single quotes
stands for a variable. Nothing here changes the environment, and no value is part of a message.
"""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Final

from proxy_cli.config.opening import Unreadable, file_name, slurp
from proxy_cli.config.problem import Place, Problem

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[^\s=#'\"]+)?[ \t]*(?P<equals>=)?[ \t]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_BARE = re.compile(r"(?P<value>[^\n]*?)[ \t]*(?:[ \t]#[^\n]*)?(?=\n|$)")
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|$)")
_SINGLE = re.compile(r"'(?P<value>[^']*)'")
_DOUBLE = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_REFERENCE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def dotenv(path: FilePath, environ: Mapping[str, str] = _NONE) -> tuple[dict[str, str], list[Problem]]:
    """The variables of a file, and what is wrong with it; nothing at all where there is no such file."""
    if not path.exists() and not path.is_symlink():
        return {}, []
    name = file_name(path)
    try:
        data = slurp(path).data
    except Unreadable as why:
        return {}, [Problem(Place(name, 1, 1), why.message, why.cure)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data.count(b"\n", 0, failure.start) + 1
        return {}, [Problem(Place(name, line, 1), "the file is not UTF-8", "save it as UTF-8")]
    return _Reader(name, text.replace("\r\n", "\n").replace("\r", "\n"), environ).run()


class _Reader:
    def __init__(self, file: str, text: str, environ: Mapping[str, str]) -> None:
        self._file = file
        self._text = text
        self._environ = environ
        self._at = 0
        self._found: dict[str, str] = {}
        self._problems: list[Problem] = []

    def run(self) -> tuple[dict[str, str], list[Problem]]:
        while self._at < len(self._text):
            start = self._at
            self._line(start)
            if self._at == start:
                self._at = self._end_of_line() + 1
        return self._found, self._problems

    def _line(self, start: int) -> None:
        if not self._text[start : self._end_of_line()].strip() or self._text[start:].lstrip(" \t").startswith("#"):
            return
        head = _LINE.match(self._text, start)
        assert head is not None, "every part of the pattern may be empty"
        name = head["name"]
        if name is None or not head["equals"] or not _NAME.fullmatch(name):
            self._fail(start, "expected NAME=value", "write one variable a line, its name in letters, digits and _")
            return
        self._at = head.end()
        value = self._value(start)
        if value is not None:
            if "\0" in value:
                self._fail(start, f"the value of {name} holds a NUL character", "take it out")
            else:
                self._found[name] = value
        self._at = self._end_of_line() + 1

    def _value(self, start: int) -> str | None:
        quote = self._text[self._at : self._at + 1]
        if quote not in ("'", '"'):
            bare = _BARE.match(self._text, self._at)
            assert bare is not None, "the pattern takes what is left of any line"
            value = bare["value"]
            return "" if value.startswith("#") else self._expanded(value)
        quoted = (_SINGLE if quote == "'" else _DOUBLE).match(self._text, self._at)
        if quoted is None:
            self._fail(start, "a quote is not closed", f"close it with {quote}")
            return None
        self._at = quoted.end()
        if not _REST.match(self._text, self._at):
            self._fail(start, "there is text after the closing quote", "quote the whole value, or take it out")
            return None
        if quote == "'":
            return quoted["value"]
        return self._expanded(quoted["value"], escapes=True)

    def _expanded(self, text: str, *, escapes: bool = False) -> str:
        """References are looked up piece by piece, so that an escaped one, and a value with a `$`, stay as they are."""
        pieces = _ESCAPE.split(text) if escapes else [text]
        result = []
        for index, piece in enumerate(pieces):
            if index % 2:
                result.append(_ESCAPES.get(piece, f"\\{piece}"))
            else:
                result.append(_REFERENCE.sub(self._looked_up, piece))
        return "".join(result)

    def _looked_up(self, match: re.Match[str]) -> str:
        name = match["name"]
        return self._environ.get(name) or self._found.get(name) or match["default"] or ""

    def _end_of_line(self) -> int:
        end = self._text.find("\n", self._at)
        return end if end >= 0 else len(self._text)

    def _fail(self, start: int, message: str, cure: str) -> None:
        line = self._text.count("\n", 0, start) + 1
        self._problems.append(Problem(Place(self._file, line, 1), message, cure))
