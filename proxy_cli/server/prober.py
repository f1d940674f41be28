"""Looks after our own servers in the background, so that a dead or loading one is known before a caller meets it.

One question per server, not per deployment, never one that makes it generate a token (`sightings.py`), all servers at
the same time, so that one that hangs keeps no other waiting. Only one process of all asks; what it finds, all know
through the fleet. Servers of the public internet that want a key are not asked: what they answer to callers tells
enough of them, and their owners did not ask to be polled.
"""

import logging
from asyncio import Event, timeout
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random
from typing import Final

from proxy_cli import __version__
from proxy_cli.clock import Clock
from proxy_cli.config.settings_general import GeneralSettings
from proxy_cli.errors import BackendTimeout, ConnectTimeout, GatewayError, forget_frames
from proxy_cli.providers.headers import bearer
from proxy_cli.routing.fleet import Fleet, Probed
from proxy_cli.server import sightings
from proxy_cli.server.sightings import Reply, Sighting, Software
from proxy_cli.server.turn import Turn
from proxy_cli.shapes import Backend, Deployment, Headers, Timeouts, UpstreamRequest
from proxy_cli.tasks import Tasks
from proxy_cli.upstream.client import Upstream

logger = logging.getLogger(__name__)

_CONFIRM_S: Final = 2.0  # after a first failure: one that stands alone says nothing
_ENOUGH_FAILURES: Final = 2
_GROWTH: Final = 1.5  # of the wait for a server that stays away
_JITTER: Final = 0.1
_TICK_S: Final = 1.0
_LARGEST_REPLY: Final = 4 * 1024 * 1024
_MOST_AT_ONCE: Final = 100  # looks: each takes a connection, and of thousands none would be left for callers
# Names that only mean something in a network of one's own (RFC 6762, 8375, and what clusters and containers use).
_OWN_ENDINGS: Final = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".home", ".svc", ".cluster.local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """Whether servers are looked at, and how often."""

    wanted: bool = True
    first_s: float = 5.0  # after a start, which has enough to do
    ready_s: float = 60.0  # between two looks at a server that is ready
    other_s: float = 10.0  # at one that is not; growing to `ready_s` for one that stays away
    timeout_s: float = 2.0


def probing_of(general: GeneralSettings) -> Probing:
    """What the settings say."""
    usual, ready_s = Probing(), general.health_check_interval
    if ready_s is None:
        return Probing(wanted=general.background_health_checks)
    return Probing(wanted=general.background_health_checks, ready_s=ready_s, other_s=min(usual.other_s, ready_s))


@dataclass(slots=True)
class _Server:
    """What is known of one server. Mutable; owned by the prober."""

    backend: Backend
    base: str  # the path that deployments name
    root: str  # the same without the version
    headers: Headers
    deployments: tuple[Deployment, ...]
    due_s: float
    software: Software | None = None
    path: str | None = None  # of the question that it answers
    failures: int = 0
    answers: int = 0  # to requests, when it was last looked at
    told: Sighting | None = None
    asked: bool = field(default=False, init=False)  # right now

    def __str__(self) -> str:
        return f"{self.backend}{self.root}"


class Prober:
    """The looks of one process. Owns what is known of the servers, and connections of its own."""

    def __init__(self, fleet: Fleet, turn: Turn, *, clock: Clock, random: Random) -> None:
        self._fleet = fleet
        self._turn = turn
        self._clock = clock
        self._random = random
        self._probing = Probing()
        self._servers: dict[tuple[Backend, str], _Server] = {}
        self._upstream = Upstream(max_body_bytes=_LARGEST_REPLY)
        self._tasks = Tasks()
        self._changed = Event()
        self._looks = 0  # under way

    def start(self) -> None:
        """Begin to look."""
        self._tasks.spawn(self._run(), "looks at servers")

    def take(self, deployments: Sequence[Deployment], probing: Probing) -> None:
        """Look at the servers of these deployments from now on; what is known of those that stay is kept."""
        former, self._servers, self._probing = self._servers, {}, probing
        for key, alike in _by_server(each for each in deployments if is_looked_at(each, probing)).items():
            self._servers[key] = self._server(key, alike, former.get(key))
        self._forget(former.values())
        self._changed.set()

    async def close(self) -> None:
        """Look no more."""
        await self._tasks.close()
        await self._upstream.close()
        self._turn.give()

    def _server(self, key: tuple[Backend, str], deployments: Sequence[Deployment], known: _Server | None) -> _Server:
        backend, root = key
        first_s = self._clock() + self._probing.first_s * (1 + self._random.random())
        server = _Server(
            backend=backend,
            base=deployments[0].base_path,
            root=root,
            headers=_headers(deployments),
            deployments=tuple(deployments),
            due_s=first_s,
        )
        if known is not None:
            server.software, server.path, server.failures = known.software, known.path, known.failures
            server.due_s = min(known.due_s, first_s)
            if known.told is not None and {each.id for each in deployments} <= {each.id for each in known.deployments}:
                server.told = known.told
        return server

    def _forget(self, former: Iterable[_Server]) -> None:
        """What was found of deployments that nobody looks at any more is nothing to go by."""
        watched = {each.id for server in self._servers.values() for each in server.deployments}
        for server in former:
            for each in server.deployments:
                if server.told is not None and each.id not in watched:
                    self._fleet.set_probed(each.id, Probed.UNKNOWN, "")

    async def _run(self) -> None:
        while True:
            wait_s = _TICK_S
            if self._turn.is_ours or self._turn.take():
                wait_s = self._begin_due()
            self._changed.clear()
            with suppress(TimeoutError):
                async with timeout(wait_s):
                    await self._changed.wait()

    def _begin_due(self) -> float:
        """Ask the servers whose time has come, and say how long the next one has."""
        now_s, next_s = self._clock(), self._clock() + _TICK_S
        for server in self._servers.values():
            if server.asked:
                continue
            if server.due_s <= now_s:
                if self._looks >= _MOST_AT_ONCE:
                    continue  # the end of a look calls the next
                self._looks += 1
                server.asked = True
                self._tasks.spawn(self._look_at(server), f"a look at {server}")
            else:
                next_s = min(next_s, server.due_s)
        return max(next_s - now_s, 0.01)

    async def _look_at(self, server: _Server) -> None:
        # Should anything unforeseen end this, the server still has its next turn.
        server.due_s = self._clock() + self._probing.ready_s
        try:
            sighting = await self._failing(server)
            if sighting is not None:
                self._tell(server, sighting)
            server.due_s = self._clock() + self._pause_s(server, sighting)
        finally:
            self._looks -= 1
            server.asked = False
            self._changed.set()

    def _pause_s(self, server: _Server, sighting: Sighting | None) -> float:
        probing = self._probing
        if sighting is None and server.failures:
            pause_s = min(_CONFIRM_S, probing.other_s)
        elif sighting is None or sighting.state is Probed.READY:
            pause_s = probing.ready_s
        elif server.failures > _ENOUGH_FAILURES:
            growth = _GROWTH ** min(server.failures - _ENOUGH_FAILURES, 20)
            pause_s = min(probing.other_s * growth, max(probing.ready_s, probing.other_s))
        else:
            pause_s = probing.other_s
        return pause_s * (1 + _JITTER * (2 * self._random.random() - 1))

    async def _failing(self, server: _Server) -> Sighting | None:
        """How the server is; None where that is not known, or where one failure stands alone."""
        is_at_work = self._is_at_work(server)
        try:
            sighting = await self._look(server)
        except GatewayError as failure:
            forget_frames(failure)
            if _was_slow(failure) and (is_at_work or self._is_at_work(server)):
                # It has taken the connection, and does our callers' work: it is at that, not dead.
                return Sighting(Probed.BUSY, f"it works, and does not answer within {self._probing.timeout_s:g} s")
            sighting = Sighting(Probed.DOWN, failure.message)
        if sighting is None or sighting.state is not Probed.DOWN:
            server.failures = 0
            return sighting
        # Whoever comes back there may be another one.
        server.software = server.path = None
        server.failures += 1
        return sighting if server.failures >= _ENOUGH_FAILURES else None

    def _is_at_work(self, server: _Server) -> bool:
        """Whether it has work of ours, or has answered any since this was last asked."""
        states = [self._fleet.state(each) for each in server.deployments]
        before, server.answers = server.answers, sum(each.speed.samples for each in states)
        return server.answers > before or any(each.all_in_flight() > 0 for each in states)

    async def _look(self, server: _Server) -> Sighting | None:
        """Ask what the server is known to answer, else what it may. Raises what the way there raises."""
        for path in (server.path,) if server.path is not None else _questions(server):
            reply = await self._get(server, path)
            sighting = sightings.read(reply, path)
            if sighting is not None:
                server.path = path
                return await self._closer(server, reply, sighting)
        server.path = None
        return None

    async def _closer(self, server: _Server, reply: Reply, sighting: Sighting) -> Sighting:
        """What tells more of a server that is known by now for what it is."""
        if server.software is None and reply.status == 200:
            server.software = sightings.software_of(reply)
            own = sightings.OWN.get(server.software)
            if own is not None and server.root + own != server.path:
                told = await self._get(server, server.root + own)
                if (better := sightings.read(told, own)) is not None:
                    server.path, sighting = server.root + own, better
        if server.software is Software.LLAMA_CPP and sighting.state is Probed.READY:
            return await self._by_slots(server)
        return sighting

    async def _by_slots(self, server: _Server) -> Sighting:
        """Whether a llama.cpp that is ready has a slot to spare."""
        try:
            slots = sightings.read_slots(await self._get(server, server.root + sightings.SLOTS))
            if slots is not None:
                return sightings.of_slots(*slots)
            total = sightings.read_properties(await self._get(server, server.root + sightings.PROPERTIES))
        except GatewayError as failure:
            # It answers these between two steps of its work, which may take a while; it has said that it is well.
            forget_frames(failure)
            return Sighting(Probed.READY)
        if total is None:
            return Sighting(Probed.READY)
        taken = sum(self._fleet.state(each).all_in_flight() for each in server.deployments)
        return sightings.of_slots(max(total - taken, 0), total)

    async def _get(self, server: _Server, path: str) -> Reply:
        limit_s = self._probing.timeout_s
        request = UpstreamRequest(
            backend=server.backend,
            target=path,
            headers=server.headers,
            body=b"",
            timeouts=Timeouts(connect_s=limit_s, first_byte_s=limit_s, total_s=limit_s),
            method="GET",
        )
        reply = await self._upstream.send(request)
        try:
            return Reply(reply.status, reply.headers, await reply.read())
        finally:
            reply.close()

    def _tell(self, server: _Server, sighting: Sighting) -> None:
        if self._servers.get((server.backend, server.root)) is not server:
            return  # a reload has come in between
        for each in server.deployments:
            self._fleet.set_probed(each.id, sighting.state, sighting.why)
        if sighting.state is not (server.told.state if server.told else Probed.UNKNOWN):
            _log(server, sighting)
        server.told = sighting


def _log(server: _Server, sighting: Sighting) -> None:
    names = ", ".join(sorted({each.group for each in server.deployments}))
    if sighting.state is Probed.DOWN:
        logger.warning("%s (%s) is down: %s", server, names, sighting.why)
    elif server.told is not None and server.told.state is Probed.DOWN:
        logger.info("%s (%s) is back: %s", server, names, sighting.state)


def is_looked_at(deployment: Deployment, probing: Probing) -> bool:
    """Whether a deployment's server is one to look at."""
    if not probing.wanted or not deployment.probed or deployment.mock_response is not None:
        return False
    # With a wildcard for all providers, the name that is asked for decides which server it is.
    return deployment.provider != "*" and is_our_own(deployment)


def is_our_own(deployment: Deployment) -> bool:
    """Whether the server is one of those who run this proxy: in their network, or open to all without a key."""
    return deployment.api_key is None or is_near(deployment.backend.host.lower().rstrip("."))


def is_near(host: str) -> bool:
    """Whether a host can only be one of our own network."""
    try:
        return not ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return "." not in host or host.endswith(_OWN_ENDINGS)


def _by_server(deployments: Iterable[Deployment]) -> dict[tuple[Backend, str], list[Deployment]]:
    """Deployments of one server under one root: behind one address there may be several, told apart by their paths."""
    found: dict[tuple[Backend, str], list[Deployment]] = {}
    for each in deployments:
        found.setdefault((each.backend, each.base_path.removesuffix("/v1")), []).append(each)
    return found


def _questions(server: _Server) -> tuple[str, ...]:
    return (f"{server.base}/models", *(server.root + path for path in sightings.OTHERS))


def _headers(deployments: Sequence[Deployment]) -> Headers:
    """What requests of the deployments say as well: a reverse proxy may ask for it."""
    first = next((each for each in deployments if each.api_key is not None), deployments[0])
    usual = (("accept", "application/json"), ("user-agent", f"llmproxy/{__version__}"), *bearer(first))
    own = {name for name, _ in first.headers}
    return (*(each for each in usual if each[0] not in own), *first.headers)


def _was_slow(failure: GatewayError) -> bool:
    return isinstance(failure, BackendTimeout) and not isinstance(failure, ConnectTimeout)
