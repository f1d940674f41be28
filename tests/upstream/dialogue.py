"""What most dialogues with a scripted backend are made of."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from proxy_cli.shapes import Backend, BodySource, Headers, Timeouts, UpstreamRequest

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def request_to(
    backend: Backend,
    body: bytes | BodySource = b"{}",
    *,
    headers: Headers = (("content-type", "application/json"),),
    method: str = "POST",
    stream: bool = False,
    timeouts: Timeouts | None = None,
) -> UpstreamRequest:
    """A request as a provider would make it."""
    return UpstreamRequest(
        backend=backend,
        target="/v1/chat/completions",
        headers=headers,
        body=body,
        method=method,
        stream=stream,
        timeouts=timeouts or Timeouts(),
    )


def reply(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """A whole reply with a length."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(pieces: Sequence[bytes], *fields: str) -> bytes:
    """A whole reply in chunks."""
    lines = ["HTTP/1.1 200 OK", "transfer-encoding: chunked", *fields, "", ""]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "\r\n".join(lines).encode() + body + b"0\r\n\r\n"


@asynccontextmanager
async def serving(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Backend]:
    """A backend that does what a function says, where a script would not be enough."""
    transports: list[asyncio.WriteTransport] = []
    tasks: list[asyncio.Future[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transports.append(writer.transport)
        tasks.append(asyncio.ensure_future(talk(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield Backend("http", "127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)


class Pieces:
    """A BodySource over pieces that are at hand."""

    def __init__(self, *pieces: bytes, length: int | None = None) -> None:
        self._pieces = list(pieces)
        self._length = length

    @property
    def length(self) -> int | None:
        """As it was announced."""
        return self._length

    async def read(self) -> bytes:
        """The next one."""
        return self._pieces.pop(0) if self._pieces else b""
