"""Where every request's Record goes when it has ended: to the log, to the metrics, to whatever comes later.

Those that end in one turn of the event loop are handed on together, part by part: ten lines of the log in a row cost
less than ten between other work. What fails here fails nobody's request: it is logged once of each kind, and counted.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from proxy_cli.shapes import Record

logger = logging.getLogger(__name__)

Later = Callable[[Callable[[], None]], object]

_TOLD: Final = 100  # kinds of failure that are told with their traceback


class Recorder:
    """Hands records on. `count` is told of failures: the metric's name and which part failed."""

    def __init__(self, parts: Mapping[str, Callable[[Record], None]], count: Callable[[str, str], None]) -> None:
        self._parts = tuple(parts.items())
        self._count = count
        self._told: set[tuple[str, type[Exception]]] = set()
        # Owned here: the records of this turn, and what has `flush` called at its end; without it each goes on at once.
        self._waiting: list[Record] = []
        self._later: Later | None = None

    def gather(self, later: Later) -> None:
        """Hand on what comes in one turn together; `later` calls a function at the end of the turn."""
        self._later = later

    def add(self, record: Record) -> None:
        """Hand on the record of a request that has ended. Never raises."""
        waiting = self._waiting
        waiting.append(record)
        if self._later is None:
            self.flush()
        elif len(waiting) == 1:
            self._later(self.flush)

    def flush(self) -> None:
        """Hand on what waits, now. Never raises."""
        records, self._waiting = self._waiting, []
        for name, take in self._parts:
            for record in records:
                try:
                    take(record)
                except Exception as error:  # noqa: BLE001 - the exporter boundary; logged below
                    self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self._count("llmproxy_telemetry_failures_total", name)
        kind = (name, type(error))
        if kind not in self._told and len(self._told) < _TOLD:
            self._told.add(kind)
            logger.error("a request could not be put down in the %s; more of it is only counted", name, exc_info=error)
