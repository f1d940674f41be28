"""The order of a queue: callers take turns by weight, the urgent and the old first, and nobody is kept away."""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.routing.fair import Fair, Ticket, due_s


class Line:
    """A queue and what is asked of it, as its user does."""

    def __init__(self) -> None:
        self.fair: Fair[Ticket] = Fair()
        self._numbers = count()

    def add(self, caller: str, *, weight: float = 1.0, priority: int = 0, arrived_s: float = 0.0) -> Ticket:
        ticket = Ticket(caller=caller, weight=weight, due_s=due_s(arrived_s, priority), number=next(self._numbers))
        self.fair.add(ticket)
        return ticket

    def turn(self) -> Ticket:
        ticket = self.fair.first()
        assert ticket is not None
        self.fair.serve(ticket)
        return ticket

    def turns(self, number: int) -> list[Ticket]:
        return [self.turn() for _ in range(number)]


def callers(tickets: Sequence[Ticket]) -> str:
    return "".join(ticket.caller for ticket in tickets)


def test_callers_take_turns_however_many_calls_each_has():
    """One who sends many calls at once does not go before another who comes later with one."""
    line = Line()
    for caller in "aaaaabbc":
        line.add(caller)

    assert callers(line.turns(8)) == "abcabaaa"
    assert line.fair.first() is None
    assert len(line.fair) == 0


def test_turns_come_in_proportion_to_weights():
    """A caller of weight 3 has three turns while one of weight 1 has one."""
    line = Line()
    for _ in range(100):
        line.add("a", weight=3)
        line.add("b")

    assert Counter(callers(line.turns(80))) == {"a": 60, "b": 20}


def test_a_caller_who_was_away_has_saved_nothing_up():
    """Who comes after others have waited long shares from then on; he does not get all turns until he is even."""
    line = Line()
    for _ in range(40):
        line.add("a")
    line.turns(20)
    for _ in range(20):
        line.add("b")

    assert Counter(callers(line.turns(10))) == {"a": 5, "b": 5}


@pytest.mark.parametrize(("weight", "turns"), [(1.0, 10), (0.2, 2)])
def test_leaving_and_coming_again_wins_no_turns(weight: float, turns: int):
    """A caller whose calls come one at a time, each after the turn of the one before, gets no more than its share."""
    line = Line()
    line.add("z", weight=weight)
    for caller in "abcdefghi" * 20:
        line.add(caller)
    served = Counter[str]()
    while served["a"] < 10:
        ticket = line.turn()
        served[ticket.caller] += 1
        if ticket.caller == "z":
            line.add("z", weight=weight)

    assert abs(served["z"] - turns) <= 1


def test_many_names_keep_nobody_away():
    """A caller gets turns though every other turn's caller is one that nobody has seen before."""
    line = Line()
    for _ in range(50):
        line.add("me")
    names = (f"new {number}" for number in count())
    for _ in range(10):
        line.add(next(names))
    served = Counter[str]()
    for _ in range(220):
        served[line.turn().caller] += 1
        line.add(next(names))
        while len(line.fair) < 20:
            line.add(next(names))

    assert served["me"] >= 5


def test_what_is_remembered_is_bounded():
    """Callers that do not come again are forgotten, all of them when nobody waits."""
    line = Line()
    line.add("patient", weight=0.001)
    line.turn()
    line.add("patient", weight=0.001)
    for number in range(5000):
        line.add("patient", weight=0.001)
        line.add(f"{number}")
        line.turn()

    assert len(line.fair._idle) <= 1024
    assert len(line.fair._next) < 100
    for ticket in list(line.fair):
        line.fair.remove(ticket)
    assert not line.fair._idle
    assert not line.fair._next


def test_a_lower_priority_number_goes_first_within_a_caller():
    """Of calls that came together the one with the lower number goes first, equal ones in the order of coming."""
    line = Line()
    order = [line.add("a", priority=priority).number for priority in (100, 0, 255, 0)]

    assert [ticket.number for ticket in line.turns(4)] == [order[1], order[3], order[0], order[2]]


def test_priority_does_not_cross_callers():
    """A caller who calls everything urgent takes no turn of another."""
    line = Line()
    for _ in range(4):
        line.add("a", priority=0)
        line.add("b", priority=255)

    assert Counter(callers(line.turns(4))) == {"a": 2, "b": 2}


def test_waiting_makes_up_for_priority():
    """A call of the lowest priority goes before an urgent one that comes after it has waited for 255 seconds."""
    line = Line()
    patient = line.add("a", priority=255, arrived_s=0)
    urgent = line.add("a", priority=0, arrived_s=254.5)
    late = line.add("a", priority=0, arrived_s=255.5)

    assert line.turns(3) == [urgent, patient, late]


def test_a_ticket_that_leaves_is_gone():
    """It has no turn any more, and leaving twice or without having come changes nothing."""
    line, other = Line(), Line()
    first, second = line.add("a"), line.add("a")
    foreign = other.add("a")

    assert line.fair.remove(first)
    assert not line.fair.remove(first)
    assert not line.fair.remove(foreign)
    assert line.turns(1) == [second]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 255), st.integers(0, 300)), min_size=1, max_size=40),
    st.integers(0, 20),
)
def test_a_position_is_the_number_of_the_turn(calls: list[tuple[str, int, int]], served_before: int):
    """Told at any moment, a position is the turn that comes when nobody else comes or leaves."""
    line, weights = Line(), {"a": 1.0, "b": 2.0, "c": 0.5, "d": 4.0}
    for caller, priority, arrived in calls:
        line.add(caller, weight=weights[caller], priority=priority, arrived_s=arrived)
    line.turns(min(served_before, len(calls)))

    told = {ticket.number: line.fair.position(ticket) for ticket in line.fair}
    turns = {ticket.number: number for number, ticket in enumerate(line.turns(len(line.fair)), 1)}

    assert told == turns


@given(st.integers(0, 2**32), st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_while_all_have_calls_waiting_nobody_is_ahead(seed: int, sizes: list[int]):
    """Whatever the order of coming, two callers of equal weight that both still wait differ by one turn at most."""
    line = Line()
    coming = [caller for caller, size in enumerate(sizes) for _ in range(size)]
    Random(seed).shuffle(coming)
    for caller in coming:
        line.add(str(caller))
    left, served = Counter(map(str, coming)), Counter(dict.fromkeys(map(str, coming), 0))

    while all(left.values()):
        turn = line.turn()
        left[turn.caller] -= 1
        served[turn.caller] += 1
        assert max(served.values()) - min(served.values()) <= 1
