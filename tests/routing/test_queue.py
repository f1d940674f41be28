"""Places and queues: never more than there are, fair shares, no wait past a deadline, nothing left by who has gone."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_cli.errors import BackendError, Overloaded, RateLimited
from proxy_cli.routing.fleet import Fleet, Operator
from proxy_cli.routing.queue import Figures, Places, queue_headers
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Backend, Deployment, Usage
from tests.fakes.turned_clock import TurnedLoop

BACKEND = Backend("http", "127.0.0.1", 9)
T = TypeVar("T")


def deployment(name: str = "a", **more: Any) -> Deployment:
    return Deployment(id=name, group="m", model=name, provider="openai", backend=BACKEND, **more)


def turned(work: Callable[[], Awaitable[T]]) -> T:
    """Do some work in time that is not waited for."""

    async def run() -> T:
        return await work()

    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        return runner.run(run())


class House:
    """Places with a real fleet, used as the gateway uses them. Owns what is under way and what was seen of it."""

    def __init__(self, **rules: Any) -> None:
        self.clock = asyncio.get_running_loop().time
        self.rules = Rules(**rules)
        self.fleet = Fleet(self.rules, clock=self.clock, random=Random(1))
        self.places = Places(self.fleet, self.rules, clock=self.clock, random=Random(2))
        self.served: list[str] = []  # callers, in the order in which they got a place
        self.starts: dict[str, list[float]] = {}
        self.most: Counter[str] = Counter()

    async def take(self, order: Sequence[Deployment], **more: Any) -> Deployment:
        """A place, begun at once in the fleet's count."""
        given = {"caller": "", "priority": 100, "deadline_s": float("inf"), "tokens": 0, **more}
        taken = self.places.take_now(order, given["tokens"]) or await self.places.take(order, **given)
        self.fleet.state(taken).begin()
        self.served.append(given["caller"])
        self.starts.setdefault(taken.id, []).append(self.clock())
        self.most[taken.id] = max(self.most[taken.id], self.fleet.state(taken).in_flight)
        return taken

    def give_back(self, taken: Deployment, tokens: int = 0) -> None:
        """As the gateway does at the end of an attempt."""
        state = self.fleet.state(taken)
        if tokens:
            state.used(Usage(prompt_tokens=tokens), 0.0)
        state.end()
        self.places.give_back(taken)

    async def call(self, order: Sequence[Deployment], hold_s: float, **more: Any) -> None:
        """A whole call."""
        taken = await self.take(order, **more)
        try:
            await asyncio.sleep(hold_s)
        finally:
            self.give_back(taken, more.get("tokens", 0))

    def looks(self) -> bool:
        """Whether the queues are looked at from time to time."""
        return self.places._poll is not None

    def is_empty(self) -> bool:
        """Whether nothing is left of any call."""
        return all(not each.held and not each.waiting for each in self.places.figures())


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_without_limits_there_is_always_a_place():
    """A deployment without limits is given at once, as often as it is asked for, and nothing is counted."""

    async def work() -> None:
        house = House()
        free = deployment()

        assert all(house.places.take_now([free], 10**9) is free for _ in range(1000))
        house.places.give_back(free)

        assert house.places.figures() == ()

    turned(work)


def test_the_first_with_a_free_place_is_taken():
    """Deployments are asked in their order; when all are full there is none, and a place given back is free."""

    async def work() -> None:
        house = House()
        one, two = deployment("one", max_parallel=1), deployment("two", max_parallel=2)

        taken = [house.places.take_now([one, two], 0) for _ in range(4)]

        assert taken == [one, two, two, None]
        house.places.give_back(two)
        assert house.places.take_now([one, two], 0) is two
        assert house.places.figures() == (Figures("one", 1, 0, 0.0), Figures("two", 2, 0, house.places.figures()[1][3]))

    turned(work)


def test_a_place_goes_to_the_one_who_waits_for_it():
    """Who waits gets the place that is given back, and nobody who comes later takes it before."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=1)
        await house.take([only])
        waiting = asyncio.create_task(house.take([only], caller="first"))
        await turns()
        assert house.places.waiting(only) == 1

        house.give_back(only)
        assert house.places.take_now([only], 0) is None
        await turns()

        assert waiting.done()
        assert house.places.waiting(only) == 0
        assert house.most == {"a": 1}

    turned(work)


def test_a_small_call_does_not_overtake_a_large_one_that_waits():
    """While a call waits for more tokens than are free, a later one that would fit waits behind it."""

    async def work() -> None:
        house = House(max_wait_s=3600)
        only = deployment(tpm=1000)
        await house.take([only], tokens=600)
        large = asyncio.create_task(house.take([only], tokens=600, caller="large"))
        await turns()

        assert house.places.take_now([only], 100) is None
        house.give_back(only)
        await large

        assert house.places.take_now([only], 100) is only

    turned(work)


def test_a_late_event_loop_gives_no_place_after_the_deadline():
    """A place that becomes free when a call's time is up, before its timer has run, is not given to that call."""

    async def work() -> None:
        house, now = House(), [100.0]
        places = Places(house.fleet, house.rules, clock=lambda: now[0])
        only = deployment(max_parallel=1)
        assert places.take_now([only], 0) is only
        late = asyncio.create_task(places.take([only], caller="", priority=0, deadline_s=105, tokens=0))
        await turns()

        now[0] = 105.5
        places.give_back(only)

        with pytest.raises(RateLimited):
            await late
        assert places.take_now([only], 0) is only

    turned(work)


@pytest.mark.parametrize("seed", range(3))
def test_two_places_and_fifty_callers_of_three_keys(seed: int):
    """Never more than two at once, a fair share for each key, no wait past a deadline; who leaves is gone at once."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=2)
        random = Random(seed)
        ends: Counter[str] = Counter()

        async def try_once(key: str) -> None:
            limit_s, leaves_s = 40.0, 10.0 if random.random() < 0.05 else None
            before = house.clock()
            try:
                async with asyncio.timeout(leaves_s):
                    taken = await house.take([only], caller=key, deadline_s=before + limit_s)
            except (RateLimited, TimeoutError) as failure:
                ends[type(failure).__name__] += 1
                assert house.clock() - before <= (leaves_s or limit_s) + 0.1
                return
            assert house.clock() - before <= limit_s + 0.1
            await asyncio.sleep(random.uniform(0.5, 1.5))
            house.give_back(taken)

        async def client(key: str) -> None:
            while True:
                await try_once(key)
                assert house.places.waiting(only) < 50

        clients = [asyncio.create_task(client(key)) for key in "a" * 35 + "b" * 10 + "c" * 5]
        await asyncio.sleep(300)
        for each in clients:
            each.cancel()
        results = await asyncio.gather(*clients, return_exceptions=True)

        assert all(isinstance(each, asyncio.CancelledError) for each in results)
        fair = len(house.served) / 3
        shares = Counter(house.served)
        assert house.most == {"a": 2}
        assert fair * 3 > 550, "a free place was left to nobody"
        assert all(abs(shares[key] - fair) <= fair / 10 for key in "abc")
        assert min(ends["RateLimited"], ends["TimeoutError"]) > 10, "nobody was late, or nobody left"
        assert house.places.waiting(only) == 0

    turned(work)


def test_weights_give_larger_shares():
    """A key of weight 2 gets two places where one of weight 1 gets one."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=1)
        calls = [house.call([only], 1, caller=key, weight=weight) for key, weight in (("a", 2), ("b", 1)) * 60]
        running = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(60.5)
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)

        assert abs(Counter(house.served)["a"] - 40) <= 2

    turned(work)


def test_nobody_waits_past_the_deadline():
    """Who has no place when the time is up is refused at that moment, with a wait, and is in no queue any more."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=1)
        await house.take([only])
        before = house.clock()

        with pytest.raises(RateLimited) as caught:
            await house.take([only], deadline_s=before + 7)

        assert 7 <= house.clock() - before < 7.1
        assert (caught.value.status, caught.value.code) == (429, "queue_timeout")
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s >= 1
        assert "'m'" in caught.value.message
        assert house.places.waiting(only) == 0

    turned(work)


def test_without_a_deadline_the_rules_end_a_wait():
    """A call without a time limit of its own waits as long as the rules say."""

    async def work() -> None:
        house = House(max_wait_s=33)
        only = deployment(max_parallel=1)
        await house.take([only])
        before = house.clock()

        with pytest.raises(RateLimited):
            await house.take([only])

        assert 33 <= house.clock() - before < 33.1

    turned(work)


def test_queues_can_be_off():
    """Then a call without a place is refused at once, with the time after which to come again."""

    async def work() -> None:
        house = House(queues=False)
        only = deployment(max_parallel=1)
        await house.call([only], 8)
        await house.take([only])
        before = house.clock()

        with pytest.raises(RateLimited) as caught:
            await house.take([only])

        assert house.clock() - before < 0.1
        assert caught.value.code == "deployment_full"
        assert caught.value.retry_after_s == pytest.approx(8, rel=0.1)

    turned(work)


def test_a_queue_has_an_end():
    """One more than may wait is refused at once, and told how long the queue is likely to take."""

    async def work() -> None:
        house = House(most_queued=3)
        only = deployment(max_parallel=1)
        await house.call([only], 2)
        await house.take([only])
        waiting = [asyncio.create_task(house.take([only])) for _ in range(3)]
        await turns()

        with pytest.raises(RateLimited, match="no more than 3 may wait") as caught:
            await house.take([only])

        assert caught.value.code == "queue_full"
        assert caught.value.retry_after_s == pytest.approx(8, rel=0.1)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    turned(work)


def test_all_queues_together_have_an_end():
    """Those who wait for full deployments leave something of the process for all others."""

    async def work() -> None:
        house = House(most_waiting=2)
        full = [deployment(name, max_parallel=1) for name in "abc"]
        for each in full:
            await house.take([each])
        waiting = [asyncio.create_task(house.take([each])) for each in full[:2]]
        await turns()

        with pytest.raises(RateLimited, match="2 calls wait for places already") as caught:
            await house.take([full[2]])
        waiting[0].cancel()
        await turns()
        last = asyncio.create_task(house.take([full[2]]))
        await turns()

        assert caught.value.code == "queue_full"
        assert house.places.waiting(full[2]) == 1
        for task in (*waiting, last):
            task.cancel()
        await asyncio.gather(*waiting, last, return_exceptions=True)

    turned(work)


def test_a_caller_who_leaves_is_gone_at_once():
    """A wait that is cancelled is in no queue any more, and its place in the line is the next one's."""

    async def work() -> None:
        house = House()
        both = [deployment("a", max_parallel=1), deployment("b", max_parallel=1)]
        await house.take(both)
        await house.take(both)
        leaving = asyncio.create_task(house.take(both))
        staying = asyncio.create_task(house.take(both))
        await turns()

        leaving.cancel()
        await turns()

        assert [house.places.waiting(each) for each in both] == [1, 1]
        house.give_back(both[1])
        await turns()
        assert staying.done()

    turned(work)


def test_a_place_given_to_one_who_leaves_goes_to_the_next():
    """A caller who leaves in the very moment in which it gets a place does not keep it."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=1)
        await house.take([only])
        leaving = asyncio.create_task(house.take([only]))
        staying = asyncio.create_task(house.take([only]))
        await turns()

        house.give_back(only)
        leaving.cancel()
        await turns()

        assert leaving.cancelled()
        assert staying.done()
        house.give_back(only)
        assert house.is_empty()

    turned(work)


def test_whichever_deployment_is_free_first_is_taken():
    """A call waits for several deployments at once, and is in no other's queue when it has one."""

    async def work() -> None:
        house = House()
        both = [deployment("a", max_parallel=1), deployment("b", max_parallel=1)]
        await house.take(both)
        await house.take(both)
        waiting = asyncio.create_task(house.take(both))
        await turns()

        house.give_back(both[1])

        assert await waiting is both[1]
        assert [house.places.waiting(each) for each in both] == [0, 0]

    turned(work)


def test_requests_of_a_minute_are_waited_for():
    """Within any sixty seconds no more calls begin than rpm allows; who waits begins when the minute has passed."""

    async def work() -> None:
        house = House(max_wait_s=3600)
        only = deployment(rpm=10)

        await asyncio.gather(*(house.call([only], 1) for _ in range(35)))

        starts = house.starts["a"]
        assert len(starts) == 35
        assert all(later - first >= 60 for first, later in zip(starts, starts[10:], strict=False))
        assert starts[-1] - starts[0] < 300

    turned(work)


def test_tokens_of_a_minute_are_waited_for():
    """What is under way is counted by its estimate, what has ended by its usage; a call larger than all waits alone."""

    async def work() -> None:
        house = House(max_wait_s=3600)
        only = deployment(tpm=1000)
        ends: list[float] = []

        async def call(tokens: int) -> None:
            await house.call([only], 1, tokens=tokens)
            ends.append(house.clock())

        before = house.clock()
        calls = [asyncio.create_task(call(tokens)) for tokens in (400, 400, 400, 5000)]
        await asyncio.sleep(1.5)
        assert len(ends) == 2
        await asyncio.gather(*calls)

        assert ends[2] - before > 15
        assert ends[3] - ends[2] > 15

    turned(work)


def test_a_turn_that_certainly_comes_too_late_is_refused_at_once():
    """When the minute's requests are used up until after the deadline there is no use in waiting."""

    async def work() -> None:
        house = House()
        only = deployment(rpm=2)
        await house.call([only], 1)
        await house.call([only], 1)
        before = house.clock()

        with pytest.raises(RateLimited) as caught:
            await house.take([only], deadline_s=before + 30)

        assert house.clock() - before < 0.1
        assert caught.value.retry_after_s == pytest.approx(58, abs=0.5)
        assert house.places.waiting(only) == 0

    turned(work)


@pytest.mark.parametrize(("limits", "said"), [({"tpm": 100}, "tpm 100"), ({"rpm": 1, "max_parallel": 3}, "rpm 1")])
def test_what_all_processes_have_used_is_refused_at_once_too(limits: dict[str, Any], said: str):
    """Where the minute's tokens are used up until after the deadline; the refusal names the limits and one wait."""

    async def work() -> None:
        house = House()
        only = deployment(**limits)
        state = house.fleet.state(only)
        state.begin()  # as another process would: no place of this one was taken for it
        state.used(Usage(prompt_tokens=100), 0.0)
        state.end()
        before = house.clock()

        with pytest.raises(RateLimited) as caught:
            await house.take([only], deadline_s=before + 1, tokens=80)

        assert house.clock() - before < 0.1
        assert caught.value.retry_after_s is not None
        assert said in str(caught.value)
        assert f"try again in {ceil(caught.value.retry_after_s)} s" in str(caught.value)
        assert 1 < caught.value.retry_after_s <= 120

    turned(work)


def test_limits_of_several_deployments_are_told_as_a_span():
    """A refusal says from what to what they go."""

    async def work() -> None:
        house = House(queues=False)
        order = [deployment(name, max_parallel=number) for number, name in enumerate("ab", 1)]
        for _ in range(3):
            await house.take(order)

        with pytest.raises(RateLimited, match=r"max_parallel_requests 1 to 2\)"):
            await house.take(order)

    turned(work)


def test_a_rest_is_waited_for_too():
    """While a deployment rests nobody who waits is sent to it; after the rest one goes ahead of the others."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=4)
        taken = [await house.take([only]) for _ in range(4)]
        waiting = [asyncio.create_task(house.take([only])) for _ in range(4)]
        await turns()
        house.fleet.state(only).failed(BackendError(429, "slow down", retry_after_s=10))
        before = house.clock()

        for each in taken:
            house.give_back(each)
        await asyncio.sleep(9)
        assert not any(each.done() for each in waiting)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

        assert 10 <= house.clock() - before < 13
        assert sum(each.done() for each in waiting) == 1
        house.fleet.state(only).succeeded(waited_s=1, stream=False)
        house.give_back(only)
        await asyncio.gather(*waiting)

    turned(work)


def test_the_least_bad_of_those_that_rest_is_waited_for_all_the_same():
    """A call that came when all rested waits for a place alone."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=1)
        await house.take([only])
        house.fleet.state(only).failed(BackendError(429, "slow down", retry_after_s=100))
        waiting = asyncio.create_task(house.take([only]))
        await turns()

        house.give_back(only)
        await turns()

        assert waiting.done()

    turned(work)


def test_a_deployment_that_is_drained_lets_its_queue_go():
    """Who waits for others too stays in their queues; who waits for it alone is told."""

    async def work() -> None:
        house = House()
        drained, other = deployment("a", max_parallel=1), deployment("b", max_parallel=1)
        await house.take([drained])
        await house.take([other])
        alone = asyncio.create_task(house.take([drained]))
        both = asyncio.create_task(house.take([drained, other]))
        await turns()

        house.fleet.set_operator("a", Operator.DRAINING, None)
        with pytest.raises(Overloaded, match="taken out of service"):
            await alone

        assert [house.places.waiting(each) for each in (drained, other)] == [0, 1]
        house.give_back(other)
        assert await both is other

    turned(work)


def test_a_caller_is_told_its_position_and_its_wait():
    """Position by the order of turns, the wait from the time that a place is held."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=2)
        await house.call([only], 6)
        await house.take([only])
        await house.take([only])
        told: list[tuple[int, float]] = []

        def note(position: int, wait_s: float) -> None:
            told.append((position, wait_s))

        waiting = [asyncio.create_task(house.take([only], caller=key, told=note)) for key in "aaab"]
        await turns()

        assert [position for position, _ in told] == [1, 2, 3, 2]
        assert [wait_s for _, wait_s in told] == pytest.approx([3, 6, 9, 6], rel=0.01)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    turned(work)


def test_the_headers_of_a_wait():
    """A whole number, and seconds with milliseconds."""
    assert queue_headers(3, 1.25) == (("x-llmproxy-queue-position", "3"), ("x-llmproxy-queue-wait", "1.250"))


def test_a_process_that_ends_refuses_who_waits():
    """All who wait are told, and nothing is left to be looked at."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=1)
        await house.take([only])
        waiting = [asyncio.create_task(house.take([only])) for _ in range(3)]
        await turns()

        house.places.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert [getattr(each, "code", "") for each in results] == ["shutting_down"] * 3
        assert not house.looks()
        house.give_back(only)
        assert house.is_empty()

    turned(work)


def test_nothing_is_looked_at_while_nobody_waits():
    """The poll runs for as long as somebody waits, and not longer."""

    async def work() -> None:
        house = House()
        only = deployment(max_parallel=1)
        await house.take([only])
        assert not house.looks()
        waiting = asyncio.create_task(house.take([only]))
        await asyncio.sleep(1)
        assert house.looks()

        house.give_back(only)
        await waiting
        await asyncio.sleep(0.1)

        assert not house.looks()

    turned(work)


def test_deployments_that_are_gone_are_forgotten():
    """After a reload, once nothing is under way; those that stay keep their figures."""

    async def work() -> None:
        house = House()
        old, new = deployment("old", max_parallel=1), deployment("new", max_parallel=1)
        await house.take([old])
        await house.call([new], 1)

        house.places.keep({"new"})
        assert [each.id for each in house.places.figures()] == ["old", "new"]
        house.give_back(old)
        house.places.keep({"new"})

        assert [each.id for each in house.places.figures()] == ["new"]

    turned(work)


CALLS = st.tuples(
    st.floats(0, 20),  # when it comes
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([(0,), (1,), (0, 1), (1, 0), (2,), (0, 2)]),  # which deployments
    st.floats(0.1, 5),  # how long it holds a place
    st.one_of(st.none(), st.floats(0.5, 30)),  # its time limit
    st.one_of(st.none(), st.floats(0.1, 20)),  # when it leaves
    st.integers(0, 255),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=25))
def test_whatever_comes_and_goes_the_rules_hold(calls: list[Any]):
    """Never more than the limit at once; a result by the deadline for all; no place free while one waits; none kept."""

    async def work() -> None:
        house = House()
        all_of_them = [deployment("0", max_parallel=1), deployment("1", max_parallel=2), deployment("2", rpm=3)]

        async def one(
            comes_s: float,
            caller: str,
            which: tuple[int, ...],
            hold_s: float,
            limit_s: float | None,
            leaves_s: float | None,
            priority: int,
        ) -> None:
            await asyncio.sleep(comes_s)
            order = [all_of_them[each] for each in which]
            ends_s = house.clock() + limit_s if limit_s else float("inf")
            given = {"caller": caller, "priority": priority, "deadline_s": ends_s}
            try:
                async with asyncio.timeout(leaves_s):
                    taken = await house.take(order, **given)
            except (RateLimited, TimeoutError):
                return
            finally:
                assert house.clock() <= ends_s + 0.1
            await asyncio.sleep(hold_s)
            house.give_back(taken)

        running = [asyncio.create_task(one(*call)) for call in calls]
        while not all(each.done() for each in running):
            await asyncio.sleep(0.5)
            found = {each.id: each for each in house.places.figures()}
            for name, limit in (("0", 1), ("1", 2)):
                assert name not in found or found[name].held == limit or not found[name].waiting
        await asyncio.gather(*running)

        assert house.most["0"] <= 1
        assert house.most["1"] <= 2
        starts = house.starts.get("2", [])
        assert all(later - first >= 60 for first, later in zip(starts, starts[3:], strict=False))
        assert house.is_empty()
        assert not house.places._waiting

    turned(work)


def test_a_pause_lasts_its_time_and_a_call_that_leaves_ends_it():
    """Nothing is left of either."""

    async def work() -> None:
        house = House()
        before_s = house.clock()
        leaving = asyncio.create_task(house.places.pause(60))
        await turns()

        leaving.cancel()
        await house.places.pause(5)

        assert house.clock() - before_s == pytest.approx(5, abs=0.1)
        assert leaving.cancelled()
        house.places.close()

    turned(work)


def test_the_end_of_the_process_ends_pauses_and_begins_none():
    """A call that waits before it is tried again is told why it is not."""

    async def work() -> None:
        house = House()
        before_s = house.clock()
        pausing = asyncio.create_task(house.places.pause(60))
        await turns()

        house.places.close()

        for each in (pausing, house.places.pause(60)):
            with pytest.raises(Overloaded) as caught:
                await each
            assert caught.value.code == "shutting_down"
        assert house.clock() - before_s < 1

    turned(work)
