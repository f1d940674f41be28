"""A reply as it is pulled: pieces, codings, bounds, timers, and what happens to one that is left."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from random import randbytes

import brotli
import pytest
import zstandard

from proxy_cli.errors import BackendBroken, BackendTimeout, CallerTimeout
from proxy_cli.shapes import Timeouts, UpstreamReply, UpstreamRequest
from proxy_cli.upstream.client import Upstream
from tests.fakes.raw_backend import FIN, HEAD, REQUEST, RST, RawBackend
from tests.upstream.dialogue import OK, Pieces, chunked, reply, request_to, serving

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(data: bytes) -> bytes:
    """One event in one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def gone(raw: RawBackend) -> None:
    """Wait until the backend sees that we have closed: a second at most."""
    async with asyncio.timeout(1):
        await raw.connections[0].closed.wait()


async def pieces_of(answer: UpstreamReply) -> AsyncIterator[bytes]:
    """Each piece to the end."""
    while piece := await answer.chunk():
        yield piece


async def pulled(upstream: Upstream, request: UpstreamRequest) -> list[bytes]:
    """All pieces of one reply."""
    return [piece async for piece in pieces_of(await upstream.send(request))]


async def test_pieces_are_relayed_as_they_arrive(upstream):
    """The first event is there long before the second is sent."""
    async with RawBackend([REQUEST, STREAM + event(b"one"), 0.3, event(b"two") + b"0\r\n\r\n"]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        async with asyncio.timeout(0.25):
            first = await answer.chunk()

        assert (first, await answer.chunk(), await answer.chunk()) == (b"one", b"two", b"")
        assert await answer.chunk() == b""


@pytest.mark.row("S-08")
@pytest.mark.parametrize("end", [FIN, RST])
async def test_stream_that_breaks_gives_what_came_and_then_the_error(upstream, end):
    """Nothing that was received is lost, and the break is not taken for the end."""
    async with RawBackend([REQUEST, STREAM + event(b"one"), 0.05, end]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        await asyncio.sleep(0.1)

        assert await answer.chunk() == b"one"
        for _ in range(2):
            with pytest.raises(BackendBroken) as failure:
                await answer.chunk()
            assert failure.value.code == "upstream_truncated"


async def test_a_reader_that_is_slow_slows_the_backend(upstream):
    """Beyond a bounded amount nothing is read, and all of it arrives in the end."""
    size = 24 * 1024 * 1024
    progress = 0

    async def send_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal progress
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while progress < size:
            writer.write(b"x" * 65536)
            await writer.drain()
            progress += 65536

    async with serving(send_much) as backend:
        answer = await upstream.send(request_to(backend, timeouts=Timeouts(gap_s=0.2)))
        await asyncio.sleep(0.5)
        stalled_at = progress
        received = sum([len(piece) async for piece in pieces_of(answer)])

    assert stalled_at < size, "the sockets' buffers hold a part, we hold little, and the rest is not sent yet"
    assert received == size


async def test_poured_pieces_arrive_as_they_come(upstream):
    """After what was pulled before, each piece in the turn in which it is read, and the end when it comes."""
    came: list[bytes] = []
    first_two: list[bytes | float] = [STREAM + event(b"one"), 0.05, event(b"two") + event(b"2b")]

    async with RawBackend([REQUEST, *first_two, 0.3, event(b"three") + b"0\r\n\r\n"]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        first = await answer.chunk()
        pouring = asyncio.ensure_future(answer.pour(came.append))
        await asyncio.sleep(0.2)
        before = list(came)
        await pouring

    assert (first, before) == (b"one", [b"two2b"]), "what came in one segment leaves in one"
    assert came[1:] == [b"three"]


async def test_reply_that_is_complete_can_still_be_poured(upstream):
    """What has come waits for the sink."""
    came: list[bytes] = []

    async with RawBackend([REQUEST, OK]) as raw:
        answer = await upstream.send(request_to(raw.backend))
        await answer.pour(came.append)

    assert came == [b"hi"]


@pytest.mark.row("S-08")
@pytest.mark.parametrize("end", [FIN, RST])
async def test_poured_stream_that_breaks_is_an_error(upstream, end):
    """After the pieces that came; the break is not taken for the end."""
    came: list[bytes] = []

    async with RawBackend([REQUEST, STREAM + event(b"one"), 0.05, event(b"two"), 0.05, end]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        with pytest.raises(BackendBroken) as failure:
            await answer.pour(came.append)

    assert failure.value.code == "upstream_truncated"
    assert b"".join(came) == b"onetwo"


@pytest.mark.parametrize("waits", [True, False])
async def test_failure_of_the_sink_is_raised_and_closes_the_connection(upstream, waits):
    """Whether the piece came before or while it was poured."""

    def sink(data: bytes) -> None:
        raise LookupError(data)

    first = event(b"one") if waits else b""
    async with RawBackend([REQUEST, STREAM + first, 0.05, event(b"one")]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        with pytest.raises(LookupError, match="one"):
            await answer.pour(sink)
        await gone(raw)


async def test_failure_of_the_sink_over_the_last_piece_is_raised(upstream):
    """The reply was well, but it did not arrive."""

    def sink(data: bytes) -> None:
        raise LookupError(data)

    async with RawBackend([REQUEST, OK]) as raw:
        answer = await upstream.send(request_to(raw.backend))
        with pytest.raises(LookupError):
            await answer.pour(sink)


@pytest.mark.row("S-01")
async def test_cancelled_pour_closes_the_backends_connection(upstream):
    """As a cancelled pull does."""
    async with RawBackend([REQUEST, STREAM + event(b"one")]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        pouring = asyncio.ensure_future(answer.pour(print))
        await asyncio.sleep(0.02)
        pouring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        await gone(raw)


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_sink_that_pauses_stalls_the_backend(upstream, coding):
    """Little comes after the pause, nobody blames the backend for it, and all of it arrives once it goes on."""
    size = 16 * 1024 * 1024
    body = randbytes(1024 * 1024) * 16
    sent = gzip.compress(body, 0) if coding else body
    progress = arrived = 0

    async def send_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal progress
        await reader.readuntil(b"{}")
        fields = b"content-encoding: gzip\r\n" if coding else b""
        writer.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (fields, len(sent)))
        while progress < len(sent):
            writer.write(sent[progress : progress + 65536])
            await writer.drain()
            progress += 65536

    def sink(data: bytes) -> None:
        nonlocal arrived
        arrived += len(data)
        if arrived < 1_000_000:
            answer.pause()
            answer.pause()

    async with serving(send_much) as backend:
        answer = await upstream.send(request_to(backend, timeouts=Timeouts(gap_s=0.1)))
        pouring = asyncio.ensure_future(answer.pour(sink))
        await asyncio.sleep(0.3)
        stalled_at = arrived, progress
        while not pouring.done():
            answer.resume()
            answer.resume()
            await asyncio.sleep(0.001)
        await pouring
        answer.pause()
        answer.resume()

    assert stalled_at[0] <= 512 * 1024, "one segment at most comes after the pause"
    assert stalled_at[1] < size
    assert arrived == size


@pytest.mark.row("U-20")
@pytest.mark.parametrize("held", [True, False])
async def test_poured_coding_that_is_cut_off_is_an_error(upstream, held):
    """However the reply was framed, and whether the sink was held when it ended."""
    body = gzip.compress(b"some text")[:-3]
    came: list[bytes] = []

    def sink(data: bytes) -> None:
        came.append(data)
        if held:
            answer.pause()

    async with RawBackend([REQUEST, reply(body, "content-encoding: gzip")]) as raw:
        answer = await upstream.send(request_to(raw.backend))
        with pytest.raises(BackendBroken, match="does not decode"):
            await answer.pour(sink)

    assert came == [b"some text"]


@pytest.mark.row("U-20")
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.compress),
    ],
)
async def test_coded_body_is_read_plain(upstream, coding, pack):
    """And the headers speak of the plain body."""
    body = '{"日本": "語"}'.encode() * 50

    async with RawBackend([REQUEST, reply(pack(body), f"Content-Encoding: {coding}")]) as raw:
        answer = await upstream.send(request_to(raw.backend))

        assert answer.headers == ()
        assert await answer.read() == body


@pytest.mark.row("S-16")
async def test_coded_events_are_relayed_as_they_are_flushed(upstream):
    """A backend that compresses its stream all the same is understood."""
    pack = zlib.compressobj(wbits=31)
    one = pack.compress(b"data: 1\n\n") + pack.flush(zlib.Z_SYNC_FLUSH)
    two = pack.compress(b"data: 2\n\n") + pack.flush()
    head = STREAM.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")

    async with RawBackend([REQUEST, head + event(one), 0.3, event(two) + b"0\r\n\r\n"]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        async with asyncio.timeout(0.25):
            first = await answer.chunk()

        assert (first, await answer.chunk(), await answer.chunk()) == (b"data: 1\n\n", b"data: 2\n\n", b"")


@pytest.mark.row("U-20")
@pytest.mark.parametrize("body", [gzip.compress(b"some text")[:-3], b'{"a": 1}'], ids=["cut off", "not gzip"])
async def test_coding_that_does_not_hold_is_an_error(upstream, body):
    """Half a text is never passed for the whole."""
    async with RawBackend([REQUEST, reply(body, "content-encoding: gzip")]) as raw:
        answer = await upstream.send(request_to(raw.backend))

        with pytest.raises(BackendBroken, match="does not decode") as failure:
            await answer.read()
        assert failure.value.code == "upstream_invalid_body"


@pytest.mark.row("U-20", "U-27")
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(reply(gzip.compress(b"\0" * 5_000_000), "content-encoding: gzip"), id="bomb"),
        pytest.param(reply(brotli.compress(b"\0" * 50_000_000), "content-encoding: br"), id="br bomb"),
        pytest.param(reply(zstandard.compress(b"\0" * 50_000_000), "content-encoding: zstd"), id="zstd bomb"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 1000001\r\n\r\n", id="announced"),
        pytest.param(chunked([b"x" * 300_000] * 4), id="chunked"),
    ],
)
async def test_body_over_the_limit_is_refused(sent):
    """By what it comes to when decoded, and before it is read if its length is announced."""
    upstream = Upstream(max_body_bytes=1_000_000)

    async with RawBackend([REQUEST, sent]) as raw:
        answer = await upstream.send(request_to(raw.backend))
        with pytest.raises(BackendBroken, match="more than 1000000 bytes") as failure:
            await answer.read()
        answer.close()
        await upstream.close()

    assert failure.value.code == "upstream_body_too_large"


@pytest.mark.row("U-27")
@pytest.mark.parametrize("way", ["pulled", "poured"])
async def test_stream_that_goes_on_and_on_ends_at_the_limit(way):
    """What came up to there was passed on; the backend's connection is closed."""
    upstream = Upstream(max_stream_bytes=1_000_000)
    came: list[bytes] = []

    async def pull() -> None:
        while True:
            came.append(await answer.chunk())

    async with RawBackend([REQUEST, STREAM, *[event(b"x" * 60_000)] * 40]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        with pytest.raises(BackendBroken, match="more than 1000000 bytes") as failure:
            await (pull() if way == "pulled" else answer.pour(came.append))
        await gone(raw)
        await upstream.close()

    assert failure.value.code == "upstream_body_too_large"
    assert 500_000 < sum(map(len, came)) <= 1_000_000


@pytest.mark.row("S-02", "S-03")
@pytest.mark.parametrize("waiting", ["head", "read", "chunk"])
async def test_cancelled_call_closes_the_backends_connection(upstream, waiting):
    """Within a second, whatever was waited for, so that the backend stops working."""
    partial = {"head": b"", "read": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", "chunk": STREAM}

    async def call() -> None:
        answer = await upstream.send(request_to(raw.backend, stream=waiting == "chunk"))
        await (answer.chunk() if waiting == "chunk" else answer.read())

    async with RawBackend([REQUEST, partial[waiting]], [REQUEST, OK]) as raw:
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone(raw)

        answer = await upstream.send(request_to(raw.backend))
        assert await answer.read() == b"hi"
        assert len(raw.connections) == 2, "the cancelled connection never comes back"


@pytest.mark.row("S-01")
@pytest.mark.parametrize("events", [0, 1, 5])
async def test_reply_that_is_closed_before_its_end_closes_the_connection(upstream, events):
    """After any number of events; a second close changes nothing."""
    paced: list[bytes | float] = [event(b"data: x\n\n"), 0.01]

    async with RawBackend([REQUEST, STREAM, *paced * 20]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True))
        for _ in range(events):
            await answer.chunk()
        answer.close()
        answer.close()
        await gone(raw)

    with pytest.raises(RuntimeError, match="closed before its end"):
        await answer.chunk()


async def test_closing_a_complete_reply_does_not_touch_the_connections_next_exchange(upstream):
    """By then the connection is somebody else's."""
    async with RawBackend([REQUEST, OK, REQUEST, 0.05, reply(b"second")]) as raw:
        first = await upstream.send(request_to(raw.backend))
        await first.read()
        second = asyncio.ensure_future(upstream.send(request_to(raw.backend)))
        await asyncio.sleep(0.02)

        first.close()

        assert await (await second).read() == b"second"
        assert len(raw.connections) == 1


@pytest.mark.row("U-05", "U-06", "U-07", "S-21")
@pytest.mark.parametrize(
    ("script", "timeouts", "name"),
    [
        pytest.param(
            [REQUEST], Timeouts(first_byte_s=0.1), "no first byte .* 0.1 s .first byte timeout", id="no answer"
        ),
        pytest.param(
            [REQUEST, b"HTTP/1.1 100 Continue\r\n\r\n"],
            Timeouts(total_s=0.15),
            "no complete reply .*total",
            id="interim only",
        ),
        pytest.param(
            [REQUEST, *[bytes([byte]) if byte else 0.03 for char in OK[:12] for byte in (char, 0)]],
            Timeouts(total_s=0.15),
            "no complete reply .* 0.15 s .total",
            id="dripping head",
        ),
        pytest.param(
            [REQUEST, STREAM], Timeouts(first_byte_s=0.1), "no first byte .* 0.1 s .first byte", id="no event"
        ),
        pytest.param(
            [REQUEST, reply(b"")[:-5] + b"9\r\n\r\n"], Timeouts(first_byte_s=0.1), "no first byte", id="head only"
        ),
        pytest.param([REQUEST, STREAM + event(b"a")], Timeouts(gap_s=0.1), "no more data", id="stalled stream"),
        pytest.param(
            [REQUEST, STREAM, *[event(b": ping\n\n"), 0.03] * 20], Timeouts(total_s=0.2, gap_s=0.1), "total", id="pings"
        ),
    ],
)
async def test_timer_that_runs_out_is_named_and_the_connection_closed(upstream, script, timeouts, name):
    """The error says what did not come, from where, and within which limit."""
    async with RawBackend(script) as raw:
        with pytest.raises(BackendTimeout, match=name) as failure:
            await pulled(upstream, request_to(raw.backend, stream=True, timeouts=timeouts))
        await gone(raw)

    assert str(raw.backend) in failure.value.message


async def test_head_that_drips_does_not_put_off_the_first_byte_timer(upstream):
    """A reply's head is one thing to wait for: a byte now and then is no progress."""
    drip = [step for byte in OK for step in (bytes([byte]), 0.02)]

    async with RawBackend([REQUEST, *drip]) as raw:
        with pytest.raises(BackendTimeout, match="first byte timeout"):
            await upstream.send(request_to(raw.backend, timeouts=Timeouts(first_byte_s=0.15)))


async def test_who_sends_the_head_at_once_may_think_as_long_as_who_does_not(upstream):
    """Between the head and the first data it is the first byte that is waited for; the gap comes after it."""
    events: list[bytes | float] = [STREAM, 0.15, event(b"one"), 0.15, event(b"two") + b"0\r\n\r\n"]
    timeouts = Timeouts(first_byte_s=5, gap_s=0.1)

    async with RawBackend([REQUEST, *events]) as raw:
        answer = await upstream.send(request_to(raw.backend, stream=True, timeouts=timeouts))

        assert await answer.chunk() == b"one"
        with pytest.raises(BackendTimeout, match="gap"):
            await answer.chunk()


async def test_timer_that_the_caller_set_is_the_callers_timeout(upstream):
    """408, and the same message."""
    async with RawBackend([REQUEST]) as raw:
        with pytest.raises(CallerTimeout, match=r"within 0\.1 s"):
            await upstream.send(request_to(raw.backend, timeouts=Timeouts(total_s=0.1, set_by_caller=True)))


async def test_upload_arrives_whole_and_in_order(upstream):
    """A megabyte of pieces, with a length and without."""
    pieces = [bytes([number]) * 10_000 for number in range(100)]

    async with RawBackend([REQUEST, OK]) as raw:
        for length in (None, 1_000_000):
            answer = await upstream.send(request_to(raw.backend, Pieces(*pieces, length=length)))
            assert await answer.read() == b"hi"

    for request in raw.requests:
        assert request.partition(b"\r\n\r\n")[2] == b"".join(pieces)


class Endless(Pieces):
    """A source that gives a piece and then waits for ever."""

    def __init__(self, first: bytes) -> None:
        super().__init__(first)
        self.cancelled = False

    async def read(self) -> bytes:
        """The piece, or the wait."""
        if piece := await super().read():
            return piece
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return b""


@pytest.mark.row("U-18")
@pytest.mark.parametrize("end", [0.0, FIN, RST])
async def test_early_reply_is_delivered_while_the_upload_waits(upstream, end):
    """A refusal comes at once, the source is left alone, and the connection is not used again."""
    source = Endless(b"x" * 100)
    early = reply(b"too much", status="413 Content Too Large")

    async with RawBackend([HEAD, early, end]) as raw:
        async with asyncio.timeout(2):
            answer = await upstream.send(request_to(raw.backend, source))
            body = await answer.read()
        await gone(raw)

    assert (answer.status, body) == (413, b"too much")
    assert source.cancelled


@pytest.mark.row("U-18")
async def test_early_reply_is_delivered_while_much_is_still_to_be_sent(upstream):
    """The same for a body that is at hand and that the backend does not read."""
    async with RawBackend([HEAD, reply(b"no", status="401 Unauthorized")]) as raw:
        async with asyncio.timeout(2):
            answer = await upstream.send(request_to(raw.backend, b"x" * 30_000_000))
            assert (answer.status, await answer.read()) == (401, b"no")
        await gone(raw)


class Broken(Pieces):
    """A source whose caller has left."""

    async def read(self) -> bytes:
        """Fail after the first piece."""
        if piece := await super().read():
            return piece
        raise ConnectionResetError("the caller has left")


async def test_failure_of_the_source_is_raised_as_it_is_and_closes_the_connection(upstream):
    """It is the caller's failure, not the backend's."""
    async with RawBackend([REQUEST, OK]) as raw:
        with pytest.raises(ConnectionResetError, match="the caller has left"):
            await upstream.send(request_to(raw.backend, Broken(b"abc")))
        await gone(raw)


async def test_cancelled_upload_stops_the_source(upstream):
    """Nothing goes on reading for a call that is gone."""
    source = Endless(b"abc")

    async with RawBackend([REQUEST]) as raw:
        task = asyncio.ensure_future(upstream.send(request_to(raw.backend, source)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone(raw)

    assert source.cancelled


@pytest.mark.parametrize("end", [FIN, RST])
async def test_upload_to_a_server_that_hangs_up_is_an_error_at_once(upstream, end):
    """Though the source would go on for ever, and whether it was asked or not: nobody reads it afterwards."""
    tasks_before = asyncio.all_tasks()

    async with RawBackend([end]) as raw:
        for _ in range(20):
            async with asyncio.timeout(2):
                with pytest.raises(BackendBroken):
                    await upstream.send(request_to(raw.backend, Endless(b"abc")))
    await asyncio.sleep(0.01)

    assert asyncio.all_tasks() == tasks_before


async def test_backend_that_takes_nothing_of_an_upload_runs_into_the_first_byte_timer(upstream):
    """While a slow source does not: that is not the backend's doing."""
    big, slow = Pieces(b"x" * 20_000_000), Endless(b"abc")
    timeouts = Timeouts(first_byte_s=0.2, total_s=None)

    async with RawBackend([HEAD, 5.0]) as raw:
        with pytest.raises(BackendTimeout, match="first byte"):
            await upstream.send(request_to(raw.backend, big, timeouts=timeouts))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await upstream.send(request_to(raw.backend, slow, timeouts=timeouts))
