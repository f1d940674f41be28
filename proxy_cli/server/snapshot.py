"""All that one configuration needs to answer requests, as one value that is swapped as a whole.

A request takes the snapshot once, when it begins, and keeps it to its end; so a reload changes nothing under a request
that is under way. Immutable, but for what its parts count.
"""

from dataclasses import dataclass

from proxy_cli.gateway import Gateway
from proxy_cli.server.counter import Counter
from proxy_cli.server.inference import Inference
from proxy_cli.server.leftovers import Leftovers
from proxy_cli.server.mirroring import Mirrors
from proxy_cli.server.probes import Health
from proxy_cli.server.problems import Problems
from proxy_cli.server.setup import Setup
from proxy_cli.upstream.client import Upstream


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """One configuration at work."""

    setup: Setup
    problems: Problems
    gateway: Gateway
    inference: Inference
    counter: Counter
    health: Health
    mirrors: Mirrors
    leftovers: Leftovers
    upstream: Upstream  # snapshots whose backends are reached alike share one

    @property
    def is_at_rest(self) -> bool:
        """Whether none of its requests is under way any more."""
        return self.counter.under_way == 0

    async def close(self) -> None:
        """End what goes on beside requests."""
        await self.health.close()
        await self.mirrors.close()
        await self.leftovers.close()
