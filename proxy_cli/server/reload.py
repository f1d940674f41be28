"""A configuration that has changed: read again, and taken into a server that goes on serving.

A configuration with errors changes nothing. One that cannot be read is read once more a moment later, for an editor
may have been in the middle of writing it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext
from typing import Final, Protocol

from proxy_cli.config.problem import Severity
from proxy_cli.server.setup import Prepared, Setup
from proxy_cli.server.tls import UnusableTls, renew

logger = logging.getLogger(__name__)

RETRY_S: Final = 1.0
_MOST_LINES: Final = 100
_NEXT_START: Final = "{} holds from the next start on"


@dataclass(frozen=True, slots=True)
class Renewal:
    """What came of reading the configuration again."""

    taken: bool
    lines: tuple[str, ...] = ()  # the problems, or what is warned of, each with its place and its cure

    def sentence(self) -> str:
        """What came of it, without the lines."""
        return _TAKEN if self.taken else _REFUSED


_TAKEN: Final = "the configuration was read again and is in force"
_REFUSED: Final = "the configuration was read again and has errors, so the former one stays in force"


class Source(Protocol):
    """Where a process has its configuration from."""

    @property
    def setup(self) -> Setup:
        """The configuration in force."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it was read from."""

    def renew(self) -> Renewal:
        """Read it again; `setup` is the new one from then on, if nothing is wrong with it."""


class File:
    """The configuration file of this process, and what it said when it was last read without errors."""

    def __init__(self, prepared: Prepared, again: Callable[[], Prepared], tls: SSLContext | None = None) -> None:
        assert prepared.setup is not None
        # Owned here; a worker process has a copy, which it renews for itself.
        self.setup = prepared.setup
        self.files = _files(prepared)
        self._again = again
        self._tls = tls
        # The log knows this one, so it has to learn the secrets of later configurations.
        self._scrubber = prepared.setup.scrubber

    def renew(self) -> Renewal:
        """Read everything again: the file, what it includes, variables, certificates."""
        prepared = self._again()
        self.files = _files(prepared) or self.files
        found = prepared.setup
        if found is None:
            errors = _lines(prepared, Severity.ERROR)
            return Renewal(False, tuple([*errors, *prepared.sentences][:_MOST_LINES]))
        try:
            renew(self._tls, found.flags.ssl_certfile, found.flags.ssl_keyfile, datetime.now(UTC))
        except UnusableTls as problem:
            return Renewal(False, (str(problem),))
        self._scrubber.learn(found.scrubber)
        former = self.setup
        self.setup = replace(
            found,
            scrubber=self._scrubber,
            budget=found.budget.after(former.budget),
            fleet=former.fleet,
            board=former.board,
            books=former.books,
            metrics=former.metrics,
            health_round=former.health_round,
            probers_turn=former.probers_turn,
        )
        warnings = [*_lines(prepared, Severity.WARNING), *found.notes]
        return Renewal(True, (*warnings[:_MOST_LINES], *_for_next_start(former, found)))


class Reloader:
    """Takes new configurations into the server of this process, one at a time."""

    def __init__(self, source: Source, take: Callable[[Setup], None]) -> None:
        self._source = source
        self._take = take
        self._turn = asyncio.Lock()

    async def reload(self, *, patient: bool) -> Renewal:
        """Read the configuration again and take it; `patient`: once more a moment later where it has errors."""
        async with self._turn:
            # In a thread: requests under way do not wait for a large file.
            renewal = await asyncio.to_thread(self._source.renew)
            if patient and not renewal.taken:
                await asyncio.sleep(RETRY_S)
                renewal = await asyncio.to_thread(self._source.renew)
            if renewal.taken:
                self._take(self._source.setup)
            return renewal


def tell(renewal: Renewal) -> None:
    """Say in the log what came of it."""
    logger.log(logging.INFO if renewal.taken else logging.ERROR, "%s", renewal.sentence())
    for line in renewal.lines:
        logger.log(logging.WARNING if renewal.taken else logging.ERROR, "%s", line)


def _lines(prepared: Prepared, severity: Severity) -> list[str]:
    return [str(each) for each in prepared.problems if each.severity is severity]


def _files(prepared: Prepared) -> tuple[Path, ...]:
    return prepared.loaded.files if prepared.loaded else ()


def _for_next_start(former: Setup, found: Setup) -> tuple[str, ...]:
    """What is different and cannot change while we serve; what stands on the command line cannot differ."""
    before, after = former.config.litellm_settings, found.config.litellm_settings
    different = {
        "litellm_settings.json_logs": before.json_logs != after.json_logs,
        "LITELLM_LOG": former.variables.log_level != found.variables.log_level,
        "general_settings.admin_bind": former.config.general_settings.admin_bind
        != found.config.general_settings.admin_bind,
        "general_settings.database_url": former.storing != found.storing,
    }
    return tuple(_NEXT_START.format(name) for name, differs in different.items() if differs)
