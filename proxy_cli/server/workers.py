"""Several processes on one port, and the end of one or of all.

The parent opens the port, forks the workers before any event loop exists, and then only watches: it passes SIGTERM
and SIGINT on, replaces a worker that has served its number of requests or that died, and ends all when one dies at
once, for then the next would too. A worker tells the parent through a pipe when it is ready, when it retires, and
why it failed; it ends when the parent is gone. A single worker without a limit runs in the process itself.
"""

import asyncio
import logging
import os
import random
import select
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

import uvloop

logger = logging.getLogger(__name__)

_READY: Final = b"ready\n"
_RETIRES: Final = b"retires\n"
_AT_ONCE_S: Final = 5.0  # a worker that dies younger than this takes all with it
_PATIENCE_S: Final = 120.0  # for workers that were asked to end; each has shorter deadlines of its own
_SOON_S: Final = 0.5  # an end that takes longer needs a word
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Serving(Protocol):
    """What a worker runs."""

    @property
    def requests_served(self) -> int:
        """How many requests it has answered."""

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections."""

    async def stop(self) -> None:
        """Accept no more, finish what is under way, close all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, and how long each process of it."""

    make: Callable[[], Serving]
    enter: Callable[[int], None] = field(default=lambda _number: None)  # told a new process its number, from 1
    listeners: Sequence[socket.socket]  # one a worker
    tls: ssl.SSLContext | None = None
    on_ready: Callable[[], None] = field(default=lambda: None)
    max_requests: int | None = None
    max_requests_jitter: int = 0


def run(plan: Plan) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    if len(plan.listeners) > 1 or plan.max_requests is not None:
        return Supervisor(plan).run()
    try:
        return uvloop.run(_serve(plan, plan.listeners[0], on_ready=plan.on_ready, signals=_STOP_SIGNALS))
    except asyncio.CancelledError:
        logger.warning("ended at once, with requests under way")
        return 1


async def _serve(
    plan: Plan,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    signals: Sequence[signal.Signals],
    on_retire: Callable[[], None] = lambda: None,
    lifeline: int | None = None,
) -> int:
    """One server from its start to its end."""
    stopping = _stop_event(signals, lifeline)
    server = plan.make()
    await server.start(listener, plan.tls)
    try:
        on_ready()
        if plan.max_requests is None:
            await stopping.wait()
        else:
            # The processes must not all retire in the same second.
            limit = plan.max_requests + random.randint(0, plan.max_requests_jitter)  # noqa: S311 - no secret
            if await _limit_reached(server, limit, stopping):
                on_retire()
    except Exception:
        # An event loop does not close well over a server that is still open.
        await server.stop()
        raise
    await _end(server)
    return 0


async def _end(server: Serving) -> None:
    """Finish what is under way; who waits for that is told so, and how not to."""
    loop = asyncio.get_running_loop()
    told = loop.call_later(
        _SOON_S,
        logger.warning,
        "requests are still under way: waiting for their ends; a second signal ends them at once",
    )
    try:
        await server.stop()
    finally:
        told.cancel()


def _stop_event(signals: Sequence[signal.Signals], lifeline: int | None) -> asyncio.Event:
    """Set by the first signal, or by the end of the process that holds the other end; a second signal ends at once."""
    loop, stopping, work = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()

    def asked() -> None:
        if stopping.is_set() and work is not None:
            work.cancel()
        stopping.set()

    for number in signals:
        loop.add_signal_handler(number, asked)
    if lifeline is not None:

        def orphaned() -> None:
            loop.remove_reader(lifeline)
            stopping.set()

        loop.add_reader(lifeline, orphaned)
    return stopping


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


@dataclass(slots=True)
class _Worker:
    """What the parent knows of one worker process."""

    pid: int
    slot: int
    pipe: int
    started_s: float
    ready: bool = False
    retires: bool = False
    said: bytes = b""

    def reason(self) -> str:
        """Why it failed, in its own words."""
        lines = [line for line in self.said.decode("utf-8", "replace").splitlines() if line]
        return lines[-1] if lines else ""


class Supervisor:
    """The parent of the workers; no event loop runs in it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Owned here: the workers by their process, and whether the end was asked for and until when it is waited.
        self._workers: dict[int, _Worker] = {}
        self._deadline_s: float | None = None
        self._started = 0  # processes so far: each new one's number
        self._announced = False
        self._exit_code = 0
        self._signals, self._wakeup = os.pipe()
        self._lifeline, self._lifeline_end = os.pipe()
        for descriptor in (self._signals, self._wakeup):
            os.set_blocking(descriptor, False)

    def run(self) -> int:
        """Start the workers and watch them until all have ended; the exit code."""
        for number in (*_STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # the wakeup pipe tells us
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for slot in range(len(self._plan.listeners)):
            self._start(slot)
        while self._workers:
            self._wait()
        return self._exit_code

    def _start(self, slot: int) -> None:
        reading, writing = os.pipe()
        # A signal between the fork and the worker's own handlers would be lost, or taken for the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        sys.stdout.flush()
        sys.stderr.flush()
        self._started += 1
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._become_worker(slot, writing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        os.close(writing)
        os.set_blocking(reading, False)
        self._workers[pid] = _Worker(pid, slot, reading, time.monotonic())

    def _become_worker(self, slot: int, pipe: int) -> NoReturn:
        """What the forked process does: it serves, and then leaves as a program of its own would."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # Ctrl-C reaches every process of the terminal; the parent turns it into one SIGTERM for each worker.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        for descriptor in (self._lifeline_end, self._signals, self._wakeup):
            os.close(descriptor)
        self._plan.enter(self._started)
        work = _serve(
            self._plan,
            self._plan.listeners[slot],
            on_ready=lambda: _tell(pipe, _READY),
            on_retire=lambda: _tell(pipe, _RETIRES),
            signals=(signal.SIGTERM,),
            lifeline=self._lifeline,
        )
        try:
            code = uvloop.run(work)
        except asyncio.CancelledError:
            code = 1
        except BaseException as error:
            _tell(pipe, f"{type(error).__name__}: {error}\n".encode())
            raise
        raise SystemExit(code)

    def _wait(self) -> None:
        """Wait for one thing to happen, and do what it asks for."""
        by_pipe = {worker.pipe: worker for worker in self._workers.values()}
        timeout = None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())
        readable, _, _ = select.select([self._signals, *by_pipe], [], [], timeout)
        if not readable:
            self._kill()
        for pipe in readable:
            if pipe in by_pipe:
                self._listen(by_pipe[pipe])
        if self._signals in readable:
            for number in os.read(self._signals, 4096):
                if number in _STOP_SIGNALS:
                    self._stop()
        self._bury()

    def _listen(self, worker: _Worker) -> None:
        """Take in what a worker says; the end of its pipe is the end of the worker."""
        said = os.read(worker.pipe, 4096)
        worker.said += said
        if not worker.ready and _READY in worker.said:
            worker.ready = True
            self._announce()
        if not worker.retires and _RETIRES in worker.said:
            worker.retires = True
            if self._deadline_s is None:
                self._start(worker.slot)
        if not said:
            # It closes the pipe by ending, so this does not block for long.
            self._ended(worker, os.waitpid(worker.pid, 0)[1])

    def _bury(self) -> None:
        """Take leave of the workers that have ended."""
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.said += _rest(worker.pipe)
                self._ended(worker, status)

    def _ended(self, worker: _Worker, status: int) -> None:
        del self._workers[worker.pid]
        os.close(worker.pipe)
        if self._deadline_s is not None or worker.retires:
            return
        age_s = time.monotonic() - worker.started_s
        sentence = f"worker process {worker.pid} ended by itself ({_how(status, worker.reason())})"
        if age_s < _AT_ONCE_S or not worker.ready:
            logger.error("%s; so all end", sentence)
            self._exit_code = 1
            self._stop()
        else:
            logger.error("%s; another takes its place", sentence)
            self._start(worker.slot)

    def _announce(self) -> None:
        if not self._announced and all(worker.ready for worker in self._workers.values()):
            self._announced = True
            self._plan.on_ready()

    def _stop(self) -> None:
        """Ask the workers to end; the second time, end them."""
        if self._deadline_s is None:
            self._deadline_s = time.monotonic() + _PATIENCE_S
            self._send(signal.SIGTERM)
        else:
            self._kill()

    def _kill(self) -> None:
        logger.warning("ended at once, with requests under way")
        self._exit_code = 1
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            os.kill(worker.pid, number)


def _tell(pipe: int, message: bytes) -> None:
    try:
        os.write(pipe, message)
    except BrokenPipeError:
        logger.debug("the parent process is gone")


def _rest(pipe: int) -> bytes:
    try:
        return os.read(pipe, 4096)
    except BlockingIOError:
        return b""


def _how(status: int, reason: str) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return reason or f"exit code {os.WEXITSTATUS(status)}"
