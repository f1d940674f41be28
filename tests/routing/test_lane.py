"""One deployment's places: what is taken, by which limit there is none, and how soon the next one comes."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.routing.lane import Lane, Waiter
from proxy_cli.routing.neighbours import Neighbours
from proxy_cli.shapes import Backend, Deployment
from proxy_cli.shared import Shared

BACKEND = Backend("http", "127.0.0.1", 9)


class Said:
    """A load that is what the test says."""

    def __init__(self, *, in_flight: int = 0, elsewhere: int = 0, requests: float = 0, tokens: float = 0) -> None:
        self.in_flight = in_flight
        self.elsewhere = elsewhere
        self.requests = requests
        self.tokens = tokens

    def all_in_flight(self) -> int:
        return self.in_flight + self.elsewhere

    def requests_in_minute(self) -> float:
        return self.requests

    def tokens_in_minute(self) -> float:
        return self.tokens

    def has_turn_s(self, requests: int) -> float:
        return 30.0 if self.requests > requests else 0.0

    def has_tokens_s(self, tokens: int) -> float:
        return 40.0 if self.tokens > tokens else 0.0


def deployment(**more: Any) -> Deployment:
    return Deployment(id="a", group="m", model="m", provider="openai", backend=BACKEND, **more)


def waiter(number: int) -> Waiter:
    place = asyncio.get_running_loop().create_future()
    return Waiter(
        caller="", weight=1, due_s=0, number=number, deployments={}, tokens=0, despite_rest=False, ends_s=9, place=place
    )


@pytest.mark.parametrize(
    ("limits", "load", "free"),
    [
        ({"max_parallel": 2}, Said(), True),
        ({"max_parallel": 2}, Said(in_flight=2), False),  # begun before there was a limit
        ({"max_parallel": 2}, Said(elsewhere=2), False),
        ({"max_parallel": 2}, Said(in_flight=1, elsewhere=1), False),
        ({"rpm": 5}, Said(requests=4), True),
        ({"rpm": 5}, Said(requests=4.9), True),
        ({"rpm": 5}, Said(requests=5), False),
        ({"rpm": 0}, Said(), False),
        ({"tpm": 100}, Said(tokens=90), True),
        ({"tpm": 100}, Said(tokens=91), False),
        ({"max_parallel": 9, "rpm": 9, "tpm": 100}, Said(tokens=91), False),
    ],
)
def test_every_limit_counts(limits: dict[str, int], load: Said, free: bool):
    """There is a place when one more call, of ten tokens, is within each of the limits."""
    assert Lane("a").take(deployment(**limits), load, 10, 0.0) is free


class Racing(Said):
    """A load to which another process adds a call right after it was first looked at."""

    def all_in_flight(self) -> int:
        found, self.elsewhere = super().all_in_flight(), 1
        return found


def test_a_place_that_another_process_takes_in_the_same_moment_is_given_back():
    """Of two that take the last place at once, the one that finds the other there has none."""
    row = Neighbours(Shared(slots=1, slot_bytes=4096)).row("a")
    lane = Lane("a", row)

    assert not lane.take(deployment(max_parallel=1), Racing(), 0, 0.0)
    assert lane.held == 0
    assert Lane("a").take(deployment(max_parallel=1), Racing(), 0, 0.0), "alone, nobody looks twice"


def test_what_has_not_begun_yet_counts():
    """Places that were taken in the same moment count before the fleet has heard of their calls."""
    parallel, minute, tokens = Lane("a"), Lane("a"), Lane("a")

    assert [parallel.take(deployment(max_parallel=2), Said(), 0, 0.0) for _ in range(3)] == [True, True, False]
    assert [minute.take(deployment(rpm=3), Said(requests=1), 0, 0.0) for _ in range(3)] == [True, True, False]
    assert [tokens.take(deployment(tpm=100), Said(), 50, 0.0) for _ in range(3)] == [True, True, False]


def test_a_request_that_has_begun_counts_once():
    """What is under way is in the fleet's minute already, and is not added to it."""
    lane, limited = Lane("a"), deployment(rpm=3)
    assert lane.take(limited, Said(), 0, 0.0)

    assert lane.take(limited, Said(in_flight=1, requests=2), 0, 0.0)


def test_a_minute_ends_after_sixty_seconds():
    """The start of a call makes room exactly a minute later, and not before."""
    lane, limited = Lane("a"), deployment(rpm=1)
    lane.take(limited, Said(), 0, 10.0)
    lane.give_back(11.0)

    assert lane.opens_s(limited, Said(), 0, 20.0) == 70.0
    assert not lane.take(limited, Said(), 0, 69.9)
    assert lane.take(limited, Said(), 0, 70.0)


@pytest.mark.parametrize(
    ("limits", "load", "opens_s"),
    [
        ({"max_parallel": 2}, Said(in_flight=2), 20.0),
        ({"rpm": 5}, Said(requests=4), 20.0),
        ({"rpm": 5}, Said(requests=5), 30.0),
        ({"rpm": 0}, Said(), float("inf")),
        ({"tpm": 100}, Said(tokens=90), 20.0),
        ({"tpm": 100}, Said(tokens=91), 40.0),
        ({"rpm": 5, "tpm": 100}, Said(requests=5, tokens=91), 40.0),
    ],
)
def test_no_place_is_certain_before_all_limits_may_hold(limits: dict[str, int], load: Said, opens_s: float):
    """What all processes have used in the minute says when a call of ten tokens may have a place at the earliest."""
    assert Lane("a").opens_s(deployment(**limits), load, 10, 20.0) == opens_s


def test_a_call_larger_than_its_limit_is_expected_as_if_it_filled_it():
    """It passes once nothing else is counted, which takes a minute and not the minutes that its tokens would be."""
    assert Lane("a").pace_s(deployment(tpm=5), 500, 0.0) == 60.0


def test_a_place_that_was_not_used_leaves_no_trace():
    """Undone, it counts neither as taken nor as a request, and its tokens are free."""
    lane, limited = Lane("a"), deployment(max_parallel=1, rpm=1, tpm=10)
    lane.take(limited, Said(), 10, 0.0)

    lane.undo()

    assert (lane.held, lane.hold_s) == (0, 0.0)
    assert lane.take(limited, Said(), 10, 0.0)


def test_giving_back_more_than_was_taken_changes_nothing():
    """A place that nobody had is no place."""
    lane, limited = Lane("a"), deployment(max_parallel=1)

    lane.give_back(1.0)

    assert [lane.take(limited, Said(), 0, 2.0) for _ in range(2)] == [True, False]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500)), max_size=30))
def test_what_was_taken_and_given_back_is_all_free(calls: list[tuple[int, int]]):
    """However places of different sizes come and go, in the end none is taken and no token is reserved."""
    lane, limited = Lane("a"), deployment(tpm=1000)
    taken = sum(lane.take(limited, Said(), tokens, float(moment)) for moment, tokens in calls)

    for _ in range(taken):
        lane.give_back(100.0)

    assert lane.held == 0
    assert lane.take(limited, Said(), 1000, 100.0)


def test_the_time_a_place_is_held_is_learned():
    """The average comes near to what calls take now, from any number of calls under way at once."""
    lane, limited = Lane("a"), deployment(max_parallel=4)
    for moment in range(100):
        lane.take(limited, Said(), 0, float(moment))
        if moment >= 3:
            lane.give_back(moment + 0.5)

    assert lane.hold_s == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_parallel": 4}, 2.0),  # four places, each held for eight seconds
        ({"max_parallel": 4, "rpm": 10}, 6.0),
        ({"max_parallel": 4, "tpm": 1000}, 12.0),  # 200 tokens
    ],
)
def test_the_pace_of_a_line_is_that_of_its_tightest_limit(limits: dict[str, int], expected: float):
    """Seconds from one turn to the next, by places, requests or tokens."""
    lane, limited = Lane("a"), deployment(**limits)
    lane.take(limited, Said(), 0, 0.0)
    lane.give_back(8.0)

    assert lane.pace_s(limited, 200, 8.0) == expected


def test_where_nothing_was_given_back_yet_the_pace_is_guessed():
    """A second, or as long as the oldest call has been under way."""
    lane, limited = Lane("a"), deployment(max_parallel=1)
    assert lane.pace_s(limited, 0, 0.0) == 1.0

    lane.take(limited, Said(), 0, 0.0)

    assert lane.pace_s(limited, 0, 30.0) == 30.0


async def test_a_lane_knows_who_waits():
    """Its line is a fair one."""
    lane = Lane("a")
    first, second = waiter(1), waiter(2)
    lane.fair.add(second)
    lane.fair.add(first)

    assert lane.fair.first() is first
    assert second in lane.fair
