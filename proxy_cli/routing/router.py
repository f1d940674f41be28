"""Where a call's attempts come from: names, the fleet, rules and chance put together."""

from proxy_cli.routing.turns import Attempts, Ground
from proxy_cli.shapes import Call


class Router(Ground):
    """A call in, its attempts out."""

    __slots__ = ()

    def attempts(self, call: Call) -> Attempts:
        """The attempts of one call. Raises UnknownModel."""
        found = self.table.find(call.model, call.caller)
        self.budget.calls += 1
        return Attempts(self, call, found)
