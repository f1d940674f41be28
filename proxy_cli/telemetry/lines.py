"""From log records to lines: plain, coloured for a terminal, or JSON. One event is one line, whatever the data holds.

A record may carry `fields` (named values, shown in JSON) and a `block` (lines of a raw message that stand below its
line, each behind a bar that no data can forge). Everything passes the mask and is escaped here, and for requests, whose
lines are most of a log, in `requests.py`.
"""

import json
import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Protocol

import msgspec

from proxy_cli.shapes import Json, Record
from proxy_cli.telemetry.escape import json_line, one_line
from proxy_cli.telemetry.masking import Mask
from proxy_cli.telemetry.requests import Requests

BAR: Final = "    | "
REQUESTS: Final = "proxy_cli.requests"
_SLOW_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)
# Of ECMA-48, as every terminal has them: faint, green, yellow, red, bold red.
_STYLES: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_FAINT: Final = "2"


class Form(Protocol):
    """How a log looks. Each event comes out escaped, without secrets, and without the line end."""

    placed: bool  # whether it shows where in the code an event comes from

    def event(self, record: logging.LogRecord) -> str:
        """What anybody had to say."""

    def request(self, record: Record, level: str) -> str:
        """A request that has ended."""

    def lost(self, dropped: int) -> str:
        """That so many events are missing here."""


class TextForm:
    """Lines for people; `placed` adds the file and line of code that spoke."""

    def __init__(self, mask: Mask, *, dated: bool, placed: bool, coloured: bool = False) -> None:
        self._mask = mask
        self.placed = placed
        self._coloured = coloured
        self._times = _Times("%Y-%m-%d %H:%M:%S." if dated else "%H:%M:%S.", "%z" if dated else "", None)
        self._requests = Requests(mask)

    def event(self, record: logging.LogRecord) -> str:
        """The line, and below it the block and the traceback."""
        message = one_line(self._mask.hide(record.getMessage()))
        if self.placed:
            message = f"{record.filename}:{record.lineno} {message}"
        below = [one_line(self._mask.hide(each)) for each in (*_block(record), *_traceback(record))]
        line = self._line(record.created, record.levelname, message)
        return "\n".join((line, *(self._bar() + each for each in below))) if below else line

    def request(self, record: Record, level: str) -> str:
        """One line."""
        return self._line(time.time(), level, self._requests.line(record))

    def lost(self, dropped: int) -> str:
        """One line."""
        return self._line(time.time(), "WARNING", _loss(dropped))

    def _line(self, moment_s: float, level: str, message: str) -> str:
        if not self._coloured:
            return f"{self._times.text(moment_s)} {level:<7} {message}"
        name = _styled(f"{level:<7}", _STYLES.get(level, "0"))
        return f"{_styled(self._times.text(moment_s), _FAINT)} {name} {message}"

    def _bar(self) -> str:
        return _styled(BAR, _FAINT) if self._coloured else BAR


class JsonForm:
    """Lines for machines: the whole event as one JSON object."""

    placed = False

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._times = _Times("%Y-%m-%dT%H:%M:%S.", "Z", UTC)
        self._requests = Requests(mask)

    def event(self, record: logging.LogRecord) -> str:
        """The common fields, and those the event has brought."""
        values: dict[str, Json] = {
            **self._common(record.created, record.levelname, record.name, record.getMessage()),
            **fields_of(record),
        }
        if block := _block(record):
            values["raw"] = "\n".join(block)
        if trace := _traceback(record):
            values["stacktrace"] = "\n".join(trace)
        return encode({name: _hidden(value, self._mask) for name, value in values.items()})

    def request(self, record: Record, level: str) -> str:
        """The same fields, then every part of the request."""
        message = self._requests.line(record)
        if '"' in message or "\\" in message:
            message = message.replace("\\", "\\\\").replace('"', '\\"')
        # Every part is fit for JSON already: encoding it all again costs twice as much as making the line.
        return (
            f'{{"timestamp":"{self._times.text(time.time())}","level":"{level}","logger":"{REQUESTS}",'
            f'"message":"{message}",{self._requests.fields(record)}}}'
        )

    def lost(self, dropped: int) -> str:
        """The number is a field, too."""
        return encode({**self._common(time.time(), "WARNING", __name__, _loss(dropped)), "dropped": dropped})

    def _common(self, moment_s: float, level: str, logger: str, message: str) -> dict[str, Json]:
        return {"timestamp": self._times.text(moment_s), "level": level, "logger": logger, "message": message}


def encode(values: Mapping[str, Json]) -> str:
    """One JSON object on one line, in which Japanese stays readable."""
    try:
        data = _ENCODER.encode(values)
    except UnicodeEncodeError:  # half of a character, which JSON can only spell out
        return json_line(_SLOW_ENCODER.encode(values))
    if data.isascii() and b"\x7f" not in data:
        return data.decode("ascii")  # the encoder has escaped all that could act
    return json_line(data.decode())


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


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m"


def _loss(dropped: int) -> str:
    return f"{dropped} log lines were dropped here: the output was too slow for them"


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
