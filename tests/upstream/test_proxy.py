"""HTTP proxies on the way: what they are told, what passes them, and what they refuse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from proxy_cli.errors import BackendUnreachable, ConnectTimeout
from proxy_cli.secret import Secret
from proxy_cli.shapes import Backend, Proxy, Timeouts, Tls
from tests.fakes.raw_backend import HEAD, REQUEST, RawBackend
from tests.upstream.dialogue import OK, reply, request_to, serving

KEY = Secret("Basic dXNlcjpwYXNzd29yZA==")


def by_way_of(proxy: Backend, backend: Backend, authorization: Secret | None = KEY) -> Backend:
    """The same server, reached by a proxy."""
    return msgspec.structs.replace(backend, proxy=Proxy(proxy.host, proxy.port, authorization))


@asynccontextmanager
async def tunnelling(seen: list[bytes], answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> AsyncIterator[Backend]:
    """A proxy that connects whoever asks to where they ask, and remembers the heads."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        port = int(head.split()[1].rpartition(b":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(answer)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    async with serving(talk) as proxy:
        yield proxy


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


async def test_plain_backend_is_named_to_the_proxy_in_the_request_line(upstream):
    """With the proxy's credentials, and the backend's own in their header; the connection is kept."""
    async with RawBackend([REQUEST, OK, REQUEST, OK]) as proxy:
        backend = by_way_of(proxy.backend, Backend("http", "llm.test", 8000))
        headers = (("authorization", "Bearer sk-1"), ("proxy-authorization", "Basic c3RvbGVu"))
        for _ in range(2):
            answer = await upstream.send(request_to(backend, headers=headers))
            assert await answer.read() == b"hi"

        assert len(proxy.connections) == 1
    for request in proxy.requests:
        assert request.startswith(b"POST http://llm.test:8000/v1/chat/completions HTTP/1.1\r\nhost: llm.test:8000\r\n")
        assert request.count(b"proxy-authorization: ") == 1
        assert b"\r\nproxy-authorization: Basic dXNlcjpwYXNzd29yZA==\r\n" in request
        assert b"\r\nauthorization: Bearer sk-1\r\n" in request


async def test_tunnel_is_asked_for_once_and_carries_tls_that_the_proxy_cannot_read(upstream, own):
    """The backend's certificate counts, and the proxy's credentials stay with the proxy."""
    seen: list[bytes] = []
    async with RawBackend([REQUEST, OK, REQUEST, OK], tls=own.served()) as raw, tunnelling(seen) as proxy:
        server = Backend("https", "llm.test", raw.backend.port, Tls(str(own.file)))
        backend = by_way_of(proxy, server)
        for _ in range(2):
            answer = await upstream.send(request_to(backend))
            assert await answer.read() == b"hi"
        await upstream.close()

    there = f"llm.test:{raw.backend.port}"
    (head,) = seen
    assert head.decode() == f"CONNECT {there} HTTP/1.1\r\nhost: {there}\r\nproxy-authorization: {KEY.reveal()}\r\n\r\n"
    assert b"proxy-authorization" not in raw.connections[0].received


@pytest.mark.row("U-04")
async def test_backends_certificate_is_checked_through_a_tunnel(upstream, other):
    """A proxy in between is no reason to trust anybody."""
    seen: list[bytes] = []
    async with RawBackend([REQUEST, OK], tls=other.served()) as raw, tunnelling(seen) as proxy:
        server = Backend("https", "llm.test", raw.backend.port, Tls(str(other.file)))

        with pytest.raises(BackendUnreachable, match=r"by way of the proxy http://127.*mismatch"):
            await upstream.send(request_to(by_way_of(proxy, server)))
        await upstream.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants other credentials .407.: write http_proxy as"),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nnever", "the proxy refuses the connection .403."),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "sent data before the backend was asked"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000, "does not end"),
    ],
)
async def test_tunnel_that_is_refused_is_an_error_with_the_reason(upstream, answer, reason):
    """Nothing was sent to a backend, so another deployment may be asked; no credential is in the message."""
    async with RawBackend([HEAD, answer]) as proxy:
        backend = by_way_of(proxy.backend, Backend("https", "llm.test", 443))

        with pytest.raises(BackendUnreachable, match=reason) as failure:
            await upstream.send(request_to(backend))

    assert failure.value.elsewhere
    assert failure.value.message.startswith(f"cannot connect to https://llm.test by way of the proxy {backend.proxy}: ")
    assert "dXNlc" not in failure.value.message


async def test_proxy_that_hangs_up_or_says_nothing_is_an_error(upstream):
    """The connect timer covers the tunnel."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    async with serving(hang_up) as proxy:
        with pytest.raises(BackendUnreachable, match=r"without an answer|reset"):
            await upstream.send(request_to(by_way_of(proxy, Backend("https", "llm.test", 443))))
    async with RawBackend([]) as silent:
        backend = by_way_of(silent.backend, Backend("https", "llm.test", 443))
        with pytest.raises(ConnectTimeout):
            await upstream.send(request_to(backend, timeouts=Timeouts(connect_s=0.1)))
        async with asyncio.timeout(1):
            await silent.connections[0].closed.wait()


async def test_proxy_that_does_not_know_us_is_no_answer_of_a_plain_backend(upstream):
    """A 407 is the proxy's word, and would tell the caller nothing."""
    async with RawBackend([REQUEST, reply(b"who?", status="407 Proxy Authentication Required")]) as proxy:
        backend = by_way_of(proxy.backend, Backend("http", "llm.test", 80), None)

        with pytest.raises(BackendUnreachable, match="wants other credentials"):
            await upstream.send(request_to(backend))

    assert b"proxy-authorization" not in proxy.requests[0]


async def test_connections_by_way_of_a_proxy_are_never_mixed_with_direct_ones(upstream):
    """Nor those by one proxy with those by another, or with other credentials."""
    async with RawBackend([REQUEST, OK, REQUEST, OK]) as server:
        ways = [
            server.backend,
            by_way_of(server.backend, server.backend),
            by_way_of(server.backend, server.backend, None),
        ]
        for backend in ways:
            await (await upstream.send(request_to(backend))).read()

        assert len(server.connections) == 3


def test_proxys_credentials_are_not_printed():
    """Neither in a message nor in a representation."""
    backend = by_way_of(Backend("http", "proxy.test", 3128), Backend("https", "llm.test", 443))

    assert KEY.reveal() not in f"{backend} {backend!r} {backend.proxy} {backend.proxy!r}"
