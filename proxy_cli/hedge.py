"""A second try beside a slow first one: whoever answers first is taken, and the other is let go.

It owns how many calls could have had a second try and how many had one, in this process: second tries are extra work
for the servers, so they stay a small share.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from proxy_cli.errors import GatewayError, forget_frames

_MOST_SHARE: Final = 0.03
# One call in twenty is later than the wait that the others do not exceed, and most of those only just: they would use
# up all second tries before a server really stalls.
_RESERVE: Final = 3  # second tries that are kept for calls which are very late
_VERY_LATE: Final = 4  # times as late


class Closable(Protocol):
    """What has to be let go of."""

    def close(self) -> None:
        """Let go of it."""


Found = TypeVar("Found", bound=Closable)
Try = Coroutine[Any, Any, Found]


class Hedge:
    """Races two tries."""

    def __init__(self, most_share: float = _MOST_SHARE) -> None:
        self._most_share = most_share
        self.calls = 0
        self.second_tries = 0

    async def race(self, first: Try[Found], second: Callable[[], Try[Found] | None], after_s: float) -> Found:
        """What the first comes to, or the second, which begins when the first has taken `after_s`, if there is one.

        Where few second tries are left, it begins when the first has taken four times that. Raises what the first
        raises, unless the second has an answer.
        """
        self.calls += 1
        tries = [asyncio.create_task(first, name="first try")]
        try:
            if await self._is_late(tries[0], after_s) and (other := second()) is not None:
                self.second_tries += 1
                tries.append(asyncio.create_task(other, name="second try"))
            return await _best(tries)
        finally:
            for each in tries:
                _let_go(each)

    async def _is_late(self, first: asyncio.Task[Found], after_s: float) -> bool:
        """Wait until it is there, or so late that it may have a second try."""
        for further_s, reserve in ((after_s, _RESERVE), ((_VERY_LATE - 1) * after_s, 0)):
            done, _ = await asyncio.wait([first], timeout=further_s)
            if done:
                return False
            if self.second_tries + 1 + reserve <= self.calls * self._most_share:
                return True
        return False


async def _best(tries: list[asyncio.Task[Found]]) -> Found:
    """The first answer; taken out of the tries. Raises the first try's failure when there is none."""
    pending: set[asyncio.Task[Found]] = set(tries)
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for each in tries:
            if each.done() and not each.cancelled() and each.exception() is None:
                tries.remove(each)
                return each.result()
    return tries[0].result()


def _let_go(attempt: asyncio.Task[Found]) -> None:
    """End a try that nobody waits for; an answer that it has all the same is closed."""
    attempt.add_done_callback(_closed)
    attempt.cancel()


def _closed(attempt: asyncio.Task[Found]) -> None:
    if attempt.cancelled():
        return
    failure = attempt.exception()
    if failure is None:
        attempt.result().close()
    elif isinstance(failure, GatewayError):
        forget_frames(failure)
