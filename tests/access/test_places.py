"""Which rows are whose."""

from proxy_cli.access.board import WINDOW, Board
from proxy_cli.access.places import Places
from proxy_cli.callers import Period, Scope
from tests.access.desk import NOON, key


def places_of(capacity: int = 64) -> Places:
    """Places over a memory of their own."""
    return Places(Board(processes=1, capacity=capacity, clock=lambda: 1000.0), lambda: NOON)


def test_money_and_rates_share_a_row_where_there_is_no_period():
    """One row is enough for the usual key, whichever of both was first."""
    places = places_of()
    place = places.place(key(rpm=5, max_nano=100))

    places.settle_in(place)

    assert place.money == place.rates > 0


def test_money_of_a_period_has_a_row_of_its_own():
    """What is counted for one period is not counted for another; rates are the same for both."""
    places = places_of()
    daily, monthly = (places.place(key(rpm=5, max_nano=100, period=Period(text))) for text in ("1d", "1mo"))

    places.settle_in(daily)
    places.settle_in(monthly)

    assert len({daily.money, monthly.money, daily.rates}) == 3
    assert daily.rates == monthly.rates


def test_kinds_and_ids_do_not_run_together():
    """A user that is called like a team is not that team, and no id can be written that reaches into another's."""
    places = places_of()
    scopes = [
        Scope(kind="user", id="a", rpm=1),
        Scope(kind="team", id="a", rpm=1),
        Scope(kind="team", id="a\0", rpm=1),
        Scope(kind="team", id="a\x001d\0UTC", rpm=1),
        Scope(kind="team", id="a", rpm=1, max_nano=1, period=Period("1d")),
    ]

    for scope in scopes:
        places.settle_in(places.place(scope))

    assert len({places.place(scope).money for scope in scopes}) == len(scopes)


def test_rows_of_a_charge_are_those_of_its_window():
    """Other periods of the same key are not among them, nor rows in which only rates are counted."""
    places = places_of()
    place = places.place(key(rpm=5, max_nano=100, period=Period("1d")))
    places.settle_in(place)
    window = places.window(Period("1d"))[0]

    assert places.rows_of(("key", "k1", window)) == [place.money]
    assert places.rows_of(("key", "k1", 0)) == []
    assert places.rows_of(("key", "k2", window)) == []


def test_what_is_remembered_is_bounded():
    """Callers who invent names fill no memory; what they had is found again in the shared one."""
    places = places_of(capacity=2)
    scope = key(rpm=1)
    places.settle_in(places.place(scope))

    for number in range(100):
        places.group((Scope(kind="end_user", id=f"u{number}"),))

    assert len(places.groups) <= 2
    assert not places.known() or places.known()[0].scope == scope
    assert places.find(places.place(scope))


def test_a_window_of_another_process_is_taken_over():
    """Its clock was ahead: what it has opened is open for all, and is not closed again."""
    board = Board(processes=1, capacity=64, clock=lambda: 1000.0)
    places = Places(board, lambda: NOON)
    place = places.place(key(max_nano=5, period=Period("1d")))
    places.settle_in(place)
    tomorrow = places.window(Period("1d"))[1]
    board.cells[place.money + WINDOW] = tomorrow

    places.turn(place)

    assert place.charge == ("key", "k1", tomorrow)
    assert places.window(Period("1d"))[0] == tomorrow
