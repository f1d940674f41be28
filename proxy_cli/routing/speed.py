"""How fast a deployment answers, as far as this process has seen it.

Averages in which newer answers weigh more, and the recent first bytes of streams for their 95th percentile. Failures
feed nothing here: a server that refuses at once is not a fast one. Only a time limit that has run out counts, as slow.
"""

from typing import Final

_NEWEST: Final = 0.2  # what the newest sample weighs in an average
_KEPT: Final = 64  # first bytes
_EVERY: Final = 8  # new ones before the percentile is worked out anew: to sort for each would cost more than it tells
_TOKENS: Final = 100  # of an answer that never came


class Speed:
    """Averages in seconds, 0 while nothing is known. Owned by the deployment's `State`."""

    __slots__ = ("_firsts", "_next", "_p95_s", "_unsorted", "answer_s", "first_s", "samples", "token_s")

    def __init__(self) -> None:
        self.first_s = 0.0  # to the first bytes of a stream
        self.token_s = 0.0  # for each token of a plain answer
        self.answer_s = 0.0  # a whole plain answer, for those without tokens
        self.samples = 0  # streams and plain answers that were measured
        self._firsts: list[float] = []
        self._next = 0
        self._unsorted = 0
        self._p95_s = 0.0

    @property
    def p95_s(self) -> float:
        """The wait for a stream's first bytes that 19 of 20 recent ones did not exceed."""
        if self._unsorted and (self._unsorted >= _EVERY or len(self._firsts) < _KEPT):
            ordered = sorted(self._firsts)
            self._p95_s = ordered[-(-len(ordered) * 19 // 20) - 1]
            self._unsorted = 0
        return self._p95_s

    def began(self, waited_s: float) -> None:
        """The first bytes of a stream came after a wait."""
        self.samples += 1
        known = self.first_s
        self.first_s = known + _NEWEST * (waited_s - known) if known else waited_s
        self._unsorted += 1
        firsts = self._firsts
        if len(firsts) < _KEPT:
            firsts.append(waited_s)
            return
        firsts[self._next] = waited_s
        self._next = (self._next + 1) % _KEPT

    def answered(self, waited_s: float, tokens: int = 0) -> None:
        """A whole plain answer came after a wait; of so many tokens, if they were counted."""
        self.samples += 1
        known = self.answer_s
        self.answer_s = known + _NEWEST * (waited_s - known) if known else waited_s
        if tokens > 0 and waited_s > 0:
            self.wrote(tokens, waited_s)

    def wrote(self, tokens: int, lasted_s: float) -> None:
        """So many tokens of a plain answer were written in a time."""
        known, newest = self.token_s, lasted_s / tokens
        self.token_s = known + _NEWEST * (newest - known) if known else newest

    def timed_out(self, limit_s: float) -> None:
        """A time limit ran out: at least that slow, and slower than it was thought to be.

        No sample: nothing was answered; and the percentile is about streams that do begin.
        """
        self.first_s = _slower(self.first_s, limit_s)
        self.token_s = _slower(self.token_s, limit_s / _TOKENS)
        self.answer_s = _slower(self.answer_s, limit_s)


def _slower(known_s: float, limit_s: float) -> float:
    return known_s + _NEWEST * (max(limit_s, 2 * known_s) - known_s) if known_s else limit_s
