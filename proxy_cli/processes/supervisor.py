"""The parent of the workers: it forks them, watches them, and passes on what concerns all.

It forks before any event loop exists and holds what must outlive a worker: the listening sockets, the shared memory,
the configuration that the next worker begins with. A worker that ends by itself is replaced: at once when it had lived,
later and later when it had not, and after some such ends in a row all end, for the next would too.
"""

import gc
import logging
import os
import selectors
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Final, NoReturn

from proxy_cli.processes import link
from proxy_cli.processes.link import Link
from proxy_cli.processes.workers import Plan, run_here
from proxy_cli.server.reload import RETRY_S, Renewal

logger = logging.getLogger(__name__)

_YOUNG_S: Final = 10.0  # a worker that ends younger than this has not lived
_MOST_YOUNG_ENDS: Final = 5  # in a row
_BURIAL_S: Final = 5.0  # for killed workers to be gone
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_OUR_SIGNALS: Final = (*_STOP_SIGNALS, signal.SIGHUP)


def run(plan: Plan) -> int:
    """Serve until SIGTERM or SIGINT, in this process or in several; the exit code."""
    if len(plan.listeners) > 1 or plan.max_requests is not None:
        return Supervisor(plan).run()
    return run_here(plan, plan.listeners[0], watches=plan.watches)


@dataclass(slots=True, eq=False)
class _Worker:
    """What the parent knows of one worker process."""

    pid: int
    slot: int
    line: Link
    started_s: float
    ready: bool = False
    retires: bool = False
    is_silent: bool = False
    reason: str = ""


@dataclass(slots=True)
class _Question:
    """A worker that wants all to reload, and its number for that."""

    worker: _Worker
    number: int


@dataclass(slots=True)
class _Rollout:
    """A configuration on its way to all workers."""

    renewal: Renewal
    questions: list[_Question]
    waiting: set[int]
    refused: int = 0


@dataclass(slots=True)
class _Reloads:
    """Configurations on their way: how many there were, those that are not through, and one to be read once more."""

    number: int = 0
    under_way: dict[int, _Rollout] = field(default_factory=dict)
    again_s: float | None = None
    again_for: list[_Question] = field(default_factory=list)


class Supervisor:
    """The parent of the workers; no event loop runs in it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Owned here: the workers by their process, what is to be started when, how often a slot's workers ended young,
        # and whether the end was asked for and until when it is waited.
        self._workers: dict[int, _Worker] = {}
        self._due_s: dict[int, float] = {}
        self._young_ends = [0] * len(plan.listeners)
        self._reloads = _Reloads()
        self._deadline_s: float | None = None
        self._started = 0  # processes so far: each new one's number
        self._announced = False
        self._exit_code = 0
        self._signals, self._wakeup = os.pipe()
        for descriptor in (self._signals, self._wakeup):
            os.set_blocking(descriptor, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._signals, selectors.EVENT_READ)

    def run(self) -> int:
        """Start the workers and watch them until all have ended; the exit code."""
        for number in (*_OUR_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # the wakeup pipe tells us
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for slot in range(len(self._plan.listeners)):
            self._start(slot)
        while self._workers or self._due_s:
            self._wait()
        return self._exit_code

    def _start(self, slot: int) -> None:
        ours, theirs = link.pair()
        # A signal between the fork and the worker's own handlers would be lost, or taken for the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _OUR_SIGNALS)
        sys.stdout.flush()
        sys.stderr.flush()
        self._started += 1
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_worker(slot, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OUR_SIGNALS)
        theirs.close()
        worker = self._workers[pid] = _Worker(pid, slot, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become_worker(self, slot: int, line: Link) -> NoReturn:
        """What the forked process does: it serves, and then leaves as a program of its own would."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # Ctrl-C and a closed terminal reach every process; the parent tells each worker what to make of it.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OUR_SIGNALS)
        self._leave_to_parent(slot)
        self._plan.enter(self._started)
        try:
            code = run_here(self._plan, self._plan.listeners[slot], line, watches=self._plan.watches and slot == 0)
        except BaseException as error:
            line.say(link.FAILED, f"{type(error).__name__}: {error}")
            raise
        finally:
            line.close()
        raise SystemExit(code)

    def _leave_to_parent(self, slot: int) -> None:
        """Close what is the parent's: its lines to other workers end with it alone, and so do the others' sockets."""
        self._selector.close()
        for descriptor in (self._signals, self._wakeup):
            os.close(descriptor)
        for worker in self._workers.values():
            worker.line.close()
        for listener in self._plan.listeners:
            if listener is not self._plan.listeners[slot]:
                listener.close()

    def _wait(self) -> None:
        """Wait for one thing to happen, and do what it asks for."""
        events = self._selector.select(self._patience_s())
        for key, _ in events:
            if isinstance(key.data, _Worker):
                self._listen(key.data)
        if any(key.fd == self._signals for key, _ in events):
            for number in os.read(self._signals, 4096):
                self._do(number)
        self._bury()
        self._do_what_is_due()

    def _patience_s(self) -> float | None:
        due_s = (self._deadline_s, self._reloads.again_s, *self._due_s.values())
        moments = [each for each in due_s if each is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _do_what_is_due(self) -> None:
        now_s = time.monotonic()
        if self._deadline_s is not None and now_s >= self._deadline_s:
            self._kill()
        for slot in [slot for slot, due_s in self._due_s.items() if now_s >= due_s]:
            del self._due_s[slot]
            self._start(slot)
        if self._reloads.again_s is not None and now_s >= self._reloads.again_s:
            self._reloads.again_s = None
            questions, self._reloads.again_for = self._reloads.again_for, []
            self._reload(questions, patient=False)

    def _do(self, number: int) -> None:
        if number in _STOP_SIGNALS:
            self._stop(hurry=number == signal.SIGINT)
        elif number == signal.SIGHUP:
            self._reload([], patient=True)

    def _listen(self, worker: _Worker) -> None:
        """Take in what a worker says."""
        messages = worker.line.hear()
        if messages is None:
            # It is about to end, and its end is told by a signal.
            worker.is_silent = True
            self._selector.unregister(worker.line)
        for verb, words in messages or ():
            self._heard(worker, verb, words)

    def _heard(self, worker: _Worker, verb: str, words: list[object]) -> None:
        match verb, words:
            case link.READY, []:
                worker.ready = True
                self._announce()
            case link.RETIRES, []:
                worker.retires = True
                if self._deadline_s is None:
                    self._start(worker.slot)
            case link.FAILED, [str(reason)]:
                worker.reason = reason
            case link.ASKS, [int(number), bool(patient)]:
                self._reload([_Question(worker, number)], patient=patient)
            case ((link.RELOADED | link.REFUSED), [int(number)]) if number in self._reloads.under_way:
                self._reloads.under_way[number].refused += verb == link.REFUSED
                self._is_through(number, worker)

    def _bury(self) -> None:
        """Take leave of the workers that have ended."""
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                if not worker.is_silent:
                    self._listen(worker)
                self._ended(worker, status)

    def _ended(self, worker: _Worker, status: int) -> None:
        if not worker.is_silent:
            self._selector.unregister(worker.line)
        del self._workers[worker.pid]
        worker.line.close()
        for number in list(self._reloads.under_way):
            self._is_through(number, worker)
        if self._deadline_s is None and not worker.retires:
            sentence = f"worker process {worker.pid} ended by itself ({_how(status, worker.reason)})"
            self._replace(worker, sentence)

    def _replace(self, worker: _Worker, sentence: str) -> None:
        """Start another in its place, now or later; or end all."""
        slot, young = worker.slot, time.monotonic() - worker.started_s < _YOUNG_S
        ends = self._young_ends[slot] = self._young_ends[slot] + 1 if young else 0
        if not (worker.ready or self._announced) or ends >= _MOST_YOUNG_ENDS:
            times = f" for the {ends}th time in a row soon after its start" if ends > 1 else ""
            logger.error("%s%s; so all end", sentence, times)
            self._exit_code = 1
            self._stop(hurry=True)
            return
        delay_s = self._plan.back_off_s * 2 ** (ends - 1) if ends else 0.0
        logger.error("%s; another takes its place%s", sentence, f" in {delay_s:g} s" if delay_s else "")
        self._due_s[slot] = time.monotonic() + delay_s

    def _announce(self) -> None:
        if not self._announced and all(worker.ready for worker in self._workers.values()):
            self._announced = True
            self._plan.on_ready()

    def _reload(self, questions: list[_Question], *, patient: bool) -> None:
        """Read the configuration, and when nothing is wrong with it have every worker take it."""
        if self._deadline_s is not None:
            return
        renewal = self._plan.source.renew()
        gc.collect()  # what the next worker is forked with should not be twice as much
        if not renewal.taken and patient:
            self._reloads.again_s = time.monotonic() + RETRY_S
            self._reloads.again_for += questions
            return
        self._reloads.number += 1
        number = self._reloads.number
        told = list(self._workers.values()) if renewal.taken else []
        waiting = {worker.pid for worker in told if worker.line.say(link.RELOAD, number)}
        self._reloads.under_way[number] = _Rollout(renewal, questions, waiting)
        self._is_through(number, None)

    def _is_through(self, number: int, worker: _Worker | None) -> None:
        """Say what came of a reload, once every worker has taken it, refused it, or ended."""
        rollout = self._reloads.under_way[number]
        if worker is not None:
            rollout.waiting.discard(worker.pid)
        if rollout.waiting:
            return
        del self._reloads.under_way[number]
        renewal = rollout.renewal
        if rollout.refused:
            count = f"{rollout.refused} of {len(self._workers)} processes found errors in it and keep the former one"
            renewal = Renewal(False, (*renewal.lines, count))
        self._plan.on_reload(renewal)
        for question in rollout.questions:
            question.worker.line.say(link.ANSWER, question.number, link.packed(renewal))

    def _stop(self, *, hurry: bool) -> None:
        """Ask the workers to end; the second time, end them."""
        if self._deadline_s is not None:
            self._kill()
            return
        self._deadline_s = time.monotonic() + self._plan.patience_s()
        self._due_s.clear()
        # While we hold them too, clients would be put into a queue that nobody looks at.
        for listener in self._plan.listeners:
            listener.close()
        for worker in self._workers.values():
            worker.line.say(link.STOP, hurry)

    def _kill(self) -> None:
        logger.warning("ended at once, with requests under way")
        self._exit_code = 1
        self._deadline_s = time.monotonic() + _BURIAL_S
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGKILL)


def _how(status: int, reason: str) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return reason or f"exit code {os.WEXITSTATUS(status)}"
