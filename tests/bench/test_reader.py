"""The stream readers and the paced backend, against each other and against a server that cuts at every byte."""

import asyncio

import pytest

from bench.ground import stream
from bench.machine import free_port
from bench.paced import CHUNK, DONE, HEAD, Connection, chunk
from bench.program import Request
from bench.reader import Order, read
from tests.bench.scripted import scripted


@pytest.fixture
async def backend():
    """The port of a paced backend."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(loop), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def order(port: int, way: str, body: bytes, *, streams: int = 1) -> Order:
    """An order for a fifth of a second."""
    request = Request(body, {"Content-Type": "application/json"}).encoded(port).decode()
    return Order(way=way, port=port, request=request, streams=streams, seconds=0.2, limit_s=5)


async def test_all_events_of_whole_streams_are_counted(backend):
    """Events, the usage and the end mark: each `data:` line once."""
    result = await read(order(backend, "count", stream(20, 1), streams=3))

    assert result.failed == 0
    assert result.streams >= 3
    assert result.events == result.streams * 22
    assert len(result.first_event_us) == result.streams


async def test_gaps_are_measured_against_the_moment_of_sending(backend):
    """A pace that the backend itself keeps is no gap."""
    result = await read(order(backend, "gaps", stream(30, 50), streams=2))

    assert result.streams == 2
    assert 0 < result.largest_gap_us < 1_000_000


async def test_events_cut_at_every_byte_are_counted_once():
    """However the bytes arrive, the count is the same."""
    whole = HEAD + b"".join(CHUNK % number for number in range(3)) + chunk(DONE) + b"0\r\n\r\n"

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]")
        for index in range(len(whole)):
            writer.write(whole[index : index + 1])
            await asyncio.sleep(0)
        await reader.read()

    async with scripted(drip) as port:
        result = await read(order(port, "gaps", stream(3, 0)))

    assert result.events == 4
    assert result.streams == 1


async def test_a_refusal_is_a_failure_with_its_first_bytes():
    """No stream began, and the answer is told."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]")
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")

    async with scripted(refuse) as port:
        result = await read(order(port, "count", stream(3, 0)))

    assert (result.failed, result.events) == (1, 0)
    assert result.first.startswith("HTTP/1.1 429")


async def test_nobody_who_listens_is_an_error():
    """The run ends, and does not wait for ever."""
    with pytest.raises(OSError, match="Connect call failed"):
        await read(order(free_port(), "count", stream(1, 0)))
