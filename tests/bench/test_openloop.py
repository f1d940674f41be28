"""The open-loop generator: whole answers are known as such, and latency counts from the schedule."""

import asyncio
import time

import pytest

from bench.openloop import Generator, Order, is_whole
from tests.bench.scripted import scripted

SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
ASK = "GET / HTTP/1.1\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [SIZED, CHUNKED])
def test_an_answer_is_whole_at_its_last_byte(answer):
    """Cut anywhere before, it is not."""
    assert [end for end in range(len(answer) + 1) if is_whole(answer[:end])] == [len(answer)]


async def test_latency_counts_from_the_schedule():
    """A server that stands still for a while is charged for the requests that were due meanwhile."""
    stood: list[bool] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            if not stood:
                stood.append(True)
                time.sleep(0.3)  # noqa: ASYNC251 - the generator stands still with it
            writer.write(SIZED)

    async with scripted(answer) as port:
        summary = await Generator(Order(port=port, request=ASK, rate=100, seconds=0.5)).run()

    assert summary.failed == 0
    assert summary.answered == 50
    assert summary.largest_us > 250_000
    assert summary.p50_us > 10_000


async def test_answers_that_are_no_success_are_failures():
    """They have no latency, and the first of them is told."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    async with scripted(refuse) as port:
        summary = await Generator(Order(port=port, request=ASK, rate=100, seconds=0.1)).run()

    assert (summary.answered, summary.failed) == (0, 10)
    assert summary.first.startswith("HTTP/1.1 503")
