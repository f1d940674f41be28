"""Who is calling: the master key, or a key that is known.

Owns what this process knows of keys. Refuses what is no key of ours in words that are the same whatever the reason.
"""

from proxy_cli.access.keys import Keys
from proxy_cli.callers import Caller, Role
from proxy_cli.shapes import Headers

PASSER_BY = Caller(role=Role.CUSTOMER)  # who calls a public route


class Callers:
    """The callers that this process knows; one for each process."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def admit(self, headers: Headers, client: str) -> Caller | None:  # noqa: ARG002
        """Who calls, where that is known at once; None: ask `find`. Raises the GatewayError that refuses."""
        return self._keys.admit(headers)

    async def find(self, headers: Headers, client: str) -> Caller:  # noqa: ARG002
        """Who calls, looked up where it is not known yet. Raises the GatewayError that refuses."""
        return self._keys.admit(headers)
