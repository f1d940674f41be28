"""The fast lane: what it reads itself, what it hands on, and that nobody can tell which it was."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator

import pytest

from proxy_cli.outbox import Outbox
from proxy_cli.server.connection import Listener
from proxy_cli.server.front import Front
from proxy_cli.server.lane import Lane
from proxy_cli.server.strict import HEAD
from proxy_cli.shapes import Operation
from proxy_cli.telemetry.log import configure
from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.server.conftest import chat, seed_like

BODY = json.dumps(chat()).encode()
JSON = b"content-type: application/json\r\n"
OF_ITS_OWN = {"x-request-id", "x-litellm-call-id", "date", "llm_provider-date"} | {
    f"x-litellm-{name}-duration-ms" for name in ("response", "overhead")
}


def post(body: bytes = BODY, more: bytes = b"", path: bytes = b"/v1/chat/completions") -> bytes:
    """A plain request with a body."""
    return b"POST %s HTTP/1.1\r\nhost: a\r\n%s%scontent-length: %d\r\n\r\n%s" % (path, JSON, more, len(body), body)


def get(path: bytes = b"/v1/models", more: bytes = b"") -> bytes:
    """A request without a body."""
    return b"GET %s HTTP/1.1\r\nhost: a\r\n%s\r\n" % (path, more)


class Client:
    """A raw connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """The next response: its status, headers and body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(first.split(" ")[1]), headers, body

    async def is_closed(self) -> bool:
        """Whether the proxy ends the connection, and says nothing more."""
        return await self.reader.read() == b""


@contextlib.asynccontextmanager
async def connected(proxy) -> AsyncIterator[Client]:
    """A connection to the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def client(proxy):
    """A connection to a proxy."""
    async with connected(proxy) as client:
        yield client


def in_chunks(request: bytes, body: bytes) -> bytes:
    """The same request with its body in chunks."""
    head = request[: -len(body)].replace(b"content-length: %d" % len(body), b"transfer-encoding: chunked")
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_answered_alike_in_the_lane_and_beside_it(client, stream):
    """The same status, the same names of headers with the same values, the same body."""
    body = json.dumps(chat(stream=stream)).encode()

    client.send(post(body))
    own = await client.response()
    client.send(in_chunks(post(body), body))
    guests = await client.response()

    def kept(headers):
        return {name: value for name, value in headers.items() if name not in OF_ITS_OWN}

    assert own[0] == guests[0] == 200
    assert kept(own[1]) == kept(guests[1])
    assert own[1].keys() - {"content-length"} == guests[1].keys() - {"content-length"}
    assert own[2] == guests[2]


@pytest.mark.parametrize(
    "body", [b"{", b'{"model":"nobody","messages":[]}', b'{"messages":"x","model":"gpt-3.5-turbo"}']
)
async def test_a_refusal_is_the_same_in_the_lane_and_beside_it(client, body):
    """Whoever has read the request."""
    client.send(post(body))
    own = await client.response()
    client.send(in_chunks(post(body), body))
    guests = await client.response()

    assert own[0] == guests[0] >= 400
    assert own[2] == guests[2]
    assert own[1].keys() == guests[1].keys()


@pytest.mark.row("O-09")
@pytest.mark.parametrize("is_draining", [False, True])
@pytest.mark.parametrize("path", [b"/health/liveliness", b"/health/liveness", b"/health/readiness"])
async def test_a_probe_is_answered_alike_in_the_lane_and_beside_it(proxy, client, path, is_draining):
    """The same response and the same line in the log, also when readiness says no."""
    proxy.server.drain.draining = is_draining
    output = io.StringIO()
    logs = configure("normal", json_logs=True, log_level=None, local=False, stream=output)
    try:
        client.send(get(path, b"origin: http://a\r\nx-litellm-call-id: mine\r\n"))
        own = await client.response()
        client.send(get(path, b"origin: http://a\r\nx-litellm-call-id: mine\r\nte: x\r\nte: y\r\n"))
        guests = await client.response()
        await asyncio.sleep(0)
    finally:
        logs.close()
    lines = [json.loads(line) for line in output.getvalue().splitlines()]

    def kept(found):
        own = {"x-request-id", "date", "timestamp", "message", "request_id", "duration_ms"}
        return {name: value for name, value in found.items() if name not in own}

    assert own[0] == guests[0] == (503 if is_draining and path == b"/health/readiness" else 200)
    assert kept(own[1]) == kept(guests[1])
    assert own[2] == guests[2]
    assert [kept(line) for line in lines] == [kept(lines[0])] * 2
    assert (lines[0]["method"], lines[0]["route"]) == ("GET", path.decode())


@pytest.mark.row("O-09")
async def test_probes_sent_ahead_are_answered_in_order(client):
    """However many stand in one piece, and with requests of other kinds between them."""
    client.send((get(b"/health/liveliness") + post() + get(b"/health/readiness")) * 20)
    answers = [await client.response() for _ in range(60)]
    client.send(get(b"/health/liveliness") * 2000)
    probes = [await client.response() for _ in range(2000)]

    assert [answer[2][:4] for answer in answers] == [b"\"I'm", b'{"id', b'{"st'] * 20
    assert {probe[2] for probe in probes} == {b'"I\'m alive!"'}


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_a_connection_ends_after_a_probe_as_its_client_wishes(client, connection):
    """With the word for it, or not at all."""
    client.send(get(b"/health/liveliness", f"connection: {connection}\r\n".encode()))
    _, headers, _ = await client.response()
    client.send(get(b"/health/readiness"))

    assert headers.get("connection") == ("close" if connection == "close" else None)
    assert await client.is_closed() if connection == "close" else (await client.response())[0] == 200


async def test_one_connection_carries_what_the_lane_reads_and_what_it_does_not(client):
    """After a request that was lent, the lane reads on; nothing is lost on the way."""
    for _ in range(3):
        client.send(post())
        assert (await client.response())[0] == 200
        client.send(get())
        assert (await client.response())[0] == 200
        client.send(get(b"/nowhere"))
        assert (await client.response())[0] == 404


async def test_refusals_sent_ahead_do_not_stack_up(client):
    """However many requests come at once, each of which is answered in the turn in which it is read."""
    count = 400
    client.send(post(b"{}") * count)

    statuses = [(await client.response())[0] for _ in range(count)]

    assert statuses == [400] * count


async def test_request_over_kept_connections_makes_no_task(client):
    """It begins in the turn in which it was read, and goes on in the one in which its answer came."""
    made: list[str] = []

    def make(loop, work, **more):
        made.append(work.__name__)
        return asyncio.Task(work, loop=loop, **more)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(make)
    try:
        client.send(post())
        await client.response()
        first = made.copy()
        made.clear()
        client.send(post())
        await client.response()
    finally:
        loop.set_task_factory(None)

    assert "Counter.guard" in first, "it waits for a new connection as a task"
    assert [name for name in made if name != "_handle_request"] == [], "all but the backend's own"


@pytest.mark.row("H-25")
async def test_requests_sent_ahead_are_answered_in_order(client):
    """Whoever answers each of them."""
    client.send((post() + get() + post(more=b"x-litellm-call-id: last\r\n")) * 20)
    answers = [await client.response() for _ in range(60)]

    assert [answer[0] for answer in answers] == [200] * 60
    assert [b"chat.completion" in answer[2] for answer in answers] == [True, False, True] * 20
    assert [answer[1]["x-litellm-call-id"] for answer in answers[2::3]] == ["last"] * 20


async def test_a_request_may_come_in_single_bytes(client):
    """The head, and the body too."""
    for byte in post():
        client.send(bytes([byte]))
        await asyncio.sleep(0)

    assert (await client.response())[0] == 200


async def test_a_client_that_wants_no_more_is_let_go(client):
    """`Connection: close` is said back, and done."""
    client.send(post(more=b"connection: close\r\n"))
    status, headers, _ = await client.response()

    assert (status, headers["connection"]) == (200, "close")
    assert await client.is_closed()


async def test_a_body_that_the_guest_does_not_want_is_thrown_away(client):
    """The next request is read where the body ends."""
    client.send(post(path=b"/v1/models"))
    assert (await client.response())[0] == 405
    client.send(get())

    assert (await client.response())[0] == 200


async def test_a_client_that_leaves_takes_its_request_with_it():
    """The backend sees its connection close, before a byte of its reply."""
    async with (
        RawBackend([REQUEST]) as raw,
        running_proxy(seed_like(f"{raw.backend}/v1")) as proxy,
        connected(proxy) as client,
    ):
        client.send(post())
        while not raw.connections or not raw.connections[0].requests:
            await asyncio.sleep(0.01)

        client.writer.close()

        async with asyncio.timeout(2):
            await raw.connections[0].closed.wait()


class Transport(asyncio.Transport):
    """A client that takes what it likes."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.ended = ""

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return self.unsent

    def is_closing(self):
        return bool(self.ended)

    def close(self):
        self.ended = self.ended or "closed"

    def abort(self):
        self.ended = self.ended or "aborted"


@pytest.fixture
async def lane(proxy):
    """A lane of that proxy before a client of our own."""
    server = proxy.server
    front = Front(
        server.snapshot, Listener(server._serve, problems=server.snapshot.problems), keepalive_s=75, outbox=Outbox()
    )
    lane = Lane(front, asyncio.get_running_loop())
    transport = Transport()
    lane.connection_made(transport)
    return lane, transport


async def test_a_client_that_says_nothing_is_let_go(lane):
    """Ten seconds after it came, and not before."""
    it, transport = lane
    now_s = asyncio.get_running_loop().time()

    it.look_at(now_s + HEAD.first_byte_s - 1)
    assert not transport.ended
    it.look_at(now_s + HEAD.first_byte_s + 1)

    assert (transport.ended, transport.written) == ("closed", b"")


@pytest.mark.row("H-17")
async def test_a_head_that_does_not_end_is_refused(lane):
    """However often another byte comes."""
    it, transport = lane
    now_s = asyncio.get_running_loop().time()

    it.data_received(post()[:20])
    it.look_at(now_s + HEAD.complete_s - 1)
    it.data_received(post()[20:40])
    assert not transport.ended
    it.look_at(now_s + HEAD.complete_s + 1)

    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert transport.ended == "closed"


@pytest.mark.row("H-18")
async def test_a_body_that_does_not_come_is_refused(lane):
    """The client is told so, and the connection ends."""
    it, transport = lane
    now_s = asyncio.get_running_loop().time()

    it.data_received(post()[:-10])
    it.look_at(now_s + 5)
    assert not transport.ended
    it.look_at(now_s + 31)

    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert transport.ended == "closed"


@pytest.mark.row("S-22")
async def test_a_client_that_takes_nothing_is_cut_off(lane):
    """A minute after the last byte that it took."""
    it, transport = lane
    now_s = asyncio.get_running_loop().time()
    transport.unsent = 100_000
    it.due_s = float("inf")  # it has asked for something, and is being answered

    it.pause_writing()
    transport.unsent = 90_000
    it.look_at(now_s + 61)
    assert not transport.ended
    it.look_at(now_s + 100)
    assert not transport.ended
    it.look_at(now_s + 122)

    assert transport.ended == "aborted"


async def test_a_client_that_takes_again_is_not_cut_off(lane):
    """However long it had taken nothing before."""
    it, transport = lane

    it.pause_writing()
    it.resume_writing()
    it.look_at(asyncio.get_running_loop().time() + 9)

    assert not transport.ended


async def test_early_head_and_pings_go_to_a_client_that_is_there_and_takes_them(lane):
    """Once it has left, or as long as something is unsent, nothing is written."""
    it, transport = lane

    it.begin("x-request-id: r\r\n", Operation.CHAT)
    it._house.outbox.flush()
    head = transport.written
    transport.unsent = 1
    it.ping()
    transport.unsent = 0
    it.ping()
    it._house.outbox.flush()

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n8\r\n: ping\n\n\r\n")
    assert transport.written == head + b"8\r\n: ping\n\n\r\n"


async def test_nothing_is_begun_for_a_client_that_has_left(lane):
    """Its request is about to be cancelled."""
    it, transport = lane
    transport.close()

    it.begin("", Operation.CHAT)
    it.ping()
    it._house.outbox.flush()

    assert (it.begun, transport.written) == (None, b"")
