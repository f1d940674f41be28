"""Who is calling: the master key, wherever the caller's client puts a key.

Every carrier obeys the same rules. No key configured: anyone may call, with any key or none. Keys are compared in
constant time and never kept, logged or sent on; a refusal shows at most a hint of what was presented.
"""

import hmac
from collections.abc import Sequence
from typing import Final

from multidict import MultiMapping

from proxy_cli.errors import InvalidRequest, Unauthenticated
from proxy_cli.secret import Secret, hint

CARRIERS: Final = (
    "authorization",
    "x-litellm-api-key",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",  # of clients that were made for Azure's API Management
)


class Keys:
    """The keys that open this proxy: for now the master key alone."""

    def __init__(self, master_key: Secret | None, *, header_name: str | None = None) -> None:
        self._master = master_key.reveal().encode() if master_key else None
        # A header named in the configuration comes first, as a key for something else may stand in Authorization.
        own = (header_name.lower(),) if header_name else ()
        self.carriers: tuple[str, ...] = (*own, *(name for name in CARRIERS if name not in own))
        self._own = own

    @property
    def required(self) -> bool:
        """Whether a caller needs a key at all."""
        return self._master is not None

    def admit(self, headers: MultiMapping[str]) -> str:
        """A hint of the key that was accepted; raises Unauthenticated or, for two different keys, InvalidRequest."""
        if self._master is None:
            return ""
        presented = self._presented(headers)
        if not presented:
            raise Unauthenticated(
                "no API key was sent; send it in the header Authorization (as Bearer), x-api-key or api-key",
                code="missing_api_key",
            )
        key = presented[0]
        if any(other != key for other in presented[1:]):
            raise InvalidRequest("two different API keys were sent in different headers; send one", code="two_api_keys")
        if not hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self._master):
            raise Unauthenticated(f"the API key {hint(key)} is not known here; check the key your client sends")
        return hint(key)

    def _presented(self, headers: MultiMapping[str]) -> Sequence[str]:
        if self._own and (own := _values(headers, self._own[0])):
            # With a header of the team's own, the standard ones may carry something that is not ours.
            return own
        return [value for name in CARRIERS if name in headers for value in _values(headers, name)]


def _values(headers: MultiMapping[str], name: str) -> list[str]:
    """The keys in every line of a header: a second one that nobody looks at could be what others look at."""
    return [key for value in headers.getall(name, ()) if (key := _bare(value))]


def _bare(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()
