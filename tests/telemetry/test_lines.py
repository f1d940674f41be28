"""Lines: one event is one line in every form, with its block behind a bar, without secrets."""

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.secret import Scrubber, Secret
from proxy_cli.shapes import Json, Record
from proxy_cli.telemetry.lines import BAR, JsonForm, TextForm
from proxy_cli.telemetry.masking import Mask

SECRET = "hunter2 hunter2"
MASK = Mask(Scrubber([Secret(SECRET)]))


def record(message: str, *, error: Any = None, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("proxy_cli.room", logging.INFO, "/x/room.py", 7, "%s", (message,), error)
    made.__dict__.update(extra)
    return made


def as_text(made: logging.LogRecord, *, placed: bool = False) -> str:
    return TextForm(MASK, dated=False, placed=placed).event(made)


def as_json(made: logging.LogRecord) -> Json:
    return json.loads(JsonForm(MASK).event(made))


@pytest.mark.row("A-40")
def test_text_line_cannot_be_forged():
    """A message with a line end and an escape sequence stays one line."""
    text = as_text(record("user\n12:00:00 INFO forged \x1b[2J"))

    assert "\n" not in text
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

    text, values = as_text(made), as_json(made)

    assert SECRET not in text + json.dumps(values)
    assert values["a"] == [{"b": "***"}]
    assert "ValueError: bad key ***" in values["stacktrace"]
    assert f"{BAR}ValueError: bad key ***" in text


def test_json_line_has_the_fields_and_readable_japanese():
    """A JSON line has the common fields, the record's own, and Japanese without escapes."""
    made = record("日本", fields={"request_id": "r1", "model": "模型"}, block=["生"])
    line = JsonForm(MASK).event(made)

    values = json.loads(line)
    assert (values["level"], values["logger"], values["message"]) == ("INFO", "proxy_cli.room", "日本")
    assert (values["request_id"], values["model"], values["raw"]) == ("r1", "模型", "生")
    assert values["timestamp"].endswith("Z")
    assert "日本" in line


def test_dropped_lines_are_told_in_text_and_json():
    """Where lines were lost, it says how many."""
    text, told = TextForm(MASK, dated=False, placed=False).lost(3), json.loads(JsonForm(MASK).lost(3))

    assert "WARNING 3 log lines were dropped" in text
    assert told["dropped"] == 3


def test_coloured_line_says_what_the_plain_one_says():
    """On a terminal colours stand around the time, the level and the bars; what is said has none of its own."""
    said = record("日本\x1b[31m", levelname="ERROR", block=["raw"])

    head, below = TextForm(MASK, dated=False, placed=False, coloured=True).event(said).split("\n")

    assert re.fullmatch(r"\x1b\[2m[0-9:.]+\x1b\[0m \x1b\[31mERROR  \x1b\[0m 日本\\x1b\[31m", head)
    assert below == f"\x1b[2m{BAR}\x1b[0mraw"


def test_json_that_the_fast_encoder_refuses_is_still_a_line():
    """Half of a character and a value of any other kind are told as well as they can be."""
    line = JsonForm(MASK).event(record("half \ud83d", fields={"path": Path("/x")}))

    assert json.loads(line)["message"] == "half \ud83d"
    assert "\\ud83d" in line
    assert json.loads(JsonForm(MASK).event(record("x", fields={"path": Path("/x")})))["path"] == "/x"


@given(st.text(), st.text())
def test_a_request_is_one_line_of_json_whatever_its_words(model, error):
    """What is put together by hand is JSON, on one line, and says what was put in."""
    made = Record(request_id="r1", route="/", model=model, status=500, error=error, client=model)

    line = JsonForm(Mask()).request(made, "WARNING")

    values = json.loads(line)
    assert (values["level"], values["error"]) == ("WARNING", Mask().hide(error))
    assert values.get("model", "") == Mask().hide(model)
    assert values["message"].startswith("POST / ")
    assert len(line.splitlines()) == 1
