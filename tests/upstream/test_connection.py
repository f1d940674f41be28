"""Framing on real sockets: where a reply ends, what is refused, which connection is kept."""

import asyncio
from random import Random

import pytest

from proxy_cli.errors import BackendBroken
from proxy_cli.outbox import Outbox
from proxy_cli.shapes import Backend
from proxy_cli.upstream.client import Upstream
from proxy_cli.upstream.connection import EMPTY, Connection
from proxy_cli.upstream.exchange import Exchange
from tests.fakes.raw_backend import FIN, REQUEST, RST, RawBackend, Script
from tests.upstream.dialogue import OK, chunked, reply, request_to


async def ask(upstream: Upstream, raw: RawBackend, **changes) -> tuple[int, bytes]:
    """Status and body of one plain request."""
    answer = await upstream.send(request_to(raw.backend, **changes))
    try:
        return answer.status, await answer.read()
    finally:
        answer.close()


RECORDED = {
    "length": reply(b'{"a": "\xe6\x97\xa5"}', "x-a: 1"),
    "chunked": chunked([b'{"a"', b": 1", b"}"], "x-a: 1"),
    "trailers": chunked([b"abc"])[:-2] + b"x-trailer: 1\r\n\r\n",
}


@pytest.mark.row("U-09", "U-12")
@pytest.mark.parametrize("end", [FIN, RST])
@pytest.mark.parametrize("name", RECORDED)
async def test_reply_cut_at_every_byte_is_an_error_and_never_a_success(upstream, name, end):
    """Neither a hang nor half a body that passes for a whole one, wherever the connection breaks."""
    whole = RECORDED[name]
    scripts: list[Script] = [[REQUEST, whole[:cut], end] for cut in range(len(whole))]

    async with RawBackend(*scripts) as raw:
        for cut in range(len(whole)):
            async with asyncio.timeout(5):
                with pytest.raises(BackendBroken) as failure:
                    await ask(upstream, raw)
            known = {"upstream_truncated", "upstream_empty_response"} if end is RST else {"upstream_truncated"}
            assert failure.value.code in (known if cut else {"upstream_empty_response"})
            assert len(raw.connections) == cut + 1, "a fresh connection that breaks is not tried again"


@pytest.mark.row("S-13")
@pytest.mark.parametrize("name", RECORDED)
async def test_reply_is_the_same_wherever_the_network_cuts_it(upstream, name):
    """In two at every place, with a pause between."""
    whole = RECORDED[name]
    scripts: list[Script] = [[REQUEST, whole[:cut], 0.001, whole[cut:], FIN] for cut in range(1, len(whole))]

    async with RawBackend(*scripts) as raw:
        answers = await asyncio.gather(*(ask(upstream, raw) for _ in scripts))

    expected = b"abc" if name == "trailers" else (b'{"a": 1}' if name == "chunked" else b'{"a": "\xe6\x97\xa5"}')
    assert set(answers) == {(200, expected)}


async def test_chunks_of_one_byte_are_one_body(upstream):
    """However small the pieces."""
    body = bytes(range(256)) * 8

    async with RawBackend([REQUEST, chunked([body[at : at + 1] for at in range(len(body))])]) as raw:
        assert await ask(upstream, raw) == (200, body)


@pytest.mark.parametrize("end", [FIN, RST])
async def test_body_that_the_connections_end_delimits_ends_with_it_but_not_with_a_reset(upstream, end):
    """A close is the end of such a body; a reset never is."""
    async with RawBackend([REQUEST, b"HTTP/1.1 200 OK\r\n\r\nabc", 0.05, end]) as raw:
        if end is FIN:
            assert await ask(upstream, raw) == (200, b"abc")
        else:
            with pytest.raises(BackendBroken):
                await ask(upstream, raw)


@pytest.mark.row("U-32")
async def test_interim_replies_are_passed_over(upstream):
    """Ten of them, of any kind."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 9

    async with RawBackend([REQUEST, interim, 0.01, interim + OK]) as raw:
        answer = await upstream.send(request_to(raw.backend))

        assert (answer.status, answer.headers, await answer.read()) == (200, (("content-length", "2"),), b"hi")


@pytest.mark.row("U-17")
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "upstream_invalid_response"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "upstream_invalid_response"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "upstream_invalid_response"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi", "upstream_invalid_response"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n", "upstream_invalid_response"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "upstream_invalid_response"),
        (b"HTTP/1.1 200 OK\r\nx-a: a\0b\r\ncontent-length: 2\r\n\r\nhi", "upstream_invalid_response"),
        (
            b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 100_000 + b"\r\ncontent-length: 2\r\n\r\nhi",
            "upstream_header_too_large",
        ),
        (b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 100_000, "upstream_header_too_large"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-a: 1\r\n" * 500 + b"content-length: 2\r\n\r\nhi", "upstream_header_too_large"),
        (b"HTTP/1.1 103 Early\r\n\r\n" * 5000, "upstream_header_too_large"),
    ],
)
async def test_what_is_no_reply_is_refused_with_a_precise_code(upstream, sent, code):
    """And the connection is closed, though the backend would go on."""
    async with RawBackend([REQUEST, sent]) as raw:
        with pytest.raises(BackendBroken, match=f"^{raw.backend} replied with") as failure:
            await ask(upstream, raw)
        async with asyncio.timeout(1):
            await raw.connections[0].closed.wait()

    assert failure.value.code == code


async def test_ten_kilobytes_in_one_header_are_no_trouble(upstream):
    """Long cookies and policies exist."""
    value = "a" * 10_000

    async with RawBackend([REQUEST, reply(b"hi", f"X-Long: {value}")]) as raw:
        answer = await upstream.send(request_to(raw.backend))

        assert ("x-long", value) in answer.headers


async def test_connection_is_kept_for_the_next_request(upstream):
    """Three requests, one connection; the replies may differ in their framing."""
    async with RawBackend([REQUEST, OK, REQUEST, chunked([b"a", b"b"]), REQUEST, OK]) as raw:
        answers = [await ask(upstream, raw) for _ in range(3)]

        assert answers == [(200, b"hi"), (200, b"ab"), (200, b"hi")]
        assert len(raw.connections) == 1


@pytest.mark.row("U-19")
@pytest.mark.parametrize(
    "first",
    [
        pytest.param(reply(b"hi") + b"extra", id="bytes after the body"),
        pytest.param(OK + reply(b"evil"), id="two replies"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\nhi", id="204 with a body"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nhi", id="304 with a body"),
        pytest.param(chunked([b"hi"]) + b"0", id="bytes after the chunks"),
        pytest.param(reply(b"hi", "connection: close"), id="connection: close"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", id="HTTP/1.0 keep-alive"
        ),
    ],
)
async def test_connection_is_not_used_again_when_its_state_is_in_doubt(upstream, first):
    """The next request goes over a clean one and gets its own reply."""
    async with RawBackend([REQUEST, first], [REQUEST, reply(b"second")]) as raw:
        status, _ = await ask(upstream, raw)
        async with asyncio.timeout(1):
            await raw.connections[0].closed.wait()

        assert status in (200, 204, 304)
        assert await ask(upstream, raw) == (200, b"second")
        assert len(raw.connections) == 2


@pytest.mark.row("U-08")
@pytest.mark.parametrize("end", [FIN, RST])
async def test_server_that_hangs_up_at_once_is_an_error_at_once(upstream, end):
    """Before the request is written, or just after; nobody waits for a timer."""
    async with RawBackend([end]) as raw:
        for _ in range(20):
            async with asyncio.timeout(2):
                with pytest.raises(BackendBroken) as failure:
                    await ask(upstream, raw)
            assert failure.value.code == "upstream_empty_response"


async def test_server_that_speaks_first_is_heard(upstream):
    """Some say why they will not serve before anything is asked; others are no HTTP servers at all."""
    busy = reply(b"busy", status="503 Service Unavailable")

    async with RawBackend([busy, FIN], [b"SSH-2.0-OpenSSH_9.2\r\n"]) as raw:
        assert await ask(upstream, raw) == (503, b"busy")
        with pytest.raises(BackendBroken, match="what is not HTTP"):
            await ask(upstream, raw)


@pytest.mark.row("U-19")
async def test_bytes_that_come_while_idle_close_the_connection(upstream):
    """Nobody asked for them, so they cannot become the answer to what is asked next."""
    async with RawBackend([REQUEST, OK, 0.02, reply(b"evil")], [REQUEST, reply(b"second")]) as raw:
        await ask(upstream, raw)
        async with asyncio.timeout(1):
            await raw.connections[0].closed.wait()

        assert await ask(upstream, raw) == (200, b"second")


async def test_reply_to_head_has_no_body_whatever_it_says(upstream):
    """It describes the body of another request."""
    async with RawBackend([REQUEST, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"]) as raw:
        assert await ask(upstream, raw, method="HEAD", body=b"") == (200, b"")


def mutated(whole: bytes, random: Random) -> bytes:
    """A recorded reply with a few bytes changed, taken away, doubled or put in."""
    data = bytearray(whole)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data))
        match random.randrange(4):
            case 0:
                data[at] = random.randrange(256)
            case 1:
                del data[at : at + random.randint(1, 5)]
            case 2:
                data[at:at] = data[at : at + random.randint(1, 20)]
            case _:
                data[at:at] = random.choice(
                    [b"\r\n", b"\0", b"\n", b" ", b"\xff", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n"]
                )
        if not data:
            break
    return bytes(data)


async def test_whatever_a_backend_sends_is_a_reply_or_one_of_our_errors(upstream, deep):
    """Never a hang, never an exception that nobody expects."""
    random = Random(7)
    count = 5_000 if deep else 150
    scripts: list[Script] = [
        [REQUEST, mutated(random.choice(list(RECORDED.values())), random), FIN] for _ in range(count)
    ]

    async with RawBackend(*scripts) as raw:
        for _ in range(count):
            async with asyncio.timeout(5):
                try:
                    status, body = await ask(upstream, raw)
                except BackendBroken:
                    continue
            assert 200 <= status <= 599
            assert isinstance(body, bytes)


class Wire(asyncio.Transport):
    """What a connection writes to, and whether it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        """Keep it."""
        self.written += data

    def is_closing(self) -> bool:
        """As `abort` left it."""
        return self.is_closed

    def abort(self) -> None:
        """The end."""
        self.is_closed = True

    def get_write_buffer_size(self) -> int:
        """All is taken at once."""
        return 0


class Owner:
    """Holds the outbox alone."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.freed = 0

    def made(self, connection: Connection) -> None:
        """Nothing to do."""

    def free(self, connection: Connection) -> None:
        """It is back."""
        self.freed += 1

    def lost(self, connection: Connection) -> None:
        """Nothing to do."""


async def test_a_reply_that_was_there_before_its_request_left_answers_nothing():
    """Many servers say 408 to a client that is silent for long: the next request is not told that, but sent anew."""
    owner, wire, backend = Owner(), Wire(), Backend("http", "127.0.0.1", 1)
    first, second = (Exchange(request_to(backend), 0.0, 1000) for _ in range(2))
    connection = Connection(backend, owner)
    connection.connection_made(wire)
    first.start(connection, b"one")
    owner.outbox.flush()
    connection.data_received(OK)
    assert (await first.read(), owner.freed, connection.reused) == (b"hi", 1, True)
    written = wire.written

    second.start(connection, b"two")
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    owner.outbox.flush()

    with pytest.raises(BackendBroken) as failure:
        await second.wait()
    assert failure.value.code == EMPTY
    assert (wire.written, wire.is_closed, owner.freed) == (written, True, 1)
