"""Which key a request carries, wherever the caller's client puts it; and whether that is the master key.

Every carrier obeys the same rules. No key configured: anyone may call, with any key or none. Keys are compared in
constant time and never kept, logged or sent on; a refusal shows at most a hint of what was presented.
"""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Final

from proxy_cli.callers import ANYONE, Caller, Role
from proxy_cli.errors import InvalidRequest, Unauthenticated
from proxy_cli.secret import Secret, hint
from proxy_cli.shapes import Headers

CARRIERS: Final = (
    "authorization",
    "x-litellm-api-key",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",  # of clients that were made for Azure's API Management
)
_BEARER: Final = "Bearer "


class Keys:
    """Where keys stand in a request, and the master key."""

    __slots__ = ("_carriers", "_master", "_own", "carriers", "master", "required")

    def __init__(self, master_key: Secret | None, *, header_name: str | None = None) -> None:
        key = master_key.reveal() if master_key else None
        self._master = encoded(key) if key is not None else b""
        self.required = key is not None  # whether a caller needs a key at all
        # Who calls with the master key; or anybody, where there is none.
        self.master = Caller(role=Role.ADMIN, hint=hint(key)) if key is not None else ANYONE
        # A header named in the configuration comes first, as a key for something else may stand in Authorization.
        own = (header_name.lower(),) if header_name else ()
        self.carriers: tuple[str, ...] = (*own, *(name for name in CARRIERS if name not in own))
        self._carriers = frozenset(self.carriers)
        self._own = own

    def admit(self, headers: Headers) -> Caller:
        """Who calls, where the master key is the only one; raises Unauthenticated or InvalidRequest."""
        if not self.required:
            return self.master
        key = self.presented(headers)
        if not self.opens(encoded(key)):
            raise unknown(key)
        return self.master

    def presented(self, headers: Headers) -> str:
        """The one key of a request. Raises Unauthenticated where there is none, InvalidRequest where there are two."""
        carried = [pair for pair in headers if pair[0] in self._carriers]
        if len(carried) == 1:
            value = carried[0][1]
            if value[:7] == _BEARER and value[7:8] > " " and value[-1] > " ":
                return value[7:]
        keys = self._of(carried)
        if not keys:
            raise Unauthenticated(
                "no API key was sent; send it in the header Authorization (as Bearer), x-api-key or api-key",
                code="missing_api_key",
            )
        if any(other != keys[0] for other in keys[1:]):
            raise InvalidRequest("two different API keys were sent in different headers; send one", code="two_api_keys")
        return keys[0]

    def opens(self, key: bytes) -> bool:
        """Whether a key is the master key."""
        return self.required and compare_digest(key, self._master)

    def _of(self, carried: Sequence[tuple[str, str]]) -> list[str]:
        # Every line of a header counts: a second one that nobody looks at could be what others look at.
        keys = [(name, key) for name, value in carried if (key := _bare(value))]
        # With a header of the team's own, the standard ones may carry something that is not ours.
        return [key for name, key in keys if name in self._own] or [key for _, key in keys]


def unknown(key: str) -> Unauthenticated:
    """The refusal of a key that is none of ours: the same words whatever the reason."""
    return Unauthenticated(f"the API key {hint(key)} is not known here; check the key your client sends")


def encoded(key: str) -> bytes:
    """A key as its bytes, whatever came in the header."""
    return key.encode("utf-8", "surrogateescape")


def _bare(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()
