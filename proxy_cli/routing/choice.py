"""Which deployments may take a call, and in which order they are asked.

Owns the one pure function by which requests are served and explained. First everything that does not pass by itself:
tags, checks, the operator's word. Then what does: those that rest are left out, and where all rest the least bad one is
kept, alone. What is left goes in classes (not tried yet, ready, the lower `order`), and in each by the strategy.
The rule to keep: reads only. A choice may be made twice for a call, or for nobody, and changes nothing.
"""

from collections.abc import Container, Sequence
from math import inf
from random import Random
from typing import Final

import msgspec

from proxy_cli.errors import Overloaded
from proxy_cli.routing.checks import checked, in_region
from proxy_cli.routing.fleet import Fleet, Operator, Probed, State
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.strategies import Contest, Entrant, ranked
from proxy_cli.routing.tags import by_tags
from proxy_cli.shapes import Call, Deployment

_OUT: Final = (Probed.DOWN, Probed.DRAINING)
_LAST: Final = (Probed.LOADING, Probed.BUSY)
_PROBED_AGAIN_S: Final = 10.0  # about when somebody looks again at one that was found to be down
_NO_ORDER: Final = 1 << 30  # after every `order` that is written
_LONGEST_WAIT_S: Final = 60.0  # told to callers where nobody knows when an operator lets a deployment back
# A deployment that has rested is asked for more and more of its share during this time: what brought it down, brings
# it down again when all comes back at once.
_SLOW_START_S: Final = 10.0
_DRAWN: Final = frozenset({"simple-shuffle", "round-robin"})
_SMALLEST_SHARE: Final = 0.1


class Candidate(msgspec.Struct, frozen=True):
    """What became of one deployment; `score` is its strategy's, the lower the better, where that has one."""

    deployment: Deployment
    kept: bool
    why: str = ""
    score: float | None = None


class Choice(msgspec.Struct, frozen=True):
    """The deployments to ask, best first; never empty."""

    order: tuple[Deployment, ...]
    soonest_s: float | None = None  # the shortest wait, where all rest
    found: Sequence[Deployment] = ()
    reasons: dict[str, str] = msgspec.field(default_factory=dict)  # by id: why not
    scores: dict[str, float] = msgspec.field(default_factory=dict)  # by id

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All deployments of the name: those that are kept in their order, then those that are not, and why."""
        kept = [Candidate(each, True, "", self.scores.get(each.id)) for each in self.order]
        chosen = {each.id for each in self.order}
        left = [
            Candidate(each, False, self.reasons.get(each.id, ""), self.scores.get(each.id))
            for each in self.found
            if each.id not in chosen
        ]
        return (*kept, *left)


def choose(
    call: Call,
    found: Sequence[Deployment],
    fleet: Fleet,
    rules: Rules,
    *,
    random: Random,
    now_s: float,
    tried: Container[str] = (),
) -> Choice:
    """The order in which a name's deployments are asked.

    Raises Unauthenticated when the tags leave none, InvalidRequest when the prompt is too long for all, and Overloaded
    with the shortest wait when operators have taken all out.
    """
    is_free = not (rules.by_tags or rules.checks_calls or call.controls.region)
    if len(found) == 1 and is_free and fleet.is_plain(found[0], now_s):
        return _alone(found[0])
    reasons: dict[str, str] = {}
    awake: list[Entrant] = []
    resting: list[Entrant] = []
    fitting = _fitting(call, found, rules, reasons)
    for each in fitting:
        entrant = Entrant(each, fleet.state(each))
        if entrant.state.is_plain(now_s):
            awake.append(entrant)
        elif _in_service(entrant, reasons):
            resting.append(entrant)
    if awake:
        order, scores = _ordered(awake, Contest(call, rules, random), tried, now_s)
        _note_resting(resting, now_s, reasons)
        return Choice(tuple([each.deployment for each in order]), None, found, reasons, scores)
    if resting:
        return _least_bad(resting, tried, now_s, Choice((), None, found, reasons))
    raise _all_out(call, fitting, fleet, now_s)


def _alone(deployment: Deployment) -> Choice:
    """The choice where there is none, made once."""
    kept: Choice | None = deployment.worked_out.get(Choice)
    if kept is None:
        kept = deployment.worked_out[Choice] = Choice((deployment,), None, (deployment,))
    return kept


def _fitting(call: Call, found: Sequence[Deployment], rules: Rules, reasons: dict[str, str]) -> Sequence[Deployment]:
    """Those that the tags and the checks leave."""
    left = found
    if rules.by_tags:
        left = by_tags(call, found, rules)
        _note(found, left, "its tags are not those that the request asks for", reasons)
    if call.controls.region:
        left = in_region(call, left, reasons)
    return checked(call, left, reasons) if rules.checks_calls else left


def _note(before: Sequence[Deployment], after: Sequence[Deployment], why: str, reasons: dict[str, str]) -> None:
    if len(after) < len(before):
        kept = {each.id for each in after}
        reasons.update((each.id, why) for each in before if each.id not in kept)


def _in_service(entrant: Entrant, reasons: dict[str, str]) -> bool:
    """Whether no operator has taken it out."""
    word, _ = entrant.state.operator()
    if word is Operator.ACTIVE:
        return True
    reasons[entrant.deployment.id] = f"an operator has set it to {word}"
    return False


def _all_out(call: Call, fitting: Sequence[Deployment], fleet: Fleet, now_s: float) -> Overloaded:
    """The refusal where operators have left nothing to ask, with the time until the first comes back by itself."""
    ends = [until_s for each in fitting if (until_s := fleet.state(each).operator()[1]) is not None]
    return Overloaded(
        f"an operator has taken every deployment of '{call.model}' that may serve this request out of service: "
        f"try again later, or ask for another model",
        code="all_deployments_out_of_service",
        retry_after_s=max(min(ends) - now_s, 1.0) if ends else _LONGEST_WAIT_S,
    )


def _note_resting(resting: Sequence[Entrant], now_s: float, reasons: dict[str, str]) -> None:
    for each in resting:
        reasons[each.deployment.id] = _why_it_rests(each.state, now_s)


def _why_it_rests(state: State, now_s: float) -> str:
    if rests_s := state.rests_s(now_s):
        last = f" after {why}" if (why := state.why_it_rests) else ""
        return f"it rests for {rests_s:.1f} s more{last}"
    probed, words = state.probed()
    return f"a probe has found it {probed}: {words}" if words else f"a probe has found it {probed}"


def _least_bad(resting: Sequence[Entrant], tried: Container[str], now_s: float, choice: Choice) -> Choice:
    """Of those that all rest or were found to be down the one that is soonest back, alone."""
    waits = [each.state.rests_s(now_s) or _PROBED_AGAIN_S for each in resting]
    keys = [
        (each.deployment.id in tried, each.state.probed()[0] in _OUT, wait_s)
        for each, wait_s in zip(resting, waits, strict=True)
    ]
    best = resting[min(range(len(keys)), key=keys.__getitem__)].deployment
    _note_resting(resting, now_s, choice.reasons)
    choice.reasons.pop(best.id)
    return msgspec.structs.replace(choice, order=(best,), soonest_s=min(waits))


def _ordered(
    awake: Sequence[Entrant], contest: Contest, tried: Container[str], now_s: float
) -> tuple[list[Entrant], dict[str, float]]:
    """All of them by class, and in each class by the strategy."""
    if len(awake) == 1:
        return list(awake), {}
    # Where the best is taken and not drawn, one that comes back is the best at once, for it has nothing to do.
    rivals = 1 if contest.rules.strategy in _DRAWN else len(awake)
    classes: dict[tuple[bool, bool, int, bool], list[Entrant]] = {}
    for each in awake:
        key = (
            each.deployment.id in tried,
            each.state.probed()[0] in _LAST,
            _NO_ORDER if each.deployment.order is None else each.deployment.order,
            _lets_others_go(each.state, contest.random, now_s, rivals),
        )
        classes.setdefault(key, []).append(each)
    order: list[Entrant] = []
    scores: dict[str, float] = {}
    for key in sorted(classes) if len(classes) > 1 else classes:
        members, theirs = ranked(classes[key], contest)
        order += members
        if theirs:
            scores.update(zip([each.deployment.id for each in members], theirs, strict=True))
    return order, scores


def _lets_others_go(state: State, random: Random, now_s: float, rivals: int) -> bool:
    """Whether a deployment that has rested lets the others go first this time: ever more seldom.

    `rivals`: among how many the traffic is shared, where it would get all of it whenever it does not.
    """
    since_s = now_s - state.closed_s
    if since_s == inf:
        return False
    share = min(max(since_s / _SLOW_START_S, _SMALLEST_SHARE), 1.0) * state.trust(now_s)
    return share < 1.0 and random.random() * rivals >= share
