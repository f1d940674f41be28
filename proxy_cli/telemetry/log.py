"""The log: one set-up for the process, and the one line that every request leaves behind.

Lines go to stderr: in colour on a terminal, plain elsewhere, JSON where that is asked for. A request never waits for
the output (`sink.py`), no secret and no control character gets there (`masking.py`, `escape.py`).
"""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TextIO

from proxy_cli.secret import Scrubber
from proxy_cli.shapes import Record
from proxy_cli.telemetry.lines import REQUESTS, Form, JsonForm, TextForm
from proxy_cli.telemetry.masking import Mask
from proxy_cli.telemetry.metrics import Metrics
from proxy_cli.telemetry.output import output_to
from proxy_cli.telemetry.requests import Requests
from proxy_cli.telemetry.sink import Sink

Level = Literal["normal", "debug", "detailed"]
OUR_LOGGER: Final = "proxy_cli"
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Logs:
    """The log that was set up; closing it writes what waits and leaves logging as it was."""

    def __init__(self, handler: logging.Handler, sink: Sink[str], threshold: int) -> None:
        self._sink = sink
        root, ours = logging.getLogger(), logging.getLogger(OUR_LOGGER)
        self._before = (root.handlers[:], root.level, ours.level)
        root.handlers[:] = [handler]
        # Libraries speak up from warnings on; their debug lines would drown ours and know no masks.
        root.setLevel(logging.WARNING)
        ours.setLevel(threshold)

    def close(self) -> None:
        """Write what waits, and take the handler away."""
        handlers, root_level, our_level = self._before
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(root_level)
        logging.getLogger(OUR_LOGGER).setLevel(our_level)
        self._sink.close()


class _Handler(logging.Handler):
    """Makes a line of each record and hands it to the sink."""

    def __init__(self, form: Form, sink: Sink[str]) -> None:
        super().__init__()
        self.form = form
        self.sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Never blocks: the sink drops what does not fit."""
        self.sink.put(self.form.event(record))


def configure(
    level: Level,
    *,
    json_logs: bool,
    log_level: str | None,
    local: bool,
    scrubber: Scrubber | None = None,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> Logs:
    """Set up logging for the process. `log_level` is LITELLM_LOG: it counts where no flag asks for more.

    `environ` tells what the terminal can (TERM, NO_COLOR); by default the process's own.

    Raises ValueError for a `log_level` that is none.
    """
    threshold = _threshold(level, log_level)
    output = sys.stderr if stream is None else stream
    mask = Mask(scrubber)
    terminal = os.environ if environ is None else environ
    form = JsonForm(mask) if json_logs else _text(output, mask, local=local, environ=terminal)
    way = output_to(output)

    def write(lines: Sequence[str], dropped: int) -> None:
        way.put((form.lost(dropped), *lines) if dropped else lines)

    sink = Sink(write, quick=way.quick)
    return Logs(_Handler(form, sink), sink, threshold)


def chosen_level(level: Level, log_level: str | None) -> Level:
    """The level that flag and variable come to: LITELLM_LOG=DEBUG is `debug` where no flag was given."""
    return "debug" if level == "normal" and (log_level or "").upper() == "DEBUG" else level


def _threshold(level: Level, log_level: str | None) -> int:
    name = (log_level or "INFO").strip().upper()
    if name not in _LEVELS:
        raise ValueError(f"LITELLM_LOG={log_level!r} is no log level; use one of {', '.join(_LEVELS)}")
    return logging.DEBUG if level != "normal" else logging.getLevelNamesMapping()[name]


def _text(output: TextIO, mask: Mask, *, local: bool, environ: Mapping[str, str]) -> Form:
    terminal = output.isatty()
    return TextForm(mask, dated=not terminal, placed=local, coloured=terminal and _wants_colour(environ))


def _wants_colour(environ: Mapping[str, str]) -> bool:
    """Whether a terminal is to get colours: https://no-color.org, and terminals that know none."""
    return not environ.get("NO_COLOR") and environ.get("TERM") not in {None, "dumb", "unknown"}


class RequestLog:
    """One line for each request.

    It goes past `logging` where our own handler is the one that would get it: a log record costs more than the line.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger(REQUESTS)
        self._handler = next((each for each in logging.getLogger().handlers if isinstance(each, _Handler)), None)
        self._requests = Requests(Mask())
        self._lost_before = 0

    def add(self, record: Record) -> None:
        """Write the line of a request that has ended: as a warning where we or the backend failed."""
        failed = record.status >= 500 or (record.error is not None and record.status < 400)
        level = logging.WARNING if failed else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        if self._handler is None or self._handler.form.placed:
            self._log(level, record)
        else:
            self._handler.sink.put(self._handler.form.request(record, "WARNING" if failed else "INFO"))

    def report(self, metrics: Metrics) -> None:
        """Count the lines that were lost since this was asked for last."""
        if self._handler is not None:
            lost, self._lost_before = self._handler.sink.lost - self._lost_before, self._handler.sink.lost
            if lost > 0:
                metrics.count("llmproxy_log_lines_dropped_total", amount=lost)

    def _log(self, level: int, record: Record) -> None:
        """The place that is shown is the one that ended the request."""
        line, fields = self._requests.line(record), json.loads(f"{{{self._requests.fields(record)}}}")
        self._logger.log(level, "%s", line, extra={"fields": fields}, stacklevel=3)
