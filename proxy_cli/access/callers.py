"""Who is calling: the master key, a key of the store, or a token; as far as this process knows them.

Owns what is known of keys, end users and tags, bounded in number. What is known is served at once and looked up again
now and then behind the caller's back; what another process changes is forgotten within a second. While the store does
not answer, who was known before goes on for ten minutes. Keeps: a key stands here as its digest only, and refusals say
the same whatever was guessed wrong.
"""

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, Protocol

import msgspec

from proxy_cli.access.addresses import Addresses, is_among
from proxy_cli.access.addresses import refusal as address_refusal
from proxy_cli.access.grants import UNKNOWN, Facts, Known, Terms, known_of
from proxy_cli.access.keys import Keys, encoded, unknown
from proxy_cli.access.lookups import Lookups, read_keys
from proxy_cli.access.named import Named
from proxy_cli.access.news import News
from proxy_cli.callers import Caller, Extra, Role
from proxy_cli.clock import Clock
from proxy_cli.errors import Overloaded, Unauthenticated
from proxy_cli.secret import hint
from proxy_cli.shapes import Call, Headers
from proxy_cli.store.base import Store
from proxy_cli.tasks import Tasks

_PREFIX: Final = "sk-"  # of every key that was ever handed out
_LONGEST: Final = 512
_KEPT_S: Final = 600.0  # how long a caller goes on while the store does not answer
_REFUSED_S: Final = 10.0  # how long a wrong key is remembered
_AGAIN_S: Final = 5.0  # between two tries to look up again who is known
_MOST_REFUSED: Final = 10_000
_EVERYTHING: Final = "*"


class Tokens(Protocol):
    """Those who sign in with tokens of somebody else's."""

    def is_token(self, key: str) -> bool:
        """Whether a credential is to be read as a token."""

    async def known(self, token: str) -> Known:
        """What a token says of its bearer. Raises Unauthenticated, Forbidden or StoreUnavailable."""


class Callers:
    """The callers that one process knows. Made after the fork; `start` begins to hear of changes."""

    def __init__(
        self,
        keys: Keys,
        *,
        store: Store | None = None,
        terms: Terms | None = None,
        addresses: Addresses | None = None,
        tokens: Tokens | None = None,
        clock: Clock = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall = wall
        self._tasks = Tasks()
        self._known: dict[bytes, Known] = {}
        self._refused: dict[bytes, Known] = {}
        self._lookups: Lookups[Facts] | None = None
        if store is not None:
            self._lookups = Lookups(store, read_keys, clock=clock, tasks=self._tasks)
        self._under_way = 0  # lookups, and what was changed since the first of them began
        self._changed: set[tuple[str, str]] = set()
        self._listeners: list[Callable[[str, str], None]] = []
        self._news = None if store is None else News(store, self.forget)
        self._named = None if store is None else Named(store, clock=clock, tasks=self._tasks)
        self.take(keys, terms=terms, addresses=addresses, tokens=tokens)

    def take(
        self,
        keys: Keys,
        *,
        terms: Terms | None = None,
        addresses: Addresses | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """Go by another configuration from now on; who is known is looked up again, but goes on meanwhile."""
        self._keys = keys
        self.terms = terms or Terms()
        self.addresses = addresses or Addresses()
        self._asks_address = bool(self.addresses.allowed)
        self._tokens = tokens
        scopes = () if self.terms.proxy is None else (self.terms.proxy,)
        self._master = msgspec.structs.replace(keys.master, scopes=scopes) if scopes else keys.master
        self._passer_by = Caller(role=Role.CUSTOMER, scopes=scopes)
        if self._named is not None:
            self._named.take(self.terms)
        self._refused.clear()
        for known in self._known.values():
            known.fresh_until_s = 0.0

    def start(self) -> None:
        """Hear of what other processes change."""
        if self._news is not None:
            self._tasks.spawn(self._news.run(), "changes of keys")

    @property
    def has_store(self) -> bool:
        """Whether there is a store, and it answered when it was last looked at."""
        return self._news is not None and self._news.is_current

    async def close(self) -> None:
        """Hear no more of it."""
        await self._tasks.close()

    def admit(self, headers: Headers, client: str) -> Caller | None:
        """Who calls, where that is known at once; None: ask `find`. Raises the GatewayError that refuses."""
        if self._asks_address:
            self.addresses.let_in(self.addresses.client_of(headers, client))
        keys = self._keys
        if not keys.required:
            return self._master
        key = keys.presented(headers)
        code = encoded(key)
        if keys.opens(code):
            return self._master
        digest = sha256(code).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._refused.get(digest)
            if known is None:
                self._refuse_foreign(key)
                return None
        now_s = self._clock()
        if now_s >= known.fresh_until_s and not self._goes_on(known, key, digest, now_s):
            return None
        if known.turn_s <= self._wall():
            return None
        return self._judged(known, key, headers, client)

    def pass_by(self, headers: Headers, client: str) -> Caller:
        """Who calls a public route: nobody in particular. Raises Forbidden for an address that may not call."""
        if self._asks_address:
            self.addresses.let_in(self.addresses.client_of(headers, client))
        return self._passer_by

    async def find(self, headers: Headers, client: str) -> Caller:
        """Who calls, looked up where it is not known. Raises the GatewayError that refuses, or StoreUnavailable."""
        caller = self.admit(headers, client)
        if caller is not None:
            return caller
        key = self._keys.presented(headers)
        return self._judged(await self._look_up(key, sha256(encoded(key)).digest()), key, headers, client)

    def known(self, caller: Caller, call: Call) -> Extra | None:
        """The end user of a call, and what is counted beside the caller; None: ask `load`. Raises Forbidden."""
        return ("", (), None) if self._named is None else self._named.known(caller, call)

    async def load(self, caller: Caller, call: Call) -> Extra:
        """The same from the store. Raises Forbidden."""
        return ("", (), None) if self._named is None else await self._named.load(caller, call)

    def forget(self, kind: str, id: str) -> None:  # noqa: A002 - the store's name for it
        """Something was changed: what was made of it is looked up again when it is next asked for."""
        if self._under_way:
            self._changed.add((kind, id))
        if self._named is not None:
            self._named.forget(kind, id)
        for listener in self._listeners:
            listener(kind, id)
        for cache in (self._known, self._refused):
            if kind == _EVERYTHING:
                cache.clear()
                continue
            part = (kind, id)
            for digest in [digest for digest, known in cache.items() if part in known.parts]:
                del cache[digest]

    def listen(self, listener: Callable[[str, str], None]) -> None:
        """Have somebody else told, too, of what was changed."""
        self._listeners.append(listener)

    def _refuse_foreign(self, key: str) -> None:
        """Refuse at once what was never handed out here, so that nobody is asked about it."""
        if self._tokens is not None and self._tokens.is_token(key):
            return
        if self._lookups is None or len(key) > _LONGEST or not key.startswith(_PREFIX):
            raise unknown(key)

    def _goes_on(self, known: Known, key: str, digest: bytes, now_s: float) -> bool:
        """Whether what is known of a caller holds while it is looked up again."""
        if known.caller is None or now_s >= known.kept_until_s:
            return False
        known.fresh_until_s = min(now_s + _AGAIN_S, known.kept_until_s)
        self._tasks.spawn(self._renew(key, digest), "renewal of a key")
        return True

    def _judged(self, known: Known, key: str, headers: Headers, client: str) -> Caller:
        caller = known.caller
        if caller is None:
            words, code = known.refused or UNKNOWN
            raise Unauthenticated(f"{self._shown(key)} {words}", code=code)
        if known.addresses:
            address = self.addresses.client_of(headers, client)
            if not is_among(address, known.addresses):
                raise address_refusal(address)
        return caller

    def _shown(self, key: str) -> str:
        if self._tokens is not None and self._tokens.is_token(key):
            return "the token"
        return f"the API key {hint(key)}"

    async def _renew(self, key: str, digest: bytes) -> None:
        try:
            await self._look_up(key, digest)
        except Overloaded:
            pass  # what is known holds for a while
        except Unauthenticated:
            self._known.pop(digest, None)

    async def _look_up(self, key: str, digest: bytes) -> Known:
        self._under_way += 1
        try:
            known = await self._read(key, digest)
        except Overloaded:
            former = self._known.get(digest)
            if former is None or self._clock() >= former.kept_until_s or former.turn_s <= self._wall():
                raise
            return former
        finally:
            self._under_way -= 1
            changed = self._changed
            if not self._under_way:
                self._changed = set()
        if not changed or not (known.parts & changed or (_EVERYTHING, "") in changed):
            self._keep(digest, known)
        return known

    async def _read(self, key: str, digest: bytes) -> Known:
        if self._tokens is not None and self._tokens.is_token(key):
            return await self._tokens.known(key)
        if self._lookups is None:
            raise unknown(key)
        text = digest.hex()
        return known_of(text, await self._lookups.find(text), self.terms, self._wall())

    def _keep(self, digest: bytes, known: Known) -> None:
        now_s = self._clock()
        self._known.pop(digest, None)
        self._refused.pop(digest, None)
        if known.caller is None:
            cache, most, known.fresh_until_s = self._refused, _MOST_REFUSED, now_s + _REFUSED_S
        else:
            cache, most, known.fresh_until_s = self._known, self.terms.most_known, now_s + self.terms.ttl_s
            known.kept_until_s = now_s + _KEPT_S
        cache[digest] = known
        if len(cache) > most:
            del cache[next(iter(cache))]
