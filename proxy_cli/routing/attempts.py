"""Which deployment is tried, and which next.

Today's rule is small: a group's deployments in weighted random order; another one is asked only when nothing of
the failed attempt reached a model, so that no answer is ever paid for or shown twice.
"""

from collections.abc import Sequence
from random import Random

from proxy_cli.errors import GatewayError
from proxy_cli.routing.table import Table
from proxy_cli.shapes import Deployment


class Attempts:
    """The attempts of one call. Owns the deployments not tried yet."""

    __slots__ = ("_order", "made")

    def __init__(self, order: Sequence[Deployment]) -> None:
        self._order = order
        self.made = 0

    def next(self, failure: GatewayError | None = None) -> Deployment:
        """The deployment to ask now; raises the failure when no other may do better."""
        if failure is not None and not (failure.elsewhere and self.made < len(self._order)):
            raise failure
        self.made += 1
        return self._order[self.made - 1]


class Router:
    """Names and chance put together: a call's attempts."""

    def __init__(self, table: Table, random: Random) -> None:
        self.table = table
        self._random = random

    def attempts(self, model: str) -> Attempts:
        """The attempts for a requested name. Raises UnknownModel."""
        found = self.table.find(model)
        return Attempts(found if len(found) == 1 else shuffled(found, self._random))


def shuffled(deployments: Sequence[Deployment], random: Random) -> list[Deployment]:
    """All of them in random order, where a weight of 2 comes first twice as often as a weight of 1."""
    # Efraimidis and Spirakis 2006: sorting by u^(1/w) draws without replacement in proportion to the weights.
    return sorted(
        deployments, key=lambda each: random.random() ** (1 / each.weight) if each.weight else 0, reverse=True
    )
