"""A dry run of one request: what would become of it, told and not done. No connection is opened, nothing is counted.

Owns: the account, in the order in which a request is decided on, and whose business it is. Refuses: to decide anything
itself. The functions that serve are asked (the choice, the attempts, the provider's `prepare`), with a clock that
stands still and a chance of their own, so that an account neither disturbs nor differs from what is served.
Rule: whatever stands in an account has gone through the mask; no secret is in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from proxy_cli.access.budgets import ProcessBudget
from proxy_cli.callers import Caller
from proxy_cli.clock import Clock
from proxy_cli.errors import Forbidden, GatewayError, RateLimited, forget_frames
from proxy_cli.providers.base import Provider
from proxy_cli.routing.account import KINDS, chain, has_place, limits
from proxy_cli.routing.choice import Candidate
from proxy_cli.routing.queue import Places
from proxy_cli.routing.retries import NEVER_S, end_s
from proxy_cli.routing.router import Router
from proxy_cli.routing.table import Resolution
from proxy_cli.routing.turns import Attempts, Step
from proxy_cli.server.differences import differences, shown_headers
from proxy_cli.server.standings import standing
from proxy_cli.shapes import Call, Deployment, Json, LocalReply, UpstreamRequest
from proxy_cli.telemetry.masking import Mask
from proxy_cli.wire.request import text

_WORDS: Final = {
    "name": "the name is that of a model_name",
    "id": "the name is a deployment's id",
    "wildcard": "the name matches a wildcard",
    "any": "the one model answers to every name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Tells what would become of calls, by one configuration and by how its deployments stand now."""

    router: Router
    places: Places
    providers: Callable[[Deployment], Provider]
    budget: ProcessBudget
    asks_usage: Callable[[Deployment], bool]
    mask: Mask
    clock: Clock
    random: Random

    def of_call(self, call: Call) -> Json:
        """The account of a call; why it would be refused, where it would be, is part of it."""
        told = _blank()
        told["requested"] = _requested(call)
        try:
            self._tell(call, told)
        except GatewayError as failure:
            forget_frames(failure)
            told["refused"] = _refused(failure)
        return self._hidden(told)

    def of_refusal(self, failure: GatewayError) -> Json:
        """The account of a request that has become no call."""
        return self._hidden({**_blank(), "refused": _refused(failure)})

    def admit(self, caller: Caller) -> None:
        """Let a caller have accounts. Raises Forbidden."""
        if not caller.is_admin:
            raise Forbidden("only an administrator may ask what becomes of a request; leave x-llmproxy-explain out")

    def _tell(self, call: Call, told: dict[str, Json]) -> None:
        router, seed = self.router, self.random.random()
        resolution = router.table.resolve(call.model)
        told["resolution"] = _resolved(call, resolution)
        told["strategy"] = router.rules.strategy
        candidates = self._candidates(call, resolution.found, self._standing_still(seed))
        told["candidates"] = [self._candidate(each) for each in candidates]
        told["limits"] = [self._limits(each.deployment) for each in candidates if each.kept]
        told["fallbacks"] = self._fallbacks(call, resolution.group)
        self.budget.check()
        attempts = Attempts(self._standing_still(seed), call, resolution.found)
        try:
            step, deployment, request = self._first(attempts)
        finally:
            told["passed_over"] = [{"model": name, "error": words} for name, words in attempts.errors]
        told["timeouts"] = self._timeouts(step.call, deployment, request)
        told["request"] = self._request(call, step, deployment, request)

    def _standing_still(self, seed: float) -> Router:
        """The router at this moment: what is chosen twice with the same seed is chosen alike."""
        router, now_s = self.router, self.clock()
        chance = Random(seed)  # noqa: S311 - which of equal servers is asked is no secret
        return Router(
            router.table, router.fleet, router.rules, random=chance, clock=lambda: now_s, active=router.active
        )

    def _candidates(self, call: Call, found: Sequence[Deployment], ground: Router) -> Sequence[Candidate]:
        try:
            return ground.choose(call, found).candidates
        except GatewayError as refusal:
            forget_frames(refusal)
            fleet, now_s = ground.fleet, ground.clock()
            return [Candidate(each, False, standing(each, fleet, now_s).why or refusal.message) for each in found]

    def _first(self, attempts: Attempts) -> tuple[Step, Deployment, UpstreamRequest | LocalReply]:
        """The first attempt that would be made: names that refuse by themselves are passed over, as they are served."""
        step = attempts.next()
        while True:
            try:
                deployment = self._placed(step)
                attempts.took(deployment)
                return step, deployment, self._prepared(step.call, deployment)
            except GatewayError as failure:
                step = attempts.next(failure)
                forget_frames(failure)

    def _prepared(self, call: Call, deployment: Deployment) -> UpstreamRequest | LocalReply:
        return self.providers(deployment).prepare(call, deployment, ask_usage=self.asks_usage(deployment))

    def _placed(self, step: Step) -> Deployment:
        """The first with a place; where none has one, the best, which would be waited for."""
        free = next((each for each in step.order if self._has_place(step.call, each)), None)
        if free is None and not self.router.rules.queues:
            raise RateLimited(
                f"model {step.order[0].group!r} has no free place, and calls do not wait here (queues are off)",
                code="deployment_full",
            )
        return free or step.order[0]

    def _has_place(self, call: Call, deployment: Deployment) -> bool:
        state = self.router.fleet.state(deployment)
        return has_place(call, deployment, limits(deployment, state), self.places.waiting(deployment))

    def _candidate(self, candidate: Candidate) -> Json:
        each = candidate.deployment
        return {
            **_which(each),
            "kept": candidate.kept,
            "why": candidate.why,
            "score": candidate.score,
            "state": standing(each, self.router.fleet, self.clock()).state,
            "weight": each.weight,
            "order": each.order,
            "tags": each.tags,
        }

    def _limits(self, deployment: Deployment) -> Json:
        state = self.router.fleet.state(deployment)
        return {
            "id": deployment.id,
            "in_flight": state.all_in_flight(),
            "waiting": self.places.waiting(deployment),
            "limits": [
                {"name": each.name, "limit": each.limit, "in_use": each.in_use, "free": each.free}
                for each in limits(deployment, state)
            ],
        }

    def _fallbacks(self, call: Call, group: str) -> Json:
        table, rules = self.router.table, self.router.rules
        return {
            name: [
                {"model": each.model, "fields": each.fields, "why_not": each.why_not}
                for each in chain(kind, call, group, table, rules)
            ]
            for name, kind in KINDS.items()
        }

    def _timeouts(self, call: Call, deployment: Deployment, request: UpstreamRequest | LocalReply) -> Json:
        if isinstance(request, LocalReply):
            return None
        timers = request.timeouts
        has_own = deployment.timeout_s is not None or (call.stream and deployment.stream_timeout_s is not None)
        end, waits = end_s(call, deployment), bool(limits(deployment, self.router.fleet.state(deployment)))
        queue_s = round(end - self.clock(), 3) if end < NEVER_S else self.router.rules.max_wait_s
        return {
            "connect_s": timers.connect_s,
            "first_byte_s": timers.first_byte_s,
            "total_s": timers.total_s,
            "gap_s": timers.gap_s,
            "queue_s": queue_s if waits and self.router.rules.queues else None,
            "set_by": "request" if timers.set_by_caller else "configuration" if has_own else "default",
        }

    def _request(
        self, call: Call, step: Step, deployment: Deployment, request: UpstreamRequest | LocalReply
    ) -> dict[str, Json]:
        told: dict[str, Json] = {
            **_which(deployment),
            "for": step.call.model,
            "waits": not self._has_place(step.call, deployment),
        }
        if isinstance(request, LocalReply):
            return {**told, "method": None, "url": None, "answered_with_status": request.status}
        return {
            **told,
            "method": request.method,
            "url": f"{request.backend}{request.target}",
            "headers": shown_headers(request.headers),
            "body": differences(call, deployment, request.body),
        }

    def _hidden(self, value: Json) -> Json:
        match value:
            case str():
                return self.mask.hide(value)
            case dict():
                return {name: self._hidden(each) for name, each in value.items()}
            case list() | tuple():
                return [self._hidden(each) for each in value]
        return value


def _blank() -> dict[str, Json]:
    """An account that says nothing yet, in its order."""
    return {
        "refused": None,
        "requested": None,
        "resolution": None,
        "strategy": None,
        "candidates": [],
        "limits": [],
        "fallbacks": {},
        "passed_over": [],
        "timeouts": None,
        "request": None,
    }


def _requested(call: Call) -> Json:
    named = text(call.fields, "model") if isinstance(call.body, bytes) else None
    return {
        "model": call.model,
        "in_body": named if named != call.model else None,
        "operation": str(call.operation),
        "stream": call.stream,
    }


def _resolved(call: Call, resolution: Resolution) -> Json:
    words = _WORDS[resolution.by]
    if resolution.by == "wildcard":
        words = f"{words}: {resolution.group}"
    if resolution.alias_of is not None:
        words = f"{call.model} is an alias of {resolution.alias_of}; {words}"
    return {
        "by": resolution.by,
        "alias_of": resolution.alias_of,
        "group": resolution.group,
        "deployments": len(resolution.found),
        "words": words,
    }


def _which(deployment: Deployment) -> dict[str, Json]:
    return {
        "id": deployment.id,
        "model": deployment.model,
        "provider": deployment.provider,
        "address": deployment.api_base or "mock_response",
    }


def _refused(failure: GatewayError) -> Json:
    return {
        "status": failure.status,
        "code": failure.code,
        "message": failure.message,
        "param": failure.param,
        "retry_after_s": failure.retry_after_s,
    }
