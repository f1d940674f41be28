"""The heart: one call, from admission to answer.

The one loop over attempts. Everything it needs is given to it; it decides nothing itself and knows no HTTP server.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from proxy_cli.access.budgets import ProcessBudget
from proxy_cli.access.caller import caller_of
from proxy_cli.answer import Answer, Held
from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError, StreamOptionsRefused, forget_frames
from proxy_cli.hedge import Hedge
from proxy_cli.money import usd_of
from proxy_cli.prices.cost import GPU_HOUR, prices_of
from proxy_cli.prices.ladder import RESERVED, counted
from proxy_cli.prices.meter import meter_of
from proxy_cli.providers.base import Provider
from proxy_cli.providers.inband import in_band_failure
from proxy_cli.relay import LocalExchange, Relay, labelled, reshaped, says_events
from proxy_cli.routing.estimates import learn, tokens
from proxy_cli.routing.queue import Places
from proxy_cli.routing.retries import end_s, with_time_left
from proxy_cli.routing.router import Router
from proxy_cli.routing.turns import Attempts, Step
from proxy_cli.shapes import (
    Call,
    Deployment,
    LocalReply,
    Operation,
    Record,
    UpstreamReply,
    UpstreamRequest,
    Usage,
    first_header,
)
from proxy_cli.telemetry.tap import Tap
from proxy_cli.upstream.client import Upstream


class Gateway:
    """One call in, one answer out. Owns what it has learned of backends that refuse `stream_options`."""

    def __init__(
        self,
        *,
        router: Router,
        places: Places,
        providers: Callable[[Deployment], Provider],
        upstream: Upstream,
        budget: ProcessBudget,
        clock: Clock,
        hedge: Hedge | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.router = router
        self._fleet = router.fleet
        self._places = places
        self._providers = providers
        self._upstream = upstream
        self._budget = budget
        self._clock = clock
        self._tap = tap
        self._hedge = hedge or Hedge()
        self._without_usage: set[str] = set()

    async def answer(self, call: Call) -> Answer:
        """One call, from admission to answer. Raises the GatewayError that the caller should see."""
        self._budget.check()
        attempts = self.router.attempts(call)
        step = attempts.next()
        while True:
            if step.wait_s:
                await self._places.pause(step.wait_s)
            try:
                answer = await self._attempt(step, attempts)
            except GatewayError as failure:
                step = attempts.next(failure)
                forget_frames(failure)
            else:
                if attempts.made > 1 or attempts.errors:
                    attempts.answered()
                    answer.history = attempts
                return answer

    def asks_usage(self, deployment: Deployment) -> bool:
        """Whether a deployment is asked for the usage of streams: until it is known to refuse that."""
        return deployment.id not in self._without_usage

    def settle(self, call: Call, answer: Answer, record: Record) -> None:
        """Put down what an ended answer used: its price, None where that is not known, and what it tells of speed."""
        deployment, relay = answer.deployment, answer.relay
        usage = answer.plain_usage if relay is None else relay.usage
        if relay is not None:
            state = self._fleet.state(deployment)
            if answer.failure is not None:
                state.failed(answer.failure)
            state.used(usage, 0.0)
        if deployment.tpm is not None or self.router.rules.checks_calls:
            learn(call, deployment, usage)
        record.usage = usage
        account = call.account
        if account is None and not deployment.rates:
            return
        usage, source = counted(
            call,
            usage,
            answer.seen,
            whole=relay is None or relay.finished,
            reserved_nano=0 if account is None else account.reserved_nano,
        )
        record.usage = usage
        nano = self._cost_nano(call, answer, usage)
        if source == RESERVED and account is not None:
            nano = account.reserved_nano
        record.cost_usd = None if nano is None else usd_of(nano)
        if account is not None:
            account.settle(deployment, usage, source, nano or 0, record)
        elif record.cost_usd:
            self._budget.add(record.cost_usd)

    def _cost_nano(self, call: Call, answer: Answer, usage: Usage | None) -> int | None:
        """What an answer costs: by its tokens, and by the time that it has taken of a server paid by the hour."""
        deployment = answer.deployment
        nano = None
        if usage is not None and deployment.rates:
            nano = prices_of(deployment).cost_nano(usage, call.operation)
        if answer.held is not None and answer.held.meter is not None:
            nano = (nano or 0) + answer.held.borne_nano()
        return nano

    def _attempt(self, step: Step, attempts: Attempts) -> Coroutine[Any, Any, Answer]:
        """One deployment asked, once it has a place for the call; where that is slow to begin, perhaps a second."""
        call, order = step.call, step.order
        deployment = order[0]
        if deployment.is_limited:
            free = self._places.take_now(order, _weight(call, order))
            if free is None:
                return self._queued(call, order, attempts)
            deployment = free
        attempts.took(deployment)
        if call.stream and len(order) > 1 and self.router.rules.hedges:
            return self._hedged(call, deployment, order, attempts)
        return self._at(call, deployment)

    async def _queued(self, call: Call, order: Sequence[Deployment], attempts: Attempts) -> Answer:
        position, began_s = 0, self._clock()

        def told(place: int, _wait_s: float) -> None:
            nonlocal position
            position = place

        caller = call.caller
        deployment = await self._places.take(
            order,
            caller=caller.key or caller_of(call.headers),
            weight=caller.weight,
            priority=_first(call.controls.priority, caller.priority, self.router.rules.priority),
            deadline_s=end_s(call, order[0]),
            tokens=_weight(call, order),
            told=told,
        )
        attempts.took(deployment)
        now_s = self._clock()
        answer = await self._at(with_time_left(call, now_s), deployment)
        answer.queued = (position, now_s - began_s)
        return answer

    async def _hedged(
        self, call: Call, deployment: Deployment, order: Sequence[Deployment], attempts: Attempts
    ) -> Answer:
        """A stream whose first bytes are late by the deployment's own measure is asked for at a second one, too."""
        after_s = self._fleet.state(deployment).speed.p95_s
        if not after_s:
            return await self._at(call, deployment)

        def second() -> Coroutine[Any, Any, Answer] | None:
            other = self._places.take_now([each for each in order if each is not deployment], _weight(call, order))
            if other is None:
                return None
            attempts.took_too(other)
            return self._at(with_time_left(call, self._clock()), other)

        return await self._hedge.race(self._at(call, deployment), second, after_s)

    async def _at(self, call: Call, deployment: Deployment) -> Answer:
        """One deployment, and what came of it made known."""
        state = self._fleet.state(deployment)
        meter = meter_of(deployment, self._clock) if GPU_HOUR in deployment.rates else None
        held = Held(deployment, state, state.begin(), self._places, meter, 0 if meter is None else meter.begin())
        try:
            asks_usage = deployment.id not in self._without_usage
            try:
                answer = await self._ask(call, deployment, asks_usage)
            except StreamOptionsRefused:
                if not asks_usage:
                    raise
                # Asked again at once without the field, and if that was it, from now on.
                answer = await self._ask(call, deployment, False)
                self._without_usage.add(deployment.id)
        except BaseException as failure:
            if isinstance(failure, GatewayError):
                failure.model_id = deployment.id
                state.failed(failure)
            held.leave()
            raise
        is_stream = answer.relay is not None
        state.succeeded(waited_s=answer.waited_s, stream=is_stream, usage=answer.plain_usage)
        if is_stream or deployment.is_limited or meter is not None:
            answer.held = held
        else:
            state.end(held.trial)
        return answer

    async def _ask(self, call: Call, deployment: Deployment, asks_usage: bool) -> Answer:
        if call.controls.mock_response is not None:
            deployment = replace(deployment, mock_response=call.controls.mock_response)
        provider = self._providers(deployment)
        request = provider.prepare(call, deployment, ask_usage=asks_usage)
        if call.account is not None:
            call.account.begin(deployment)
        started_s = self._clock()
        if self._tap is None and isinstance(request, UpstreamRequest):
            reply = await self._upstream.send(request)
        else:
            reply = await self._shown(call, request)
        try:
            if call.stream:
                reply = await labelled(reply)
            holds_events = says_events(reply)
            if holds_events is not call.stream and reply.status < 300:
                reply = await reshaped(call, reply, partial(in_band_failure, call, deployment))
                holds_events = says_events(reply)
            if reply.status >= 300 or not (holds_events or (call.operation in _BINARY and _is_sound(reply))):
                body = await reply.read()
                plain = provider.read(call, deployment, reply.status, reply.headers, body)
                return Answer(
                    status=plain.status,
                    headers=plain.headers,
                    deployment=deployment,
                    waited_s=self._clock() - started_s,
                    body=plain.body,
                    plain_usage=plain.usage,
                )
            relay = Relay(reply, provider.stream_reader(call, deployment), *_event_limits(request, holds_events))
            await relay.start(partial(in_band_failure, call, deployment))
            return Answer(
                status=reply.status,
                headers=provider.reply_headers(reply.headers),
                deployment=deployment,
                waited_s=self._clock() - started_s,
                relay=relay,
            )
        except BaseException:
            reply.close()
            raise

    async def _shown(self, call: Call, request: UpstreamRequest | LocalReply) -> UpstreamReply:
        """Send a request that somebody watches, or that needs no backend."""
        tap = self._tap
        if isinstance(request, LocalReply):
            if tap:
                tap.step(call.request_id, f"{call.model} is answered by its mock_response")
            return LocalExchange(request)
        if tap is None:
            return await self._upstream.send(request)
        tap.sent(call.request_id, request)
        reply = await self._upstream.send(request)
        tap.received(call.request_id, reply.status, reply.headers)
        return tap.watched(call.request_id, reply)


def _event_limits(request: UpstreamRequest | LocalReply, holds_events: bool) -> tuple[float | None, float | None, bool]:
    """The longest gap between two events of a stream, the longest wait for the first, and whether the caller set that.

    Sound has no events.
    """
    if isinstance(request, LocalReply) or not holds_events:
        return None, None, False
    limits = request.timeouts
    return limits.gap_s, limits.first_byte_s, limits.set_by_caller


def _weight(call: Call, order: Sequence[Deployment]) -> int:
    """The tokens of a call, where one of the deployments limits them; nobody else needs to know."""
    for each in order:
        if each.tpm is not None:
            return tokens(call, each)
    return 0


def _first(*values: int | None) -> int:
    """The first that is said."""
    return next(value for value in values if value is not None)


_BINARY: Final = frozenset({Operation.SPEECH})


def _is_sound(reply: UpstreamReply) -> bool:
    """Whether a good reply to a call for speech is sound, which is passed on while it is being spoken."""
    return "json" not in (first_header(reply.headers, "content-type") or "")
