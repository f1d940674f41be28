"""The log as it is set up for a process, and the one line of each request."""

import io
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from proxy_cli.secret import Scrubber, Secret
from proxy_cli.shapes import Backend, Deployment, Record, Usage
from proxy_cli.telemetry.log import Level, RequestLog, chosen_level, configure
from proxy_cli.telemetry.metrics import Metrics
from tests.telemetry.test_exposition import samples

DEPLOYMENT = Deployment(
    id="d1", group="gpt", model="vicuna-13b", provider="openai", backend=Backend("http", "localhost", 20080)
)


def record(**more: Any) -> Record:
    values: dict[str, Any] = {
        "request_id": "r1", "route": "/v1/chat/completions", "model": "gpt", "deployment": DEPLOYMENT, "status": 200,
        "usage": Usage(101, 114), "cost_usd": 0.00042, "started_s": 1.0, "ended_s": 1.812, "client": "127.0.0.1",
        "attempts": 1, "key": "sk-…abcd", **more,
    }  # fmt: skip
    return Record(**values)


def logged(say: Callable[[], object], level: Level = "normal", **options: Any) -> str:
    """What `say` leaves on a log that is set up for it."""
    output = io.StringIO()
    settings: dict[str, Any] = {"json_logs": False, "log_level": None, "local": False, **options}
    logs = configure(level, stream=output, **settings)
    try:
        say()
    finally:
        logs.close()
    return output.getvalue()


def test_request_leaves_one_line_with_all_that_matters():
    """Method, route, models, backend, status, times, tokens, cost, id and client stand in one line."""
    text = logged(lambda: RequestLog().add(record(stream=True, first_byte_s=1.12)))

    assert text.count("\n") == 1
    assert text.split("INFO", 1)[1].strip() == (
        "POST /v1/chat/completions gpt -> vicuna-13b @ http://localhost:20080 200 812 ms (first 120 ms) "
        "101+114 tokens $0.000420 id=r1 client=127.0.0.1 key=sk-…abcd"
    )


def test_request_is_json_with_fields_where_that_is_set():
    """With `json_logs` every part is a field of its own, and what is not known is left out."""
    values = json.loads(logged(lambda: RequestLog().add(record(cost_usd=None)), json_logs=True))

    expected = {
        "request_id": "r1", "model": "gpt", "backend_model": "vicuna-13b", "backend": "http://localhost:20080",
        "status": 200, "prompt_tokens": 101, "completion_tokens": 114, "client": "127.0.0.1", "level": "INFO",
    }  # fmt: skip
    assert expected.items() <= values.items()
    assert values["duration_ms"] == pytest.approx(812)
    assert not {"cost_usd", "first_byte_ms", "error"} & set(values)


@pytest.mark.row("A-40")
@pytest.mark.parametrize("json_logs", [False, True])
@pytest.mark.parametrize("field", ["request_id", "model", "client", "key", "error", "route"])
def test_hostile_values_stay_one_line(field, json_logs):
    """Line ends and ANSI escapes in any value of a request never reach the log as such."""
    text = logged(lambda: RequestLog().add(record(**{field: "a\n2025 INFO forged\x1b[31m\u2028"})), json_logs=json_logs)

    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_value_with_blanks_is_quoted():
    """A model's name cannot pretend to be several words of the line."""
    text = logged(lambda: RequestLog().add(record(model="gpt 200 1 ms")))

    assert '"gpt 200 1 ms" -> ' in text


@pytest.mark.parametrize("json_logs", [False, True])
@pytest.mark.parametrize("field", ["model", "route"])
def test_a_name_beyond_all_measure_is_shortened(field, json_logs):
    """What a caller may send by the megabyte does not become a line of that length, nor the work of masking it."""
    text = logged(lambda: RequestLog().add(record(**{field: "a" * 1_000_000})), json_logs=json_logs)

    assert "a" * 300 + "…" in text
    assert len(text) < 2000


@pytest.mark.parametrize(
    ("more", "level"),
    [
        ({"status": 200}, "INFO"),
        ({"status": 404, "error": "no model"}, "INFO"),
        ({"status": 499, "error": "the client left"}, "INFO"),
        ({"status": 502, "error": "unreachable"}, "WARNING"),
        ({"status": 200, "error": "broke off"}, "WARNING"),
    ],
)
def test_failures_of_ours_or_the_backends_are_warnings(more, level):
    """What an operator should look at stands out: server errors, and streams that broke off."""
    assert json.loads(logged(lambda: RequestLog().add(record(**more)), json_logs=True))["level"] == level


def speak():
    ours = logging.getLogger("proxy_cli.room")
    ours.debug("our debug")
    ours.info("our info")
    ours.error("our error")
    logging.getLogger("asyncio").debug("their debug")
    logging.getLogger("asyncio").warning("their warning")


@pytest.mark.parametrize(
    ("level", "log_level", "said"),
    [
        ("normal", None, {"our info", "our error", "their warning"}),
        ("normal", "ERROR", {"our error", "their warning"}),
        ("normal", "debug", {"our debug", "our info", "our error", "their warning"}),
        ("detailed", "ERROR", {"our debug", "our info", "our error", "their warning"}),
    ],
)
def test_level_comes_from_flag_over_variable(level, log_level, said):
    """A debug flag shows all of ours; else LITELLM_LOG decides; libraries speak from warnings on."""
    text = logged(speak, level, log_level=log_level)

    every = {"our debug", "our info", "our error", "their debug", "their warning"}
    assert {words for words in every if words in text} == said


def test_variable_asks_for_debug_where_no_flag_does():
    """LITELLM_LOG=DEBUG is the same as --debug, and never less than a flag."""
    assert chosen_level("normal", "debug") == "debug"
    assert chosen_level("normal", "INFO") == "normal"
    assert chosen_level("detailed", "DEBUG") == "detailed"


@pytest.mark.row("C-55")
def test_bad_level_is_named_with_the_known_ones():
    """A value that is no level is an error with the variable, the value and what would do."""
    with pytest.raises(ValueError, match=r"LITELLM_LOG='LOUD' .* DEBUG, INFO"):
        configure("normal", json_logs=False, log_level="LOUD", local=False, stream=io.StringIO())


@pytest.mark.row("P-06")
@pytest.mark.parametrize("json_logs", [False, True])
def test_known_secrets_never_reach_the_log(json_logs):
    """What the config knows as secret is masked, whoever logs it."""
    secret = "a secret nobody would guess"
    say = lambda: logging.getLogger("proxy_cli.room").error("got %s", secret)  # noqa: E731

    assert "got ***" in logged(say, scrubber=Scrubber([Secret(secret)]), json_logs=json_logs)


def test_local_log_shows_the_place_in_the_code():
    """With --local each line says which file and line spoke: for the request line, who ended the request."""
    assert "test_log.py:" in logged(lambda: RequestLog().add(record()), local=True)


@pytest.mark.parametrize("json_logs", [False, True])
def test_both_ways_to_the_log_say_the_same(json_logs):
    """A request that passes by `logging` leaves the line that it leaves when it passes through."""

    def say():
        direct, through = RequestLog(), RequestLog()
        through._handler = None
        for each in (direct, through):
            each.add(record(stream=True, first_byte_s=1.25, error="off"))

    one, other = (re.sub(r"\d\d:\d\d:\d\d\.\d+", "", line) for line in logged(say, json_logs=json_logs).splitlines())

    if json_logs:
        assert json.loads(one) == json.loads(other)
        assert json.loads(one)["first_byte_ms"] == 250
    else:
        assert one == other


def test_a_level_that_hides_requests_hides_them():
    """LITELLM_LOG=ERROR leaves no line of a request, WARNING those that failed."""

    def say():
        RequestLog().add(record())
        RequestLog().add(record(status=502, error="unreachable"))

    assert logged(say, log_level="ERROR") == ""
    assert logged(say, log_level="WARNING").count("\n") == 1


def test_lines_that_were_lost_are_counted_once():
    """What the sink had to drop is told to the metrics, each line one time."""
    metrics = Metrics()

    def say():
        log = RequestLog()
        assert log._handler is not None
        log._handler.sink._lose(3)
        for _ in range(2):
            log.report(metrics)

    logged(say)

    assert samples(metrics.exposition())["llmproxy_log_lines_dropped_total",] == 3


def test_close_leaves_logging_as_it_was():
    """Handlers and levels of before are back."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)

    logged(speak)

    assert (root.handlers[:], root.level) == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_terminal_gets_colours_unless_it_asks_for_none(environ, coloured):
    """Lines are coloured on a terminal that knows colours, and where NO_COLOR is not set."""
    output = Terminal()

    logs = configure("normal", json_logs=False, log_level=None, local=False, stream=output, environ=environ)
    logging.getLogger("proxy_cli.some").info("hello")
    logs.close()

    assert "hello" in output.getvalue()
    assert ("\x1b[" in output.getvalue()) is coloured
