"""Who gets a place at a deployment that takes so much at a time or a minute: at once, after a fair wait, or not at all.

Owns: the lines before deployments, and the timers and wake-ups of those who wait. Refuses: to choose among deployments,
and to count what has begun; that is the fleet's. Rules: a call waits no longer than its deadline, and is refused at
once where it is certain that its turn comes later; nobody overtakes those who wait; a place that was given to a call
which has left is given to the next in the same turn of the event loop.

A deployment without limits is nobody's concern here: it always has a place, and none of its calls is counted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from math import ceil, inf, isfinite
from random import Random, SystemRandom
from typing import Final, NamedTuple, Protocol

from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError, Overloaded, RateLimited
from proxy_cli.routing.fair import due_s
from proxy_cli.routing.lane import Lane, Load, Waiter
from proxy_cli.routing.neighbours import Neighbours
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.words import Operator
from proxy_cli.shapes import Deployment, Headers
from proxy_cli.shared import Shared

_POLL_S: Final = (0.02, 0.05)  # places of other processes and windows of a minute wake nobody: we look, while one waits
_LEAST_WAIT_S: Final = 1.0  # that a refusal names


class Gauge(Load, Protocol):
    """What is known of one deployment."""

    def rests_s(self, now_s: float) -> float:
        """How long it is not to be asked."""


class Gauges(Protocol):
    """What is known of all of them: the fleet."""

    def state(self, deployment: Deployment) -> Gauge:
        """One deployment's."""

    def operator(self, name: str) -> tuple[str, float | None]:
        """What an operator wants of one, and until when."""


class Figures(NamedTuple):
    """One deployment's places and queue in this process."""

    id: str
    held: int
    waiting: int
    hold_s: float  # how long a place is held on average; 0 where none was given back yet


class Places:
    """The places of one process. Owns the lines, and the poll that looks at them while somebody waits."""

    def __init__(
        self,
        fleet: Gauges,
        rules: Rules,
        *,
        clock: Clock,
        shared: Shared | None = None,
        random: Random | None = None,
    ) -> None:
        self.rules = rules  # changed by a reload
        self._fleet = fleet
        self._clock = clock
        self._random = random or SystemRandom()
        self._neighbours = Neighbours(shared) if shared is not None else None
        self._lanes: dict[str, Lane] = {}
        self.refused: Counter[tuple[str, str]] = Counter()  # by group and code, since the process began
        self._waiting = 0
        self._number = 0
        self._poll: asyncio.TimerHandle | None = None
        self._pauses: set[asyncio.Future[None]] = set()
        self._closed = False

    def take_now(self, order: Sequence[Deployment], tokens: int) -> Deployment | None:
        """The first that has a free place, which is then taken; None where all are full or others wait for them."""
        for deployment in order:
            if not deployment.is_limited:
                return deployment
            lane = self._lane(deployment)
            if not lane.fair and lane.take(deployment, self._fleet.state(deployment), tokens, self._clock()):
                return deployment
        return None

    async def take(
        self,
        order: Sequence[Deployment],
        *,
        caller: str,
        weight: float = 1.0,
        priority: int,
        deadline_s: float,
        tokens: int,
        told: Callable[[int, float], None] | None = None,
    ) -> Deployment:
        """A place at one of several deployments, after a fair wait for it; `told` hears position and expected wait.

        The deadline is a moment of the clock; without one (infinite) the longest wait of the rules counts. Raises
        RateLimited where there is no place in time, and Overloaded when the last of them is taken out of service.
        """
        free = self.take_now(order, tokens)
        if free is not None:
            return free
        now_s = self._clock()
        self._number += 1
        waiter = Waiter(
            caller=caller,
            weight=weight,
            due_s=due_s(now_s, priority),
            number=self._number,
            deployments={each.id: each for each in order},
            tokens=tokens,
            despite_rest=all(self._fleet.state(each).rests_s(now_s) > 0 for each in order),
            ends_s=deadline_s if isfinite(deadline_s) else now_s + self.rules.max_wait_s,
            place=asyncio.get_running_loop().create_future(),
        )
        self._enter(waiter, now_s)
        if told is not None:
            told(*self._turn(waiter, now_s))
        try:
            result = await waiter.place
        except asyncio.CancelledError:
            self._left(waiter)
            raise
        if isinstance(result, GatewayError):
            raise result
        return result

    def give_back(self, deployment: Deployment) -> None:
        """A place that was taken is free; to be called after the attempt has ended in the fleet's count."""
        if not deployment.is_limited:
            return
        lane = self._lane(deployment)
        now_s = self._clock()
        lane.give_back(now_s)
        if lane.fair:
            self._serve(lane, now_s)

    def waiting(self, deployment: Deployment) -> int:
        """How many calls wait for it in this process."""
        lane = self._lanes.get(deployment.id)
        return len(lane.fair) if lane is not None else 0

    def figures(self) -> tuple[Figures, ...]:
        """All deployments that have limits and were asked."""
        return tuple(Figures(lane.id, lane.held, len(lane.fair), lane.hold_s) for lane in self._lanes.values())

    def keep(self, ids: Collection[str]) -> None:
        """Forget deployments that are not configured any more, once nothing of theirs is under way."""
        for lane in list(self._lanes.values()):
            if lane.id not in ids and not lane.held and not lane.fair:
                del self._lanes[lane.id]

    async def pause(self, wait_s: float) -> None:
        """Let a call wait before it is tried again. Raises Overloaded when the process is about to end."""
        if self._closed:
            raise _closing()
        loop = asyncio.get_running_loop()
        pause = loop.create_future()
        timer = loop.call_later(wait_s, _end, pause)
        self._pauses.add(pause)
        try:
            await pause
        finally:
            timer.cancel()
            self._pauses.discard(pause)

    def close(self) -> None:
        """Refuse all who wait, for a place or for time to pass: the process is about to end."""
        self._closed = True
        for pause in self._pauses:
            if not pause.done():
                pause.set_exception(_closing())
        for lane in self._lanes.values():
            for waiter in list(lane.fair):
                self._settle(waiter, _closing())
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None

    def _lane(self, deployment: Deployment) -> Lane:
        lane = self._lanes.get(deployment.id)
        if lane is None:
            row = self._neighbours.row(deployment.id) if self._neighbours is not None else None
            lane = self._lanes[deployment.id] = Lane(deployment.id, row)
        return lane

    def _enter(self, waiter: Waiter, now_s: float) -> None:
        """Let a call wait, or refuse it where waiting is of no use."""
        lanes = [self._lane(each) for each in waiter.deployments.values()]
        if not self.rules.queues:
            raise self._refusal(waiter, now_s, "and calls do not wait here (queues are off)", "deployment_full")
        lanes = [lane for lane in lanes if len(lane.fair) < self.rules.most_queued]
        if not lanes:
            raise self._refusal(
                waiter, now_s, f"and no more than {self.rules.most_queued} may wait for one", "queue_full"
            )
        if self._waiting >= self.rules.most_waiting:
            raise self._refusal(waiter, now_s, f"and {self._waiting} calls wait for places already", "queue_full")
        opens_s = min(self._opens_s(each, waiter.tokens, now_s) for each in waiter.deployments.values())
        if waiter.ends_s <= now_s or opens_s > waiter.ends_s:
            raise self._refusal(waiter, now_s, "and none can be before the call's time is up", "queue_timeout", opens_s)
        for lane in lanes:
            lane.fair.add(waiter)
            lane.publish()
        self._waiting += 1
        waiter.timer = asyncio.get_running_loop().call_later(waiter.ends_s - now_s, self._expire, waiter)
        self._look_soon()

    def _opens_s(self, deployment: Deployment, tokens: int, now_s: float) -> float:
        """The moment before which a deployment has certainly no place."""
        return self._lane(deployment).opens_s(deployment, self._fleet.state(deployment), tokens, now_s)

    def _turn(self, waiter: Waiter, now_s: float) -> tuple[int, float]:
        """Position and expected wait where the wait is shortest; one that is in no line would be the last."""
        best = (0, inf)
        for deployment in waiter.deployments.values():
            lane = self._lane(deployment)
            queued = not waiter.place.done() and waiter in lane.fair
            position = lane.fair.position(waiter) if queued else len(lane.fair) + 1
            opens_s = self._opens_s(deployment, waiter.tokens, now_s)
            wait_s = max(position * lane.pace_s(deployment, waiter.tokens, now_s), opens_s - now_s)
            if wait_s < best[1]:
                best = (position, wait_s)
        return best

    def _serve(self, lane: Lane, now_s: float) -> None:
        """Give the places there are to those whose turn it is."""
        while (waiter := lane.fair.first()) is not None:
            deployment = waiter.deployments[lane.id]
            if waiter.place.done():  # its task was cancelled in this very turn, and does not know yet
                self._settle(waiter)
                continue
            if waiter.ends_s <= now_s:
                self._expire(waiter)
                continue
            if self._fleet.operator(lane.id)[0] != Operator.ACTIVE:
                self._leave_lane(lane, waiter, deployment)
                continue
            state = self._fleet.state(deployment)
            if not waiter.despite_rest and state.rests_s(now_s) > 0:
                lane.rested = True
                return
            if not lane.take(deployment, state, waiter.tokens, now_s):
                return
            lane.fair.serve(waiter)
            lane.publish()
            self._settle(waiter, deployment)
            if lane.rested:  # its first call after a rest is a trial, which the others let begin before they follow
                lane.rested = False
                return

    def _leave_lane(self, lane: Lane, waiter: Waiter, deployment: Deployment) -> None:
        """Its deployment was taken out of service: it waits for others, if there are any."""
        lane.fair.remove(waiter)
        lane.publish()
        if not any(waiter in self._lanes[each].fair for each in waiter.deployments):
            message = f"model {deployment.group!r} was taken out of service while the call waited; try another model"
            self._settle(waiter, Overloaded(message, code="deployment_out_of_service"))

    def _settle(self, waiter: Waiter, result: Deployment | GatewayError | None = None) -> None:
        """End a wait: out of all lines, and told the result if it has not left."""
        if waiter.settled:
            return
        waiter.settled = True
        if waiter.timer is not None:
            waiter.timer.cancel()
        for identity in waiter.deployments:
            lane = self._lanes.get(identity)
            if lane is not None and lane.fair.remove(waiter):
                lane.publish()
        self._waiting -= 1
        if result is not None and not waiter.place.done():
            waiter.place.set_result(result)

    def _left(self, waiter: Waiter) -> None:
        """The caller has gone: while it waited, or with a place that it does not know of yet."""
        place = waiter.place
        if place.cancelled() or not place.done():
            self._settle(waiter)
            return
        result = place.result()
        if isinstance(result, Deployment):
            lane = self._lane(result)
            lane.undo()
            self._serve(lane, self._clock())

    def _expire(self, waiter: Waiter) -> None:
        now_s = self._clock()
        self._settle(
            waiter, self._refusal(waiter, now_s, "and none was before the call's time was up", "queue_timeout")
        )

    def _refusal(self, waiter: Waiter, now_s: float, why: str, code: str, opens_s: float = 0.0) -> RateLimited:
        wait_s = max(_LEAST_WAIT_S, self._turn(waiter, now_s)[1], opens_s - now_s)
        group = next(iter(waiter.deployments.values())).group
        self.refused[group, code] += 1
        when = f"try again in {ceil(wait_s)} s" if isfinite(wait_s) else "use another model"
        return RateLimited(
            f"model {group!r} has no free place ({_limits(waiter.deployments.values())}), {why}; {when}",
            code=code,
            retry_after_s=wait_s if isfinite(wait_s) else None,
        )

    def _look_soon(self) -> None:
        if self._poll is None and self._waiting:
            delay_s = self._random.uniform(*_POLL_S)
            self._poll = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        self._poll = None
        now_s = self._clock()
        for lane in list(self._lanes.values()):
            if lane.fair:
                self._serve(lane, now_s)
        self._look_soon()


def _limits(deployments: Collection[Deployment]) -> str:
    """What their limits are, in the words of the file; of several, the lowest and the highest."""
    every = {
        "max_parallel_requests": [each.max_parallel for each in deployments],
        "rpm": [each.rpm for each in deployments],
        "tpm": [each.tpm for each in deployments],
    }
    said = {name: [value for value in values if value is not None] for name, values in every.items()}
    return ", ".join(f"{name} {_span(values)}" for name, values in said.items() if values)


def _span(values: Collection[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _end(pause: "asyncio.Future[None]") -> None:
    if not pause.done():
        pause.set_result(None)


def _closing() -> Overloaded:
    return Overloaded("llmproxy is shutting down", code="shutting_down")


def queue_headers(position: int, wait_s: float) -> Headers:
    """What a caller is told of its wait: the position when it came, and the wait in seconds."""
    return (("x-llmproxy-queue-position", str(position)), ("x-llmproxy-queue-wait", f"{wait_s:.3f}"))
