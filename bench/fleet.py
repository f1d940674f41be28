"""Eight model servers and two hundred callers, as a model: what a router makes of bad servers.

Four servers are sound, with a load that slows them down; one is ten times slower, one answers 429 at once, one dies
once a minute, and one stops in the middle of its streams. Nothing here knows a router: `Fleet.open` is what a router's
upstream calls, `Callers` call whatever they are given. Times in seconds of whichever clock the event loop has.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

SERVERS: Final = ("sound-1", "sound-2", "sound-3", "sound-4", "slow", "full", "dying", "stalling")
BAD: Final = ("slow", "full", "dying", "stalling")
_FIRST_S: Final = 0.2  # to the first event of a server that has little to do
_EVENT_S: Final = 0.02
_EVENTS: Final = 20
_AT_ONCE: Final = 32  # answers that a server gives at full speed
_DIES_EVERY_S: Final = 60.0
_DEAD_S: Final = 10.0


class Refused(Exception):
    """No connection."""


class Broken(Exception):
    """The connection broke off."""


class Full(Exception):
    """429."""


@dataclass
class Fleet:
    """The servers. Owns what each has been asked, and what it is doing."""

    random: random.Random
    asked: Counter[str] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)

    async def open(self, name: str) -> AsyncIterator[int]:
        """Ask a server: its events, the first of which has come. Raises Refused, Full or Broken."""
        self.asked[name] += 1
        if self.is_dead(name):
            raise Refused
        if name == "full":
            await asyncio.sleep(0.002)
            raise Full
        events = self._events(name)
        try:
            first = await anext(events)
        except BaseException:
            await events.aclose()
            raise
        return _with(first, events)

    def is_dead(self, name: str) -> bool:
        """Whether a server is down now."""
        return name == "dying" and asyncio.get_running_loop().time() % _DIES_EVERY_S > _DIES_EVERY_S - _DEAD_S

    async def _events(self, name: str) -> AsyncGenerator[int, None]:
        self.busy[name] += 1
        try:
            for number in range(_EVENTS):
                await asyncio.sleep(self._pause_s(name, _EVENT_S if number else _FIRST_S))
                if self.is_dead(name):
                    raise Broken
                if name == "stalling" and number == _EVENTS // 2:
                    await asyncio.sleep(100_000)
                yield number
        finally:
            self.busy[name] -= 1

    def _pause_s(self, name: str, usual_s: float) -> float:
        load = max(1.0, self.busy[name] / _AT_ONCE)
        return usual_s * load * (10 if name == "slow" else 1) * self.random.uniform(0.7, 1.3)


async def _with(first: int, events: AsyncGenerator[int, None]) -> AsyncIterator[int]:
    try:
        yield first
        async for each in events:
            yield each
    finally:
        await events.aclose()


@dataclass
class Tally:
    """What callers have seen."""

    requests: int = 0
    whole: int = 0
    cut: int = 0  # after the first event: nobody could have prevented it
    failed: Counter[str] = field(default_factory=Counter)  # before any, by what it was
    first_s: list[float] = field(default_factory=list)


Ask = Callable[[bool], Awaitable[AsyncIterator[object]]]  # stream or not; raises what the caller would see


async def call(ask: Ask, tally: Tally, chance: random.Random, until_s: float) -> None:
    """One caller: asks, reads, thinks, and asks again."""
    loop = asyncio.get_running_loop()
    while loop.time() < until_s:
        await asyncio.sleep(chance.expovariate(1.0))
        tally.requests += 1
        began_s = loop.time()
        streams = chance.random() < 0.7
        try:
            events = await ask(streams)
        except Exception as error:  # noqa: BLE001 - whatever a router raises is what its caller sees
            tally.failed[f"{type(error).__name__} {getattr(error, 'status', getattr(error, 'status_code', ''))}"] += 1
            continue
        tally.first_s.append(loop.time() - began_s)
        try:
            async for _ in events:
                pass
        except Exception:  # noqa: BLE001 - likewise
            tally.cut += 1
        else:
            tally.whole += 1


async def crowd(ask: Ask, *, callers: int, seconds: float, seed: int) -> Tally:
    """All callers, to the end; those who wait then are let go."""
    tally = Tally()
    tasks = [asyncio.create_task(call(ask, tally, random.Random(seed * 1000 + n), seconds)) for n in range(callers)]
    _, left = await asyncio.wait(tasks, timeout=seconds + 60)
    for each in left:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return tally


def told(tally: Tally, fleet: Fleet) -> dict[str, Any]:
    """One run's figures."""
    asked = sum(fleet.asked.values())
    first_s = sorted(tally.first_s) or [0.0]
    return {
        "requests": tally.requests,
        "whole": tally.whole,
        "cut": tally.cut,
        "failed": dict(tally.failed),
        "upstream": asked,
        "shares": {name: fleet.asked[name] / max(asked, 1) for name in SERVERS},
        "first_p50_s": first_s[len(first_s) // 2],
        "first_p99_s": first_s[int(len(first_s) * 0.99)],
    }
