"""HTTP proxies on the way to a backend: a tunnel for https, whole addresses in the request line for http.

The proxy's credentials go to the proxy and to nobody else: into the CONNECT that opens a tunnel, never through it;
and beside a plain request, where the proxy takes them off (RFC 9110, 11.7.2).
"""

import asyncio
import re
import socket
from typing import Final

import msgspec

from proxy_cli.shapes import Backend, Proxy, UpstreamRequest

WANTS_CREDENTIALS: Final = 407
_FIELD: Final = "proxy-authorization"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_MAX_HEAD_BYTES: Final = 64 * 1024


def relayed(request: UpstreamRequest, proxy: Proxy) -> UpstreamRequest:
    """A plain request as the proxy wants it: told the whole address, and by whom. One for https passes a tunnel."""
    if request.backend.scheme == "https":
        return request
    headers = tuple(field for field in request.headers if field[0].lower() != _FIELD)
    if proxy.authorization is not None:
        headers = (*headers, (_FIELD, proxy.authorization.reveal()))
    return msgspec.structs.replace(request, target=f"{request.backend}{request.target}", headers=headers)


async def open_tunnel(sock: socket.socket, backend: Backend, proxy: Proxy) -> None:
    """Have the proxy connect this socket to the backend. Raises OSError."""
    loop = asyncio.get_running_loop()
    host = f"[{backend.host}]" if ":" in backend.host else backend.host
    authority = f"{host}:{backend.port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"host: {authority}"]
    if proxy.authorization is not None:
        lines.append(f"{_FIELD}: {proxy.authorization.reveal()}")
    await loop.sock_sendall(sock, "\r\n".join((*lines, "", "")).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        data = await loop.sock_recv(sock, 4096)
        if not data:
            raise ConnectionError("the proxy closed the connection without an answer")
        received += data
        if len(received) > _MAX_HEAD_BYTES:
            raise ConnectionError("the proxy's answer does not end")
    _check(received)


def _check(received: bytes) -> None:
    head, _, rest = received.partition(b"\r\n\r\n")
    found = _STATUS.match(head + b"\r")
    if found is None:
        raise ConnectionError("the proxy's answer is not HTTP/1.1")
    status = int(found[1])
    if status == WANTS_CREDENTIALS:
        raise ConnectionError(refusal(status))
    if not 200 <= status <= 299:
        raise ConnectionError(f"the proxy refuses the connection ({status})")
    if rest:
        # In TLS the client speaks first: whoever wrote this was not asked.
        raise ConnectionError("the proxy sent data before the backend was asked anything")


def refusal(status: int) -> str:
    """What to say of a proxy that does not know us."""
    return f"the proxy wants other credentials ({status}): write http_proxy as http://user:password@host:port"
