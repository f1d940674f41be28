"""The one place where everything is built and wired, started and stopped in order."""

import asyncio
import logging
import random
import socket
import ssl
import time
from collections.abc import Awaitable
from typing import Final

from aiohttp import web

from proxy_cli.gateway import Gateway
from proxy_cli.providers.table import provider_for
from proxy_cli.routing.attempts import Router
from proxy_cli.server.connection import Listener
from proxy_cli.server.counter import Counter
from proxy_cli.server.inference import Inference
from proxy_cli.server.information import Information
from proxy_cli.server.probes import Health
from proxy_cli.server.problems import Problems
from proxy_cli.server.routes import Answer, Routes, served
from proxy_cli.server.setup import Setup
from proxy_cli.server.snapshot import Snapshot
from proxy_cli.telemetry.log import RequestLog
from proxy_cli.telemetry.tap import Tap
from proxy_cli.upstream.client import Upstream

logger = logging.getLogger(__name__)

_BACKLOG: Final = 2048
_PATIENCE_S: Final = 30.0  # for requests under way, once no new ones are accepted
_SETTLE_S: Final = 0.1
_KEEPALIVE_S: Final = 75.0  # above the 60 s of common load balancers, so that they close first


class Server:
    """One worker's server. Owns its listener, the snapshot new requests take, and those that old ones still hold."""

    def __init__(self, setup: Setup) -> None:
        self.snapshot = _snapshot(setup, _upstream(setup))
        self._former: list[Snapshot] = []
        self._served_before = 0  # by snapshots that are closed
        self._listening: asyncio.Server | None = None
        self._listener: Listener | None = None

    @property
    def requests_served(self) -> int:
        """How many requests have been answered since the start."""
        return self._served_before + sum(each.counter.served for each in (self.snapshot, *self._former))

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections."""
        self._listener = Listener(
            self._serve,
            problems=self.snapshot.problems,
            keepalive_timeout_s=self.snapshot.setup.flags.keepalive_timeout_s or _KEEPALIVE_S,
        )
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._listener, sock=listener, ssl=tls, backlog=_BACKLOG)

    async def stop(self) -> None:
        """Accept no more, let what is under way finish, then close all, in the reverse order of start."""
        if self._listening is not None:
            self._listening.close()
            # A connection that was accepted a moment ago has not told its request yet: it gets its answer.
            await asyncio.sleep(_SETTLE_S)
        if self._listener is not None:
            self._listener.pre_shutdown()
            await self._listener.shutdown(_PATIENCE_S)
        for snapshot in (*self._former, self.snapshot):
            await snapshot.health.close()
            await snapshot.upstream.close()

    def _serve(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return self.snapshot.counter.serve(request)


def _upstream(setup: Setup) -> Upstream:
    return Upstream(pool_limit=setup.pool_limit, max_body_bytes=setup.max_response_bytes)


def _snapshot(setup: Setup, upstream: Upstream) -> Snapshot:
    """Everything that a request passes through, wired."""
    problems = Problems(setup.scrubber, compat_litellm=setup.compat_litellm)
    tap = Tap(detailed=setup.level == "detailed") if setup.level != "normal" else None
    gateway = Gateway(
        router=Router(setup.table, random.Random()),  # noqa: S311 - which of equal servers is asked is no secret
        providers=provider_for,
        upstream=upstream,
        budget=setup.budget,
        clock=time.monotonic,
        tap=tap,
    )
    inference = Inference(gateway, problems=problems, limits=setup.limits, clock=time.monotonic, tap=tap)
    health = Health(setup.table, upstream, provider_for, clock=time.monotonic, scrubber=setup.scrubber)
    return Snapshot(
        setup=setup,
        problems=problems,
        gateway=gateway,
        inference=inference,
        counter=_counter(setup, inference, health, problems),
        health=health,
        upstream=upstream,
    )


def _counter(setup: Setup, inference: Inference, health: Health, problems: Problems) -> Counter:
    root = setup.variables.server_root_path or ""
    table = served(
        docs_path=setup.docs_path,
        openapi=not setup.variables.no_openapi,
        metrics_need_key=setup.config.litellm_settings.require_auth_for_metrics_endpoint,
    )
    routes = Routes(table, root=root)
    setup.metrics.know(routes={each.path_template for each in table}, names=frozenset(setup.table.names()))
    information = Information(
        table=setup.table,
        routes=routes,
        known=setup.known,
        needs_key=setup.keys.required,
        metrics=setup.metrics,
        root=root.rstrip("/"),
        redirect=setup.variables.root_redirect_url,
    )
    answers: dict[str, Answer] = {
        "inference": inference.answer,
        "models": information.models,
        "model": information.model,
        "model_info": information.model_info,
        "routes": information.paths,
        "health": health.answer,
        "alive": information.alive,
        "ready": information.ready,
        "test": information.test,
        "metrics": information.figures,
        "home": information.home,
        "docs": information.docs,
        "openapi": information.openapi,
    }
    return Counter(
        answers,
        routes=routes,
        keys=setup.keys,
        problems=problems,
        cors=setup.cors,
        log=RequestLog(),
        clock=time.monotonic,
        limit=setup.flags.limit_concurrency,
    )
