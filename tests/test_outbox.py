"""Bytes that leave together."""

import asyncio

from proxy_cli.outbox import Outbox


class Transport(asyncio.Transport):
    """Notes what is written, in the order of all."""

    def __init__(self, written, closed=False):
        super().__init__()
        self.written = written
        self.closed = closed

    def write(self, data):
        self.written.append(data)

    def is_closing(self):
        return self.closed


async def test_what_is_written_in_a_turn_leaves_at_its_end_in_order():
    """Not before, and all of it."""
    written: list[bytes] = []
    outbox = Outbox()

    outbox.write(Transport(written), b"a")
    outbox.write(Transport(written), b"b")
    assert written == []
    await asyncio.sleep(0)

    assert written == [b"a", b"b"]


async def test_what_is_not_to_be_overtaken_can_be_sent_at_once():
    """And is not sent twice."""
    written: list[bytes] = []
    outbox = Outbox()

    outbox.write(Transport(written), b"a")
    outbox.flush()
    assert written == [b"a"]
    await asyncio.sleep(0)

    assert written == [b"a"]


async def test_a_transport_that_has_closed_gets_nothing():
    """The others do."""
    written: list[bytes] = []
    outbox = Outbox()

    outbox.write(Transport(written, closed=True), b"a")
    outbox.write(Transport(written), b"b")
    outbox.flush()

    assert written == [b"b"]


async def test_a_message_too_large_to_be_copied_does_not_overtake_what_waits():
    """A small one is joined and waits its turn; a large one leaves at once, behind those before it."""
    written: list[bytes] = []
    outbox = Outbox()
    large = b"x" * 100_000

    outbox.write_message(Transport(written), b"head ", b"small")
    assert written == []
    outbox.write_message(Transport(written), b"head ", large)

    assert b"".join(written) == b"head small" + b"head " + large
