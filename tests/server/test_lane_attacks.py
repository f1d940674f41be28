"""Attacks on one connection that two readers share: the lane and aiohttp's handler."""

import asyncio
import json
import logging

import pytest

from proxy_cli.server.connection import Listener
from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.fakes.turned_clock import TurnedLoop
from tests.server.conftest import seed_like
from tests.server.test_lane import BODY, connected, get, in_chunks, post


def reply(body: bytes) -> bytes:
    """A backend's plain reply."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def completion(size: int) -> bytes:
    """A completion with so much text."""
    message = {"role": "assistant", "content": "x" * size}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}).encode()


async def test_nothing_is_read_behind_a_response_that_ends_the_connection():
    """Who was told that the connection ends is not answered again, however soon the rest of the body comes."""
    async with (
        RawBackend([REQUEST, reply(completion(1))]) as raw,
        running_proxy(seed_like(f"{raw.backend}/v1")) as proxy,
        connected(proxy) as client,
    ):
        client.send(post(path=b"/nowhere")[:-5])
        status, headers, _ = await client.response()
        client.send(BODY[-5:] + post())

        assert (status, headers["connection"]) == (404, "close")
        assert await client.is_closed()
        assert not raw.requests


async def test_a_given_connection_ends_when_nothing_more_is_asked(backend):
    """The time between two requests is the same for everybody."""
    async with running_proxy(seed_like(backend.url), keepalive_timeout_s=1.0) as proxy, connected(proxy) as client:
        client.send(in_chunks(post(), BODY))
        assert (await client.response())[0] == 200

        async with asyncio.timeout(4):
            assert await client.is_closed()


async def test_the_guests_patience_does_not_end_a_request_of_the_lane():
    """Also where the guest was still throwing a body away when the lane took its connection back."""
    async with (
        RawBackend([REQUEST, 2.0, reply(completion(1))]) as raw,
        running_proxy(seed_like(f"{raw.backend}/v1"), keepalive_timeout_s=1.0) as proxy,
        connected(proxy) as client,
    ):
        client.send(get(more=b"content-length: 5\r\n"))
        answer = await client.response()
        client.send(b"12345" + post())
        if answer[1].get("connection") == "close":
            assert await client.is_closed()
            return
        assert (await client.response())[0] == 200


async def test_who_takes_nothing_is_asked_for_nothing_more():
    """The next request waits until the last response is nearly all taken."""
    async with (
        RawBackend([REQUEST, reply(completion(8_000_000)), REQUEST, reply(completion(1))]) as raw,
        running_proxy(seed_like(f"{raw.backend}/v1")) as proxy,
        connected(proxy) as client,
    ):
        client.send(post() * 2)
        while len(raw.requests) < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert len(raw.requests) == 1

        first, second = await client.response(), await client.response()
        assert (first[0], len(first[2]) > 8_000_000, second[0]) == (200, True, 200)


async def test_a_guest_comes_when_the_client_takes_again(caplog):
    """It would write on without end to who takes nothing, and not know when to go on."""
    async with (
        RawBackend([REQUEST, reply(completion(8_000_000))]) as raw,
        running_proxy(seed_like(f"{raw.backend}/v1")) as proxy,
        connected(proxy) as client,
    ):
        client.send(post() + get() + in_chunks(post(body=b"{}"), b"{}"))
        while len(raw.requests) < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)

        assert [(await client.response())[0] for _ in range(3)] == [200, 200, 400]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_upload_under_way_is_read_to_its_end_while_the_server_stops():
    """And answered."""
    async with (
        RawBackend([REQUEST, reply(completion(1))]) as raw,
        running_proxy(seed_like(f"{raw.backend}/v1")) as proxy,
        connected(proxy) as client,
    ):
        client.send(post(more=b"expect: 100-continue\r\n")[: -len(BODY)])
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        client.send(BODY[:5])
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(proxy.server.stop())
        await asyncio.sleep(1.5)
        client.send(BODY[5:])

        async with asyncio.timeout(3):
            assert (await client.response())[0] == 200
            assert await client.is_closed()
        await stopping


@pytest.mark.parametrize("size", [100_000, 300_000, 900_000])
async def test_an_unwanted_body_of_any_size_leaves_the_connection_usable(proxy, size):
    """Or ends it, and says so."""
    async with connected(proxy) as client:
        client.send(post(b"x" * size, path=b"/nowhere"))
        status, headers, _ = await client.response()
        assert status == 404
        if headers.get("connection") == "close":
            assert await client.is_closed()
            return
        client.send(get())
        async with asyncio.timeout(2):
            assert (await client.response())[0] == 200


class Takes(asyncio.Transport):
    """A client that takes so many bytes a minute, and no more. Owns what it has yet to take."""

    def __init__(self, per_minute: int) -> None:
        super().__init__()
        self.unsent = 100_000
        self.ended = ""
        self._per_minute = per_minute
        self._began_s = asyncio.get_running_loop().time()

    def write(self, data) -> None:
        """It waits, too."""
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        """What it has not taken by now."""
        minutes = (asyncio.get_running_loop().time() - self._began_s) / 60
        return self.unsent - int(self._per_minute * minutes)

    def is_closing(self) -> bool:
        """Whether it is over."""
        return bool(self.ended)

    def set_protocol(self, protocol) -> None:
        """It is another's."""

    def close(self) -> None:
        """An end with manners."""
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        """And one without."""
        self.ended = self.ended or "aborted"


@pytest.mark.row("S-22")
@pytest.mark.parametrize(("per_minute", "ended"), [(0, "aborted"), (10_000, "")])
@pytest.mark.parametrize("paused_first", [False, True])
def test_who_takes_nothing_is_cut_off_also_by_a_guest(per_minute, ended, paused_first):
    """Whoever has the connection when it stalls; a client that takes little is waited for."""

    async def dialogue() -> str:
        async with running_proxy(seed_like("http://127.0.0.1:9/v1")) as proxy:
            listener = Listener(proxy.server._serve, problems=proxy.server.snapshot.problems, keepalive_timeout_s=9e9)
            guest, transport = listener.lend(lambda _: None), Takes(per_minute)
            guest.connection_made(transport)
            if paused_first:
                guest.pause_writing()
            guest.given()
            guest.data_received(get())
            await asyncio.sleep(0.01)
            if not paused_first:
                guest.pause_writing()
            await asyncio.sleep(200)
            found = transport.ended
            guest.connection_lost(None)
            return found

    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        assert runner.run(dialogue()) == ended


async def test_the_last_answer_says_that_it_is_the_last_also_where_the_guest_gave_it():
    """A client that had its request read before the server began to stop asks nothing more in vain."""
    async with (
        RawBackend([REQUEST, 1.5, reply(completion(1))]) as raw,
        running_proxy(seed_like(f"{raw.backend}/v1")) as proxy,
        connected(proxy) as client,
    ):
        client.send(post(more=b"expect: 100-continue\r\n"))
        while not raw.requests:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(proxy.server.stop())
        status, headers, _ = await client.response()

        assert (status, headers["connection"]) == (200, "close")
        assert await client.is_closed()
        await stopping
