"""A stream on its way out of the lane: what leaves together, and what ends it."""

from proxy_cli.answer import Answer
from proxy_cli.errors import BackendBroken
from proxy_cli.outbox import Outbox
from proxy_cli.relay import Relay
from proxy_cli.secret import Scrubber
from proxy_cli.server.flow import Flow, chunk
from proxy_cli.server.problems import Problems
from proxy_cli.server.reply import Outgoing
from proxy_cli.shapes import Call, Operation, Record
from tests.providers.conftest import deployment_of
from tests.server.test_lane import Transport
from tests.test_relay import Reader, Reply, refused

EVENTS = (("content-type", "text/event-stream"),)


class AtOnce(Outbox):
    """Writes without waiting for the end of the turn."""

    def write(self, transport, data):
        transport.write(data)


OUTBOX = AtOnce()


async def flowing(reply, headers=EVENTS, first=True, head=b"HEAD"):
    """A flow over a reply, and the client that it goes to."""
    transport = Transport()
    relay = Relay(reply, Reader())
    if first:
        await relay.start(refused)
    answer = Answer(status=200, headers=headers, deployment=deployment_of(), waited_s=0, relay=relay)
    call = Call(request_id="r", operation=Operation.CHAT, model="m", body=b"{}", stream=True)
    record = Record(request_id="r", route="/")
    outgoing = Outgoing(call, answer, relay, "", record, Problems(Scrubber(())), lambda: 1.0)
    return Flow(transport, OUTBOX, head, outgoing), transport, record


async def test_the_head_leaves_with_the_first_event_and_each_event_as_a_chunk():
    """And the end is marked."""
    flow, transport, record = await flowing(Reply(b"one", b"two-end"))

    assert await flow.run()

    assert transport.written == b"HEAD3\r\none\r\n7\r\ntwo-end\r\n0\r\n\r\n"
    assert (record.bytes_out, record.first_byte_s, record.delivered) == (10, 1.0, True)


class Broken(Reply):
    """A backend that breaks off."""

    async def pour(self, sink):
        await super().pour(sink)
        raise BackendBroken("it broke off")


async def test_a_stream_that_breaks_off_ends_with_an_event_that_says_so():
    """And the chunks are complete all the same."""
    flow, transport, record = await flowing(Broken(b"one"))

    assert await flow.run()

    assert b"3\r\none\r\n" in transport.written
    assert b"it broke off" in transport.written
    assert transport.written.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert record.error == "it broke off"


async def test_sound_that_breaks_off_is_cut_short():
    """There is no place for words in it."""
    flow, transport, _ = await flowing(Broken(b"one"), headers=(("content-type", "audio/mpeg"),))

    assert not await flow.run()
    assert not transport.written.endswith(b"0\r\n\r\n")


async def test_the_backend_is_held_back_while_the_client_takes_nothing():
    """And goes on when it does."""
    reply = Reply(b"one", b"end")
    flow, _, _ = await flowing(reply)

    flow.pause()
    held = reply.paused
    flow.resume()

    assert (held, reply.paused) == (True, False)


def test_chunk_tells_its_length_in_hexadecimal():
    """And ends as RFC 9112 has it, section 7.1."""
    assert chunk(b": ping\n\n") == b"8\r\n: ping\n\n\r\n"
    assert chunk(b"x" * 255) == b"ff\r\n" + b"x" * 255 + b"\r\n"


async def test_nothing_but_events_leaves_where_the_head_has_left_already():
    """A stream that was begun before it had an answer goes on with its first event."""
    flow, transport, _ = await flowing(Reply(b"one", b"end"), head=b"")

    assert await flow.run()

    assert transport.written == b"3\r\none\r\n3\r\nend\r\n0\r\n\r\n"
