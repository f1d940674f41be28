"""The attempts of one call: who is asked now, after which pause, and when it is enough.

Owns: what has been tried for this call. First another deployment of the name, then the same one after a pause, then the
names that stand in for it. Refuses: to wait, to ask anybody, and to know whether a place is free.
Rules: what may have reached a model goes to another deployment, never to the same; no pause outlasts the time that the
call has; a failure that the caller or we ourselves have caused is final.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import msgspec

from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError, Overloaded, RateLimited, UnknownModel, forget_frames
from proxy_cli.routing.choice import Choice, choose
from proxy_cli.routing.fallbacks import Way, Ways, asked_failure, redirected, special_targets, targets
from proxy_cli.routing.fleet import Fleet
from proxy_cli.routing.kinds import Kind, blames_backend, kind_of
from proxy_cli.routing.retries import (
    NEVER_S,
    Budget,
    allowed_retries,
    asked_end_s,
    end_s,
    free_again_s,
    is_doubtful,
    pause_s,
    with_time_left,
)
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Table
from proxy_cli.routing.tally import Tally
from proxy_cli.shapes import NO_CONTROLS, Call, Deployment

ALL_REST: Final = "all_deployments_in_cooldown"
_LONGEST_SHOWN: Final = 100  # of a name that a caller has sent
_LONG_PAUSE_S: Final = 8.0  # longer than this nobody waits who has somewhere else to go
_TURNED_AWAY: Final = frozenset({Kind.RATE_LIMIT, Kind.AUTHENTICATION})  # before any model has seen the call
# Of an upload: a part has gone, so that no other attempt can be made. The failure before it is what there is to say.
_NOT_KEPT: Final = "upload_not_kept"


class Ground:
    """What the attempts of all calls stand on."""

    __slots__ = ("active", "asks_all", "budget", "clock", "fleet", "random", "rules", "table", "tally")

    def __init__(
        self,
        table: Table,
        fleet: Fleet,
        rules: Rules,
        *,
        random: Random,
        clock: Clock,
        active: Callable[[], int],
        tally: Tally | None = None,
    ) -> None:
        self.table = table
        self.fleet = fleet
        self.rules = rules
        self.asks_all = not (rules.by_tags or rules.checks_calls)  # whatever the call is like
        self.random = random
        self.clock = clock
        self.active = active  # how many calls this process has under way
        self.budget = Budget(clock())
        self.tally = tally or Tally()

    def choose(self, call: Call, found: Sequence[Deployment], tried: dict[str, float] | None = None) -> Choice:
        """The order in which deployments are asked now."""
        return choose(call, found, self.fleet, self.rules, random=self.random, now_s=self.clock(), tried=tried or ())


class Step(msgspec.Struct, frozen=True):
    """The next attempt: the first of `order` that has a place is asked, after the pause."""

    order: tuple[Deployment, ...]  # best first
    call: Call  # as it is to be sent: after a fallback, of another name and with other fields
    wait_s: float = 0.0


class _Turn:
    """What has been tried under one name. Made with the first failure."""

    __slots__ = ("call", "depth", "found", "retries", "tried")

    def __init__(self, call: Call, found: Sequence[Deployment], depth: int) -> None:
        self.call = call
        self.found = found
        self.depth = depth  # how many fallbacks led here
        self.retries = 0
        self.tried: dict[str, float] = {}  # by id: from which moment on it may be asked again

    @property
    def names(self) -> tuple[str, str]:
        """The name asked for, and that of its group where an alias led there."""
        return self.call.model, self.found[0].group


class Attempts(msgspec.Struct, eq=False):
    """The attempts of one call. `next` says who is asked, `took` who was; the figures are for the caller's headers."""

    _ground: Ground
    _call: Call
    _found: tuple[Deployment, ...]
    made: int = 0
    retries: int = 0
    fallbacks: int = 0
    maybe_duplicate: bool = False  # a model may have worked on this call more than once
    errors: tuple[tuple[str, str], ...] = ()  # the names that failed, each with its sentence
    _asked: Deployment | None = None
    _at_work: frozenset[str] = frozenset()  # ids of those that may still be at work on it
    _turn: _Turn | None = None
    _ways: Ways | None = None
    _previous: GatewayError | None = None
    _final: GatewayError | None = None

    def next(self, failure: GatewayError | None = None) -> Step:
        """What to do now. Raises the failure that the caller should see when nothing is left to do."""
        if failure is None:
            call = self._call
            ground, found = self._ground, self._found
            # What nearly all calls come to: one deployment of the name, and nothing said against it or by the call.
            if len(found) == 1 and ground.asks_all and call.controls is NO_CONTROLS and ground.fleet.is_quiet(found[0]):
                return Step(found, call)
            if call.controls.mock_failures:
                return self._give_up(asked_failure(call.controls.mock_failures))
            try:
                # Not by way of `ground.choose`: every request comes along here.
                choice = choose(call, found, ground.fleet, ground.rules, random=ground.random, now_s=ground.clock())
                return Step(choice.order, call)
            except GatewayError as refusal:
                forget_frames(refusal)
                failure = refusal
        return self._after(failure)

    def took(self, deployment: Deployment) -> None:
        """Say which one of a step's deployments is asked."""
        self._asked = deployment
        self.made += 1

    def took_too(self, deployment: Deployment) -> None:
        """Say which one is asked beside the first: it is at work on the call, whatever becomes of it."""
        self.made += 1
        self.maybe_duplicate = True
        self._at_work |= {deployment.id}

    def answered(self) -> None:
        """Say that the last attempt has brought an answer, where it was not the first."""
        ground, turn = self._ground, self._turn
        if self.retries:
            ground.budget.give_back(self.retries, ground.active())
        if turn is not None and turn.depth:
            ground.tally.good_fallbacks[self._found[0].group, turn.found[0].group] += 1

    def _after(self, failure: GatewayError) -> Step:
        asked, self._asked = self._asked, None
        previous, self._previous = self._previous, failure
        kind = kind_of(failure)
        if kind is Kind.CALLER or self._ground.clock() >= asked_end_s(self._call):
            self._count_fallback()
            raise previous if previous is not None and failure.code == _NOT_KEPT else failure
        turn = self._present_turn()
        if asked is not None and is_doubtful(failure):
            self._at_work |= {asked.id}
        # A failure that has fallbacks of its own is not tried again: it would only be said again.
        if asked is not None and not special_targets(kind, turn.names, self._call, self._ground.rules):
            step = self._again(turn, asked, failure, kind)
            if step is not None:
                return step
        return self._give_up(failure)

    def _present_turn(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn(self._call, self._found, 0)
        return self._turn

    def _again(self, turn: _Turn, asked: Deployment, failure: GatewayError, kind: Kind) -> Step | None:
        """Another attempt under the same name, if it is worth one."""
        ground = self._ground
        now_s = ground.clock()
        turn.tried[asked.id] = free_again_s(failure, kind, now_s)
        if turn.retries >= allowed_retries(kind, turn.call, asked, ground.rules):
            return None
        step = self._step_within(turn, kind, now_s)
        if step is None:
            return None
        is_free = self._is_free(turn, step, failure, kind)
        group = turn.found[0].group
        if not is_free and not ground.budget.take(ground.active(), now_s):
            ground.tally.refused_retries[group] += 1
            return None
        ground.tally.retries[group] += 1
        self.retries += 1
        turn.retries += 1
        self.maybe_duplicate = self.maybe_duplicate or is_doubtful(failure)
        return step

    def _is_free(self, turn: _Turn, step: Step, failure: GatewayError, kind: Kind) -> bool:
        """Whether another attempt cannot make a sick fleet worse: no model has seen the call, or another is well."""
        following = step.order[0]
        if following.id in turn.tried:
            return False
        if blames_backend(kind) and self._ground.fleet.state(following).is_proven(self._ground.clock()):
            return True
        # Many that are turned away at the same moment would else be lost beside a server that is well. Where that one
        # rests too, each would only go round all of them.
        turned_away = kind in _TURNED_AWAY and self._ground.fleet.is_plain(following, self._ground.clock())
        return failure.elsewhere or turned_away

    def _step_within(self, turn: _Turn, kind: Kind, now_s: float) -> Step | None:
        """Those of the name that were not asked yet; else those that may be asked again, after a pause that fits."""
        tried = turn.tried
        left = [each for each in turn.found if tried.get(each.id, 0.0) < NEVER_S and each.id not in self._at_work]
        if not left:
            return None
        try:
            order = self._ground.choose(turn.call, left, tried).order
        except GatewayError:
            return None
        if fresh := tuple(each for each in order if each.id not in tried):
            return Step(fresh, with_time_left(turn.call, now_s))
        free_s = min(tried[each.id] for each in order)
        if free_s - now_s > _LONG_PAUSE_S and self._has_other_ways(turn, kind):
            return None
        rules = self._ground.rules
        wait_s = max(pause_s(turn.retries, self._ground.random, at_least_s=rules.retry_after_s), free_s - now_s)
        then_s = now_s + wait_s
        free = tuple(each for each in order if tried[each.id] <= then_s and then_s < end_s(turn.call, each))
        return Step(free, with_time_left(turn.call, then_s), wait_s) if free else None

    def _has_other_ways(self, turn: _Turn, kind: Kind) -> bool:
        asked = self._call.controls
        return not asked.no_fallbacks and bool(targets(kind, turn.names, self._call, self._ground.rules))

    def _give_up(self, failure: GatewayError) -> Step:
        """The name has failed: on to the next. Raises what the first one said if there is none."""
        turn, kind = self._present_turn(), kind_of(failure)
        self.errors = (*self.errors, (turn.call.model, failure.message))
        self._count_fallback()
        self._keep(self._told(failure, kind, turn.found))
        if self._ways is None:
            self._ways = Ways(self._call, self._ground.rules)
        self._ways.open(kind, *turn.names, turn.depth)
        while (way := self._ways.next()) is not None:
            if (step := self._begin(way)) is not None:
                self.fallbacks += 1
                self.maybe_duplicate = self.maybe_duplicate or is_doubtful(failure)
                return step
        assert self._final is not None
        self._final.headers += (
            ("x-litellm-attempted-retries", str(self.retries)),
            ("x-litellm-attempted-fallbacks", str(self.fallbacks)),
        )
        raise self._final

    def _begin(self, way: Way) -> Step | None:
        """The first attempt under another name; None, with a sentence kept, where there can be none."""
        assert self._ways is not None
        found: Sequence[Deployment] = ()
        try:
            call = redirected(self._call, way.target)
            table = self._ground.table
            found = table.open_to(call.caller, table.known(call.model))
            if not found:
                # Without the near names: a list may be long, and to look for them takes longer than an attempt.
                raise UnknownModel(f"no model named {_cut(call.model)!r} is configured")
            order = self._ground.choose(call, self._idle(found)).order
        except GatewayError as refusal:
            forget_frames(refusal)
            self.errors = (*self.errors, (way.target.model, refusal.message))
            if found:
                self._ground.tally.failed_fallbacks[self._found[0].group, found[0].group] += 1
                self._keep(refusal)
                self._ways.open(kind_of(refusal), way.target.model, found[0].group, way.depth)
            return None
        self._turn = _Turn(call, found, way.depth)
        return Step(order, with_time_left(call, self._ground.clock()))

    def _count_fallback(self) -> None:
        """The present name has failed; if it stood in for another one, that was in vain."""
        turn = self._turn
        if turn is not None and turn.depth:
            self._ground.tally.failed_fallbacks[self._found[0].group, turn.found[0].group] += 1

    def _idle(self, found: Sequence[Deployment]) -> Sequence[Deployment]:
        """Those of a name that are not at work on this call. Raises Overloaded where all may be."""
        if not self._at_work:
            return found
        if idle := [each for each in found if each.id not in self._at_work]:
            return idle
        raise Overloaded(f"every deployment of {found[0].group!r} may be at work on this request already")

    def _keep(self, failure: GatewayError) -> None:
        """What the caller hears in the end: what the name asked for has said, with the shortest wait of all."""
        if self._final is None:
            self._final = failure
        elif self._final.retry_after_s is not None and failure.retry_after_s is not None:
            self._final.retry_after_s = min(self._final.retry_after_s, failure.retry_after_s)

    def _told(self, failure: GatewayError, kind: Kind, found: Sequence[Deployment]) -> GatewayError:
        """The failure with the wait until one of the name's deployments may be asked again, where all rest."""
        if not blames_backend(kind) or kind is Kind.AUTHENTICATION:
            return failure
        fleet, now_s = self._ground.fleet, self._ground.clock()
        soonest_s = min(fleet.state(each).rests_s(now_s) for each in found)
        if soonest_s <= 0.0:
            return failure
        if len(found) > 1:
            return _all_rest(failure, kind, found[0].group, len(found), soonest_s)
        if failure.retry_after_s is None:
            failure.retry_after_s = soonest_s
        return failure


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"


def _all_rest(failure: GatewayError, kind: Kind, group: str, count: int, soonest_s: float) -> GatewayError:
    """What is said when all deployments of a name rest and the least bad of them has failed too."""
    message = (
        f"no deployment of {group!r} is well: all {count} rest after failures, and the last one said: "
        f"{failure.message}; try again in {max(round(soonest_s), 1)} s"
    )
    raised = RateLimited if kind is Kind.RATE_LIMIT else Overloaded
    told = raised(message, code=ALL_REST, retry_after_s=soonest_s, headers=failure.headers)
    told.kind = ALL_REST
    told.model_id = failure.model_id
    return told
