"""Which limit a call does not fit into: found only once it is known that there is one.

Owns the order (requests at once, requests a minute, tokens a minute, money) and which of several the caller is told of:
of money the scope with the least left, of rates the one with the longest wait. Changes nothing.
"""

import math
from typing import Final

from proxy_cli.access import refusals
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
)
from proxy_cli.access.places import Group, Place
from proxy_cli.errors import BudgetExceeded, RateLimited

Refusal = RateLimited | BudgetExceeded

_RINGS: Final = {REQUESTS: REQUEST_RING, TOKENS: TOKEN_RING}


class Verdict:
    """One call that did not fit: what it asked for, and when."""

    def __init__(
        self, cells: memoryview, *, nano: int, is_bound: bool, tokens: int, clock_s: float, wall_s: float, status: int
    ) -> None:
        self._cells = cells
        self._nano, self._is_bound, self._tokens = nano, is_bound, tokens
        self._clock_s, self._wall_s = clock_s, wall_s
        self._status = status  # of a budget that is spent

    def refusal(self, group: Group) -> Refusal:
        """What the caller is told."""
        for judge in (self._parallel, self._requests, self._tokens_too, self._budget):
            found = [each for place in group.counted if (each := judge(place)) is not None]
            if found:
                return min(found, key=lambda each: each[0])[1]
        raise AssertionError("a call that fits was refused")

    def _parallel(self, place: Place) -> tuple[float, Refusal] | None:
        limit = place.parallel
        if limit is None or self._cells[place.rates + PARALLEL] < limit:
            return None
        return limit, refusals.too_many(place.scope, limit)

    def _requests(self, place: Place) -> tuple[float, Refusal] | None:
        limit = place.rpm
        if limit is None or self._cells[place.rates + REQUESTS] < limit:
            return None
        wait_s = self._wait_s(place.rates, REQUESTS, limit - 1)
        return -wait_s, refusals.too_fast(place.scope, "requests", limit, wait_s, self._wall_s)

    def _tokens_too(self, place: Place) -> tuple[float, Refusal] | None:
        limit = place.tpm
        # One that asks for nothing does not fit into a minute that is used up, either.
        asked = max(1, self._tokens)
        if limit is None or self._cells[place.rates + TOKENS] + asked <= limit:
            return None
        if asked > limit:
            return -math.inf, refusals.too_large(place.scope, limit, asked)
        wait_s = self._wait_s(place.rates, TOKENS, limit - asked)
        return -wait_s, refusals.too_fast(place.scope, "tokens", limit, wait_s, self._wall_s)

    def _budget(self, place: Place) -> tuple[float, Refusal] | None:
        cells, row = self._cells, place.money
        if place.most is None:
            return None
        spent, reserved = cells[row + OWN] + cells[row + ELSEWHERE], cells[row + RESERVED]
        left = place.most - spent - reserved
        if left > 0 and not (self._is_bound and self._nano > left):
            return None
        ends_s = math.inf if place.scope.period is None else place.ends
        asked = self._nano if self._is_bound else None
        return left, refusals.too_dear(place.scope, spent, reserved, asked, ends_s, self._status)

    def _wait_s(self, row: int, at: int, may_be: int) -> float:
        """Until a ring holds no more than this."""
        cells, ring = self._cells, row + _RINGS[at]
        head, held = cells[row + HEAD], cells[row + at]
        for second in range(head - SECONDS + 1, head + 1):
            held -= cells[ring + second % SECONDS]
            if held <= may_be:
                return max(0.0, second + SECONDS - self._clock_s)
        return float(SECONDS)
