"""Below the request boundary: what is not HTTP, and what falls through everything."""

import asyncio

import pytest

from proxy_cli.secret import Scrubber
from proxy_cli.server.connection import Listener
from proxy_cli.server.problems import Problems


async def answer(handler, sent: bytes) -> bytes:
    """What a listener with this handler says to these bytes."""
    listener = Listener(handler, problems=Problems(Scrubber([])))
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
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
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
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", b" 400 ", b"longer than 16 KiB"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx", b" 415 ", b"gzip"),
    ],
)
async def test_what_is_not_read_is_named(sent, status, words):
    """A line that is too long, an encoding that is unknown: the sender learns what to change."""
    said = await answer(fails, sent)

    assert status in said.split(b"\r\n")[0]
    assert words in said


async def test_a_client_that_leaves_while_it_is_written_to_is_no_failure(caplog):
    """The connection ends, and the log has no traceback of it."""

    async def loses(request):
        raise ConnectionResetError("Cannot write to closing transport")

    assert await answer(loses, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") == b""
    assert caplog.text == ""
