"""The room's door: one request in, one reply out, and the one case in which a request is sent twice."""

import asyncio

import pytest

from proxy_cli.errors import BackendBroken, BackendTimeout
from proxy_cli.shapes import Timeouts
from proxy_cli.upstream.client import Upstream
from tests.fakes.raw_backend import FIN, REQUEST, RST, RawBackend
from tests.upstream.dialogue import OK, Pieces, reply, request_to, serving


async def ask(upstream: Upstream, raw: RawBackend, **changes) -> bytes:
    """The body of one request."""
    return await (await upstream.send(request_to(raw.backend, **changes))).read()


async def test_request_arrives_as_it_was_made_and_the_reply_as_it_was_sent(upstream):
    """Status, headers in lower case with their duplicates, and the bytes of the body."""
    sent = reply('{"日": 1}'.encode(), "X-A: 1", "x-a: caf\xe9", "Set-Cookie: a=b", status="201 Created")

    async with RawBackend([REQUEST, sent]) as raw:
        answer = await upstream.send(request_to(raw.backend, '{"本": 2}'.encode()))
        body = await answer.read()
        answer.close()

    assert raw.requests[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:")
    assert raw.requests[0].endswith('\r\n\r\n{"本": 2}'.encode())
    assert (answer.status, body) == (201, '{"日": 1}'.encode())
    assert answer.headers == (
        ("content-length", "10"),
        ("x-a", "1"),
        ("x-a", "caf\xc3\xa9"),  # as latin-1 reads the bytes
        ("set-cookie", "a=b"),
    )


async def test_head_and_body_leave_in_one_segment(upstream):
    """A backend that reads once has both."""
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def read_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.set_result(await reader.read(65536))
        writer.write(OK)

    async with serving(read_once) as backend:
        await (await upstream.send(request_to(backend, b"x" * 5000))).read()

    assert (await got).endswith(b"\r\n\r\n" + b"x" * 5000)


@pytest.mark.parametrize("size", [0, 65_536, 65_537, 20_000_000])
async def test_body_of_any_size_arrives_whole(upstream, size):
    """Whether it is joined to the head or follows it."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async with RawBackend([REQUEST, OK]) as raw:
        assert await ask(upstream, raw, body=body) == b"hi"

    assert raw.requests[0].partition(b"\r\n\r\n")[2] == body


@pytest.mark.row("U-21")
async def test_redirect_is_not_followed(upstream):
    """It is a reply like any other; the other host sees neither key nor prompt."""
    async with RawBackend([REQUEST]) as canary:
        moved = reply(b"", f"location: {canary.backend}/v1/x", status="307 Temporary Redirect")
        async with RawBackend([REQUEST, moved]) as raw:
            answer = await upstream.send(request_to(raw.backend))
            await answer.read()

    assert answer.status == 307
    assert canary.connections == []


@pytest.mark.row("U-28")
async def test_cookies_are_not_sent_again(upstream):
    """What a backend sets for one caller is not shown by another."""
    async with RawBackend([REQUEST, reply(b"hi", "set-cookie: tenant=a"), REQUEST, OK]) as raw:
        await ask(upstream, raw)
        await ask(upstream, raw)

    assert b"cookie" not in raw.requests[1].lower()


@pytest.mark.row("U-11")
@pytest.mark.parametrize("end", [FIN, RST])
async def test_kept_connection_that_dies_as_we_write_is_replaced_once(upstream, end):
    """Not a byte of a reply had come, so the request is asked again on a fresh connection."""
    async with RawBackend([REQUEST, OK, REQUEST, end], [REQUEST, OK]) as raw:
        await ask(upstream, raw)

        assert await ask(upstream, raw) == b"hi"
        assert len(raw.connections) == 2


@pytest.mark.row("U-08", "U-11")
async def test_second_death_is_an_error(upstream):
    """One more try, never two; and none at all on a connection that was fresh."""
    async with RawBackend([REQUEST, OK, REQUEST, FIN], [REQUEST, FIN]) as raw:
        await ask(upstream, raw)

        for connections in (2, 3):
            with pytest.raises(BackendBroken, match="without a reply") as failure:
                await ask(upstream, raw)
            assert failure.value.code == "upstream_empty_response"
            assert len(raw.connections) == connections


@pytest.mark.row("U-11")
@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", OK[:-1]])
async def test_kept_connection_that_dies_after_a_byte_is_not_replaced(upstream, begun):
    """Something was answered, so asking again could do the work twice."""
    async with RawBackend([REQUEST, OK, REQUEST, begun, FIN], [REQUEST, OK]) as raw:
        await ask(upstream, raw)

        with pytest.raises(BackendBroken) as failure:
            await ask(upstream, raw)

        assert failure.value.code == "upstream_truncated"
        assert len(raw.connections) == 1


@pytest.mark.row("U-11")
async def test_timer_on_a_kept_connection_is_not_a_death(upstream):
    """A backend that is slow has the request; it is not asked again."""
    async with RawBackend([REQUEST, OK, REQUEST], [REQUEST, OK]) as raw:
        await ask(upstream, raw)

        with pytest.raises(BackendTimeout):
            await ask(upstream, raw, timeouts=Timeouts(first_byte_s=0.1))

        assert len(raw.connections) == 1


@pytest.mark.row("U-11")
async def test_servers_that_close_each_kept_connection_at_once_cost_no_caller_an_error(upstream, deep):
    """The race between their closing and our writing, many times over."""
    times = 100_000 if deep else 100

    async with RawBackend([REQUEST, OK, FIN], [REQUEST, OK, 0.0, FIN], [REQUEST, OK, REQUEST, RST]) as raw:
        for number in range(times):
            raw._scripts = raw._scripts[1:] + raw._scripts[:1]
            assert await ask(upstream, raw, timeouts=Timeouts(connect_s=60)) == b"hi"
            if number % 3 == 0:
                await asyncio.sleep(0)


async def test_nothing_is_written_for_a_request_that_must_not_be_sent(upstream):
    """Not even a connection is opened."""
    async with RawBackend([REQUEST, OK]) as raw:
        with pytest.raises(ValueError, match="line break"):
            await ask(upstream, raw, headers=(("x-a", "1\r\nx-b: 2"),))

        assert raw.connections == []


async def test_upload_is_not_repeated(upstream):
    """It goes over a fresh connection, and a death there is an error."""
    async with RawBackend([REQUEST, OK], [REQUEST, FIN], [REQUEST, OK]) as raw:
        await ask(upstream, raw)

        with pytest.raises(BackendBroken):
            await ask(upstream, raw, body=Pieces(b"abc"))

        assert len(raw.connections) == 2


async def test_many_at_once_each_get_their_own_reply(upstream):
    """Connections carry one exchange at a time, and nothing is mixed up."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            writer.write(reply(await reader.readexactly(length)))

    async with serving(echo) as backend:
        for _ in range(3):
            bodies = [f"number {number}".encode() for number in range(50)]
            answers = await asyncio.gather(*(upstream.send(request_to(backend, body)) for body in bodies))

            assert [await answer.read() for answer in answers] == bodies
