"""What is said before there is a log: a sentence, or a line of JSON with the log's keys."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from proxy_cli.cli.say import record, say, say_all

FULL = Path("/dev/full")


def test_say_marks_sentences_of_the_program_as_its_own(capsys):
    """On standard error, with the program's name in front."""
    say_all(["one", "two"])

    assert capsys.readouterr() == ("", "llmproxy: one\nllmproxy: two\n")


def test_say_writes_json_where_the_log_is_json(capsys):
    """One object a line, with level and message, without the program's name."""
    say_all(["one"], as_json=True)
    say("日本: warning: x", level="WARNING", as_json=True)

    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["level"], first["message"]) == ("INFO", "one")
    assert (second["level"], second["message"]) == ("WARNING", "日本: warning: x")
    assert {"timestamp", "logger"} < set(first)


def test_say_keeps_a_record_on_one_line():
    """Whatever a name holds, a line feed or a mark that turns the writing."""
    line = record("a\nb\u2028c\u202ed", models=["\x85"])

    assert line.isprintable()
    assert json.loads(line)["message"] == "a\nb\u2028c\u202ed"


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
def test_say_gives_up_on_a_stream_that_takes_nothing():
    """A full disk must not keep a proxy from serving."""
    code = "from proxy_cli.cli.say import say; say('x'); print('goes on')"

    with FULL.open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, text=True)

    assert done.stdout == "goes on\n"
