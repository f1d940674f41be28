"""Serving through gunicorn: its master starts and watches the processes, each runs the same server as ever.

gunicorn is an extra: whoever imports this module has asked for it, and says so in plain words when it is missing.
"""

import asyncio
import logging
import os
import signal
import warnings
from collections.abc import Callable
from typing import Final

import gunicorn
import uvloop
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger as BaseLogger
from gunicorn.workers.base import Worker as BaseWorker

from proxy_cli.processes.workers import Plan, Serving
from proxy_cli.server.reload import Renewal
from proxy_cli.server.reload_route import Ask
from proxy_cli.server.setup import Setup

logger = logging.getLogger(__name__)

_HEARTBEAT_S: Final = 1.0
_SILENT_FOR_S: Final = 600  # a process without a heartbeat for this long is replaced


class Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn's master runs: its settings, and how a worker makes its server."""

    def __init__(self, plan: Plan, workers: int) -> None:
        self.plan = plan
        self._workers = workers
        super().__init__()

    def load_config(self) -> None:
        """Hand gunicorn its settings; its own files and variables are not asked."""
        # Our socket, so that a busy port is told in our words; gunicorn makes its own copy of it.
        descriptor = self.plan.listeners[0].detach()
        settings: dict[str, object] = {
            "bind": f"fd://{descriptor}",
            "workers": self._workers,
            "worker_class": Worker,
            "timeout": _SILENT_FOR_S,
            "graceful_timeout": int(self.plan.patience_s()),
            "preload_app": True,
            "proc_name": "llmproxy",
            "max_requests": self.plan.max_requests or 0,
            "max_requests_jitter": self.plan.max_requests_jitter,
            "control_socket_disable": True,
            "logger_class": Log,
        }
        for name, value in settings.items():
            if name in self.cfg.settings:  # the newest are unknown to older gunicorns
                self.cfg.set(name, value)

    def load(self) -> Callable[[Setup, Ask], Serving]:
        """What a worker finds as its application."""
        return self.plan.make

    def reload(self) -> None:
        """SIGHUP: the workers that gunicorn starts now, in the place of all others, begin with what the file says."""
        self.plan.on_reload(self.plan.source.renew())


class Log(BaseLogger):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn itself has to say: through our log, and from warnings on, for the rest we say better."""

    def setup(self, cfg: object) -> None:
        """Take away gunicorn's own output: its lines would stand between ours, which may be JSON."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)


def run(plan: Plan, workers: int) -> int:
    """Serve until gunicorn's master is told to end; the exit code."""
    plan.on_ready()
    # It leaves a copy of the socket to the garbage collector.
    warnings.filterwarnings("ignore", message="unclosed", category=ResourceWarning, module=r"gunicorn\.")
    logger.info("served through gunicorn %s, processes: %d", gunicorn.__version__, workers)
    try:
        Application(plan, workers).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


class Worker(BaseWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process under gunicorn's master."""

    def init_signals(self) -> None:
        """Leave the end to the event loop; until it runs, a signal ends the process as usual."""
        super().init_signals()
        # The event loop needs the wakeup descriptor for itself.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)

    def run(self) -> None:
        """Serve until the master says that it is enough."""
        uvloop.run(self._serve())

    async def _serve(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, stopping.set)
        self.app.plan.enter(self.age)  # gunicorn's count of the workers it has started
        server = self.wsgi(self.app.plan.source.setup, self._ask)
        await server.start(self.sockets[0].sock, self.app.plan.tls)
        beating = asyncio.create_task(self._beat(server, stopping))
        await stopping.wait()
        # gunicorn ends a worker in the same way for a reload, when readiness must not say no.
        await server.stop(hurry=True)
        beating.cancel()

    async def _ask(self, *, patient: bool = False) -> Renewal:  # noqa: ARG002 - nobody asks patiently here
        """Look whether the changed configuration has errors; if not, have the master replace all workers."""
        renewal: Renewal = await asyncio.to_thread(self.app.plan.source.renew)
        if renewal.taken:
            os.kill(self.ppid, signal.SIGHUP)
        else:
            self.app.plan.on_reload(renewal)
        return renewal

    async def _beat(self, server: Serving, stopping: asyncio.Event) -> None:
        """Show the master that this process lives, and see whether it should go on."""
        while True:
            self.notify()
            if server.requests_served >= self.max_requests or self.ppid != os.getppid():
                stopping.set()
            await asyncio.sleep(_HEARTBEAT_S)
