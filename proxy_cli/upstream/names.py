"""From a host's name to its addresses, asked again every few seconds.

Owns what each name led to, since when, and the look-ups under way: one at a time for each name, so that a slow
resolver holds up nobody but those who need that name. Look-ups run in threads of their own, which no shutdown waits
for: the C library may take half a minute, and cannot be told to stop.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_Found = Iterable[tuple[int, int, int, str, SocketAddress]]


class Address(NamedTuple):
    """Where a name leads to."""

    family: int
    address: SocketAddress


Addresses = tuple[Address, ...]
Resolver = Callable[[str, int], Awaitable[Addresses]]  # raises OSError or UnicodeError

FRESH_S: Final = 4.0  # twice this, and a look-up: a changed address is used within 10 s
# A resolver that fails for a while says nothing about the addresses; a name that is gone is another error.
_NOT_NOW: Final = socket.EAI_AGAIN
_STALE_S: Final = 600.0
_PUT_OFF_S: Final = 60.0


class Names:
    """What names lead to. Owns the addresses found last, those that are tried last, and the look-ups under way."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._found: dict[tuple[str, int], tuple[float, Addresses]] = {}
        self._put_off: dict[Address, float] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[Addresses]] = {}

    async def in_order(self, host: str, port: int) -> Addresses:
        """The addresses to try: first those that have not failed of late. Raises OSError or UnicodeError."""
        found = await self.addresses(host, port)
        if not self._put_off:
            return found
        now = asyncio.get_running_loop().time()
        return tuple(sorted(found, key=lambda address: self._put_off.get(address, 0.0) > now))

    def put_off(self, addresses: Iterable[Address]) -> None:
        """These did not answer, or not in time: for a minute the others are tried before them."""
        now = asyncio.get_running_loop().time()
        self._put_off = {address: until for address, until in self._put_off.items() if until > now}
        self._put_off |= dict.fromkeys(addresses, now + _PUT_OFF_S)

    async def addresses(self, host: str, port: int) -> Addresses:
        """What the name leads to. Raises OSError or UnicodeError."""
        if (plain := literal(host, port)) is not None:
            return plain
        now = asyncio.get_running_loop().time()
        found_at, found = self._found.get((host, port), (0.0, ()))
        if found and now - found_at < FRESH_S:
            return found
        try:
            return await asyncio.shield(self._ask(host, port))
        except socket.gaierror as error:
            if error.errno == _NOT_NOW and found and now - found_at < _STALE_S:
                return found
            raise

    def forget(self, host: str, port: int) -> None:
        """None of the addresses answers: the next one who asks shall get new ones."""
        if (known := self._found.get((host, port))) is not None:
            self._found[host, port] = (known[0] - FRESH_S, known[1])

    def is_asking(self, host: str, port: int) -> bool:
        """Whether the resolver has not answered yet."""
        return (host, port) in self._asking

    def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._asking.values():
            task.cancel()

    def _ask(self, host: str, port: int) -> asyncio.Task[Addresses]:
        task = self._asking.get((host, port))
        if task is None:
            # Held here to its end, and its failure is told to all who wait: no background task.
            task = asyncio.get_running_loop().create_task(self._look_up(host, port))
            self._asking[host, port] = task
            task.add_done_callback(_seen)
        return task

    async def _look_up(self, host: str, port: int) -> Addresses:
        try:
            found = await self._resolve(host, port)
            self._found[host, port] = (asyncio.get_running_loop().time(), found)
            return found
        finally:
            del self._asking[host, port]


def _seen(task: asyncio.Task[Addresses]) -> None:
    """Those who waited may all have left: a failure is then nobody's."""
    if not task.cancelled():
        task.exception()


def literal(host: str, port: int) -> Addresses | None:
    """The address that a host already is, or None for a name."""
    try:
        return _in_turn(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except (socket.gaierror, UnicodeError):
        return None


async def system_addresses(host: str, port: int) -> Addresses:
    """What the system's resolver says. Raises OSError or UnicodeError."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Addresses] = loop.create_future()

    def settle(found: Addresses | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or ())

    def look_up() -> None:
        found, failure = None, None
        try:
            found = _in_turn(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failure = error
        with suppress(RuntimeError):  # the event loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, found, failure)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    return await answer


def _in_turn(found: _Found) -> Addresses:
    """Families take turns (RFC 8305, 4): when one of them leads nowhere, the second try is of the other."""
    addresses = list(dict.fromkeys(Address(family, address) for family, _, _, _, address in found))
    first = [each for each in addresses if each.family == addresses[0].family]
    other = [each for each in addresses if each.family != addresses[0].family]
    paired = [each for pair in zip(first, other, strict=False) for each in pair]
    shorter = min(len(first), len(other))
    return (*paired, *first[shorter:], *other[shorter:])
