"""The places of one deployment in this process: how many are taken, by what limits, and how soon one is free.

Owns: the count of taken places, their starts and estimated tokens, the starts of the last minute, the line of those who
wait, and how long a place is held on average. Refuses: to wake anybody, and to look at a clock. Rule: a place is taken
before it is known to be free and given back at once if it was not, so that of two processes that take the last one at
the same moment at least one sees the other.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from proxy_cli.errors import GatewayError
from proxy_cli.routing.fair import Fair, Ticket
from proxy_cli.routing.neighbours import Row
from proxy_cli.shapes import Deployment

_MINUTE_S: Final = 60.0
_FRESH: Final = 0.2  # how much of the average time is the newest place's
_GUESS_S: Final = 1.0  # how long a place is held where none was given back yet
_TURN_S: Final = 0.1  # a process goes on for so long before it leaves places to others: to hand on costs a wait too
_LEFT_S: Final = 0.15  # a process that waits looks at least twice in that time
_NEVER_S: Final = float("inf")


class Load(Protocol):
    """What is known elsewhere of a deployment's load."""

    @property
    def in_flight(self) -> int:
        """Attempts that this process has begun and not ended."""

    def all_in_flight(self) -> int:
        """Likewise all processes."""

    def requests_in_minute(self) -> float:
        """Attempts begun within the last minute, by all processes."""

    def tokens_in_minute(self) -> float:
        """Tokens used within the last minute, by all processes."""

    def has_turn_s(self, requests: int) -> float:
        """The moment before which there are certainly more requests than these in a minute."""

    def has_tokens_s(self, tokens: int) -> float:
        """Likewise for tokens."""


@dataclass(slots=True, eq=False, kw_only=True)
class Waiter(Ticket):
    """A call in the lines of several deployments at once, until one of them has a place.

    Its place gets one result, a deployment or the reason why there is none: not an exception, which nobody would hear
    of if the call left at that very moment.
    """

    deployments: Mapping[str, Deployment]  # by id, best first
    tokens: int
    despite_rest: bool  # all of them rested when it came: it waits for a place, not for the end of a rest
    ends_s: float
    place: "asyncio.Future[Deployment | GatewayError]"
    timer: asyncio.TimerHandle | None = None
    settled: bool = False  # out of all lines


class Lane:
    """One deployment's places. Owns what is taken, who waits, and the averages."""

    __slots__ = (
        "_left_since_s",
        "_minute",
        "_reserved",
        "_row",
        "_starts",
        "_turn_s",
        "fair",
        "held",
        "hold_s",
        "id",
        "rested",
    )

    def __init__(self, identity: str, row: Row | None = None) -> None:
        self.id = identity
        self.fair: Fair[Waiter] = Fair()
        self.held = 0
        self.hold_s = 0.0  # 0: none was given back yet
        self.rested = False  # when it was last looked at
        self._left_since_s: float | None = None
        self._turn_s = -_TURN_S  # when this process began to take places that others wait for too
        self._starts: deque[tuple[float, int]] = deque()  # and tokens, of the places that are taken
        self._reserved = 0
        self._minute: deque[float] = deque()  # starts, where there is an rpm
        self._row = row

    def take(self, deployment: Deployment, load: Load, tokens: int, now_s: float) -> bool:
        """Take a place if one is free."""
        if not self._fits(deployment, load, _counted(deployment, tokens), now_s, more=1):
            self._left_since_s = None
            return False
        if self._row is not None and self._leaves_it(self._row, now_s):
            return False
        self._begin(deployment, tokens, now_s)
        if self._row is None or self._fits(deployment, load, 0, now_s, more=0):
            return True
        self.undo()
        return False

    def give_back(self, now_s: float) -> None:
        """A place is free again."""
        if not self._starts:
            return
        # Which call it was is not known and need not be: starts and ends in any order add up to the same time.
        start_s, tokens = self._starts.popleft()
        held_s = max(0.0, now_s - start_s)
        self.hold_s += (held_s - self.hold_s) * _FRESH if self.hold_s else held_s
        self._less(tokens)

    def undo(self) -> None:
        """A place that was just taken was not used."""
        tokens = self._starts.pop()[1]
        if self._minute:
            self._minute.pop()
        self._less(tokens)

    def publish(self, now_s: float | None = None) -> None:
        """Tell the other processes; with the moment, that a place was taken then."""
        if self._row is not None:
            self._row.write(self.held, len(self.fair), self._reserved, now_s)

    def opens_s(self, deployment: Deployment, load: Load, tokens: int, now_s: float) -> float:
        """The moment before which there is certainly no place, whoever gives one back."""
        rpm, tpm = deployment.rpm, deployment.tpm
        if rpm is not None and rpm <= 0:
            return _NEVER_S
        opens_s = now_s
        if rpm is not None:
            self._pass(now_s)
            own_s = self._minute[-rpm] + _MINUTE_S if len(self._minute) >= rpm else now_s
            opens_s = max(own_s, load.has_turn_s(rpm - 1))
        if tpm is not None:
            opens_s = max(opens_s, load.has_tokens_s(tpm - _counted(deployment, tokens)))
        return opens_s

    def pace_s(self, deployment: Deployment, tokens: int, now_s: float) -> float:
        """Seconds from one turn in this line to the next, by what is known."""
        pace_s = 0.0
        if deployment.max_parallel:
            pace_s = self._hold_s(now_s) / deployment.max_parallel
        if deployment.rpm:
            pace_s = max(pace_s, _MINUTE_S / deployment.rpm)
        if deployment.tpm:
            pace_s = max(pace_s, _MINUTE_S * _counted(deployment, tokens) / deployment.tpm)
        own, others = len(self.fair), self._row.others_waiting(now_s) if self._row is not None else 0
        return pace_s * (own + others) / own if own else pace_s

    def _leaves_it(self, row: Row, now_s: float) -> bool:
        """Whether a free place is another process's turn: it is left there for as long as that needs to see it."""
        if now_s - self._turn_s < _TURN_S or not row.is_behind_another(self.held, now_s):
            self._left_since_s = None
            return False
        if self._left_since_s is None:
            self._left_since_s = now_s
        return now_s - self._left_since_s < _LEFT_S

    def _hold_s(self, now_s: float) -> float:
        if self.hold_s:
            return self.hold_s
        return max(_GUESS_S, now_s - self._starts[0][0] if self._starts else 0.0)

    def _begin(self, deployment: Deployment, tokens: int, now_s: float) -> None:
        tokens = _counted(deployment, tokens)
        self.held += 1
        self._starts.append((now_s, tokens))
        self._reserved += tokens
        if deployment.rpm is not None:
            self._minute.append(now_s)
        if now_s - self._turn_s >= _TURN_S:
            self._turn_s = now_s
        self.publish(now_s)

    def _less(self, tokens: int) -> None:
        self.held -= 1
        self._reserved -= tokens
        self.publish()

    def _fits(self, deployment: Deployment, load: Load, tokens: int, now_s: float, *, more: int) -> bool:
        """Whether all limits hold with so many places and tokens more than are taken."""
        row = self._row
        begun = load.in_flight
        begun_elsewhere = load.all_in_flight() - begun
        held_elsewhere, reserved_elsewhere = row.others_held(now_s) if row is not None else (0, 0)
        # A deployment that got its limit while calls were under way, or is asked for copies too, has more than it gave.
        taken = max(self.held, begun) + more + max(held_elsewhere, begun_elsewhere)
        if deployment.max_parallel is not None and taken > deployment.max_parallel:
            return False
        # What is under way has been counted as a request when it began; its tokens are known when it ends.
        pending = taken - begun - begun_elsewhere
        if deployment.rpm is not None and not self._has_turn(deployment.rpm, load, pending, more, now_s):
            return False
        reserved = self._reserved + reserved_elsewhere + tokens
        return deployment.tpm is None or int(load.tokens_in_minute()) + reserved <= deployment.tpm

    def _has_turn(self, rpm: int, load: Load, pending: int, more: int, now_s: float) -> bool:
        self._pass(now_s)
        return len(self._minute) + more <= rpm and int(load.requests_in_minute()) + pending <= rpm

    def _pass(self, now_s: float) -> None:
        minute = self._minute
        while minute and minute[0] <= now_s - _MINUTE_S:
            minute.popleft()


def _counted(deployment: Deployment, tokens: int) -> int:
    """A call that is larger than its limit passes when nothing else was used: it is never going to fit better."""
    return min(tokens, deployment.tpm) if deployment.tpm is not None else 0
