"""Which of several equal deployments comes first: LiteLLM's strategies by their names, and two of our own.

Owns the table of strategies. Each begins with the same draw: all deployments in random order, by weight, the
strikingly slow ones behind. A strategy then gives each a score, and the lowest goes first; the draw breaks the ties.
Refuses: to leave anybody out; that is decided before. Reads the fleet's figures and changes none.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf, log
from random import Random
from typing import Final

import msgspec

from proxy_cli.routing.estimates import prompt
from proxy_cli.routing.fleet import State
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Call, Deployment

# A deployment slower than this many times the usual one is no choice among equals.
_STRIKING: Final = 3.0
_LEAST_PART: Final = 0.05
# So many calls under way at a deployment weigh as much as its being twice as slow.
_CALLS_AS_SLOW: Final = 4.0
# The share of calls by which latency-based-routing learns what has become of the others.
_EXPLORED: Final = 0.02


class Entrant(msgspec.Struct, frozen=True):
    """One deployment, and what is known of it."""

    deployment: Deployment
    state: State


class Contest(msgspec.Struct, frozen=True):
    """What a strategy may look at but for the deployments."""

    call: Call
    rules: Rules
    random: Random


Strategy = Callable[[Sequence[Entrant], Contest], Sequence[float]]


def ranked(entrants: Sequence[Entrant], contest: Contest) -> tuple[list[Entrant], Sequence[float]]:
    """The entrants, best first, and their scores in the same order (simple-shuffle has none)."""
    drawn = shuffled(entrants, contest)
    if len(drawn) == 1:
        return drawn, ()
    if contest.rules.strategy == "power-of-two":
        return _power_of_two(drawn, contest)
    scoring = STRATEGIES.get(contest.rules.strategy)
    if scoring is None:
        return drawn, ()
    scores = scoring(drawn, contest)
    order = sorted(range(len(drawn)), key=scores.__getitem__)
    return [drawn[index] for index in order], [scores[index] for index in order]


def shuffled(entrants: Sequence[Entrant], contest: Contest) -> list[Entrant]:
    """All in random order, where a weight of 2 comes first twice as often as one of 1; the last resort has weight 0."""
    if len(entrants) == 1:
        return list(entrants)
    draw = contest.random.random
    # Efraimidis and Spirakis 2006: a draw without replacement in proportion to the weights is a sort by u^(1/w); by its
    # logarithm, as the power of a small weight is too small for a float.
    weights = _weights(entrants, stream=contest.call.stream)
    keys = [-log(1.0 - draw()) / weight if weight else inf for weight in weights]
    return [entrants[index] for index in sorted(range(len(keys)), key=keys.__getitem__)]


def paces(entrants: Sequence[Entrant], *, stream: bool) -> list[float]:
    """Seconds to the first byte of a stream, for a token of a plain answer, or for a whole one; 0: nothing is known."""
    if stream:
        return [each.state.speed.first_s for each in entrants]
    by_token = [each.state.speed.token_s for each in entrants]
    # Only where none is counted in tokens: two measures in one list would make the one look slow beside the other.
    return by_token if any(by_token) else [each.state.speed.answer_s for each in entrants]


def _weights(entrants: Sequence[Entrant], *, stream: bool) -> list[float]:
    """The weights as they are written; where all are equal, a strikingly slow one's is smaller by how slow it is."""
    weights = [each.deployment.weight for each in entrants]
    # Different weights are a split that somebody wants as it is written, of a canary for one.
    if weights.count(weights[0]) < len(weights):
        return weights
    own = paces(entrants, stream=stream)
    if not any(own):
        return weights
    known = sorted([each for each in own if each])
    if known[-1] <= _STRIKING * known[0]:
        return weights
    usual = known[(len(known) - 1) // 2]
    return [weight * _part(usual, each) for weight, each in zip(weights, own, strict=True)]


def _part(usual: float, own: float) -> float:
    """What is left of a weight: less and less the slower it is, never so little that nobody would see it recover."""
    return max(_STRIKING * (usual / own) ** 2, _LEAST_PART) if own > _STRIKING * usual else 1.0


def _least_busy(drawn: Sequence[Entrant], _contest: Contest) -> list[float]:
    return [float(each.state.all_in_flight()) for each in drawn]


def _lowest_latency(drawn: Sequence[Entrant], contest: Contest) -> list[float]:
    """The time it takes, longer by what is under way; now and then another one, to learn how it does."""
    times = _expected(drawn, 1 / _CALLS_AS_SLOW, stream=contest.call.stream)
    best = min(times)
    limit = best * (1 + _buffer(contest.rules))
    scores = [best if each <= limit else each for each in times]
    explored = _to_explore(drawn, contest)
    if explored is not None:
        scores[explored] = 0.0
    return scores


def _to_explore(drawn: Sequence[Entrant], contest: Contest) -> int | None:
    """Whose turn it is to show how fast it is: one that was never asked, or, rarely, any."""
    for index, each in enumerate(drawn):
        if not each.state.speed.samples and not each.state.last_failure and not each.state.all_in_flight():
            return index
    draw = contest.random.random()
    return int(draw / _EXPLORED * len(drawn)) if draw < _EXPLORED else None


def _expected(drawn: Sequence[Entrant], load: float, *, stream: bool) -> list[float]:
    """The pace, times what is under way; where none is known the usual one, or the worst after a failure."""
    own = paces(drawn, stream=stream)
    known = sorted(filter(None, own)) or [1.0]
    usual, worst = known[(len(known) - 1) // 2], known[-1]
    return [
        (pace or (worst if each.state.last_failure else usual)) * (1 + each.state.all_in_flight() * load)
        for each, pace in zip(drawn, own, strict=True)
    ]


def _buffer(rules: Rules) -> float:
    value = rules.strategy_args.get("lowest_latency_buffer", 0)
    return float(value) if isinstance(value, int | float) else 0.0


def _headroom(drawn: Sequence[Entrant], contest: Contest) -> list[float]:
    """The used part of what a deployment may take in a minute; where none has a limit, the tokens it has taken."""
    if not any(each.deployment.rpm or each.deployment.tpm for each in drawn):
        return [each.state.tokens_in_minute() for each in drawn]
    return _used_parts(drawn, contest.call)


def _used_parts(drawn: Sequence[Entrant], call: Call) -> list[float]:
    size = prompt(call) if any(each.deployment.tpm for each in drawn) else None
    parts = []
    for each in drawn:
        rpm, tpm = each.deployment.rpm, each.deployment.tpm
        requests = (each.state.requests_in_minute() + 1) / rpm if rpm else 0.0
        asked = size.at(each.deployment) if size is not None else 0
        tokens = (each.state.tokens_in_minute() + asked) / tpm if tpm else 0.0
        parts.append(max(requests, tokens))
    return parts


def _cost(drawn: Sequence[Entrant], contest: Contest) -> list[float]:
    """USD for a token in and one out; unknown prices, and those with no room in this minute, come last."""
    parts = _used_parts(drawn, contest.call)
    return [_price(each.deployment) if part <= 1 else inf for each, part in zip(drawn, parts, strict=True)]


def _price(deployment: Deployment) -> float:
    rates = deployment.rates
    paid = [rates.get("input_cost_per_token"), rates.get("output_cost_per_token")]
    known = [float(each) for each in paid if isinstance(each, int | float)]
    return sum(known) if known else inf


def _power_of_two(drawn: list[Entrant], contest: Contest) -> tuple[list[Entrant], Sequence[float]]:
    """Of the first two drawn the one that is sooner free goes first: as good as asking all, and no herd."""
    scores = _expected(drawn, 1.0, stream=contest.call.stream)
    if scores[1] < scores[0]:
        drawn[:2] = drawn[1::-1]
        scores[:2] = scores[1::-1]
    return drawn, scores


def _round_robin(drawn: Sequence[Entrant], _contest: Contest) -> list[float]:
    """Whoever was asked longest ago."""
    return [each.state.begun_s for each in drawn]


STRATEGIES: Final[Mapping[str, Strategy]] = {
    "least-busy": _least_busy,
    "latency-based-routing": _lowest_latency,
    "usage-based-routing": _headroom,
    "usage-based-routing-v2": _headroom,
    "cost-based-routing": _cost,
    "round-robin": _round_robin,
}
