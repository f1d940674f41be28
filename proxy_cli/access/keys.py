"""Who is calling: the master key, wherever the caller's client puts a key.

Every carrier obeys the same rules. No key configured: anyone may call, with any key or none. Keys are compared in
constant time and never kept, logged or sent on; a refusal shows at most a hint of what was presented.
"""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Final

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


class Keys:
    """The keys that open this proxy: for now the master key alone."""

    def __init__(self, master_key: Secret | None, *, header_name: str | None = None) -> None:
        key = master_key.reveal() if master_key else None
        self._master = _encoded(key) if key is not None else None
        # What nearly every caller sends, and what is told of it.
        self._usual = _encoded(f"Bearer {key}")
        self._hint = hint(key) if key is not None else ""
        # A header named in the configuration comes first, as a key for something else may stand in Authorization.
        own = (header_name.lower(),) if header_name else ()
        self.carriers: tuple[str, ...] = (*own, *(name for name in CARRIERS if name not in own))
        self._carriers = frozenset(self.carriers)
        self._own = own

    @property
    def required(self) -> bool:
        """Whether a caller needs a key at all."""
        return self._master is not None

    def admit(self, headers: Headers) -> str:
        """A hint of the key that was accepted; raises Unauthenticated or, for two different keys, InvalidRequest."""
        if self._master is None:
            return ""
        carried = [pair for pair in headers if pair[0] in self._carriers]
        if len(carried) == 1 and compare_digest(_encoded(carried[0][1]), self._usual):
            return self._hint
        return self._judged(self._presented(carried), self._master)

    def is_admin(self, accepted: str) -> bool:
        """Whether the caller of whom `admit` has said this may see and do all: the master key's, or any without one."""
        return self._master is None or accepted == self._hint

    def _judged(self, presented: Sequence[str], master: bytes) -> str:
        if not presented:
            raise Unauthenticated(
                "no API key was sent; send it in the header Authorization (as Bearer), x-api-key or api-key",
                code="missing_api_key",
            )
        key = presented[0]
        if any(other != key for other in presented[1:]):
            raise InvalidRequest("two different API keys were sent in different headers; send one", code="two_api_keys")
        if not compare_digest(_encoded(key), master):
            raise Unauthenticated(f"the API key {hint(key)} is not known here; check the key your client sends")
        return self._hint

    def _presented(self, carried: Sequence[tuple[str, str]]) -> list[str]:
        # Every line of a header counts: a second one that nobody looks at could be what others look at.
        keys = [(name, key) for name, value in carried if (key := _bare(value))]
        # With a header of the team's own, the standard ones may carry something that is not ours.
        return [key for name, key in keys if name in self._own] or [key for _, key in keys]


def _encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _bare(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()
