"""The public keys that tokens are checked with: sets of keys (RFC 7517) in files or at addresses.

Owns the sets and when they were read. They are read again when they have become old, and when a token names a key that
is in none, though not for every such token; while an address does not answer, what it said before holds for a while.
"""

import asyncio
import logging
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy_cli.clock import Clock
from proxy_cli.errors import Overloaded

logger = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]

_AGAIN_S: Final = 30.0  # between two readings because of keys that are in no set
_TIMEOUT_S: Final = 5.0
_LARGEST: Final = 1024 * 1024


class KeySets:
    """The keys of all sources, by their ids."""

    def __init__(
        self,
        sources: Sequence[str],
        *,
        ttl_s: float = 600.0,
        stale_s: float = 3600.0,
        fetch: Fetch | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._sources = tuple(sources)
        self._ttl_s = ttl_s
        self._stale_s = stale_s
        self._fetch = fetch or read_source
        self._clock = clock
        self._keys: Mapping[str, list[dict[str, Any]]] = {}
        self._read_at: dict[str, float] = {}
        self._tried_s = float("-inf")
        self._lock = asyncio.Lock()

    async def with_id(self, kid: str | None) -> list[dict[str, Any]]:
        """The keys with an id; without one all of them. Raises Overloaded where no source could be read."""
        if self._is_old() or (not self._named(kid) and self._clock() - self._tried_s >= _AGAIN_S):
            async with self._lock:
                if self._is_old() or (not self._named(kid) and self._clock() - self._tried_s >= _AGAIN_S):
                    await self._read()
        if not self._keys:
            raise Overloaded(
                "the keys that tokens are checked with cannot be read now; try again in a moment",
                code="key_set_unavailable",
                retry_after_s=5.0,
            )
        return self._named(kid)

    def _named(self, kid: str | None) -> list[dict[str, Any]]:
        every = [key for keys in self._keys.values() for key in keys]
        return every if kid is None else [key for key in every if key.get("kid") == kid]

    def _is_old(self) -> bool:
        now_s = self._clock()
        if now_s - self._tried_s < min(_AGAIN_S, self._ttl_s):
            return False
        return any(now_s - self._read_at.get(each, float("-inf")) >= self._ttl_s for each in self._sources)

    async def _read(self) -> None:
        self._tried_s = now_s = self._clock()
        found = dict(self._keys)
        for source in self._sources:
            try:
                found[source] = _keys_in(await self._fetch(source))
                self._read_at[source] = now_s
            except (OSError, ValueError, HTTPException, msgspec.MsgspecError) as failure:
                logger.warning("keys for tokens cannot be read from %s: %s", source, type(failure).__name__)
                if now_s - self._read_at.get(source, float("-inf")) >= self._stale_s:
                    found.pop(source, None)
        self._keys = found


async def read_source(source: str) -> bytes:
    """What stands in a file or at an address."""
    return await asyncio.to_thread(_read_address if source.startswith(("https://", "http://")) else _read_file, source)


def _read_file(path: str) -> bytes:
    return Path(path.removeprefix("file://")).read_bytes()[:_LARGEST]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from where the configuration says, and from nowhere that this place points to."""

    def redirect_request(self, *_args: Any) -> None:
        """Nowhere."""


def _read_address(url: str) -> bytes:
    # No proxy from the environment: whoever sets one would choose the keys.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    with opener.open(url, timeout=_TIMEOUT_S) as reply:
        data: bytes = reply.read(_LARGEST)
    return data


def _keys_in(data: bytes) -> list[dict[str, Any]]:
    document = msgspec.json.decode(data)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("no set of keys")
    return [key for key in keys if isinstance(key, dict)]
