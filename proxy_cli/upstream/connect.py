"""From a backend's name to a connection: addresses, TCP, TLS.

Owns nothing that stays: names are resolved for every new connection, so a changed address is found as soon as one is
needed. Certificates are verified unless a setting says otherwise; foreign exceptions become `BackendUnreachable` here.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from proxy_cli.errors import BackendUnreachable
from proxy_cli.shapes import Backend
from proxy_cli.upstream.connection import Connection

# A peer that vanished without a word is noticed after a minute, on connections that nobody writes to.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class Address(NamedTuple):
    """Where a name leads to."""

    family: int
    address: SocketAddress


def tls_context(verify: bool | str, client_certificate: str | None) -> ssl.SSLContext:
    """How backends are to prove who they are, and we to them. Raises ValueError for a file that is no use.

    `verify`: True for the system's certificate store, a file or folder of CA certificates, or False for none.
    `client_certificate`: a PEM file with our certificate and its key.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if isinstance(verify, str):
            is_folder = os.path.isdir(verify)  # noqa: PTH112 - the name is handed on as it is
            context.load_verify_locations(capath=verify if is_folder else None, cafile=None if is_folder else verify)
        if client_certificate:
            context.load_cert_chain(client_certificate)
    except OSError as error:
        named = client_certificate if client_certificate and verify in (True, False) else f"{verify}"
        raise ValueError(f"cannot read certificates from {named!r}: {_reason(error)}") from error
    return context


async def dial(backend: Backend, tls: ssl.SSLContext, limit_s: float, make: Callable[[], Connection]) -> Connection:
    """A fresh connection to one of the backend's addresses, tried in turn. Raises BackendUnreachable.

    The limit is the caller's to hold; it is told only so that one address that does not answer leaves time for
    the next.
    """
    reasons: list[str] = []
    addresses = await _resolve(backend)
    for position, address in enumerate(addresses, start=1):
        is_last = position == len(addresses)
        try:
            async with asyncio.timeout(None if is_last else limit_s / len(addresses)):
                return await _dial_one(backend, address, tls, make)
        except OSError as error:
            # One reason for two addresses of a name, `localhost` mostly, is told once.
            if (reason := _reason(error)) not in reasons:
                reasons.append(reason)
    raise BackendUnreachable(f"cannot connect to {backend}: {'; '.join(reasons)}")


async def _resolve(backend: Backend) -> list[Address]:
    try:
        found = socket.getaddrinfo(backend.host, backend.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        # Not an address, so a name: asked in a thread, which a slow resolver may hold for long.
        return await _look_up(backend)
    return _addresses(found)


async def _look_up(backend: Backend) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        return _addresses(await loop.getaddrinfo(backend.host, backend.port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"cannot connect to {backend}: the name {backend.host!r} does not resolve: {reason}"
        raise BackendUnreachable(message) from error


def _addresses(found: Iterable[tuple[int, int, int, str, SocketAddress]]) -> list[Address]:
    return [Address(family, address) for family, _, _, _, address in found]


async def _dial_one(
    backend: Backend, address: Address, tls: ssl.SSLContext, make: Callable[[], Connection]
) -> Connection:
    loop = asyncio.get_running_loop()
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _tune(sock)
        await loop.sock_connect(sock, address.address)
    except BaseException:
        sock.close()
        raise
    if backend.scheme == "https":
        _, connection = await loop.create_connection(make, sock=sock, ssl=tls, server_hostname=backend.host)
    else:
        _, connection = await loop.create_connection(make, sock=sock)
    return connection


def _tune(sock: socket.socket) -> None:
    """No waiting for full segments, and a sign of life now and then."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has all three
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
