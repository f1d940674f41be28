"""Traffic with faults mixed in: callers on keep-alive connections, some of whom leave, and a backend that often fails.

Both are bare protocols, so that a million requests take minutes. What is asked for is told by the model's name, and
the backend behaves by the path that the model's deployment has.
"""

import asyncio
import socket
import struct
from collections import Counter
from functools import partial
from typing import Final, Self, cast

# Of twenty requests thirteen are plain, three are streams, one's caller leaves, and three fail, in turn as here.
FAULTS: Final = ("cut", "cut-stream", "reset", "fail", "busy", "late", "garbled", "unknown", "broken")
_ROUND: Final = ("plain", "plain", "stream", "plain", "fault") * 3 + ("plain", "plain", "leave", "plain", "plain")

_CHUNK_END: Final = b"0\r\n\r\n"
_EVENT: Final = (
    b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"content":"word "},"finish_reason":null}]}\n\n'
)
_PLAIN: Final = (
    b'{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,'
    b'"total_tokens":12}}'
)
_REFUSED: Final = b'{"error":{"message":"no","type":"server_error","code":null,"param":null}}'
_STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVERY_S: Final = 0.02  # between the events of a stream without end


def _whole(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    return head + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_EVENTS: Final = b"".join([_chunk(_EVENT)] * 4)
_OK: Final = _whole(b"200 OK", _PLAIN)
_STREAM: Final = _STREAM_HEAD + _EVENTS + _chunk(b"data: [DONE]\n\n") + _CHUNK_END

# By the first step of the path: what is sent, and whether the connection is then closed.
_REPLIES: Final = {
    "cut": (_OK[:-40], True),
    "cut-stream": (_STREAM_HEAD + _EVENTS, True),
    "fail": (_whole(b"500 Internal Server Error", _REFUSED), False),
    "busy": (_whole(b"429 Too Many Requests", _REFUSED), False),
    "garbled": (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", True),
    "late": (b"", False),
    "idle": (_STREAM_HEAD + _chunk(_EVENT), False),
}


def config(port: int) -> str:
    """The configuration of a proxy in front of a `FaultyBackend` on this port; `late` ones time out at once."""
    names = ("plain", "reset", "leave", *_REPLIES)
    entry = "  - {{model_name: {0}, litellm_params: {{model: openai/m, api_base: 'http://127.0.0.1:{1}/{0}/v1', {2}}}}}"
    entries = [entry.format(name, port, f"api_key: k, timeout: {0.05 if name == 'late' else 60}") for name in names]
    return "model_list:\n" + "\n".join(entries) + "\n"


class FaultyBackend:
    """A backend that answers by the path: well, cut off, late, not at all. Use as `async with`."""

    def __init__(self) -> None:
        self.open: set[_Served] = set()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Served(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for served in list(self.open):
            served.transport.abort()
        await asyncio.sleep(0)


class _Served(asyncio.Protocol):
    """One connection to the backend."""

    transport: asyncio.Transport

    def __init__(self, backend: FaultyBackend) -> None:
        self._backend = backend
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._backend.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._backend.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._received = b""
        self._answer(head.split(b"/", 2)[1].decode(), stream=b'"stream":true' in body.replace(b" ", b""))

    def _answer(self, path: str, *, stream: bool) -> None:
        if path == "reset":
            reset(self.transport)
        elif path == "leave":
            self.transport.write(_STREAM_HEAD + _chunk(_EVENT))
            self._go_on()
        elif path == "plain":
            self.transport.write(_STREAM if stream else _OK)
        else:
            reply, close = _REPLIES[path]
            self.transport.write(reply)
            if close:
                self.transport.close()

    def _go_on(self) -> None:
        """Another event of a stream that ends only when its reader goes."""
        self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._go_on)
        self.transport.write(_chunk(_EVENT))


def _length(head: bytes) -> int:
    lower = head.lower()
    start = lower.find(b"content-length:")
    return int(lower[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


def reset(transport: asyncio.Transport) -> None:
    """Close without manners: the peer sees a reset."""
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def _request(kind: str) -> bytes:
    model = {"stream": "plain", "unknown": "nobody"}.get(kind, kind)
    stream = ',"stream":true' if kind in {"stream", "leave", "cut-stream", "idle"} else ""
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]{stream}}}'
    if kind == "broken":
        body = body[:-1]
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()


_REQUESTS: Final = {kind: _request(kind) for kind in ("plain", "stream", "leave", "idle", *FAULTS)}


class Callers:
    """Several callers, each with one connection at a time; `ended` counts answers by what was asked and the status."""

    def __init__(self, port: int, connections: int = 24) -> None:
        self._port = port
        self._connections = connections
        self._left = 0
        self._next = 0
        self._faults = 0
        self.ended: Counter[str] = Counter()

    async def ask(self, count: int) -> None:
        """Make so many requests; comes back when each has its answer, or its caller has left."""
        self._left = count
        async with asyncio.TaskGroup() as group:
            for _ in range(self._connections):
                group.create_task(self._converse())

    async def _converse(self) -> None:
        loop = asyncio.get_running_loop()
        while self._left > 0:
            over = loop.create_future()
            transport, _ = await loop.create_connection(partial(_Caller, self, over), "127.0.0.1", self._port)
            await over
            transport.abort()

    def kind(self) -> str | None:
        """What is asked for next; None at the end."""
        if self._left <= 0:
            return None
        self._left -= 1
        self._next += 1
        kind = _ROUND[self._next % len(_ROUND)]
        if kind == "fault":
            self._faults += 1
            kind = FAULTS[self._faults % len(FAULTS)]
        return kind


class _Caller(asyncio.Protocol):
    """One connection to the proxy: asks, reads the answer to its end, asks again."""

    _transport: asyncio.Transport

    def __init__(self, callers: Callers, over: asyncio.Future[None]) -> None:
        self._callers = callers
        self._over = over
        self._kind = ""
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._kind:
            self._callers.ended[f"{self._kind} closed"] += 1
            self._kind = ""
        if not self._over.done():
            self._over.set_result(None)

    def _ask(self) -> None:
        kind = self._callers.kind()
        self._kind = kind or ""
        self._received = b""
        if kind is None:
            self._transport.close()
        else:
            self._transport.write(_REQUESTS[kind])

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        if self._kind == "leave":
            if body:
                self._count("left")
                reset(self._transport)
        elif body.endswith(_CHUNK_END) if b"chunked" in head.lower() else len(body) >= _length(head):
            self._count(head[9:12].decode())
            if b"connection: close" not in head.lower():
                self._ask()

    def _count(self, how: str) -> None:
        self._callers.ended[f"{self._kind} {how}"] += 1
        self._kind = ""


class Listeners:
    """Callers of streams that have begun and say nothing more. Use as `async with`; at the end they leave."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._held: list[_Listener] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self._held:
            listener.transport.abort()
        await asyncio.sleep(0)

    async def listen(self, count: int, at_once: int = 50) -> None:
        """Begin so many streams; comes back when each has had its first event. Raises AssertionError if one has not."""
        loop = asyncio.get_running_loop()
        for _ in range(0, count, at_once):
            begun = [_Listener(loop.create_future()) for _ in range(at_once)]
            self._held += begun
            await asyncio.gather(
                *(loop.create_connection(partial(_itself, each), "127.0.0.1", self._port) for each in begun)
            )
            await asyncio.gather(*(each.heard for each in begun))


def _itself(listener: "_Listener") -> "_Listener":
    return listener


class _Listener(asyncio.Protocol):
    """One stream that is listened to."""

    transport: asyncio.Transport

    def __init__(self, heard: asyncio.Future[None]) -> None:
        self.heard = heard
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(_REQUESTS["idle"])

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.heard.done():
            return
        if b"data: " in self._received:
            self.heard.set_result(None)
        elif not self._received.startswith(b"HTTP/1.1 200"):
            self.heard.set_exception(AssertionError(self._received))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.heard.done():
            self.heard.set_exception(AssertionError(f"no event came: {self._received!r}, {exc}"))
