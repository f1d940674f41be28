"""From a backend to a connection: its addresses or its proxy's, TCP, the tunnel, TLS.

Owns nothing that stays. Foreign exceptions become `BackendUnreachable` here, with a reason and what to do.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from proxy_cli.config.destination import leads_to_metadata
from proxy_cli.errors import BackendUnreachable, CallerTimeout, ConnectTimeout, GatewayError
from proxy_cli.shapes import Backend, Timeouts
from proxy_cli.upstream.connection import Connection
from proxy_cli.upstream.names import Address, Addresses, Names
from proxy_cli.upstream.proxy import open_tunnel
from proxy_cli.upstream.tls import Contexts, UnusableTls

# A peer that vanished without a word is noticed after a minute: by probes where nobody writes, and by what stays
# unacknowledged where somebody does.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
_ROUNDING_S: Final = 0.002  # the event loop's clock ticks in milliseconds
_NEXT_S: Final = 0.25  # RFC 8305, 5: the recommended delay before the next address is tried as well


class Dialed(NamedTuple):
    """A fresh connection, and the address that it leads to: the backend's, or its proxy's."""

    connection: Connection
    address: Address


class Ways(NamedTuple):
    """What leads to backends, shared by all pools."""

    names: Names
    contexts: Contexts


async def dial(backend: Backend, ways: Ways, limit_s: float, make: Callable[[], Connection]) -> Dialed:
    """A fresh connection. Raises BackendUnreachable.

    The limit is the caller's to hold; it is told only so that one address that stalls leaves time for the next.
    """
    waiting = list(await _addresses(backend, ways.names))
    reasons: dict[str, None] = {}  # one that holds for two addresses of a name, `localhost` mostly, is told once
    while waiting:
        raced = await _race(waiting)
        for address, error in raced.failed.items():
            waiting.remove(address)
            reasons[_reason(error)] = None
        if raced.sock is None or raced.address is None:
            continue
        if late := {*raced.failed, *raced.slow}:
            ways.names.put_off(late)
        waiting.remove(raced.address)
        try:
            async with asyncio.timeout(limit_s / (len(waiting) + 1) if waiting else None):
                return Dialed(await _open(backend, raced.sock, ways.contexts, make), raced.address)
        except OSError as error:
            reasons[_reason(error)] = None
            ways.names.put_off([raced.address])
        except UnusableTls as error:
            reasons[str(error)] = None
    ways.names.forget(*target(backend))
    raise BackendUnreachable(f"cannot connect to {described(backend)}: {'; '.join(reasons)}")


def target(backend: Backend) -> tuple[str, int]:
    """Host and port that a connection for this backend is opened to."""
    return (backend.host, backend.port) if backend.proxy is None else (backend.proxy.host, backend.proxy.port)


def described(backend: Backend) -> str:
    """A backend and the way to it, for a message."""
    return f"{backend}" if backend.proxy is None else f"{backend} by way of the proxy {backend.proxy}"


def too_late(
    backend: Backend, timeouts: Timeouts, started: float, now: float, *, looking_up: bool = False
) -> GatewayError:
    """The error for a connection that did not come about in time: the caller's, if the caller's limit is over."""
    limit_s = timeouts.first_byte_s if timeouts.total_s is None else timeouts.total_s
    if timeouts.set_by_caller and limit_s is not None and now + _ROUNDING_S >= started + limit_s:
        return CallerTimeout(f"no connection to {described(backend)} within {limit_s:g} s (total timeout)")
    limit_s = min(timeouts.connect_s, limit_s or timeouts.connect_s)
    why = "; its name is still being looked up" if looking_up else ""
    return ConnectTimeout(f"no connection to {described(backend)} within {limit_s:g} s (connect timeout){why}")


async def _addresses(backend: Backend, names: Names) -> Addresses:
    host, port = target(backend)
    try:
        found = await names.in_order(host, port)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"cannot connect to {described(backend)}: the name {host!r} does not resolve: {reason}"
        raise BackendUnreachable(message) from error
    # Looked at for each connection, for a name may lead elsewhere a moment later.
    good = tuple(each for each in found if not leads_to_metadata(host, str(each.address[0])))
    if found and not good:
        raise BackendUnreachable(
            f"cannot connect to {described(backend)}: the name {host!r} leads to a metadata service, which is asked by "
            "its address alone; write that address in the file if it is meant"
        )
    return good


class _Raced(NamedTuple):
    """What came of trying several addresses: the first one to be connected, if any, and those tried before it."""

    sock: socket.socket | None
    address: Address | None
    failed: Mapping[Address, OSError]
    slow: Addresses = ()


async def _alone(address: Address) -> _Raced:
    try:
        return _Raced(await _reach(address), address, {})
    except OSError as error:
        return _Raced(None, None, {address: error})


async def _race(addresses: Iterable[Address]) -> _Raced:
    """The first address to be connected; the next is tried when 250 ms have passed, or when one has failed."""
    waiting = list(addresses)
    if len(waiting) == 1:
        return await _alone(waiting[0])
    failed: dict[Address, OSError] = {}
    running: dict[asyncio.Task[socket.socket], Address] = {}
    try:
        while waiting or running:
            if waiting:
                # Held here, and ended below: no background task.
                address = waiting.pop(0)
                running[asyncio.create_task(_reach(address))] = address
            done, _ = await asyncio.wait(
                running, timeout=_NEXT_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                address = running.pop(task)
                error = task.exception()
                if error is None:
                    return _Raced(task.result(), address, failed, tuple(running.values()))
                if not isinstance(error, OSError):
                    raise error
                failed[address] = error
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_drop)
    return _Raced(None, None, failed)


def _drop(task: asyncio.Task[socket.socket]) -> None:
    """An address that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _reach(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _tune(sock)
        await asyncio.get_running_loop().sock_connect(sock, address.address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _open(
    backend: Backend, sock: socket.socket, contexts: Contexts, make: Callable[[], Connection]
) -> Connection:
    """What follows once TCP is connected."""
    loop = asyncio.get_running_loop()
    if backend.scheme != "https":
        _, connection = await loop.create_connection(make, sock=sock)
        return connection
    try:
        context = contexts.context(backend.tls)
        if backend.proxy is not None:
            await open_tunnel(sock, backend, backend.proxy)
    except BaseException:
        sock.close()
        raise
    _, connection = await loop.create_connection(make, sock=sock, ssl=context, server_hostname=backend.host)
    return connection


def _tune(sock: socket.socket) -> None:
    """No waiting for full segments, and a sign of life now and then."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _reason(error: OSError) -> str:
    """What went wrong, in words that help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted: {error.verify_message}"
            " (a CA of your own is given as a file: ssl_verify, or SSL_CERT_FILE)"
        )
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        hint = " (does it speak plain HTTP?)" if reason == "wrong version number" else ""
        return f"the TLS handshake failed: {reason}{hint}"
    if isinstance(error, TimeoutError):
        return "one address did not answer in time"
    if error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or "the connection was closed during the handshake"
