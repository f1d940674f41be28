"""The heart: one call, from admission to answer.

The one loop over attempts. Everything it needs is given to it; it decides nothing itself and knows no HTTP server.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from proxy_cli.access.budgets import ProcessBudget
from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError, StreamOptionsRefused, forget_frames
from proxy_cli.prices.cost import prices_of
from proxy_cli.prices.estimate import estimated, tokens_in
from proxy_cli.providers.base import Provider
from proxy_cli.providers.inband import in_band_failure
from proxy_cli.relay import LocalExchange, Relay, labelled, reshaped, says_events
from proxy_cli.routing.attempts import Router
from proxy_cli.shapes import (
    Call,
    Deployment,
    Headers,
    LocalReply,
    Operation,
    UpstreamReply,
    UpstreamRequest,
    Usage,
    first_header,
)
from proxy_cli.telemetry.tap import Tap
from proxy_cli.upstream.client import Upstream


class Answer(msgspec.Struct, kw_only=True):
    """What goes back to the caller: a whole body, or a relay that is pulled. Close it always."""

    status: int
    headers: Headers
    deployment: Deployment
    attempts: int = 1
    waited_s: float  # for the backend: up to its whole answer, or to a stream's first bytes
    body: bytes = b""
    relay: Relay | None = None
    plain_usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """What the backend has counted; for a stream it is complete at the end."""
        return self.relay.usage if self.relay else self.plain_usage

    @property
    def seen(self) -> tuple[int, int]:
        """How many pieces and bytes have come, for an answer whose usage nobody counts."""
        return self.relay.seen if self.relay else (1, len(self.body))

    def close(self) -> None:
        """Let go of the backend."""
        if self.relay:
            self.relay.close()


class Gateway:
    """One call in, one answer out. Owns what it has learned of backends that refuse `stream_options`."""

    def __init__(
        self,
        *,
        router: Router,
        providers: Callable[[Deployment], Provider],
        upstream: Upstream,
        budget: ProcessBudget,
        clock: Clock,
        tap: Tap | None = None,
    ) -> None:
        self.router = router
        self._providers = providers
        self._upstream = upstream
        self._budget = budget
        self._clock = clock
        self._tap = tap
        self._without_usage: set[str] = set()

    async def answer(self, call: Call) -> Answer:
        """One call, from admission to answer. Raises the GatewayError that the caller should see."""
        self._budget.check()
        attempts = self.router.attempts(call.model)
        deployment = attempts.next()
        while True:
            try:
                answer = await self._ask(call, deployment)
            except GatewayError as failure:
                failure.model_id = deployment.id
                if isinstance(failure, StreamOptionsRefused) and deployment.id not in self._without_usage:
                    # Asked again at once, and from now on, without the field.
                    self._without_usage.add(deployment.id)
                else:
                    deployment = attempts.next(failure)
                forget_frames(failure)
            else:
                answer.attempts = attempts.made
                return answer

    def settle(self, call: Call, answer: Answer) -> float | None:
        """Price what an ended answer used and count it against the budget; None where no price is known."""
        if not answer.deployment.rates:
            return None
        usage = answer.usage or estimated(call, tokens_in(*answer.seen))
        cost = prices_of(answer.deployment).cost_usd(usage, call.operation) if usage else None
        if cost:
            self._budget.add(cost)
        return cost

    async def _ask(self, call: Call, deployment: Deployment) -> Answer:
        provider = self._providers(deployment)
        request = provider.prepare(call, deployment, ask_usage=deployment.id not in self._without_usage)
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


_BINARY: Final = frozenset({Operation.SPEECH})


def _is_sound(reply: UpstreamReply) -> bool:
    """Whether a good reply to a call for speech is sound, which is passed on while it is being spoken."""
    return "json" not in (first_header(reply.headers, "content-type") or "")
