"""Callers of the proof: half of their requests are streams, a fifth of them leave, some answers are faults.

Owns the numbers of requests, and what became of them. A caller that leaves does so after a random number of bytes, or
after a random time, before the answer has begun or within it.
"""

import asyncio
import contextlib
import hashlib
import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.proof_checks import COMPLETION_NANO, PROMPT_NANO, TAG

MASTER: Final = "sk-proof-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NANO: Final = 1_000_000_000
MODELS: Final = 4  # `oracle-1` and so on, each with a price of its own
CONCURRENT: Final = 50
PARALLEL: Final = 12  # of one key: its places must all be free at rest
_KEYS: Final = 32
_MOST_TOKENS: Final = 16  # each request says so
_LONGEST_PROMPT: Final = 64  # tokens that the prompt may be taken for when it is reserved
_REST_S: Final = 40.0  # after which nothing of a process that was killed may still be taken
_PLENTY_NANO: Final = 1_000 * NANO
# Of four keys one runs out at once, one on the way, one late or never, and one has a window.
_BUDGETS_NANO: Final = (1_000_000, 5_000_000, 40_000_000, _PLENTY_NANO)
_FATES: Final = ("",) * 18 + ("fault", "cut", "slow")
_LEAVE, _STREAM = 0.2, 0.5
_PAUSE_S: Final = 0.02


def most_nano(model: int) -> int:
    """What one request may come to at most."""
    return (_LONGEST_PROMPT * PROMPT_NANO + _MOST_TOKENS * COMPLETION_NANO) * model


@dataclass(slots=True)
class Key:
    """A key of the run."""

    secret: str
    budget_nano: int

    @property
    def digest(self) -> str:
        """As the ledger knows it."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


@dataclass(slots=True)
class Load:
    """All callers together."""

    url: str
    rng: random.Random
    session: aiohttp.ClientSession
    keys: list[Key] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    number: int = 0
    is_over: bool = False

    async def make_keys(self) -> None:
        """Keys of different budgets."""
        for number in range(_KEYS):
            budget = _BUDGETS_NANO[number % len(_BUDGETS_NANO)]
            body: dict[str, Any] = {"max_budget": budget / NANO, "max_parallel_requests": PARALLEL}
            if budget == _PLENTY_NANO:
                body["budget_duration"] = "30d"
            head = {"authorization": f"Bearer {MASTER}"}
            async with self.session.post(f"{self.url}/key/generate", json=body, headers=head) as reply:
                made = await reply.json()
                self.keys.append(Key(made["key"], budget))

    async def run(self) -> None:
        """Ask until it is over."""
        await asyncio.gather(*(self._caller() for _ in range(CONCURRENT)))

    async def _caller(self) -> None:
        while not self.is_over:
            key, model, fate = self.rng.choice(self.keys), self.rng.randint(1, MODELS), self.rng.choice(_FATES)
            became = await self.ask(key, model, fate=fate, leaves=self.rng.random() < _LEAVE)
            if became != "refused":  # nobody listens while it starts: no request has been made
                self.statuses[became] += 1
            if became not in {"200", "left"}:
                await asyncio.sleep(_PAUSE_S)

    async def ask(self, key: Key, model: int, *, fate: str = "", leaves: bool = False) -> str:
        """One request; what became of it."""
        self.number += 1
        body: dict[str, Any] = {"model": f"oracle-{model}", "max_tokens": _MOST_TOKENS}
        body |= {"messages": [{"role": "user", "content": f"{self.number} {fate}".strip()}]}
        body |= {"stream": self.rng.random() < _STREAM}
        head = {"authorization": f"Bearer {key.secret}", "x-litellm-tags": f"{TAG}{self.number}"}
        asked = self.session.post(f"{self.url}/v1/chat/completions", json=body, headers=head)
        try:
            if leaves:
                return await self._leave(asked)
            async with asked as reply:
                await reply.read()
                return str(reply.status)
        except aiohttp.ClientConnectorError:
            return "refused"
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return "broken"

    async def _leave(self, asked: Any) -> str:
        """Go away after some bytes, or after some milliseconds."""
        most_bytes = self.rng.randrange(1, 2000) if self.rng.random() < 0.5 else None
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(None if most_bytes else self.rng.uniform(0.0, 0.03)), asked as reply:
                if most_bytes is None:
                    await asyncio.Event().wait()
                await reply.content.readexactly(most_bytes)
                reply.close()
        return "left"

    async def taken_at_rest(self, database: Path) -> str:
        """I5: what is still taken though nothing is under way, as one sentence; empty where all is free."""
        async with asyncio.timeout(_REST_S * 2):
            for key in self.keys:
                if key.budget_nano == _PLENTY_NANO and not await self._has(PARALLEL, key):
                    return f"a key has not all of its {PARALLEL} places {_REST_S:.0f} s after the load"
            await asyncio.sleep(1.0)
            for key in self.keys:
                left = key.budget_nano - spent(database)[key.digest]
                if left >= most_nano(1) and not await self._has(1, key):
                    return f"a key has {left} nano-dollars left and gets nothing for it"
        return ""

    async def _has(self, places: int, key: Key) -> bool:
        """Whether so many requests at once are answered, soon at least."""
        until = asyncio.get_running_loop().time() + _REST_S
        while set(await asyncio.gather(*(self.ask(key, 1) for _ in range(places)))) != {"200"}:
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(1.0)
        return True


def spent(database: Path) -> Counter[str]:
    """What each key has spent by its sums, in nano-dollars."""
    query = "SELECT id, sum(nano) FROM llmproxy_spend WHERE kind = 'key' GROUP BY id"
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return Counter(dict(connection.execute(query).fetchall()))
