"""A second try beside a slow first one: the better answer, and nothing left behind."""

import asyncio

import pytest

from proxy_cli.errors import BackendError
from proxy_cli.hedge import Hedge


class Answer:
    """What is raced for."""

    def __init__(self, name):
        self.name = name
        self.closed = False

    def close(self):
        self.closed = True


class Tries:
    """Tries that take their time; what became of them is kept."""

    def __init__(self):
        self.answers = {}
        self.cancelled = []

    async def ask(self, name, takes_s, failure=None):
        try:
            await asyncio.sleep(takes_s)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        if failure is not None:
            raise failure
        answer = self.answers[name] = Answer(name)
        return answer


async def test_a_quick_first_try_stays_alone():
    """The second is not even begun."""
    tries, hedge = Tries(), Hedge(1.0)

    answer = await hedge.race(tries.ask("a", 0), lambda: tries.ask("b", 0), 5)

    assert (answer.name, hedge.second_tries) == ("a", 0)


async def test_a_slow_first_try_loses_and_is_cancelled():
    """Nobody works for nothing."""
    tries, hedge = Tries(), Hedge(1.0)

    answer = await hedge.race(tries.ask("a", 60), lambda: tries.ask("b", 0), 0.01)
    await asyncio.sleep(0)

    assert (answer.name, tries.cancelled, answer.closed) == ("b", ["a"], False)


async def test_a_second_try_that_fails_changes_nothing():
    """The first has its time."""
    tries = Tries()

    answer = await Hedge(1.0).race(tries.ask("a", 0.05), lambda: tries.ask("b", 0, BackendError(500, "no")), 0.01)

    assert answer.name == "a"


async def test_two_failures_are_the_first_one():
    """It is the one that the caller's attempts go by."""
    tries = Tries()

    with pytest.raises(BackendError, match="first"):
        await Hedge(1.0).race(
            tries.ask("a", 0.03, BackendError(500, "first")),
            lambda: tries.ask("b", 0, BackendError(500, "second")),
            0.01,
        )


async def test_second_tries_are_a_small_share_of_calls():
    """3 in 100, however slow the servers are."""
    tries, hedge = Tries(), Hedge(0.03)

    for _ in range(100):
        await hedge.race(tries.ask("a", 0.002), lambda: tries.ask("b", 0), 0)

    assert hedge.second_tries == 3


async def test_calls_that_are_just_late_leave_second_tries_for_those_that_stall():
    """Three are kept for calls that are four times as late as the usual ones."""
    tries, hedge = Tries(), Hedge(0.5)

    for _ in range(10):
        await hedge.race(tries.ask("a", 0.03), lambda: tries.ask("b", 60), 0.02)
    before = hedge.second_tries
    answer = await hedge.race(tries.ask("a", 60), lambda: tries.ask("b", 0), 0.02)

    assert (before, hedge.second_tries, answer.name) == (2, 3, "b")


async def test_a_caller_who_leaves_ends_both():
    """No try goes on without anybody who waits."""
    tries = Tries()
    race = asyncio.create_task(Hedge(1.0).race(tries.ask("a", 60), lambda: tries.ask("b", 60), 0.01))
    await asyncio.sleep(0.05)

    race.cancel()
    await asyncio.gather(race, return_exceptions=True)
    await asyncio.sleep(0)

    assert sorted(tries.cancelled) == ["a", "b"]
