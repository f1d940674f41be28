"""Where the scopes of calls are counted: which rows are whose, and in which window.

Owns the way from a scope to its rows in the shared memory, and what this process remembers of it. Refuses to compare.
Rule: a row may be given to another scope once nobody uses it, so what is remembered holds as long as the row's mark is
the one that was found.
"""

import os
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from proxy_cli.access.board import ELSEWHERE, OWN, RESERVED, WINDOW, Board
from proxy_cli.access.periods import Window, window_of
from proxy_cli.callers import Charge, Period, Scope

_FOR_EVER: Final[Window] = (0, 2**62)
_NO_MONEY: Final = -1  # the window of a row in which only rates are counted so far


class Place:
    """A scope and where it is counted, as this process knows. Rows that were given to others are noticed by their mark.

    Money has a row for each period, so that a changed one begins with its own sum; rates have one whatever the period.
    """

    __slots__ = (
        "charge",
        "ends",
        "has_rates",
        "is_counted",
        "money",
        "money_mark",
        "most",
        "parallel",
        "rates",
        "rates_mark",
        "rpm",
        "scope",
        "soft",
        "tpm",
        "window",
    )

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.rpm, self.tpm, self.parallel = scope.rpm, scope.tpm, scope.max_parallel
        self.most, self.soft = scope.max_nano, scope.soft_nano
        self.has_rates = not (self.rpm is None and self.tpm is None and self.parallel is None)
        self.is_counted = scope.is_limited or self.soft is not None
        self.money = self.rates = 0  # cell 0 of the board is no row's, and always 0
        self.money_mark, self.rates_mark = -1, -1 if self.has_rates else 0
        self.window, self.ends = -1, 0
        self.charge: Charge = (scope.kind, scope.id, 0)


class Group:
    """The places of one list of scopes, for calls that come again and again."""

    __slots__ = ("charges", "counted", "ends", "least_tpm", "places", "turns", "uncounted")

    def __init__(self, places: tuple[Place, ...]) -> None:
        self.places = places
        self.counted = tuple(each for each in places if each.is_counted)
        self.uncounted = tuple(each for each in places if not each.is_counted)
        self.least_tpm = min((each.tpm for each in places if each.tpm is not None), default=None)
        self.charges: tuple[Charge, ...] = ()
        self.turns = -1
        self.ends = 0  # when the first of the windows of those that are not counted ends


class Places:
    """All that this process knows. Owns the windows that are open: one that has ended never comes again."""

    def __init__(self, board: Board, wall: Callable[[], float]) -> None:
        self._board = board
        self._cells = board.cells
        self._wall = wall
        self._at_most = board.capacity  # names that callers invent come and go
        self.groups: dict[tuple[Scope, ...], Group] = {}
        self.turns = 0  # how often a window of any place has changed
        # Names are chosen by callers: nobody shall be able to find two that are counted as one.
        self._secret = os.urandom(16)
        self._places: dict[Scope, Place] = {}
        self._windows: dict[Period, Window] = {}

    def group(self, scopes: tuple[Scope, ...]) -> Group:
        """A list of scopes; whatever is named twice is counted once."""
        if len(self.groups) >= self._at_most:
            self.groups.clear()
        group = self.groups[scopes] = Group(tuple([self.place(each) for each in dict.fromkeys(scopes)]))
        return group

    def place(self, scope: Scope) -> Place:
        """What is remembered of a scope."""
        place = self._places.get(scope)
        if place is None:
            if len(self._places) >= self._at_most:
                self._places.clear()
            place = self._places[scope] = Place(scope)
        return place

    def known(self) -> list[Place]:
        """All places of which this process knows the row for money."""
        return [place for place in self._places.values() if self._cells[place.money] == place.money_mark]

    def find(self, place: Place) -> bool:
        """Whether a place's row for money exists."""
        cells = self._cells
        if cells[place.money] == place.money_mark:
            return True
        row = self._board.find(*self._names(place.scope, place.scope.period))
        if not row or cells[row + WINDOW] == _NO_MONEY:
            return False
        place.money, place.money_mark = row, cells[row]
        return True

    def find_rates(self, place: Place) -> bool:
        """Whether a place's row for rates exists."""
        cells = self._cells
        if cells[place.rates] == place.rates_mark:
            return True
        row = self._board.find(*self._names(place.scope, None))
        if row:
            place.rates, place.rates_mark = row, cells[row]
        return bool(row)

    def make(self, place: Place, own: int = 0, elsewhere: int = 0) -> None:
        """The row for money, in the present window; it may be that rates are counted in it already."""
        cells, board = self._cells, self._board
        key, ident = self._names(place.scope, place.scope.period)
        row = board.find(key, ident) or board.make(key, ident, _NO_MONEY)
        cells[row + OWN], cells[row + ELSEWHERE] = own, elsewhere
        cells[row + WINDOW] = self.window(place.scope.period)[0]
        place.money, place.money_mark = row, cells[row]

    def settle_in(self, place: Place) -> None:
        """See to it that a place has its rows. Raises Overloaded where there is no room for them."""
        if not self.find(place):
            self.make(place)
        if place.has_rates and not self.find_rates(place):
            key, ident = self._names(place.scope, None)
            row = place.rates = self._board.make(key, ident, _NO_MONEY)
            place.rates_mark = self._cells[row]

    def rows_of(self, charge: Charge) -> list[int]:
        """The rows that count a kind and an id in one window."""
        kind, name, window = charge
        return [row for row in self._board.rows_of(self._key(kind, name)) if self._cells[row + WINDOW] == window]

    def _names(self, scope: Scope, period: Period | None) -> tuple[int, int]:
        text = f"{scope.kind}\0{scope.id}\0" + (f"{period.text}\0{period.zone}" if period else "")
        return self._key(scope.kind, scope.id), self._number(text, b"ident")

    def _key(self, kind: str, name: str) -> int:
        return self._number(f"{kind}\0{name}", b"key") or 1

    def _number(self, text: str, use: bytes) -> int:
        whole = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret, person=use)
        return int.from_bytes(whole.digest(), "big", signed=True)

    def window(self, period: Period | None) -> Window:
        """The present window, open from now on: one that has ended never comes again, wherever the clock goes."""
        if period is None:
            return _FOR_EVER
        present = self.look(period)
        if len(self._windows) >= self._at_most:
            self._windows.clear()
        self._windows[period] = present
        return present

    def look(self, period: Period | None) -> Window:
        """What `window` would say, without opening it."""
        if period is None:
            return _FOR_EVER
        known, wall_s = self._windows.get(period), self._wall()
        return known if known is not None and wall_s < known[1] else window_of(period, wall_s)

    def present(self, place: Place) -> int:
        """When the window begins that the next call of a place would be counted in."""
        period = place.scope.period
        if period is None or not place.is_counted or not self.find(place):
            return self.look(period)[0]
        held = self._cells[place.money + WINDOW]
        ends = place.ends if held == place.window else window_of(period, held)[1]
        return held if self._wall() < ends else self.look(period)[0]

    def turn(self, place: Place) -> None:
        """See to it that a place's row counts in its present window."""
        cells, row, period = self._cells, place.money, place.scope.period
        begin, end = self.window(period)
        held = cells[row + WINDOW]
        if held > begin and period is not None:  # another process was there already
            begin, end = self._windows[period] = window_of(period, held)
        elif held < begin:
            self._begin_window(row, begin)
        place.window, place.ends = begin, end
        self._renew_charge(place, begin)

    def _begin_window(self, row: int, begin: int) -> None:
        cells = self._cells
        cells[row + OWN] = cells[row + ELSEWHERE] = cells[row + RESERVED] = 0
        for slot in range(self._board.slots):
            cells[row + self._board.part_of(slot)] = 0
        cells[row + WINDOW] = begin  # last: a window that is begun twice is begun once

    def renew(self, group: Group) -> None:
        """The charges of a group, when any window has changed."""
        ends = _FOR_EVER[1]
        for place in group.uncounted:
            begin, end = self.window(place.scope.period)
            ends = min(ends, end)
            self._renew_charge(place, begin)
        group.charges = tuple([place.charge for place in group.places])
        group.turns, group.ends = self.turns, ends

    def _renew_charge(self, place: Place, begin: int) -> None:
        if place.charge[2] != begin:
            place.charge = (place.scope.kind, place.scope.id, begin)
            self.turns += 1
