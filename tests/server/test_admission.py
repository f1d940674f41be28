"""Admission: bounded, first come first served, honest about how long to wait, with a reserve for operators."""

import asyncio
import time
from contextlib import contextmanager
from typing import Any

import pytest

from proxy_cli.errors import Overloaded
from proxy_cli.server.admission import Admission, AdmissionLimits
from proxy_cli.telemetry.metrics import Metrics
from tests.telemetry.test_exposition import samples


def admission(**limits: Any) -> Admission:
    return Admission(AdmissionLimits(**limits), Metrics())


def shed(places: Admission) -> dict[str, float]:
    found = samples(places._metrics.exposition())
    return {key[2]: value for key, value in found.items() if key[0] == "llmproxy_requests_shed_total"}


@contextmanager
def refused(reason: str, places: Admission):
    """The block is refused, with a wait, and counted under its reason."""
    with pytest.raises(Overloaded) as caught:
        yield
    assert caught.value.retry_after_s == 1
    assert caught.value.status == 503
    assert shed(places)[reason] == 1


def test_places_are_taken_and_given_back():
    """As many as there are places come in, and one more for each that leaves."""
    places = admission(in_flight=2)

    assert [places.try_enter() for _ in range(3)] == [True, True, False]
    places.leave()
    assert places.try_enter()
    assert places.in_flight == 2


def test_a_reserve_is_kept_for_health_and_admin():
    """When all is full an operator still gets in; not without bound."""
    places = admission(in_flight=40)
    while places.try_enter():
        pass

    reserved = [places.try_enter(reserved=True) for _ in range(5)]

    assert reserved == [True, True, False, False, False]
    places.leave()
    assert not places.try_enter(), "the places of the reserve are not for everyone"


async def test_who_waits_is_served_in_the_order_of_coming():
    """A place that is given back goes to whoever has waited longest, and nobody overtakes."""
    places = admission(in_flight=1)
    assert places.try_enter()
    served: list[int] = []

    async def come(number: int) -> None:
        await places.wait()
        served.append(number)

    waiting = [asyncio.create_task(come(number)) for number in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        places.leave()
        assert not places.try_enter()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert served == list(range(number + 1))
    places.leave()
    await asyncio.gather(*waiting)

    assert places.in_flight == 0


async def test_nobody_waits_longer_than_the_limit():
    """Who gets no place in time is refused, and leaves nothing behind in the queue."""
    places = admission(in_flight=1, wait_s=0.02)
    assert places.try_enter()

    with refused("queue", places):
        await places.wait()

    places.leave()
    assert places.in_flight == 0
    assert places.try_enter()


async def test_a_full_queue_refuses_at_once():
    """No more than so many wait."""
    places = admission(in_flight=1, queued=1, wait_s=5)
    assert places.try_enter()
    waiting = asyncio.create_task(places.wait())
    await asyncio.sleep(0)

    with refused("full", places):
        await places.wait()

    places.leave()
    await waiting


async def test_a_caller_who_leaves_the_queue_takes_no_place():
    """A wait that is cancelled, before or after its turn has come, leaves the place for the next."""
    places = admission(in_flight=1, wait_s=5)
    assert places.try_enter()
    first, second, third = (asyncio.create_task(places.wait()) for _ in range(3))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    places.leave()
    second.cancel()  # its turn has come, and it does not know yet
    await asyncio.wait_for(third, 1)

    places.leave()
    assert places.in_flight == 0
    assert all(each.cancelled() for each in (first, second))


async def test_a_stream_that_has_begun_gives_its_place_back():
    """It counts among the streams, which have a bound of their own."""
    places = admission(in_flight=1, streams=1)
    assert places.try_enter()

    assert places.begin_stream()
    assert places.try_enter()
    assert not places.begin_stream()
    assert (places.in_flight, places.streams) == (1, 1)

    places.end_stream()
    assert (places.in_flight, places.streams) == (1, 0)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_late_event_loop_refuses_newcomers_until_it_has_caught_up():
    """With a crowd inside and the loop behind, more work helps nobody; the reserve stays, and places come back."""
    places = admission(in_flight=40, lag_s=0.05)
    places.start()
    for _ in range(10):
        assert places.try_enter()

    time.sleep(0.3)  # noqa: ASYNC251 - holding up the loop is what this is about
    await until(lambda: places.lag_s > 0.05)
    assert not places.try_enter()
    assert places.try_enter(reserved=True)
    with refused("lag", places):
        await places.wait()
    assert samples(places._metrics.exposition())["llmproxy_event_loop_lag_seconds",] > 0.05

    await until(places.try_enter)
    places.stop()


async def test_places_that_come_back_go_to_those_who_wait():
    """After being late a process takes on more at each look, first those who have waited."""
    places = admission(in_flight=20, lag_s=0.05, wait_s=5)
    places.start()
    while places.try_enter():
        pass

    time.sleep(0.3)  # noqa: ASYNC251
    await until(lambda: places.lag_s > 0.05)
    for _ in range(6):
        places.leave()
    await until(lambda: places.lag_s < 0.05)
    waiting = asyncio.create_task(places.wait())

    await asyncio.wait_for(waiting, 5)
    assert places.in_flight <= 20
    places.stop()


async def test_a_process_that_stood_still_without_requests_refuses_nobody():
    """Late for another reason than its requests: a machine that was asleep."""
    places = admission(in_flight=40, lag_s=0.05)
    places.start()

    time.sleep(0.3)  # noqa: ASYNC251
    await until(lambda: places.lag_s > 0.05)

    assert places.try_enter()
    places.stop()


async def test_the_state_is_told():
    """How much is under way and may be, without being asked for each request."""
    places = admission(in_flight=5)
    places.try_enter()
    places.try_enter()
    places.begin_stream()
    places.start()

    found = samples(places._metrics.exposition())

    assert found["litellm_in_flight_requests",] == 2
    assert found["llmproxy_streams",] == 1
    assert found["llmproxy_requests_limit",] == 5
    places.stop()


async def test_the_end_refuses_those_who_wait():
    """A server that stops leaves nobody waiting."""
    places = admission(in_flight=1, wait_s=5)
    places.try_enter()
    waiting = asyncio.create_task(places.wait())
    await asyncio.sleep(0)

    places.stop()

    with pytest.raises(Overloaded):
        await waiting
