"""From log records to lines: plain, coloured for a terminal, or JSON. One event is one line, whatever the data holds.

A record may carry `fields` (named values, shown in JSON) and a `block` (lines of a raw message that stand below its
line, each behind a bar that no data can forge). Everything passes the mask and is escaped here, and nowhere else.
"""

import json
import logging
import select
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, NamedTuple, TextIO

from proxy_cli.shapes import Json
from proxy_cli.telemetry.escape import json_line, one_line
from proxy_cli.telemetry.masking import Mask

BAR: Final = "    | "
_WHOLE_CHARACTERS: Final = select.PIPE_BUF // 4  # a character has at most four bytes
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=str)
# Of ECMA-48, as every terminal has them: faint, green, yellow, red, bold red.
_STYLES: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_FAINT: Final = "2"


class Line(NamedTuple):
    """One event, escaped and without secrets."""

    time: str
    level: str
    message: str
    block: tuple[str, ...] = ()


Form = Callable[[logging.LogRecord], Line]
Write = Callable[[Sequence[Line], int], None]


def text_form(mask: Mask, *, dated: bool, placed: bool) -> Form:
    """Lines for people; `placed` adds the file and line of code that spoke."""

    times = _Times("%Y-%m-%d %H:%M:%S." if dated else "%H:%M:%S.", "%z" if dated else "", None)

    def line(record: logging.LogRecord) -> Line:
        message = one_line(mask.hide(record.getMessage()))
        if placed:
            message = f"{record.filename}:{record.lineno} {message}"
        block = tuple(one_line(mask.hide(each)) for each in (*_block(record), *_traceback(record)))
        return Line(times.text(record.created), record.levelname, message, block)

    return line


def json_form(mask: Mask) -> Form:
    """Lines for machines: the whole event as one JSON object."""

    times = _Times("%Y-%m-%dT%H:%M:%S.", "Z", UTC)

    def line(record: logging.LogRecord) -> Line:
        values: dict[str, Json] = {
            "timestamp": times.text(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if block := _block(record):
            values["raw"] = "\n".join(block)
        if trace := _traceback(record):
            values["stacktrace"] = "\n".join(trace)
        return Line("", record.levelname, encode({name: _hidden(value, mask) for name, value in values.items()}))

    return line


def encode(values: Mapping[str, Json]) -> str:
    """One JSON object on one line, in which Japanese stays readable."""
    return json_line(_ENCODER.encode(values))


class _Times:
    """Moments as text, to the millisecond; what a second looks like is found out once."""

    def __init__(self, before: str, after: str, zone: tzinfo | None) -> None:
        self._before = before
        self._after = after
        self._zone = zone
        self._second = -1
        self._parts = ("", "")

    def text(self, moment_s: float) -> str:
        """The moment, in the zone and form that were chosen."""
        second = int(moment_s)
        if second != self._second:
            day = datetime.fromtimestamp(second, self._zone).astimezone(self._zone)
            self._parts = (day.strftime(self._before), day.strftime(self._after))
            self._second = second
        return f"{self._parts[0]}{int((moment_s - second) * 1000):03d}{self._parts[1]}"


def fields_of(record: logging.LogRecord) -> Mapping[str, Json]:
    """The named values of a record."""
    fields: Mapping[str, Json] = record.__dict__.get("fields", {})
    return fields


def text_writer(stream: TextIO) -> Write:
    """Writes lines without colour."""

    def write(lines: Sequence[Line], dropped: int) -> None:
        _put(stream, [_plain(line) for line in (*_lost(dropped), *lines)])

    return write


def json_writer(stream: TextIO) -> Write:
    """Writes lines that are JSON already."""

    def write(lines: Sequence[Line], dropped: int) -> None:
        texts = [line.message for line in lines]
        if dropped:
            texts.append(encode({"level": "WARNING", "message": _lost(dropped)[0].message, "dropped": dropped}))
        _put(stream, texts)

    return write


def colour_writer(stream: TextIO) -> Write:
    """Writes lines in colour."""

    def write(lines: Sequence[Line], dropped: int) -> None:
        _put(stream, [_coloured(line) for line in (*_lost(dropped), *lines)])

    return write


def _put(stream: TextIO, texts: Sequence[str]) -> None:
    """Write lines so that those of several processes on one pipe do not mix: POSIX promises it up to PIPE_BUF."""
    waiting = ""
    for text in texts:
        if waiting and len(waiting) + len(text) > _WHOLE_CHARACTERS:
            stream.write(waiting)
            stream.flush()
            waiting = ""
        waiting += f"{text}\n"
    stream.write(waiting)
    stream.flush()


def _plain(line: Line) -> str:
    head = f"{line.time} {line.level:<7} {line.message}"
    return "\n".join((head, *(BAR + below for below in line.block)))


def _coloured(line: Line) -> str:
    """As `_plain`; what a line says is escaped already, so that no data brings colours of its own."""
    level = _styled(f"{line.level:<7}", _STYLES.get(line.level, "0"))
    head = f"{_styled(line.time, _FAINT)} {level} {line.message}"
    return "\n".join((head, *(_styled(BAR, _FAINT) + below for below in line.block)))


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m"


def _lost(dropped: int) -> tuple[Line, ...]:
    if not dropped:
        return ()
    now = f"{datetime.now().astimezone():%H:%M:%S}"
    return (Line(now, "WARNING", f"{dropped} log lines were dropped here: the output was too slow for them"),)


def _block(record: logging.LogRecord) -> Sequence[str]:
    block: Sequence[str] = record.__dict__.get("block", ())
    return block


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info or record.exc_info[0] is None:
        return []
    return "".join(traceback.format_exception(*record.exc_info)).rstrip("\n").split("\n")


def _hidden(value: Any, mask: Mask) -> Json:
    """A value of JSON with every text in it masked."""
    if isinstance(value, str):
        return mask.hide(value)
    if isinstance(value, Mapping):
        return {name: _hidden(each, mask) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(each, mask) for each in value]
    return value
