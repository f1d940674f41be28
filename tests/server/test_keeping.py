"""What is kept of a stream beside its sum, and when it is settled."""

import pytest

from proxy_cli.answer import Answer
from proxy_cli.errors import BackendBroken
from proxy_cli.relay import Relay
from proxy_cli.secret import Scrubber
from proxy_cli.server.flow import Flow
from proxy_cli.server.keeping import keeping_of
from proxy_cli.server.problems import Problems
from proxy_cli.server.reply import Outgoing
from proxy_cli.shapes import Call, Operation, Record
from tests.fakes.backend import running_backend
from tests.providers.conftest import deployment_of
from tests.server.test_flow import EVENTS, OUTBOX, Broken
from tests.server.test_lane import Transport
from tests.server.test_money import house
from tests.test_relay import Reader, Reply, refused

SECRET = "zqxj"  # short, for a stream is cut into pieces, and nothing that an id is made of


class Account:
    """One that keeps words, or does not."""

    def __init__(self, keeps_words=False):
        self.keeps_words = keeps_words
        self.kept = b""

    def keep(self, data):
        if self.keeps_words:
            self.kept += data


class Settled:
    """What the client had, and what the record said, whenever it was settled."""

    def __init__(self, transport):
        self.transport = transport
        self.seen = []

    def settle(self, _call, _answer, record):
        self.seen.append((self.transport.written, record.delivered, record.error))


async def flowing(reply, account, *, is_strict=False):
    """A stream that flows to its end: what it was settled with, and what the client has got."""
    transport = Transport()
    settled = Settled(transport)
    relay = Relay(reply, Reader())
    await relay.start(refused)
    answer = Answer(status=200, headers=EVENTS, deployment=deployment_of(), waited_s=0, relay=relay)
    call = Call(request_id="r", operation=Operation.CHAT, model="m", body=b"{}", stream=True, account=account)
    record = Record(request_id="r", route="/")
    keeping = keeping_of(settled, call, answer, record, is_strict=is_strict)
    outgoing = Outgoing(call, answer, relay, "", record, Problems(Scrubber(())), lambda: 1.0, keeping)
    assert await Flow(transport, OUTBOX, b"HEAD", outgoing).run()
    return settled.seen, keeping, transport.written


async def test_a_strict_ledger_has_a_stream_before_its_last_bytes_leave():
    """Once, as one that was answered."""
    seen, keeping, written = await flowing(Reply(b"one", b"two-end"), Account(), is_strict=True)

    assert seen == [(b"HEAD3\r\none\r\n", True, None)]
    assert keeping.is_settled
    assert b"two-end" in written


async def test_a_strict_ledger_has_a_stream_that_breaks_off_before_its_caller_is_told():
    """With the failure."""
    seen, keeping, written = await flowing(Broken(b"one"), Account(), is_strict=True)

    assert seen == [(b"HEAD3\r\none\r\n", False, "it broke off")]
    assert keeping.is_settled
    assert BackendBroken("it broke off").message.encode() in written


async def test_a_fast_ledger_leaves_it_to_who_ends_the_stream():
    """All that is kept on the way are the words."""
    account = Account(keeps_words=True)

    seen, keeping, _ = await flowing(Reply(b"one", b"two-end"), account)

    assert (seen, keeping.is_settled) == ([], False)
    assert account.kept == b"onetwo-end"


async def test_nothing_is_done_where_nothing_more_is_kept():
    """As it is without a word in the settings."""
    _, keeping, _ = await flowing(Reply(b"one", b"end"), Account())

    assert keeping is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_strict_ledger_has_each_request_once(tmp_path, stream):
    """Paid for as in a fast one."""
    async with running_backend() as backend, house(tmp_path, backend, "ledger: strict") as proxy:
        key = await proxy.key()
        async with proxy.proxy.post("/v1/chat/completions", asking(stream), headers=bearer(key)) as response:
            await response.read()
        (row,) = await put_in(proxy, 1)
        _, info = await proxy.get(f"/key/info?key={key}")

    assert row["state"] == "settled"
    assert row["spend"] == info["info"]["spend"] > 0


@pytest.mark.row("P-03")
async def test_nothing_that_is_said_is_anywhere_on_the_disk(tmp_path, caplog):
    """Neither prompt nor answer: not in the database, not in the journal, not in the log."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key()
        for stream in (False, True):
            async with proxy.proxy.post("/v1/chat/completions", asking(stream), headers=bearer(key)) as response:
                assert SECRET in (await response.text())
        rows = await put_in(proxy, 2)
        files = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}

    assert len(rows) == 2
    assert any(key[-4:].encode() in data for data in files.values())  # the rows are there
    assert [each.name for each, data in files.items() if SECRET.encode() in data] == []
    assert SECRET not in caplog.text


@pytest.mark.parametrize("stream", [False, True])
async def test_prompts_and_answers_are_kept_where_that_is_asked_for(tmp_path, stream):
    """The prompt as it was sent; of a stream its events."""
    general = "store_prompts_in_spend_logs: true"
    async with running_backend() as backend, house(tmp_path, backend, general) as proxy:
        key = await proxy.key()
        async with proxy.proxy.post("/v1/chat/completions", asking(stream), headers=bearer(key)) as response:
            await response.read()
        (row,) = await put_in(proxy, 1)
        _, one = await proxy.get(f"/spend/logs/ui/{row['llmproxy_request_id']}")

    assert one["messages"] == [{"role": "user", "content": SECRET}]
    assert SECRET in str(one["response"])
    assert isinstance(one["response"], str) == stream


async def put_in(proxy, number):
    """The ledger, once so many rows are in the store."""
    for _ in range(20):
        rows = await proxy.rows()
        if len(rows) >= number:
            break
    return rows


def asking(stream):
    return {"model": "m", "stream": stream, "messages": [{"role": "user", "content": SECRET}]}


def bearer(key):
    return {"authorization": f"Bearer {key}"}
