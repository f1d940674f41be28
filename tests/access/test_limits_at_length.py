"""Limits beside a simple model of them, over long runs of all that may happen."""

import random
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy_cli.access.limits import Ticket
from proxy_cli.access.periods import window_of
from proxy_cli.callers import Period, Scope
from proxy_cli.errors import BudgetExceeded, RateLimited
from tests.access.desk import NOON, Desk

PERIODS = (None, Period("1h"), Period("1d", "America/New_York"))


class Held(NamedTuple):
    """A call under way, as the model has it."""

    ticket: Ticket
    scopes: tuple[Scope, ...]
    windows: tuple[int, ...]
    nano: int
    tokens: int
    second: int


class Model:
    """The same limits as plain lists: what was admitted, what runs, what was spent. Slow, and plainly right."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.requests: list[tuple[str, int, int]] = []  # scope, second, tokens
        self.under_way: list[Held] = []
        self.spent: dict[tuple[str, int], int] = {}
        self.opened: dict[str, tuple[int, int]] = {}

    def window(self, scope: Scope, opens: bool = False) -> int:
        """The one that a call opened, until its end; then that of the clock."""
        if scope.period is None:
            return 0
        present = self.opened.get(scope.id, (0, 0))
        if self.desk.wall_s >= present[1]:
            present = window_of(scope.period, self.desk.wall_s)
        if opens:
            self.opened[scope.id] = present
        return present[0]

    def reserved(self, scope: Scope) -> int:
        """Of calls that were taken in the present window."""
        window = self.window(scope)
        return sum(
            held.nano
            for held in self.under_way
            for each, begin in zip(held.scopes, held.windows, strict=True)
            if each.id == scope.id and begin == window
        )

    def left(self, scope: Scope) -> int:
        """Of its budget."""
        assert scope.max_nano is not None
        return scope.max_nano - self.spent.get((scope.id, self.window(scope)), 0) - self.reserved(scope)

    def parallel(self, scope: Scope) -> int:
        """Calls under way."""
        return sum(scope.id in {each.id for each in held.scopes} for held in self.under_way)

    def recent(self, scope: Scope) -> list[int]:
        """Tokens of each request of the last minute, by whole seconds."""
        oldest = int(self.desk.clock_s) - 60
        return [tokens for name, second, tokens in self.requests if name == scope.id and second >= oldest]

    def why_not(self, scopes: tuple[Scope, ...], nano: int, is_bound: bool, tokens: int) -> str | None:
        """The kind of limit that refuses a call; None where it fits."""
        for scope in scopes:
            if self.parallel(scope) >= (scope.max_parallel or 0):
                return "max_parallel_requests"
        for scope in scopes:
            if sum(1 for each in self.recent(scope) if each >= 0) >= (scope.rpm or 0):
                return "requests"
        for scope in scopes:
            if sum(map(abs, self.recent(scope))) + max(1, tokens) > (scope.tpm or 0):
                return "tokens"
        if any(self.left(scope) <= 0 or (is_bound and nano > self.left(scope)) for scope in scopes):
            return "budget"
        return None


def scopes_of(desk_size: int = 3) -> tuple[Scope, ...]:
    """A key, its team and its organization, each with all limits and a period of its own."""
    names = ("key", "team", "organization")[:desk_size]
    return tuple(
        Scope(kind=name, id=name, rpm=6 + at, tpm=60 + 20 * at, max_parallel=3 + at, max_nano=500, period=PERIODS[at])
        for at, name in enumerate(names)
    )


class World:
    """The limits and their model, moved together; every move compares what both say."""

    def __init__(self) -> None:
        self.desk = Desk(wall_s=NOON)
        self.model = Model(self.desk)
        self.scopes = scopes_of()

    def take(self, chosen: int, nano: int, tokens: int, is_bound: bool) -> None:
        """A call for some of the scopes."""
        scopes = tuple(each for at, each in enumerate(self.scopes) if chosen >> at & 1)
        model = self.model
        windows = tuple(model.window(each, opens=True) for each in scopes)
        tokens = tokens if is_bound else min(tokens, *(each.tpm or 0 for each in scopes), tokens)
        expected = model.why_not(scopes, nano, is_bound, tokens)
        try:
            ticket = self.desk.take(*scopes, nano=nano, is_bound=is_bound, tokens=tokens)
        except (RateLimited, BudgetExceeded) as refused:
            assert dict(refused.headers).get("rate_limit_type", "budget") == expected  # noqa: PT017 - of two outcomes
        else:
            assert expected is None
            amount = min(nano, *(model.left(each) for each in scopes), nano)
            assert ticket.reserved_nano == amount
            second = int(self.desk.clock_s)
            model.requests += [(each.id, second, tokens) for each in scopes]
            assert ticket.charges == tuple(
                (each.kind, each.id, begin) for each, begin in zip(scopes, windows, strict=True)
            )
            model.under_way.append(Held(ticket, scopes, windows, amount, tokens, second))

    def settle(self, at: int, cost: int, tokens: int) -> None:
        """A call ends with an answer; twice, and then once more in another way."""
        held = self.model.under_way.pop(at % len(self.model.under_way))
        self._forget(held, by=held.tokens - min(tokens, held.tokens))
        if tokens > held.tokens:
            # More than was set aside counts from now on; it is no request, which the sign says.
            now = int(self.desk.clock_s)
            self.model.requests += [(each.id, now, held.tokens - tokens) for each in held.scopes]
        for each, begin in zip(held.scopes, held.windows, strict=True):
            spent = self.model.spent
            spent[each.id, begin] = spent.get((each.id, begin), 0) + cost
        held.ticket.settle(cost, tokens)
        held.ticket.settle(cost, tokens)
        held.ticket.void()

    def void(self, at: int) -> None:
        """A call ends before a backend was asked."""
        held = self.model.under_way.pop(at % len(self.model.under_way))
        self._forget(held, by=None)
        held.ticket.void()
        held.ticket.settle(99, 99)

    def change(self, budget: int, rpm: int) -> None:
        """An operator sets other limits."""
        first, *others = self.scopes
        changed = {name: getattr(first, name) for name in first.__struct_fields__}
        self.scopes = (Scope(**{**changed, "max_nano": budget, "rpm": rpm}), *others)

    def agree(self) -> None:
        """What both know of every scope is the same."""
        for scope in self.scopes:
            assert self.desk.limits.window(scope) == self.model.window(scope)
            use = self.desk.limits.in_use(scope)
            recent = self.model.recent(scope)
            assert use.spent_nano == self.model.spent.get((scope.id, self.model.window(scope)), 0)
            assert use.reserved_nano == self.model.reserved(scope)
            assert use.parallel_left == max(0, (scope.max_parallel or 0) - self.model.parallel(scope))
            assert use.requests_left == max(0, (scope.rpm or 0) - sum(1 for each in recent if each >= 0))
            assert use.tokens_left == max(0, (scope.tpm or 0) - sum(map(abs, recent)))

    def _forget(self, held: Held, by: int | None) -> None:
        """A request used that many tokens less, or (None) never was."""
        requests = self.model.requests
        for each in held.scopes:
            entry = (each.id, held.second, held.tokens)
            if entry in requests:
                requests.remove(entry)
                if by is not None:
                    requests.append((each.id, held.second, held.tokens - by))

    def forget_old(self) -> None:
        """What is long over is not looked at any more."""
        oldest = int(self.desk.clock_s) - 200
        self.model.requests = [each for each in self.model.requests if each[1] >= oldest]


class Machine(RuleBasedStateMachine):
    """Hypothesis looks for the shortest way to a disagreement."""

    @initialize()
    def begin(self) -> None:
        self.world = World()

    @rule(chosen=st.integers(1, 7), nano=st.integers(0, 300), tokens=st.integers(0, 50), is_bound=st.booleans())
    def take(self, chosen: int, nano: int, tokens: int, is_bound: bool) -> None:
        self.world.take(chosen, nano, tokens, is_bound)

    @precondition(lambda self: self.world.model.under_way)
    @rule(at=st.integers(0, 9), cost=st.integers(0, 400), tokens=st.integers(0, 60))
    def settle(self, at: int, cost: int, tokens: int) -> None:
        self.world.settle(at, cost, tokens)

    @precondition(lambda self: self.world.model.under_way)
    @rule(at=st.integers(0, 9))
    def void(self, at: int) -> None:
        self.world.void(at)

    @rule(seconds=st.sampled_from([0.4, 1.0, 7.3, 30.0, 60.0, 61.0, 3600.0, 86_400.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.desk.pass_s(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -86_400.0, 3600.0]))
    def turn_wall_clock(self, seconds: float) -> None:
        self.world.desk.wall_s += seconds

    @rule(budget=st.integers(0, 1000), rpm=st.integers(0, 10))
    def change(self, budget: int, rpm: int) -> None:
        self.world.change(budget, rpm)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "world"):
            self.world.agree()


@pytest.mark.row("B-20")
class TestMachine(Machine.TestCase):  # type: ignore[misc, valid-type]
    """No sequence of calls, ends, clocks and changed limits makes the limits differ from the model."""

    settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


def run(steps: int, seed: int) -> World:
    """A long run of random moves."""
    world, rng = World(), random.Random(seed)
    for step in range(steps):
        move = rng.random()
        if move < 0.45:
            world.take(rng.randint(1, 7), rng.randint(0, 120), rng.randint(0, 30), rng.random() < 0.5)
        elif move < 0.75 and world.model.under_way:
            world.settle(rng.randint(0, 9), rng.randint(0, 150), rng.randint(0, 40))
        elif move < 0.8 and world.model.under_way:
            world.void(rng.randint(0, 9))
        elif move < 0.99:
            world.desk.pass_s(rng.choice((0.3, 2.5, 11.0, 61.0)))
        else:
            world.desk.wall_s += rng.choice((-3600.0, 3600.0, 86_400.0))
            world.change(rng.randint(0, 2000), rng.randint(0, 20))
        if step % 50 == 0:
            world.agree()
            world.forget_old()
    return world


@pytest.mark.row("B-20")
def test_a_long_run_agrees_with_the_model():
    """Three thousand moves."""
    world = run(3000, seed=1)

    for held in list(world.model.under_way):
        world.settle(world.model.under_way.index(held), 1, 0)
    world.agree()
    assert all(world.desk.limits.in_use(scope).reserved_nano == 0 for scope in world.scopes)


@pytest.mark.deep
@pytest.mark.row("B-20")
def test_a_million_moves_agree_with_the_model():
    """As many as the catalogue asks for."""
    for seed in range(10):
        run(100_000, seed).agree()
