"""A backend that obeys a script, byte by byte: for everything that a proper server would never do.

A script is a list of steps for one connection:

- `REQUEST`: read one whole request (head, and body by its framing);
- `HEAD`: read a request's head only;
- some bytes: send them;
- a number: pause for so many seconds;
- `FIN` or `RST`: close, with or without manners.

After its last step a connection stays open until the peer closes it. Each connection takes the next script; the last
one serves all that follow.
"""

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Sequence
from enum import Enum
from types import TracebackType
from typing import Self

from proxy_cli.shapes import Backend


class Step(Enum):
    """What a script says beside bytes and pauses."""

    REQUEST = "request"
    HEAD = "head"
    FIN = "fin"
    RST = "rst"


REQUEST, HEAD, FIN, RST = Step.REQUEST, Step.HEAD, Step.FIN, Step.RST
Script = Sequence[Step | bytes | float]


class Seen:
    """What one connection brought, and when it went."""

    def __init__(self) -> None:
        self.received = b""  # everything, framing included
        self.requests: list[bytes] = []  # each one that a step has read
        self.closed = asyncio.Event()  # the peer has closed it, by FIN or RST


class RawBackend:
    """A listening socket and its scripts. Use as `async with RawBackend([REQUEST, b"HTTP/1.1 ..."]) as raw:`."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: list[asyncio.WriteTransport] = []
        self.connections: list[Seen] = []
        self.backend = Backend("https" if tls else "http", "127.0.0.1", 0)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.backend = Backend(self.backend.scheme, "127.0.0.1", port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in self._transports:
            transport.abort()
        await asyncio.sleep(0)  # the event loop closes an aborted socket in its next turn

    @property
    def requests(self) -> list[bytes]:
        """Every request that was read, over all connections."""
        return [request for seen in self.connections for request in seen.requests]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = Seen()
        script = self._scripts[min(len(self.connections), len(self._scripts) - 1)]
        self.connections.append(seen)
        self._transports.append(writer.transport)
        task = asyncio.get_running_loop().create_task(self._serve(script, seen, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, script: Script, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._play(script, seen, reader, writer)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while data := await reader.read(65536):
                    seen.received += data
            seen.closed.set()
        finally:
            writer.transport.abort()

    async def _play(
        self, script: Script, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for step in script:
            match step:
                case Step.REQUEST | Step.HEAD:
                    head = await _read(seen, reader.readuntil(b"\r\n\r\n"))
                    seen.requests.append(head + (await _body(head, seen, reader) if step is REQUEST else b""))
                case Step.FIN:
                    writer.close()
                case Step.RST:
                    _reset(writer)
                case bytes():
                    if writer.is_closing():
                        return  # the peer has gone; uvloop would call a write a programming error
                    writer.write(step)
                    await writer.drain()
                case _:
                    await asyncio.sleep(step)


async def _read(seen: Seen, reading: Awaitable[bytes]) -> bytes:
    data = await reading
    seen.received += data
    return data


async def _body(head: bytes, seen: Seen, reader: asyncio.StreamReader) -> bytes:
    """The rest of a request, its framing taken off."""
    if match := re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE):
        return await _read(seen, reader.readexactly(int(match[1])))
    body = b""
    while b"chunked" in head.lower():
        size = int(await _read(seen, reader.readuntil(b"\r\n")), 16)
        chunk = await _read(seen, reader.readexactly(size + 2))
        if not size:
            break
        body += chunk[:-2]
    return body


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
