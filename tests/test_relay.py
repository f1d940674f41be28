import asyncio

import pytest

from proxy_cli.errors import BackendBroken, GatewayError
from proxy_cli.relay import LocalExchange, Relay, labelled, reshaped, says_events
from proxy_cli.shapes import Call, Headers, LocalReply, Operation


class Reader:
    """Passes bytes on and takes `end` for the end mark."""

    def __init__(self):
        self.usage = None
        self.finished = False
        self.seen = (0, 0)
        self.error_event = None

    def feed(self, data):
        self.seen = (self.seen[0] + 1, self.seen[1] + len(data))
        self.finished = data.endswith(b"end")
        return b"" if data == b"dropped" else data

    def end(self):
        return b""


class Reply:
    """A backend that sends these pieces and then ends, or hangs."""

    status = 200
    headers: Headers = ()

    def __init__(self, *pieces, hangs=False):
        self.pieces = list(pieces)
        self.hangs = hangs
        self.closed = 0
        self.paused = False

    async def chunk(self):
        if self.pieces:
            return self.pieces.pop(0)
        if self.hangs:
            await asyncio.sleep(60)
        return b""

    async def read(self):
        return b"".join(self.pieces)

    async def pour(self, sink):
        while piece := await self.chunk():
            sink(piece)

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def close(self):
        self.closed += 1


def refused(event):
    """What a first event that is an error becomes."""
    return GatewayError(event.decode())


async def pulled(relay):
    """All that a relay gives."""
    pieces = []
    while piece := await relay.next():
        pieces.append(piece)
    return pieces


async def test_what_start_waited_for_comes_first():
    """The first bytes are not lost, and dropped events are not empty answers."""
    relay = Relay(Reply(b"dropped", b"a", b"dropped", b"b-end"), Reader())

    await relay.start(refused)

    assert await pulled(relay) == [b"a", b"b-end"]
    assert relay.finished


async def test_an_end_without_the_mark_is_an_error():
    """A closed connection is not an answer."""
    relay = Relay(Reply(b"a"), Reader())
    await relay.start(refused)
    await relay.next()

    with pytest.raises(BackendBroken) as caught:
        await relay.next()

    assert caught.value.code == "upstream_truncated"


async def test_a_backend_that_keeps_the_line_open_after_the_mark_is_let_go():
    """The caller does not wait for a backend that has said all."""
    reply = Reply(b"end", hangs=True)
    relay = Relay(reply, Reader())
    await relay.start(refused)

    async with asyncio.timeout(2):
        assert await pulled(relay) == [b"end"]

    assert reply.closed


async def test_a_local_reply_behaves_like_a_backends():
    """Whole or in events."""
    whole = LocalExchange(LocalReply(200, (), body=b"{}"))
    events = LocalExchange(LocalReply(200, (), chunks=(b"a", b"end")))

    assert await whole.read() == b"{}"
    relay = Relay(events, Reader())
    await relay.start(refused)
    assert await pulled(relay) == [b"a", b"end"]


async def test_a_local_reply_is_poured_at_the_callers_pace():
    """Event by event; none while the caller can take no more."""
    events = LocalExchange(LocalReply(200, (), chunks=(b"a", b"b", b"end")))
    came = []

    def sink(data):
        came.append(data)
        if data == b"b":
            events.pause()

    pouring = asyncio.ensure_future(events.pour(sink))
    await asyncio.sleep(0.02)
    before = list(came)
    events.resume()
    await pouring

    assert before == [b"a", b"b"]
    assert came == [b"a", b"b", b"end"]


async def test_a_reply_that_was_looked_at_is_poured_whole():
    """The beginning is handed on first, and the reply beneath is paused with the one above it."""
    reply = Reply(b"\n", b"data: {}\n\n", b"end")
    begun = await labelled(reply)
    came: list[bytes] = []

    begun.pause()
    paused = reply.paused
    begun.resume()
    await begun.pour(came.append)

    assert b"".join(came) == b"\ndata: {}\n\nend"
    assert (paused, reply.paused) == (True, False)


async def test_a_caller_that_fails_on_the_beginning_closes_the_reply():
    """As one that fails on a later piece does."""
    reply = Reply(b"data: {}\n\n")
    begun = await labelled(reply)

    def sink(data):
        raise LookupError(data)

    with pytest.raises(LookupError):
        await begun.pour(sink)

    assert reply.closed


@pytest.mark.parametrize(
    "pieces", [(b"data: {}\n\n", b"end"), (b"\n", b"da", b"ta: {}\n\n", b"end"), (b": hello\n\n",)]
)
async def test_events_without_their_label_are_known_by_their_lines(pieces):
    """Servers that say text/plain, or nothing, are understood; no byte is lost."""
    reply = await labelled(Reply(*pieces))

    assert says_events(reply)
    received = b""
    while piece := await reply.chunk():
        received += piece
    assert received == b"".join(pieces)


async def test_what_is_no_event_stream_is_left_as_it_is():
    """A backend that answers a call for a stream with plain JSON has said so."""
    reply = await labelled(Reply(b'{"data:', b'": 1}'))

    assert not says_events(reply)
    assert await reply.read() == b'{"data:": 1}'


async def test_a_label_counts_in_any_case_and_is_believed():
    """Nothing is waited for then."""

    class Labelled(Reply):
        headers: Headers = (("content-type", "Text/Event-Stream"),)

    reply = Labelled(hangs=True)

    assert await labelled(reply) is reply
    assert says_events(reply)


async def test_a_reply_that_is_left_while_it_is_looked_at_is_closed():
    """A caller who goes away before the first byte frees the backend here too."""
    reply = Reply(hangs=True)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await labelled(reply)

    assert reply.closed


class Completion(Reply):
    """A whole completion, however it is labelled."""

    headers: Headers = (("content-type", "application/json"), ("content-length", "9"), ("x-a", "1"))


class Streamed(Reply):
    """Events."""

    headers: Headers = (("content-type", "text/event-stream"), ("x-a", "1"))


def never(event):
    """For replies that hold no error."""
    raise AssertionError(event)


def call_for(*, stream, operation=Operation.CHAT):
    """A call whose fields do not matter."""
    return Call(request_id="r", operation=operation, model="a", body=b"", stream=stream)


COMPLETION = b'{"object":"chat.completion","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
EVENTS = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n'


@pytest.mark.row("U-16")
async def test_a_reply_in_the_other_form_is_converted():
    """With the label of what it is now, the other headers, and no length of what it was."""
    events = await reshaped(call_for(stream=True), Completion(COMPLETION), never)
    whole = await reshaped(call_for(stream=False), Streamed(EVENTS), never)

    assert events.headers == (("content-type", "text/event-stream"), ("x-a", "1"))
    assert await events.chunk() != b""
    assert whole.headers == (("content-type", "application/json"), ("x-a", "1"))
    assert b'"content":"hi"' in await whole.read()


async def test_a_long_reply_is_converted_beside_the_event_loop():
    """And comes to the same."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"x" * 1000)

    whole = await reshaped(call_for(stream=False), Streamed(event * 1500 + b"data: [DONE]\n\n"), never)

    assert b"x" * 1_500_000 in await whole.read()


@pytest.mark.parametrize(
    ("call", "reply"),
    [
        (call_for(stream=True), Streamed(EVENTS)),
        (call_for(stream=False), Completion(COMPLETION)),
        (call_for(stream=True, operation=Operation.RESPONSES), Completion(b"{}")),
    ],
)
async def test_a_reply_in_the_form_asked_for_is_left_as_it_is(call, reply):
    """As is one of which we do not know the other form; nothing of it is read."""
    assert await reshaped(call, reply, never) is reply


async def test_what_is_no_completion_is_left_to_who_reads_it():
    """JSON stays JSON, and events that tell no completion are not taken for one."""
    other = await reshaped(call_for(stream=True), Completion(b'{"error":1}'), never)
    events = await reshaped(call_for(stream=False), Streamed(b"data: {}\n\ndata: [DONE]\n\n"), never)

    assert (other.headers, await other.read()) == (Completion.headers, b'{"error":1}')
    assert not says_events(events)


async def test_a_reply_that_is_not_whole_is_closed_and_an_error():
    """Half an answer is not put together."""
    reply = Streamed(EVENTS[:30])

    with pytest.raises(BackendBroken):
        await reshaped(call_for(stream=False), reply, never)

    assert reply.closed
