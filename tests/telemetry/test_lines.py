"""Lines: one event is one line in every form, with its block behind a bar, without secrets."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any, TextIO

import pytest

from proxy_cli.secret import Scrubber, Secret
from proxy_cli.shapes import Json
from proxy_cli.telemetry.lines import BAR, Form, Write, colour_writer, json_form, json_writer, text_form, text_writer
from proxy_cli.telemetry.masking import Mask

SECRET = "hunter2 hunter2"
MASK = Mask(Scrubber([Secret(SECRET)]))


def record(message: str, *, error: Any = None, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("proxy_cli.room", logging.INFO, "/x/room.py", 7, "%s", (message,), error)
    made.__dict__.update(extra)
    return made


def written(form: Form, writer: Callable[[TextIO], Write], *records: logging.LogRecord, dropped: int = 0) -> str:
    output = io.StringIO()
    writer(output)([form(each) for each in records], dropped)
    return output.getvalue()


def as_text(*records: logging.LogRecord, placed: bool = False, dropped: int = 0) -> str:
    return written(text_form(MASK, dated=False, placed=placed), text_writer, *records, dropped=dropped)


def as_json(*records: logging.LogRecord, dropped: int = 0) -> list[Json]:
    lines = written(json_form(MASK), json_writer, *records, dropped=dropped).splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.row("A-40")
def test_text_line_cannot_be_forged():
    """A message with a line end and an escape sequence stays one line."""
    text = as_text(record("user\n12:00:00 INFO forged \x1b[2J"))

    assert text.count("\n") == 1
    assert "\\n12:00:00 INFO forged \\x1b[2J" in text


@pytest.mark.row("A-40")
def test_lines_of_a_block_stand_behind_a_bar():
    """Raw data below a line is always behind the bar, also where it holds other line ends."""
    text = as_text(record("body", block=["one", "two\r12:00:00 INFO forged"]))

    assert text.splitlines()[1:] == [f"{BAR}one", f"{BAR}two\\r12:00:00 INFO forged"]


def test_text_line_says_time_level_place_and_message():
    """The parts of a line, the place in the code only where it is wanted."""
    plain, placed = as_text(record("hello")).split(), as_text(record("hello"), placed=True).split()

    assert plain[1:] == ["INFO", "hello"]
    assert placed[1:] == ["INFO", "room.py:7", "hello"]
    assert len(plain[0]) == len("12:34:56.789")


@pytest.mark.row("P-06")
def test_no_form_shows_a_secret():
    """A known secret is masked in the message, in fields of any depth, in blocks and in tracebacks."""
    try:
        raise ValueError(f"bad key {SECRET}")
    except ValueError:
        error = sys.exc_info()
    made = record(SECRET, error=error, fields={"a": [{"b": SECRET}]}, block=[f"x-thing: {SECRET}"])

    text, [values] = as_text(made), as_json(made)

    assert SECRET not in text + json.dumps(values)
    assert values["a"] == [{"b": "***"}]
    assert "ValueError: bad key ***" in values["stacktrace"]
    assert f"{BAR}ValueError: bad key ***" in text


def test_json_line_has_the_fields_and_readable_japanese():
    """A JSON line has the common fields, the record's own, and Japanese without escapes."""
    made = record("日本", fields={"request_id": "r1", "model": "模型"}, block=["生"])
    line = written(json_form(MASK), json_writer, made)

    values = json.loads(line)
    assert (values["level"], values["logger"], values["message"]) == ("INFO", "proxy_cli.room", "日本")
    assert (values["request_id"], values["model"], values["raw"]) == ("r1", "模型", "生")
    assert values["timestamp"].endswith("Z")
    assert "日本" in line


def test_dropped_lines_are_told_in_text_and_json():
    """Where lines were lost, the next line says how many."""
    text, [_, told] = as_text(record("next"), dropped=3), as_json(record("next"), dropped=3)

    assert "3 log lines were dropped" in text
    assert told["dropped"] == 3


def test_coloured_line_says_what_the_plain_one_says():
    """On a terminal colours stand around the time, the level and the bars; what is said has none of its own."""
    output = io.StringIO()
    said = record("日本\x1b[31m", levelname="ERROR", block=["raw"])

    colour_writer(output)([text_form(MASK, dated=False, placed=False)(said)], 0)

    head, below = output.getvalue().splitlines()
    assert re.fullmatch(r"\x1b\[2m[0-9:.]+\x1b\[0m \x1b\[31mERROR  \x1b\[0m 日本\\x1b\[31m", head)
    assert below == f"\x1b[2m{BAR}\x1b[0mraw"


def test_long_batches_are_written_in_whole_lines():
    """Each write ends with a line end, and short lines never exceed what a pipe takes whole."""
    writes = []

    class Output(io.StringIO):
        def write(self, text):
            writes.append(text)
            return len(text)

    text_writer(Output())([text_form(MASK, dated=False, placed=False)(record("日本" * 50)) for _ in range(100)], 0)

    assert len(writes) > 1
    assert all(text.endswith("\n") and len(text.encode()) <= 4096 for text in writes)
