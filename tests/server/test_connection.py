"""Below the request boundary: what is not HTTP, and what falls through everything."""

import asyncio
import contextlib

import pytest
from aiohttp import web

from proxy_cli.errors import TooLarge
from proxy_cli.secret import Scrubber
from proxy_cli.server.connection import HAS_COMPILED_PARSER, Listener
from proxy_cli.server.problems import Problems
from proxy_cli.server.strict import HEAD, HeadLimits


async def answer(handler, sent: bytes, limits: HeadLimits = HEAD) -> bytes:
    """What a listener with this handler says to these bytes."""
    listener = Listener(handler, problems=Problems(Scrubber([])), limits=limits)
    server = await asyncio.get_running_loop().create_server(listener, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), 3)
    finally:
        writer.close()
        server.close()
        await listener.shutdown(1)


async def fails(request):
    raise RuntimeError("a detail that callers must not see")


async def test_what_falls_through_everything_is_a_500_without_a_traceback(caplog):
    """The log has the traceback, the caller an envelope."""
    said = await answer(fails, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")

    assert b" 500 " in said
    assert b'"type":"internal_server_error"' in said
    assert b"a detail" not in said
    assert "a detail" in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: Bearer s3cret\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_what_is_not_valid_http_gets_an_envelope_and_no_echo(sent):
    """The connection is closed, and nothing of the bad header comes back."""
    said = await answer(fails, sent)

    assert b" 400 " in said.split(b"\r\n")[0]
    assert b"\r\nx-request-id: " in said
    assert b"invalid_http" in said
    assert b"s3cret" not in said


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", b" 431 ", b"16 KiB each"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 200 + b"\r\n", b" 431 ", b"at most 100"),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", b" 414 ", b"longer than 8 KiB"),
        (b"GET / HTTP/1.2\r\nhost: a\r\n\r\n", b" 505 ", b"HTTP/1.1 and HTTP/1.0"),
        (b"GET / HTTP/0.9\r\nhost: a\r\n\r\n", b" 505 ", b"HTTP/1.1 and HTTP/1.0"),
        (b"GET /\r\n", b" 505 ", b"HTTP/1.1 and HTTP/1.0"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b" 400 ", b"http://"),
    ],
)
async def test_what_is_not_read_is_named(sent, status, words):
    """A line that is too long, another version: the sender learns what to change."""
    said = await answer(fails, sent)

    assert said.startswith(b"HTTP/1.1")
    assert status in said.split(b"\r\n")[0]
    assert words in said


QUICK = HeadLimits(first_byte_s=0.2, complete_s=0.2)


@pytest.mark.row("H-17")
@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nhost: a\r\n", b"\r\n"])
async def test_a_head_that_does_not_end_is_a_408(sent):
    """However much of it has come."""
    said = await answer(fails, sent, QUICK)

    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in said


@pytest.mark.row("H-25")
@pytest.mark.parametrize("pause_s", [0, 0.01])
async def test_requests_that_come_ahead_are_read_however_they_are_split(pause_s):
    """At every byte, while the first one is answered and after it."""

    async def greets(request):
        await asyncio.sleep(0.005)
        return web.Response(text=await request.text())

    sent = b"".join(b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n%d" % (each, each) for each in range(2))
    listener = Listener(greets, problems=Problems(Scrubber([])))
    server = await asyncio.get_running_loop().create_server(listener, "127.0.0.1", 0)

    async def outcome(split: int) -> bytes:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent[:split])
        await asyncio.sleep(0.001)
        await asyncio.sleep(pause_s)
        writer.write(sent[split:])
        said = await reader.readuntil(b"\r\n\r\n1")
        writer.close()
        return said

    outcomes = await asyncio.gather(*map(outcome, range(1, len(sent))))
    server.close()
    await listener.shutdown(1)

    assert {said.count(b"HTTP/1.1 200 OK") for said in outcomes} == {2}


@pytest.mark.row("H-25")
@pytest.mark.parametrize(
    "method", [b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n", b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"]
)
async def test_hundreds_of_requests_ahead_are_all_read(method):
    """Also those that wait in the parser until there is room."""

    async def greets(request):
        return web.Response(text=f"-{request.path}-")

    sent = b"".join(method % each for each in range(300)) + b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    said = await answer(greets, sent)

    assert said.count(b"HTTP/1.1 200 OK") == 301
    assert b"-/299-" in said


@pytest.mark.row("H-19")
async def test_a_client_that_says_nothing_is_let_go():
    """Without a word, since it has not asked anything."""
    assert await answer(fails, b"", QUICK) == b""


@pytest.mark.row("H-17")
async def test_a_head_behind_another_request_has_to_end_too():
    """A connection that is kept alive gives no more time than a new one."""

    async def greets(request):
        return web.Response(text="hello")

    listener = Listener(greets, problems=Problems(Scrubber([])), limits=QUICK)
    server = await asyncio.get_running_loop().create_server(listener, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await reader.readuntil(b"hello")
    await asyncio.sleep(0.4)  # a connection may rest between requests
    writer.write(b"GET / HT")
    said = await asyncio.wait_for(reader.read(), 3)
    writer.close()
    server.close()
    await listener.shutdown(1)

    assert said.startswith(b"HTTP/1.1 408 ")


async def test_a_slow_handler_does_not_make_its_client_late():
    """The timers stop when the head is complete."""

    async def dawdles(request):
        await asyncio.sleep(0.5)
        return web.Response(text="hello", headers={"connection": "close"})

    said = await answer(dawdles, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", QUICK)

    assert said.startswith(b"HTTP/1.1 200 ")


async def test_framing_that_outgrows_its_body_ends_the_connection(caplog):
    """Chunk extensions without end carry nothing, and no limit of a body counts them."""
    broken = []

    async def reads(request):
        try:
            await request.read()
        except TooLarge as fault:
            broken.append(fault)
            raise ConnectionResetError from fault

    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2;"
    with contextlib.suppress(ConnectionResetError):
        assert await answer(reads, head + b"x" * 2_000_000) == b""

    assert broken
    assert "Traceback" not in caplog.text


def test_the_parser_is_the_compiled_one():
    """The one in Python reads some heads in another way."""
    assert HAS_COMPILED_PARSER


async def test_a_client_that_leaves_while_it_is_written_to_is_no_failure(caplog):
    """The connection ends, and the log has no traceback of it."""

    async def loses(request):
        raise ConnectionResetError("Cannot write to closing transport")

    assert await answer(loses, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") == b""
    assert caplog.text == ""
