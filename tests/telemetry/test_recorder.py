"""The recorder: every part gets every record, and none that fails touches a request."""

import logging
from collections.abc import Callable

import pytest

from proxy_cli.shapes import Record
from proxy_cli.telemetry.recorder import Recorder

RECORD = Record(request_id="r", route="/")


@pytest.mark.row("K-08")
def test_a_part_that_fails_stops_nobody_and_is_counted(caplog):
    """The other parts get the record, each failure is counted, and the traceback stands in the log once."""
    taken: list[Record] = []
    failures: list[tuple[str, str]] = []

    def fails(_record: Record) -> None:
        raise ZeroDivisionError("on purpose")

    recorder = Recorder({"log": fails, "metrics": taken.append}, lambda *told: failures.append(told))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            recorder.add(RECORD)

    assert taken == [RECORD] * 3
    assert failures == [("llmproxy_telemetry_failures_total", "log")] * 3
    assert caplog.text.count("ZeroDivisionError: on purpose") == 1


def test_the_end_of_the_program_is_no_failure():
    """What is to end the process does end it."""

    def ends(_record: Record) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Recorder({"log": ends}, lambda *_: None).add(RECORD)


def test_records_of_one_turn_are_handed_on_at_its_end():
    """Together, and each once."""
    taken: list[tuple[str, Record]] = []
    later: list[Callable[[], None]] = []
    other = Record(request_id="s", route="/")
    recorder = Recorder(
        {"log": lambda each: taken.append(("log", each)), "metrics": lambda each: taken.append(("metrics", each))},
        lambda *_: None,
    )
    recorder.gather(later.append)

    recorder.add(RECORD)
    recorder.add(other)
    assert (taken, len(later)) == ([], 1)
    later.pop()()
    recorder.flush()

    assert taken == [("log", RECORD), ("log", other), ("metrics", RECORD), ("metrics", other)]
