"""How much a caller may use: requests and tokens a minute, requests at once, and money, for every scope of a call.

Owns what is counted (in the memory of `access/board.py`, which all workers of a server share) and the comparison.
Refuses what does not fit. Rule: a call is taken into all of its scopes in one step or into none, and whatever becomes
of it, its ticket gives back once what it took.

Requests and tokens lie in rings of seconds: a limit holds in any 60 s, wherever they begin. Money is reserved before a
call and settled after it, in the window of the budget in which the call was taken; a new window is another sum. A scope
that limits nothing is only named in a ticket's charges: names that callers invent take no memory here.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

import msgspec

from proxy_cli.access.board import (
    ELSEWHERE,
    HEAD,
    OWN,
    PARALLEL,
    REQUEST_RING,
    REQUESTS,
    RESERVED,
    SECONDS,
    TOKEN_RING,
    TOKENS,
    USED_AT,
    WINDOW,
    Board,
    advance,
)
from proxy_cli.access.places import Group, Place, Places
from proxy_cli.access.verdict import Refusal, Verdict
from proxy_cli.callers import Charge, Scope
from proxy_cli.clock import Clock
from proxy_cli.errors import Overloaded

_MOST: Final = 2**62  # more than this no amount is taken to be: a cell, and a column, holds whole numbers up to 2**63
_MOST_TOKENS: Final = 2**48


class Use(msgspec.Struct, frozen=True, gc=False):
    """What is left of a scope's limits now; None where there is no such limit."""

    requests_limit: int | None
    requests_left: int | None
    tokens_limit: int | None
    tokens_left: int | None
    parallel_limit: int | None
    parallel_left: int | None
    budget_nano: int | None
    spent_nano: int
    reserved_nano: int


class Left(NamedTuple):
    """The same in few words, for every answer: what is left of limits, None where there is none, and what is spent."""

    scope: Scope
    requests: int | None
    tokens: int | None
    parallel: int | None
    spent_nano: int


class Ticket(msgspec.Struct, gc=False):
    """What one call took. `settle` or `void` ends it; the first word counts."""

    limits: "Limits"
    group: Group
    charges: tuple[Charge, ...]
    reserved_nano: int
    tokens: int
    second: int
    epoch: int
    made: int
    crossed_soft: tuple[Scope, ...] = ()  # whose soft budget the cost of this call has reached
    is_open: bool = True

    def settle(self, cost_nano: int, tokens: int) -> None:
        """It came to this much: the cost is spent, what was set aside is free again."""
        if self.is_open:
            self.is_open = False
            self.limits.end(self, cost_nano, tokens, False)

    def left(self) -> list[Left]:
        """What is left of the limits that it was taken into, narrowest first, as of now."""
        return [self.limits.left_of(place) for place in self.group.counted]

    def void(self) -> None:
        """It never reached a backend: as if it had never been."""
        if self.is_open:
            self.is_open = False
            self.limits.end(self, 0, 0, True)


class Limits:
    """One server's. Made before its workers are forked; truth is in the memory that they share, and in the ledger.

    Whoever has a store asks `missing` before `take` and tells `learn` what is in it: a scope that nobody told anything
    about begins at nothing. All calls come from one thread of a process.
    """

    def __init__(
        self,
        *,
        processes: int,
        capacity: int = 16384,
        clock: Clock,
        wall: Callable[[], float] = time.time,
        budget_status: int = 422,
    ) -> None:
        self.budget_status = budget_status
        self._clock = clock
        self._wall = wall
        self._board = Board(processes=processes, capacity=capacity, clock=clock)
        self._cells = self._board.cells
        self._places = Places(self._board, wall)
        self._groups = self._places.groups
        self._owed: list[Callable[[], None]] = []  # what is to be put down yet

    @property
    def capacity(self) -> int:
        """How many scopes can be counted at a time."""
        return self._board.capacity

    def enter(self, number: int) -> None:
        """Count for this forked process from now on; comes first in it."""
        self._owed.clear()
        self._board.enter(number)

    def beat(self) -> None:
        """Each second: give a sign of life, and free what dead or long silent processes held."""
        if not self._board.is_shared:
            return
        try:
            with self._step():
                self._board.seen(int(self._clock()))
                self._board.sweep()
        except Overloaded:
            return  # the next beat will do

    def missing(self, scopes: Sequence[Scope]) -> list[Scope]:
        """Whose sums are not here yet: load them, then `learn`."""
        key = scopes if type(scopes) is tuple else tuple(scopes)
        group = self._groups.get(key) or self._places.group(key)
        cells = self._cells
        return [
            place.scope
            for place in group.counted
            if cells[place.money] != place.money_mark and not self._places.find(place)
        ]

    def learn(self, scope: Scope, window: int, elsewhere_nano: int, own_nano: int) -> None:
        """What other nodes, and this one before, have counted in a window. The latter counts when it is news.

        Raises Overloaded where there is no room for one more scope.
        """
        place, places = self._places.place(scope), self._places
        if not place.is_counted:
            return
        with self._step():
            if places.find(place):
                places.turn(place)
                if self._cells[place.money + WINDOW] == window:
                    self._cells[place.money + ELSEWHERE] = elsewhere_nano
            elif window == places.look(scope.period)[0]:
                places.make(place, own_nano, elsewhere_nano)
            else:
                places.make(place)

    def window(self, scope: Scope) -> int:
        """When the present window of a scope's budget begins, in unix seconds; 0 where it is for ever."""
        return self._places.present(self._places.place(scope))

    def spent(self, scope: Scope) -> int:
        """Nano-dollars spent in a scope's present window, as far as it is counted here."""
        row = self._present_row(scope)
        return self._cells[row + OWN] + self._cells[row + ELSEWHERE] if row else 0

    def in_use(self, scope: Scope) -> Use:
        """What is left of a scope's limits."""
        place = self._places.place(scope)
        requests, tokens, parallel = self._rates_now(place)
        row = self._present_row(scope)
        return Use(
            requests_limit=place.rpm,
            requests_left=_left(place.rpm, requests),
            tokens_limit=place.tpm,
            tokens_left=_left(place.tpm, tokens),
            parallel_limit=place.parallel,
            parallel_left=_left(place.parallel, parallel),
            budget_nano=place.most,
            spent_nano=self.spent(scope),
            reserved_nano=self._cells[row + RESERVED] if row else 0,
        )

    def left_of(self, place: Place) -> Left:
        """What is left where a call was just taken: nothing has to be looked for, and no second has passed."""
        cells, rates, money = self._cells, place.rates, place.money
        rpm, tpm, parallel = place.rpm, place.tpm, place.parallel
        return Left(
            place.scope,
            None if rpm is None else max(0, rpm - cells[rates + REQUESTS]),
            None if tpm is None else max(0, tpm - cells[rates + TOKENS]),
            None if parallel is None else max(0, parallel - cells[rates + PARALLEL]),
            cells[money + OWN] + cells[money + ELSEWHERE],
        )

    def tracked(self) -> list[Charge]:
        """Kind, id and window of what this process counts: other nodes' sums of those are worth learning."""
        return [(each.scope.kind, each.scope.id, self._cells[each.money + WINDOW]) for each in self._places.known()]

    def scopes(self) -> list[Scope]:
        """The scopes of `tracked`, for whoever loads and learns them again."""
        return [each.scope for each in self._places.known()]

    def take(self, scopes: Sequence[Scope], *, nano: int, is_bound: bool, tokens: int) -> Ticket:
        """Take a call into all its scopes, or into none: raises RateLimited, BudgetExceeded or Overloaded.

        `nano` is what it may cost and `tokens` what it may use; `is_bound` says that it cannot be more. What is bound
        has to fit; what is not has to find anything left, and no more than is left is set aside for it.
        """
        key = scopes if type(scopes) is tuple else tuple(scopes)
        group = self._groups.get(key) or self._places.group(key)
        nano = min(nano, _MOST)
        if not group.counted:
            if group.turns != self._places.turns or group.ends <= self._wall():
                self._places.renew(group)
            return Ticket(self, group, group.charges, nano, 0, 0, 0, self._board.made)
        if self._board.is_shared:
            found = self._admit_shared(group, nano, is_bound, tokens)
        else:
            found = self._admit(group, nano, is_bound, tokens)
        if isinstance(found, Ticket):
            return found
        raise found

    def count(self, charges: Sequence[Charge], nano: int) -> None:
        """Count a cost that no ticket will settle: of a request whose process has died."""
        self._put_down(partial(self._count_all, charges, nano))

    def end(self, ticket: Ticket, cost_nano: int, tokens: int, is_void: bool) -> None:
        """What a ticket's own methods do, once."""
        if not ticket.group.counted and (not cost_nano or ticket.made == self._board.made):
            return  # nothing was taken, and nothing is counted
        if self._board.is_shared:
            self._put_down(partial(self._settle, ticket, cost_nano, tokens, is_void))
        else:
            self._settle(ticket, cost_nano, tokens, is_void)

    def _put_down(self, fact: Callable[[], None]) -> None:
        """What has happened cannot be refused: where another process does not end its step, the next one pays it."""
        board = self._board
        if not board.is_shared:
            fact()
            return
        self._owed.append(fact)
        try:
            board.hold()
        except Overloaded:
            return
        try:
            self._pay()
            board.clean()
        finally:
            board.free()

    @contextmanager
    def _step(self) -> Iterator[None]:
        """What happens within is one step for all processes. Raises Overloaded where another does not end its own."""
        board = self._board
        if not board.is_shared:
            yield
            return
        board.hold()
        try:
            self._pay()
            yield
        except Overloaded:
            board.clean()  # there was no room, so nothing was begun
            raise
        else:
            board.clean()
        finally:
            board.free()

    # What follows happens within a step.

    def _admit(self, group: Group, nano: int, is_bound: bool, tokens: int) -> Ticket | Refusal:
        cells, places = self._cells, self._places
        clock_s, wall_s = self._clock(), self._wall()
        second = int(clock_s)
        if group.least_tpm is not None:
            # What is not bound waits for an empty minute at most.
            tokens = min(tokens, _MOST_TOKENS if is_bound else group.least_tpm)
        amount, fits = nano, True
        for place in group.counted:
            if cells[place.money] != place.money_mark or cells[place.rates] != place.rates_mark:
                places.settle_in(place)
            if wall_s >= place.ends or cells[place.money + WINDOW] != place.window:
                places.turn(place)
            if place.most is not None:
                left = self._left_of(place, place.most)
                fits = fits and left > 0 and (nano <= left or not is_bound)
                amount = min(amount, left)
            if place.has_rates and self._is_full(place, second, tokens):
                fits = False
        if not fits:
            verdict = Verdict(
                cells,
                nano=nano,
                is_bound=is_bound,
                tokens=tokens,
                clock_s=clock_s,
                wall_s=wall_s,
                status=self.budget_status,
            )
            return verdict.refusal(group)
        if group.turns != places.turns or wall_s >= group.ends:
            places.renew(group)
        self._write(group, amount, tokens, second)
        return Ticket(self, group, group.charges, amount, tokens, second, self._board.epoch, self._board.made)

    def _admit_shared(self, group: Group, nano: int, is_bound: bool, tokens: int) -> Ticket | Refusal:
        # As `_step`, which costs more than what is done in it.
        board = self._board
        board.hold()
        try:
            if self._owed:
                self._pay()
            found = self._admit(group, nano, is_bound, tokens)
            board.clean()
        except Overloaded:
            board.clean()
            raise
        finally:
            board.free()
        return found

    def _left_of(self, place: Place, most: int) -> int:
        cells, row = self._cells, place.money
        return most - cells[row + OWN] - cells[row + ELSEWHERE] - cells[row + RESERVED]

    def _is_full(self, place: Place, second: int, tokens: int) -> bool:
        cells, rates = self._cells, place.rates
        if cells[rates + HEAD] != second:
            advance(cells, rates, second)
        if place.rpm is not None and cells[rates + REQUESTS] >= place.rpm:
            return True
        if place.parallel is not None and cells[rates + PARALLEL] >= place.parallel:
            return True
        return place.tpm is not None and cells[rates + TOKENS] + (tokens or 1) > place.tpm

    def _write(self, group: Group, amount: int, tokens: int, second: int) -> None:
        cells, board = self._cells, self._board
        part = board.parts
        if board.is_shared:
            board.seen(second)
        for place in group.counted:
            row = place.money
            cells[row + USED_AT] = second
            if place.most is not None:
                cells[row + RESERVED] += amount
                cells[row + part] += amount
            if place.has_rates:
                row = place.rates
                cells[row + USED_AT] = second
                bucket = row + REQUEST_RING + second % SECONDS
                if place.rpm is not None:
                    cells[row + REQUESTS] += 1
                    cells[bucket] += 1
                if place.tpm is not None:
                    cells[row + TOKENS] += tokens
                    cells[bucket + SECONDS] += tokens
                if place.parallel is not None:
                    cells[row + PARALLEL] += 1
                    cells[row + part + 1] += 1

    def _settle(self, ticket: Ticket, cost_nano: int, tokens: int, is_void: bool) -> None:
        cells, board, reserved = self._cells, self._board, ticket.reserved_nano
        # What a process held that was taken for dead is given back already.
        holds = board.epoch == ticket.epoch
        for place, charge in zip(ticket.group.places, ticket.charges, strict=True):
            if not place.is_counted:
                # It may have been given a limit meanwhile.
                if cost_nano and ticket.made != board.made:
                    self._count(charge, cost_nano)
                continue
            # One that is not found was not used for long: whoever comes next learns all of it from the store.
            if (cells[place.money] == place.money_mark or self._places.find(place)) and (
                cells[place.money + WINDOW] == charge[2]
            ):
                if cost_nano:
                    self._spend(ticket, place, cost_nano)
                if holds and place.most is not None:
                    cells[place.money + RESERVED] -= reserved
                    cells[place.money + board.parts] -= reserved
            if place.has_rates and (cells[place.rates] == place.rates_mark or self._places.find_rates(place)):
                self._correct(ticket, place, tokens, is_void)
                if holds and place.parallel is not None:
                    cells[place.rates + PARALLEL] -= 1
                    cells[place.rates + board.parts + 1] -= 1

    def _pay(self) -> None:
        while self._owed:
            self._owed.pop()()

    def _spend(self, ticket: Ticket, place: Place, cost_nano: int) -> None:
        cells, row = self._cells, place.money
        cells[row + OWN] += cost_nano
        if place.soft is not None:
            spent = cells[row + OWN] + cells[row + ELSEWHERE]
            if spent - cost_nano < place.soft <= spent:
                ticket.crossed_soft += (place.scope,)

    def _correct(self, ticket: Ticket, place: Place, tokens: int, is_void: bool) -> None:
        """Tokens that were not used are free again where they were set aside; more of them count from now on."""
        cells, row = self._cells, place.rates
        is_remembered = ticket.second > cells[row + HEAD] - SECONDS
        bucket = row + REQUEST_RING + ticket.second % SECONDS
        if is_void and is_remembered and place.rpm is not None:
            cells[row + REQUESTS] -= 1
            cells[bucket] -= 1
        if place.tpm is None:
            return
        more = min(tokens, _MOST_TOKENS) - ticket.tokens
        if more > 0:
            second = int(self._clock())
            advance(cells, row, second)
            cells[row + TOKENS] += more
            cells[row + TOKEN_RING + second % SECONDS] += more
        elif more < 0 and is_remembered:
            cells[row + TOKENS] += more
            cells[bucket + SECONDS] += more

    def _count_all(self, charges: Sequence[Charge], nano: int) -> None:
        for charge in charges:
            self._count(charge, nano)

    def _count(self, charge: Charge, nano: int) -> None:
        for row in self._places.rows_of(charge):
            self._cells[row + OWN] += nano

    # What follows only reads, so it may stand between steps.

    def _present_row(self, scope: Scope) -> int:
        """A scope's row for money, 0 where it has none or counts in a window that is over."""
        place = self._places.place(scope)
        if not place.is_counted or not self._places.find(place):
            return 0
        return place.money if self._cells[place.money + WINDOW] == self._places.present(place) else 0

    def _rates_now(self, place: Place) -> tuple[int, int, int]:
        """Requests and tokens of the last minute, and requests under way."""
        if not place.has_rates or not self._places.find_rates(place):
            return 0, 0, 0
        cells, row = self._cells, place.rates
        head = cells[row + HEAD]
        old = range(head - SECONDS + 1, min(head, int(self._clock()) - SECONDS) + 1)
        requests = cells[row + REQUESTS] - sum(cells[row + REQUEST_RING + each % SECONDS] for each in old)
        tokens = cells[row + TOKENS] - sum(cells[row + TOKEN_RING + each % SECONDS] for each in old)
        return requests, tokens, cells[row + PARALLEL]


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(0, limit - used)
