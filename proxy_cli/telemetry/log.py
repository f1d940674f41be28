"""The log: one set-up for the process, and the one line that every request leaves behind.

Lines go to stderr: in colour on a terminal, plain elsewhere, JSON where that is asked for. A request never waits for
the output (`sink.py`), no secret and no control character gets there (`masking.py`, `escape.py`).
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import Final, Literal, TextIO

from proxy_cli.secret import Scrubber
from proxy_cli.shapes import Deployment, Json, Record
from proxy_cli.telemetry.lines import Form, Line, Write, colour_writer, json_form, json_writer, text_form, text_writer
from proxy_cli.telemetry.masking import Mask
from proxy_cli.telemetry.sink import Sink

Level = Literal["normal", "debug", "detailed"]
OUR_LOGGER: Final = "proxy_cli"
_REQUESTS: Final = "proxy_cli.requests"
_LONGEST: Final = 300  # characters of a name or path
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Logs:
    """The log that was set up; closing it writes what waits and leaves logging as it was."""

    def __init__(self, handler: logging.Handler, sink: Sink[Line], threshold: int) -> None:
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

    def __init__(self, form: Form, sink: Sink[Line]) -> None:
        super().__init__()
        self._form = form
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Never blocks: the sink drops what does not fit."""
        self._sink.put(self._form(record))


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
    output = sys.stderr if stream is None else stream
    mask = Mask(scrubber)
    terminal = os.environ if environ is None else environ
    form, write = _json(output, mask) if json_logs else _text(output, mask, local=local, environ=terminal)
    sink = Sink(write)
    return Logs(_Handler(form, sink), sink, _threshold(level, log_level))


def chosen_level(level: Level, log_level: str | None) -> Level:
    """The level that flag and variable come to: LITELLM_LOG=DEBUG is `debug` where no flag was given."""
    return "debug" if level == "normal" and (log_level or "").upper() == "DEBUG" else level


def _threshold(level: Level, log_level: str | None) -> int:
    name = (log_level or "INFO").strip().upper()
    if name not in _LEVELS:
        raise ValueError(f"LITELLM_LOG={log_level!r} is no log level; use one of {', '.join(_LEVELS)}")
    return logging.DEBUG if level != "normal" else logging.getLevelNamesMapping()[name]


def _json(output: TextIO, mask: Mask) -> tuple[Form, Write]:
    return json_form(mask), json_writer(output)


def _text(output: TextIO, mask: Mask, *, local: bool, environ: Mapping[str, str]) -> tuple[Form, Write]:
    terminal = output.isatty()
    form = text_form(mask, dated=not terminal, placed=local)
    return form, (colour_writer if terminal and _wants_colour(environ) else text_writer)(output)


def _wants_colour(environ: Mapping[str, str]) -> bool:
    """Whether a terminal is to get colours: https://no-color.org, and terminals that know none."""
    return not environ.get("NO_COLOR") and environ.get("TERM") not in {None, "dumb", "unknown"}


class RequestLog:
    """One line for each request."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(_REQUESTS)

    def add(self, record: Record) -> None:
        """Write the line of a request that has ended: as a warning where we or the backend failed."""
        failed = record.status >= 500 or (record.error is not None and record.status < 400)
        level = logging.WARNING if failed else logging.INFO
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", request_line(record), extra={"fields": request_fields(record)}, stacklevel=2)


def request_line(record: Record) -> str:
    """What happened, in the order people ask: what, of whom, how it ended, how long, how much."""
    parts = [record.method, _word(_cut(record.route))]
    if record.model:
        parts.append(_word(_cut(record.model)))
    if (deployment := record.deployment) is not None:
        parts.append(f"-> {_word(deployment.model)} @ {_place(deployment) or 'mock_response'}")
    parts += [str(record.status), f"{_ms(record.ended_s - record.started_s):.0f} ms"]
    if record.stream and record.first_byte_s is not None:
        parts.append(f"(first {_ms(record.first_byte_s - record.started_s):.0f} ms)")
    if record.usage is not None:
        parts.append(f"{record.usage.prompt_tokens}+{record.usage.completion_tokens} tokens")
    if record.cost_usd is not None:
        parts.append(f"${record.cost_usd:.6f}")
    if record.attempts > 1:
        parts.append(f"{record.attempts} attempts")
    parts += [f"id={record.request_id}", f"client={_word(record.client or '-')}"]
    if record.key:
        parts.append(f"key={_word(record.key)}")
    if record.error is not None:
        parts.append(f"error={json.dumps(record.error, ensure_ascii=False)}")
    return " ".join(parts)


def request_fields(record: Record) -> Json:
    """The same for machines; what is not known is left out."""
    deployment, usage = record.deployment, record.usage
    values: dict[str, Json] = {
        "request_id": record.request_id,
        "method": record.method,
        "route": _cut(record.route),
        "model": _cut(record.model) or None,
        "backend_model": deployment.model if deployment else None,
        "backend": _place(deployment) if deployment else None,
        "provider": deployment.provider if deployment else None,
        "deployment_id": deployment.id if deployment else None,
        "status": record.status,
        "stream": record.stream,
        "duration_ms": round(_ms(record.ended_s - record.started_s), 3),
        "first_byte_ms": _since(record.first_byte_s, record.started_s),
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "cost_usd": record.cost_usd,
        "attempts": record.attempts or None,
        "bytes_out": record.bytes_out,
        "client": record.client or None,
        "key": record.key or None,
        "error": record.error,
    }
    return {name: value for name, value in values.items() if value is not None}


def _place(deployment: Deployment) -> str | None:
    """Where a deployment's answers come from; None where none is asked."""
    return str(deployment.backend) if deployment.mock_response is None else None


def _cut(text: str) -> str:
    """What a caller chose, shortened: every character of a line is looked at for secrets, and that takes its time."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _word(text: str) -> str:
    """One word of the line: in quotes where its own blanks or quotes would make it look like several."""
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text


def _ms(seconds: float) -> float:
    return seconds * 1000


def _since(moment_s: float | None, start_s: float) -> float | None:
    return None if moment_s is None else round(_ms(moment_s - start_s), 3)
