"""What happened to calls that did not go straight through, added up for whoever tells of it.

Owned by the process; a dry run has one of its own, which nobody reads. Names are those of groups, so that what a
caller asked for never becomes a name here.
"""

from collections import Counter


class Tally:
    """Figures that only grow, by the name that was asked for."""

    __slots__ = ("failed_fallbacks", "good_fallbacks", "refused_retries", "retries")

    def __init__(self) -> None:
        self.retries: Counter[str] = Counter()  # further attempts under the same name
        self.refused_retries: Counter[str] = Counter()  # that were due, and too many by the budget of all calls
        self.good_fallbacks: Counter[tuple[str, str]] = Counter()  # the name asked for, and the one that answered
        self.failed_fallbacks: Counter[tuple[str, str]] = Counter()  # likewise, of one that did not
