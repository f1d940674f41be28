"""How one configuration is wired: everything that a request passes through, put together once for each snapshot."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from proxy_cli.access.callers import Callers
from proxy_cli.access.jwt import Jwt
from proxy_cli.accounts import Accounts
from proxy_cli.admin.base import Office
from proxy_cli.gateway import Gateway
from proxy_cli.hedge import Hedge
from proxy_cli.outbox import Outbox
from proxy_cli.prices.table import PriceTable
from proxy_cli.providers.table import provider_for
from proxy_cli.routing.fleet import Fleet
from proxy_cli.routing.queue import Places
from proxy_cli.routing.router import Router
from proxy_cli.routing.tally import Tally
from proxy_cli.server.admin_routes import AdminRoutes, NoStore, joined
from proxy_cli.server.admission import Admission
from proxy_cli.server.books import Clerk
from proxy_cli.server.calls import Calls
from proxy_cli.server.counter import Counter
from proxy_cli.server.drain import Drain
from proxy_cli.server.explain import DryRun
from proxy_cli.server.fleet_routes import FleetRoutes
from proxy_cli.server.heartbeat import Beats, Heart
from proxy_cli.server.inference import Inference
from proxy_cli.server.information import Information, alive, ready
from proxy_cli.server.key_terms import tokens_of
from proxy_cli.server.leftovers import Leftovers
from proxy_cli.server.mirroring import ROUTE as MIRRORED
from proxy_cli.server.mirroring import Mirrors
from proxy_cli.server.probes import Health
from proxy_cli.server.problems import Problems
from proxy_cli.server.reload_route import Ask, ReloadRoute
from proxy_cli.server.routes import Answer, Routes, governed, served
from proxy_cli.server.setup import Setup
from proxy_cli.server.snapshot import Snapshot
from proxy_cli.shapes import Deployment
from proxy_cli.telemetry.masking import Mask
from proxy_cli.telemetry.recorder import Recorder
from proxy_cli.telemetry.tap import Tap
from proxy_cli.upstream.client import Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What stays the same in a process, whatever its configuration."""

    drain: Drain
    ask: Ask
    admission: Admission
    recorder: Recorder
    outbox: Outbox
    heart: Heart
    fleet: Fleet
    places: Places
    hedge: Hedge
    tally: Tally
    callers: Callers
    clerk: Clerk | None = None

    def take(self, setup: Setup) -> None:
        """Go by another configuration from now on; what is known of deployments that are still there is kept."""
        self.admission.renew(setup.admission)
        tokens = tokens_for(setup, self.clerk)
        self.callers.take(setup.keys, terms=setup.terms, addresses=setup.addresses, tokens=tokens)
        self.fleet.rules = self.places.rules = setup.rules
        ids = {each.id for each in setup.table.deployments}
        self.fleet.keep(ids)
        self.places.keep(ids)


def terms(setup: Setup) -> tuple[int | None, int]:
    """How backends are reached: configurations that are alike in this share their connections."""
    return setup.pool_limit, setup.max_response_bytes


def upstream_of(setup: Setup, process: Process) -> Upstream:
    """The connections of a configuration."""
    pool_limit, max_body_bytes = terms(setup)
    return Upstream(pool_limit=pool_limit, max_body_bytes=max_body_bytes, outbox=process.outbox)


def snapshot_of(setup: Setup, upstream: Upstream, process: Process) -> Snapshot:
    """Everything that a request passes through, wired."""
    general = setup.config.general_settings
    problems = Problems(setup.scrubber, compat_litellm=setup.compat_litellm)
    tap = Tap(detailed=setup.level == "detailed") if setup.level != "normal" else None
    chance = Random()  # noqa: S311 - which of equal servers is asked is no secret
    router = _router(setup, process, chance)
    gateway = Gateway(
        router=router,
        places=process.places,
        providers=provider_for,
        upstream=upstream,
        budget=setup.budget,
        clock=time.monotonic,
        hedge=process.hedge,
        tap=tap,
    )
    accounts = _accounts(setup, process)
    mirrors = Mirrors(gateway, process.recorder, setup.metrics, clock=time.monotonic, random=chance, accounts=accounts)
    leftovers = Leftovers(gateway, general.abort_policy)
    calls = Calls(setup.table, limits=setup.limits, tap=tap)
    inference = Inference(
        gateway,
        calls,
        problems=problems,
        clock=time.monotonic,
        admission=process.admission,
        mirrors=mirrors,
        leftovers=leftovers,
        heart=process.heart,
        beats=Beats(general.stream_keepalive_seconds, general.early_commit_seconds),
        accounts=accounts,
        denied_status=setup.terms.denied_status,
        is_strict=general.ledger == "strict",
        dry_run=dry_run_of(setup, router, process.places, gateway.asks_usage),
        tap=tap,
    )
    health = Health(
        setup.table,
        upstream,
        provider_for,
        clock=time.monotonic,
        scrubber=setup.scrubber,
        shared=setup.health_round,
    )
    return Snapshot(
        setup=setup,
        problems=problems,
        gateway=gateway,
        inference=inference,
        counter=_counter(setup, _answers(setup, inference, health, problems, process), problems, process),
        health=health,
        mirrors=mirrors,
        leftovers=leftovers,
        upstream=upstream,
    )


def tokens_for(setup: Setup, clerk: Clerk | None) -> Jwt | None:
    """What reads tokens, where they are accepted."""
    return tokens_of(setup.config, setup.variables, None if clerk is None else clerk.store, setup.terms)


def _accounts(setup: Setup, process: Process) -> Accounts | None:
    """What charges calls, where that is kept."""
    clerk = process.clerk
    if clerk is None:
        return None
    ledger = clerk.books.ledger
    return Accounts(
        limits=clerk.books.limits,
        journal=lambda: ledger.journal,
        extras=process.callers,
        load=clerk.load,
        table=setup.table,
        clock=time.monotonic,
        keeps_prompts=bool(setup.config.general_settings.store_prompts_in_spend_logs),
    )


def _router(setup: Setup, process: Process, chance: Random) -> Router:
    admission = process.admission
    return Router(
        setup.table,
        process.fleet,
        setup.rules,
        random=chance,
        clock=time.monotonic,
        active=lambda: admission.in_flight + admission.streams,
        tally=process.tally,
    )


def dry_run_of(setup: Setup, router: Router, places: Places, asks_usage: Callable[[Deployment], bool]) -> DryRun:
    """What tells of calls that are not made."""
    return DryRun(
        router=router,
        places=places,
        providers=provider_for,
        budget=setup.budget,
        asks_usage=asks_usage,
        mask=Mask(setup.scrubber),
        clock=time.monotonic,
        random=Random(),  # noqa: S311 - which of equal servers is shown is no secret
    )


def _office(setup: Setup, process: Process) -> Office:
    """What operators' endpoints work with; some of them need nothing that is kept."""
    clerk = process.clerk
    return Office(
        store=NoStore() if clerk is None else clerk.store,
        callers=process.callers,
        config=setup.config,
        table=setup.table,
        prices=PriceTable.load(setup.folder),
        scrubber=setup.scrubber,
        limits=None if clerk is None else clerk.books.limits,
        ledger=None if clerk is None else clerk.books.ledger,
        seal_secret=setup.seal_secret,
        stores_models=bool(setup.variables.store_model_in_db),
    )


def _routes(setup: Setup) -> Routes:
    table = served(
        docs_path=setup.docs_path,
        openapi=not setup.variables.no_openapi,
        metrics_need_key=setup.config.litellm_settings.require_auth_for_metrics_endpoint,
    )
    general = setup.config.general_settings
    ruled = governed(
        joined(table),
        public=(*general.public_routes, *setup.config.litellm_settings.public_routes),
        admin_only=general.admin_only_routes,
        allowed=general.allowed_routes,
    )
    return Routes(ruled, root=setup.variables.server_root_path or "")


def _answers(
    setup: Setup, inference: Inference, health: Health, problems: Problems, process: Process
) -> Mapping[str, Answer]:
    root = setup.variables.server_root_path or ""
    information = Information(
        table=setup.table,
        routes=_routes(setup),
        known=setup.known,
        needs_key=setup.keys.required,
        metrics=setup.metrics,
        root=root.rstrip("/"),
        redirect=setup.variables.root_redirect_url,
    )
    fleet = FleetRoutes(
        table=setup.table,
        fleet=process.fleet,
        scrubber=setup.scrubber,
        clock=time.monotonic,
        needs_key=setup.keys.required,
    )
    return {
        **AdminRoutes(office=_office(setup, process), problems=problems).answers(),
        "inference": inference.answer,
        "models": information.models,
        "model": information.model,
        "model_info": information.model_info,
        "routes": information.paths,
        "health": fleet.health,
        "health_test": health.answer,
        "backends": fleet.backends,
        "drain": fleet.drain,
        "disable": fleet.disable,
        "resume": fleet.resume,
        "test": information.test,
        "metrics": information.figures,
        "reload": ReloadRoute(ask=process.ask, problems=problems, needs_key=setup.keys.required).answer,
        "home": information.home,
        "docs": information.docs,
        "openapi": information.openapi,
    }


def _counter(setup: Setup, answers: Mapping[str, Answer], problems: Problems, process: Process) -> Counter:
    routes = _routes(setup)
    setup.metrics.know(
        routes={MIRRORED, *(each.path_template for each in routes.all)}, names=frozenset(setup.table.names())
    )
    return Counter(
        answers,
        {"alive": alive, "ready": partial(ready, process.drain, lambda: process.callers.has_store)},
        routes=routes,
        callers=process.callers,
        problems=problems,
        cors=setup.cors,
        recorder=process.recorder,
        clock=time.monotonic,
        admission=process.admission,
    )
