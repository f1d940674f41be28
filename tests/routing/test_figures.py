"""What processes tell each other: rows of their own, read by all, and nothing of the dead that is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.routing.figures import IN_FLIGHT, REQUESTS, SAID, TOKENS, TRIAL, Figures, Row
from proxy_cli.shared import Shared
from tests.routing.fleets import START_S, Hands
from tests.test_shared import in_a_child, living_child


@pytest.fixture
def clock():
    return Hands()


@pytest.fixture
def shared():
    return Shared(slots=4, slot_bytes=4096)


def test_a_process_alone_has_rows_of_its_own(clock):
    """Without shared memory a row counts, and there are no others."""
    figures = Figures(None, clock)
    row, other = Row("a", figures), Row("a", figures)

    row.count(REQUESTS, 3, clock())

    assert row.in_minute(REQUESTS) == 3
    assert other.in_minute(REQUESTS) == 0
    assert (row.of_others(IN_FLIGHT), list(row.news(clock()))) == (0, [])


def test_rows_of_other_processes_are_found_and_added(clock, shared):
    """What another process counts of the same name is seen; what it counts of another name is not."""
    figures = Figures(shared, clock)
    row = Row("a", figures)
    row.count(REQUESTS, 1, clock())

    def work():
        figures.enter(1)
        for name, requests in (("a", 4), ("b", 50)):
            theirs = Row(name, figures)
            theirs.count(REQUESTS, requests, clock())
            theirs.cells[theirs.at + IN_FLIGHT] = 2

    with living_child(work):
        clock.turn(1)
        assert row.in_minute(REQUESTS) > 4
        assert row.of_others(IN_FLIGHT) == 2


def test_a_row_that_another_process_has_just_written_counts_in_the_minute(clock, shared):
    """However shortly before it was looked for rows; a limit of few a minute would be exceeded otherwise."""
    figures = Figures(shared, clock)
    row = Row("a", figures)
    assert row.in_minute(REQUESTS) == 0

    def work():
        figures.enter(1)
        Row("a", figures).count(REQUESTS, 4, clock())

    with living_child(work):
        assert row.in_minute(REQUESTS) == 4


def test_when_a_figure_is_below_a_level_is_told_for_all_processes(clock, shared):
    """No later than it is so, and at once where it is so already."""
    figures = Figures(shared, clock)
    row = Row("a", figures)
    row.count(REQUESTS, 6, clock())

    def work():
        figures.enter(1)
        Row("a", figures).count(REQUESTS, 6, clock())

    with living_child(work):
        clock.turn(70)
        assert row.below_s(REQUESTS, 11) == clock()
        row.count(REQUESTS, 3, clock())

        assert row.below_s(REQUESTS, 9) == START_S + 60 + 30
        assert row.below_s(REQUESTS, 2) == START_S + 120 + 20


@given(
    counts=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 50)), max_size=6),
    level=st.integers(1, 60),
    later_s=st.floats(0, 130),
)
def test_a_figure_is_not_below_a_level_before_it_was_said_to_be(counts, level, later_s):
    """Whatever was counted when, and if nothing more is: before that moment it is above, from it on it is not."""
    clock = Hands()
    row = Row("a", Figures(None, clock))
    for pause_s, amount in counts:
        clock.turn(pause_s)
        row.count(TOKENS, amount, clock())

    below_s = row.below_s(TOKENS, level)
    clock.turn(later_s)

    if clock() < below_s - 1e-6:
        assert row.in_minute(TOKENS) > level - 1e-6
    else:
        assert row.in_minute(TOKENS) < level + 1e-3


def test_a_dead_process_has_nothing_under_way_but_its_minute_counts(clock, shared):
    """What was under way in it is over; the requests it made were made."""
    figures = Figures(shared, clock)
    row = Row("a", figures)

    def work():
        figures.enter(1)
        theirs = Row("a", figures)
        theirs.cells[theirs.at + IN_FLIGHT] = 2
        theirs.count(REQUESTS, 4, clock())

    with living_child(work):
        assert row.of_others(IN_FLIGHT) == 2
    assert row.of_others(IN_FLIGHT) == 2  # not looked at again yet
    clock.turn(0.25)

    assert row.of_others(IN_FLIGHT) == 0
    assert row.in_minute(REQUESTS) == 4


def test_who_takes_a_dead_processs_rows_begins_without_what_it_had_under_way(clock, shared):
    """A later process in the same slot counts on its minute, and not its attempts."""
    figures = Figures(shared, clock)

    def first():
        figures.enter(1)
        theirs = Row("a", figures)
        theirs.cells[theirs.at + IN_FLIGHT] = theirs.cells[theirs.at + TRIAL] = 1
        theirs.count(TOKENS, 7, clock())

    def second():
        figures.enter(1)
        mine = Row("a", figures)
        assert (mine.cells[mine.at + IN_FLIGHT], mine.cells[mine.at + TRIAL]) == (0, 0)
        assert mine.in_minute(TOKENS) == 7
        mine.count(TOKENS, 1, clock())
        assert mine.in_minute(TOKENS) == 8

    in_a_child(first)
    in_a_child(second)

    assert Row("a", figures).in_minute(TOKENS) == 8


def test_news_are_told_once(clock, shared):
    """A row in which something was said is named at the next look, and then not again until more is said."""
    figures = Figures(shared, clock)
    row = Row("a", figures)

    def work():
        figures.enter(1)
        Row("a", figures).say(SAID + 1, 0.0)

    in_a_child(work)

    [at] = row.news(clock())
    assert figures.cells[at + SAID] >= START_S
    assert list(row.news(clock())) == []


def test_a_word_is_later_than_any_heard_before(clock):
    """The moment put to a word exceeds that of the word it answers, also when the clock stands."""
    row = Row("a", Figures(None, clock))

    assert row.say(SAID + 1, clock() + 5) > clock() + 5
    first = row.cells[row.at + SAID]
    row.say(SAID + 1, 0.0)
    assert row.cells[row.at + SAID] > first


def test_a_name_that_there_is_no_room_for_counts_for_itself(clock):
    """A full slot takes nothing from the process that counts."""
    figures = Figures(Shared(slots=2, slot_bytes=400), clock)
    rows = [Row(f"deployment {number}", figures) for number in range(5)]

    for row in rows:
        row.count(REQUESTS, 1, clock())

    assert [row.in_minute(REQUESTS) for row in rows] == [1] * 5
    assert len({(id(row.cells), row.at) for row in rows}) == 5


@given(st.lists(st.floats(0.0, 45.0), min_size=1, max_size=60))
def test_a_sliding_minute_is_near_the_truth(waits):
    """It counts all of the minute that has begun, and never more than that and the one before."""
    clock = Hands()
    row = Row("a", Figures(None, clock))
    moments = []

    for wait in waits:
        clock.turn(wait)
        row.count(REQUESTS, 1, clock())
        moments.append(clock())

    now_s = clock()
    in_this = sum(moment // 60 == now_s // 60 for moment in moments)
    in_two = sum(now_s // 60 - moment // 60 <= 1 for moment in moments)
    assert in_this <= row.in_minute(REQUESTS) <= in_two


def test_that_there_is_no_room_for_more_rows_is_told_once(clock, caplog):
    """An operator would not know why his word is heard by one process only."""
    figures = Figures(Shared(slots=2, slot_bytes=400), clock)

    for number in range(5):
        Row(f"deployment {number}", figures)

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no room for deployment deployment" in caplog.text
