"""One process that serves: its start, its signals, its reloads, its end.

A single worker without a limit of requests runs in the process itself; several, or one that is to be replaced after
some requests, are started and watched by a parent (`supervisor.py`), and talk to it over a line (`link.py`).
"""

import asyncio
import logging
import os
import random
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import uvloop

from proxy_cli.processes import link
from proxy_cli.processes.link import Link
from proxy_cli.processes.watch import Watch
from proxy_cli.server.reload import Reloader, Renewal, Source, tell
from proxy_cli.server.reload_route import Ask
from proxy_cli.server.setup import Setup
from proxy_cli.tasks import Tasks

logger = logging.getLogger(__name__)

_SOON_S: Final = 0.5  # an end that takes longer needs a word
_RELOAD_S: Final = 30.0  # for all processes to have taken a new configuration


class Serving(Protocol):
    """What a worker runs."""

    @property
    def requests_served(self) -> int:
        """How many requests it has answered."""

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections."""

    def take(self, setup: Setup) -> None:
        """Answer new requests with another configuration."""

    async def stop(self, *, hurry: bool) -> None:
        """Accept no more, finish what is under way, close all; `hurry`: without a wait for load balancers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, and how long each process of it."""

    make: Callable[[Setup, Ask], Serving]  # the second lets every process of ours take a changed configuration
    source: Source
    enter: Callable[[int], None] = field(default=lambda _number: None)  # told a new process its number, from 1
    listeners: Sequence[socket.socket]  # one a worker
    tls: ssl.SSLContext | None = None
    on_ready: Callable[[], None] = field(default=lambda: None)
    on_reload: Callable[[Renewal], None] = field(default=tell)  # told once, whatever came of it
    flush: Callable[[], None] = field(default=lambda: None)  # write what the log holds back, before an end at once
    watches: bool = False  # whether a changed file is taken without being asked
    patience_s: Callable[[], float] = field(default=lambda: 120.0)  # for processes that were asked to end
    back_off_s: float = 0.5  # before a worker is replaced that ended soon after its start; doubled each time
    max_requests: int | None = None
    max_requests_jitter: int = 0


def run_here(plan: Plan, listener: socket.socket, line: Link | None = None, *, watches: bool = False) -> int:
    """Serve in this process, alone or with a parent at the other end of a line; the exit code."""

    async def work() -> int:
        return await Process(plan, listener, line, watches=watches).run()

    return uvloop.run(work())


class Process:
    """One server from its start to its end. Owns the wish to stop, and what runs beside the server."""

    def __init__(self, plan: Plan, listener: socket.socket, line: Link | None, *, watches: bool) -> None:
        self._plan = plan
        self._listener = listener
        # Looked at before anybody can know that we serve: a change after that is one that was not read.
        self._files = Watch(lambda: plan.source.files) if watches else None
        self._parent = None if line is None else Parent(line, stop=self._stop, reload=self._reload)
        self._server = plan.make(plan.source.setup, self._ask)
        self._reloader = Reloader(plan.source, self._server.take)
        self._tasks = Tasks()
        self._stopping = asyncio.Event()
        self._hurry = False
        self._terminal = _has_terminal()

    async def run(self) -> int:
        """Serve until the end is asked for."""
        self._listen()
        await self._server.start(self._listener, self._plan.tls)
        try:
            self._announce()
            await self._until_the_end()
        except Exception:
            # An event loop does not close well over a server that is still open.
            await self._tasks.close()
            await self._server.stop(hurry=True)
            raise
        await self._tasks.close()
        await self._end()
        return 0

    def _listen(self) -> None:
        """Hear signals; with a parent, hear the parent."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        if self._parent is not None:
            self._parent.listen()
            return
        loop.add_signal_handler(signal.SIGINT, self._stop, True)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def _announce(self) -> None:
        if self._parent is None:
            self._plan.on_ready()
        else:
            self._parent.say(link.READY)
        if self._files is not None:
            self._tasks.spawn(self._watch(self._files), "watch of the configuration")

    async def _watch(self, files: Watch) -> None:
        while True:
            await files.change()
            await self._ask(patient=True)

    async def _until_the_end(self) -> None:
        limit = self._plan.max_requests
        if limit is None:
            await self._stopping.wait()
            return
        # The processes must not all retire in the same second.
        limit += random.randint(0, self._plan.max_requests_jitter)  # noqa: S311 - no secret
        if await _limit_reached(self._server, limit, self._stopping) and self._parent is not None:
            # Another takes its place on the same socket: no balancer has to know.
            self._hurry = True
            self._parent.say(link.RETIRES)

    async def _end(self) -> None:
        """Finish what is under way; who waits for that is told so, and how not to."""
        loop = asyncio.get_running_loop()
        told = loop.call_later(
            _SOON_S,
            logger.warning,
            "requests are still under way or may still come: waiting for their ends; a second signal ends them at once",
        )
        try:
            await self._server.stop(hurry=self._hurry)
        finally:
            told.cancel()

    def _stop(self, hurry: bool = False) -> None:
        """The first time in order; the second time at once, if this is not for a parent to decide.

        A process with a parent is often told twice: by the parent, and by a system that signals every process.
        """
        if not self._stopping.is_set():
            self._hurry = hurry
            self._stopping.set()
        elif self._parent is None:
            logger.warning("ended at once, with requests under way")
            self._plan.flush()
            # Nothing that is under way, and no cleanup of it, is waited for.
            os._exit(1)

    def _hung_up(self) -> None:
        """SIGHUP asks for a reload, unless it is the end of the terminal that this was started in."""
        if self._terminal and not _has_terminal():
            self._stop(hurry=True)
        else:
            self._tasks.spawn(self._ask_and_forget(), "reload")

    async def _ask_and_forget(self) -> None:
        await self._ask(patient=True)

    async def _ask(self, *, patient: bool = False) -> Renewal:
        """Have every process take a changed configuration."""
        if self._parent is not None:
            return await self._parent.ask(patient=patient)
        renewal = await self._reloader.reload(patient=patient)
        self._plan.on_reload(renewal)
        return renewal

    def _reload(self, number: int) -> None:
        """The parent has found nothing wrong with the new configuration: take it."""

        async def work() -> None:
            renewal = await self._reloader.reload(patient=False)
            if self._parent is not None:
                self._parent.say(link.RELOADED if renewal.taken else link.REFUSED, number)

        self._tasks.spawn(work(), "reload")


class Parent:
    """The parent process, as a worker sees it. Owns the questions that are not answered yet."""

    def __init__(self, line: Link, *, stop: Callable[[bool], None], reload: Callable[[int], None]) -> None:
        self._line = line
        self._stop = stop
        self._reload = reload
        self._questions: dict[int, asyncio.Future[Renewal]] = {}
        self._asked = 0

    def listen(self) -> None:
        """Do what it says from now on."""
        asyncio.get_running_loop().add_reader(self._line.fileno(), self._hear)

    def say(self, verb: str, *words: object) -> None:
        """Tell it something."""
        self._line.say(verb, *words)

    async def ask(self, *, patient: bool) -> Renewal:
        """Have it reload all processes; comes back when each has done so."""
        self._asked += 1
        number = self._asked
        answer = self._questions[number] = asyncio.get_running_loop().create_future()
        self._line.say(link.ASKS, number, patient)
        try:
            async with asyncio.timeout(_RELOAD_S):
                renewal: Renewal = await answer
                return renewal
        except TimeoutError:
            return Renewal(False, ("not every process has taken it yet; see the log",))
        finally:
            del self._questions[number]

    def _hear(self) -> None:
        messages = self._line.hear()
        if messages is None:
            # It is gone; nobody is left to serve for.
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            self._stop(True)
            return
        for verb, words in messages:
            self._do(verb, words)

    def _do(self, verb: str, words: list[object]) -> None:
        match verb, words:
            case link.STOP, [bool(hurry)]:
                self._stop(hurry)
            case link.RELOAD, [int(number)]:
                self._reload(number)
            case link.ANSWER, [int(number), renewal] if number in self._questions:
                answer = self._questions[number]
                if not answer.done():
                    answer.set_result(link.unpacked(renewal))


async def _limit_reached(server: Serving, limit: int, stopping: asyncio.Event) -> bool:
    """Wait until the server has served that many requests, or until it is asked to stop: then False."""
    while server.requests_served < limit:
        try:
            async with asyncio.timeout(1.0):
                await stopping.wait()
        except TimeoutError:
            continue
        return False
    return True


def _has_terminal() -> bool:
    """Whether a terminal belongs to this process that would send SIGHUP at its end; under `nohup` none does."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
