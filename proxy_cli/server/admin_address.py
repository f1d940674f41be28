"""The address of operators: where it is set, all that is no matter of models is answered there alone.

Owns the socket, which all processes of this server accept from. Rule: what a request may ask for is decided by the
address that its connection came to, as the kernel tells it, and never by a header.
"""

import asyncio
import socket
from ipaddress import ip_address
from typing import Final

from proxy_cli.config.address import is_loopback
from proxy_cli.config.bind import parse_bind

_OPEN: Final = (
    "the admin API is reached without TLS at {host}, so keys travel where others can read them: serve with "
    "--ssl_certfile_path and --ssl_keyfile_path, or give it an address of this machine alone, as "
    "general_settings.admin_bind: 127.0.0.1:4001"
)


class AdminAddress:
    """A listening socket, and which connections came to it."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        name = listener.getsockname()
        # A socket that listens on every address: its connections have one of them each, and its port.
        self._port = name[1] if isinstance(name, tuple) and ip_address(name[0]).is_unspecified else None
        self._name = _short(name)

    def is_of(self, transport: asyncio.BaseTransport | None) -> bool:
        """Whether a connection came in here."""
        name = None if transport is None else transport.get_extra_info("sockname")
        if self._port is not None:
            return isinstance(name, tuple) and name[1] == self._port
        return bool(name) and _short(name) == self._name


def exposure(host: str, bind: str | None, *, is_secure: bool) -> tuple[str, ...]:
    """What is to be said of an admin API that others may listen to; `host` is the address of the models."""
    where = host if bind is None else parse_bind(bind)[0]
    return () if is_secure or is_loopback(where) else (_OPEN.format(host=where),)


def _short(name: object) -> object:
    """The name of a socket without the flow and the zone of IPv6."""
    return name[:2] if isinstance(name, tuple) else name
