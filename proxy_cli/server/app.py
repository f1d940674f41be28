"""One worker's server: started and stopped in order, and given another configuration while it runs."""

import asyncio
import gc
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from aiohttp import web

from proxy_cli.access.callers import Callers
from proxy_cli.admin.seal import SealProblem
from proxy_cli.config.models import ModelEntry
from proxy_cli.errors import Overloaded
from proxy_cli.hedge import Hedge
from proxy_cli.outbox import Outbox
from proxy_cli.routing.queue import Places
from proxy_cli.routing.tally import Tally
from proxy_cli.server.admin_address import AdminAddress
from proxy_cli.server.admission import Admission
from proxy_cli.server.books import Clerk
from proxy_cli.server.connection import Listener
from proxy_cli.server.drain import Drain, Grace
from proxy_cli.server.entrance import Entrance
from proxy_cli.server.fleet_gauges import FleetGauges
from proxy_cli.server.front import Front
from proxy_cli.server.gauges import PoolGauges
from proxy_cli.server.heartbeat import Heart
from proxy_cli.server.price_gaps import gaps
from proxy_cli.server.prober import Prober
from proxy_cli.server.reload_route import Ask
from proxy_cli.server.setup import Setup
from proxy_cli.server.snapshot import Snapshot
from proxy_cli.server.sweep import Sweep
from proxy_cli.server.wiring import Process, snapshot_of, terms, tokens_for, upstream_of
from proxy_cli.store.base import Store
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.tasks import Tasks
from proxy_cli.telemetry.log import RequestLog
from proxy_cli.telemetry.recorder import Recorder

logger = logging.getLogger(__name__)

_MODELS: Final = frozenset({"model", "*"})  # kinds of changes that models may be among
_SETTLE_S: Final = 0.1
_NEWCOMER_S: Final = 1.0  # a client that says nothing for longer will not mind
_LOOK_S: Final = 0.05
_LET_GO_S: Final = 1.0
_ENDED: Final = Overloaded("the proxy is shutting down; ask again", code="shutting_down", retry_after_s=1)
_LAST_WORDS_S: Final = 2.0  # for what is said to requests whose time is over
_FEW_STREAMS: Final = 64  # that may be open while garbage is looked for
_KEEPALIVE_S: Final = 75.0  # above the 60 s of common load balancers, so that they close first


class Server:
    """One worker's server. Owns its entrance, the snapshot new requests take, and those that old ones still hold."""

    def __init__(self, setup: Setup, ask: Ask, admin: AdminAddress | None = None) -> None:
        self.drain = Drain(time.monotonic)
        self._metrics = setup.metrics
        self._log = RequestLog()
        recorder = Recorder({"log": self._log.add, "metrics": self._metrics.add}, self._metrics.count)
        self._clerk = None if setup.books is None else Clerk(setup.books)
        self._process = Process(
            drain=self.drain,
            ask=ask,
            admission=Admission(setup.admission, setup.metrics),
            recorder=recorder,
            outbox=Outbox(),
            heart=Heart(),
            fleet=setup.fleet,
            places=Places(setup.fleet, setup.rules, clock=time.monotonic, shared=setup.board),
            hedge=Hedge(),
            tally=Tally(),
            callers=Callers(
                setup.keys,
                store=None if self._clerk is None else self._clerk.store,
                terms=setup.terms,
                addresses=setup.addresses,
                tokens=tokens_for(setup, self._clerk),
            ),
            clerk=self._clerk,
        )
        self._base = setup  # without what the database adds to it
        self._stored: tuple[ModelEntry, ...] = ()
        self.snapshot = snapshot_of(setup, upstream_of(setup, self._process), self._process)
        self._former: list[Snapshot] = []
        self._served_before = 0  # by snapshots that are closed
        self._pools = PoolGauges(lambda: {each.upstream for each in self.snapshots}, setup.metrics)
        self._fleet = FleetGauges(
            lambda: self.snapshot.setup.table,
            setup.fleet,
            self._process.places,
            self._process.tally,
            self._process.hedge,
            setup.metrics,
            clock=time.monotonic,
        )
        self._sweep = Sweep(self._is_quiet, time.monotonic)
        chance = Random()  # noqa: S311 - when a server is looked at is no secret
        self._prober = Prober(setup.fleet, setup.probers_turn, clock=time.monotonic, random=chance)
        self._tasks = Tasks()
        self._must_learn = False
        self._learning: asyncio.Task[None] | None = None
        self._letting_go: asyncio.Task[None] | None = None
        self._admin = admin
        self._back: Entrance | None = None  # where operators come in, if that is elsewhere
        self._entrance: Entrance | None = None
        self._front: Front | None = None
        self._listener: Listener | None = None

    @property
    def requests_served(self) -> int:
        """How many requests have been answered since the start."""
        return self._served_before + sum(each.counter.served for each in self.snapshots)

    @property
    def requests_under_way(self) -> int:
        """How many requests are not answered to their end."""
        return sum(each.counter.under_way for each in self.snapshots)

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections."""
        keepalive_s = self.snapshot.setup.flags.keepalive_timeout_s or _KEEPALIVE_S
        self._listener = Listener(self._serve, problems=self.snapshot.problems, keepalive_timeout_s=keepalive_s)
        self._front = Front(self.snapshot, self._listener, keepalive_s=keepalive_s, outbox=self._process.outbox)
        self._entrance = Entrance(listener, self._front, tls=tls, clock=time.monotonic)
        if self._admin is not None:
            self._back = Entrance(self._admin.listener, self._front, tls=tls, clock=time.monotonic)
        if self._clerk is not None:
            await self._clerk.start()
            await self._learn_models()
            self._process.callers.listen(self._heard)
            self._tasks.spawn(self._tell_gaps(self._clerk.store), "budgets that cannot count everything")
        self._process.callers.start()
        self._metrics.watch(self._tell)
        self._process.recorder.gather(asyncio.get_running_loop().call_soon)
        self._process.admission.start()
        self._sweep.start()
        self._look_after(self.snapshot.setup)
        self._prober.start()
        self._entrance.open()
        if self._back is not None:
            self._back.open()

    async def _tell_gaps(self, store: Store) -> None:
        for said in await gaps(store, self.snapshot.setup.table.deployments):
            logger.warning("%s", said)

    def _look_after(self, setup: Setup) -> None:
        self._prober.take(setup.table.deployments, setup.probing)

    def _is_quiet(self) -> bool:
        admission = self._process.admission
        return admission.in_flight == 0 and admission.streams <= _FEW_STREAMS

    def take(self, setup: Setup) -> None:
        """Answer new requests with another configuration; those under way keep theirs."""
        self._base = setup
        self._renew()

    def _heard(self, kind: str, _name: str) -> None:
        """Something in the database was changed."""
        if kind not in _MODELS:
            return
        self._must_learn = True
        if self._learning is None or self._learning.done():
            self._learning = self._tasks.spawn(self._learn_on(), "models of the database")

    async def _learn_on(self) -> None:
        """Once more where something was changed meanwhile."""
        while self._must_learn:
            self._must_learn = False
            await self._learn_models()

    async def _learn_models(self) -> None:
        """Take the models that the database adds; where it does not answer, go on with those that are known."""
        assert self._clerk is not None
        base = self._base
        if not (base.variables.store_model_in_db or base.config.general_settings.store_model_in_db):
            return
        try:
            stored = await self._clerk.models(self._base.seal_secret)
        except (SealProblem, StoreUnavailable) as problem:
            logger.error("the models of the database are not used: %s", problem)
            return
        for sentence in stored.problems:
            logger.error("%s", sentence)
        if stored.entries != self._stored:
            self._stored = stored.entries
            self._renew()

    def _renew(self) -> None:
        """Another snapshot for new requests, of the configuration and what the database adds to it."""
        setup = self._base
        if self._stored:
            setup, told = setup.with_models(self._stored)
            for sentence in told:
                logger.error("%s", sentence)
        former = self.snapshot
        alike = terms(setup) == terms(former.setup)
        upstream = former.upstream if alike else upstream_of(setup, self._process)
        self.snapshot = snapshot_of(setup, upstream, self._process)
        self._process.take(setup)
        self._look_after(setup)
        if self._listener is not None:
            self._listener.problems = self.snapshot.problems
        if self._front is not None:
            self._front.desk = self.snapshot
        self._former.append(former)
        if self._letting_go is None or self._letting_go.done():
            self._letting_go = self._tasks.spawn(self._let_go(), "end of former configurations")

    async def stop(self, *, hurry: bool = True) -> None:
        """Go the way out, step by step, then close all, in the reverse order of start."""
        grace = self.snapshot.setup.grace
        self.drain.draining = True
        if not hurry and self._entrance is not None:
            await self._wait_for_balancers(self._entrance, grace)
        await self._close_entrance()
        await self._finish(grace)
        # What is left has had its time; it is told so.
        self._process.places.close()
        for snapshot in self.snapshots:
            snapshot.inference.end_streams(_ENDED)
        for upstream in {each.upstream for each in self.snapshots}:
            await upstream.close()
        await self._finish(Grace(plain_s=_LAST_WORDS_S, stream_s=_LAST_WORDS_S))
        if self._front is not None and self._listener is not None:
            await self._front.shutdown(_LAST_WORDS_S)
            await self._listener.shutdown(_LAST_WORDS_S)
        self._process.recorder.flush()
        self._sweep.stop()
        self._process.heart.stop()
        self._process.admission.stop()
        await self._prober.close()
        await self._tasks.close()
        for snapshot in self.snapshots:
            await snapshot.close()
        await self._process.callers.close()
        if self._clerk is not None:
            await self._clerk.stop()
        self._tell()
        self._metrics.unwatch(self._tell)
        self._metrics.leave()

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Those that requests still hold, the newest last."""
        return (*self._former, self.snapshot)

    async def _wait_for_balancers(self, entrance: Entrance, grace: Grace) -> None:
        """Accept for a while longer, with readiness saying no."""
        whole = grace.wait_s is not None or self.drain.has_whole_wait(
            reached_from_elsewhere=entrance.was_reached_from_elsewhere
        )
        limit_s = grace.default_wait_s if grace.wait_s is None else grace.wait_s
        await _while(lambda: whole or self.requests_under_way > 0, limit_s)

    async def _close_entrance(self) -> None:
        """Accept nobody any more; who is connected still gets an answer, and with it the connection's end."""
        if self._entrance is None or self._front is None or self._listener is None:
            return
        await self._entrance.close()
        if self._back is not None:
            await self._back.close()
        self.drain.closing = self._front.draining = True
        # A client that was accepted a moment ago has not told its request yet: it gets its answer.
        await asyncio.sleep(_SETTLE_S)
        await _while(self._has_connections, self._entrance.accepted_s + _NEWCOMER_S - time.monotonic())
        self._front.drain()
        self._listener.pre_shutdown()

    def _has_connections(self) -> bool:
        return bool(self._front or (self._listener and self._listener.connections))

    async def _finish(self, grace: Grace) -> None:
        """Wait for the requests under way, as long as they may take."""
        began_s = time.monotonic()

        def have_time() -> bool:
            has_streams = any(each.inference.streams for each in self.snapshots)
            return self.requests_under_way > 0 and grace.left_s(time.monotonic() - began_s, has_streams=has_streams) > 0

        await _while(have_time, grace.longest_s)

    async def _let_go(self) -> None:
        """Close what only former snapshots need, when their last request has ended."""
        while self._former:
            await asyncio.sleep(_LET_GO_S)
            if at_rest := [each for each in self._former if each.is_at_rest]:
                self._former = [each for each in self._former if each not in at_rest]
                while at_rest:
                    await self._close(at_rest.pop())
                # Its parts know each other; left to itself the collector comes when many of them have piled up.
                gc.collect()

    async def _close(self, snapshot: Snapshot) -> None:
        self._served_before += snapshot.counter.served
        await snapshot.close()
        if all(snapshot.upstream is not each.upstream for each in self.snapshots):
            await snapshot.upstream.close()

    def _tell(self) -> None:
        """What is counted elsewhere, for the metrics."""
        self._pools()
        self._fleet()
        self._log.report(self._metrics)

    def _serve(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        answer = self.snapshot.counter.serve(request, is_outside=self._is_outside(request))
        return self._serve_last(answer) if self.drain.closing else answer

    def _is_outside(self, request: web.BaseRequest) -> bool:
        return self._admin is not None and not self._admin.is_of(request.transport)

    async def _serve_last(self, answer: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        response = await answer
        if not response.prepared:
            response.force_close()
        return response


async def _while(condition: Callable[[], bool], limit_s: float) -> None:
    """Wait while something is so, for a limited time; looked at often enough for an end of a process."""
    until_s = time.monotonic() + limit_s
    while condition() and time.monotonic() < until_s:  # noqa: ASYNC110 - many things may change it
        await asyncio.sleep(_LOOK_S)
