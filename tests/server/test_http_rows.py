"""Bad HTTP over a raw socket, against the running proxy."""

import asyncio
import gzip
import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Callable
from random import Random
from typing import Self

import pytest
from yarl import URL

from proxy_cli.server.body import read_fields
from tests.fakes.proxy import running_proxy
from tests.server.conftest import chat, seed_like
from tests.server.vectors import CLASSES, Vector

BODY = json.dumps(chat("x")).encode()
ROUTES = {"hot": (b"POST", b"/v1/chat/completions"), "cold": (b"GET", b"/v1/models")}
MASTER = "sk-master-0123456789"
KEY = b"Authorization: Bearer " + MASTER.encode() + b"\r\n"
SPICES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"\xff",
]
PROBE = b"GET /health/liveliness HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def filled(sent: bytes, method: bytes, path: bytes) -> bytes:
    """A vector's bytes for a route."""
    size = b"%x" % len(BODY)
    for mark, text in (
        *((b"<C>", b"<X>\r\n<B>\r\n0\r\n\r\n"), (b"<M>", method), (b"<P>", path)),
        *((b"<X>", size), (b"<L>", b"%d" % len(BODY)), (b"<B>", BODY)),
    ):
        sent = sent.replace(mark, text)
    return sent


def raw_deflate(data: bytes) -> bytes:
    """Without zlib's header, as some clients take the word."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


async def head_of(reader: asyncio.StreamReader) -> str:
    """The next response's head; what is there of it at the connection's end."""
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError as error:
        return error.partial.decode()


async def response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes] | None:
    """The next response, read by its own length; None at the connection's end."""
    head = await head_of(reader)
    if not head:
        return None
    first, *lines = head[:-4].split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version in {"HTTP/1.1", "HTTP/1.0"}
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status), headers, await reader.readexactly(int(headers["content-length"]))


async def answers(port: int, vector: Vector, sent: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Every response to these bytes, and one to a probe behind them where the connection should have stayed open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        found: list[tuple[int, dict[str, str], bytes]] = []
        async with asyncio.timeout(5):
            while vector.closed or len(found) < vector.answers:
                one = await response(reader)
                if one is None:
                    return found
                found.append(one)
            writer.write(PROBE)
            while (one := await response(reader)) is not None:
                found.append(one)
        return found
    finally:
        writer.close()


def check(vector: Vector, found: list[tuple[int, dict[str, str], bytes]]) -> None:
    """That a vector was answered as it should be."""
    assert found[0][0] in vector.statuses
    if vector.closed:
        assert vector.answers <= len(found) <= vector.answers + vector.perhaps
    else:
        assert len(found) == vector.answers + 1
        assert found[-1][0] == 200
    for status, headers, body in found:
        assert status < 400 or (json.loads(body)["error"]["message"] and headers["x-request-id"])
        assert b"s3cret" not in body
        assert "s3cret" not in str(headers)


@pytest.mark.row("H-13", "H-12", "H-26", "H-28", "A-10", "A-11", "A-13")
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("group", CLASSES)
async def test_each_raw_request_has_one_answer_and_an_end(proxy, caplog, group, route):
    """The status is the one that is due, the connection is closed where its framing is in doubt, nothing is echoed."""
    wrong = []
    for vector in CLASSES[group]:
        try:
            found = await answers(proxy.port, vector, filled(vector.sent, *ROUTES[route]))
            check(vector, found)
        except (AssertionError, TimeoutError, ValueError, OSError) as fault:
            wrong.append(f"{vector.name}: {fault!r:.200}")

    assert not wrong, "\n".join(wrong)
    assert "Traceback" not in caplog.text


SPEECH = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def guarded(backend):
    """A proxy with a master key and a body limit of one megabyte."""
    settings = f"\n        general_settings: {{master_key: {MASTER}, max_request_size_mb: 1}}\n"
    async with running_proxy(seed_like(backend.url) + settings) as running:
        yield running


async def told(port: int, *sent: bytes, half_close: bool = False) -> bytes:
    """All that comes back on a connection until its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in sent:
            writer.write(piece)
            await asyncio.sleep(0.02)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.row("H-15", "H-21")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: 20000000\r\nExpect: 100-continue\r\n", 401),
        (b"Content-Length: 20000000\r\nExpect: 100-continue\r\n" + KEY, 413),
        (b"Content-Length: 20000000\r\n" + KEY, 413),
        (b"Content-Length: 5\r\nExpect: x\r\n" + KEY, 417),
        (b"Content-Length: 5\r\nContent-Encoding: x\r\nExpect: 100-continue\r\n" + KEY, 415),
    ],
)
async def test_nobody_is_invited_to_upload_what_is_refused(guarded, headers, status):
    """The refusal comes before any body, and closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    writer.write(CHAT + headers + b"\r\n")
    found = await asyncio.wait_for(response(reader), 5)
    writer.close()

    assert found is not None
    assert found[0] == status
    assert found[1]["connection"] == "close"


@pytest.mark.row("H-22")
async def test_chunks_over_the_limit_are_a_413(guarded):
    """At the limit, whatever was to come."""
    head = CHAT + KEY + b"Transfer-Encoding: chunked\r\n\r\n"
    said = await told(guarded.port, head, *[b"40000\r\n" + b" " * 0x40000 + b"\r\n"] * 5)

    assert said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.row("H-18")
async def test_a_body_that_ends_early_reaches_nobody(proxy, backend):
    """Its sender has gone: there is nobody to answer, and the backend is not asked."""
    said = await told(proxy.port, CHAT + b"Content-Length: 1000\r\n\r\n{", half_close=True)

    assert said == b""
    assert backend.requests == []


@pytest.mark.row("H-16")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "zlib"])
async def test_a_compressed_body_is_read(proxy, coding):
    """As its Content-Encoding says."""
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": raw_deflate,
        "zlib": zlib.compress,
    }
    headers = {"content-encoding": coding.replace("zlib", "deflate"), "content-type": "application/json"}
    async with proxy.client.post(
        proxy.origin + "/v1/chat/completions", data=packers[coding](BODY), headers=headers
    ) as response:
        assert response.status == 200, await response.text()


@pytest.mark.row("H-16")
@pytest.mark.parametrize(
    ("coding", "status"), [("gzip, gzip", 415), ("gzip,deflate", 415), ("compress", 415), ("x", 415), ("identity", 200)]
)
async def test_other_codings_are_refused(proxy, coding, status):
    """Two in a row hide how large a body is."""
    headers = {"content-encoding": coding, "content-type": "application/json"}
    async with proxy.client.post(proxy.origin + "/v1/chat/completions", data=BODY, headers=headers) as response:
        assert response.status == status


@pytest.mark.row("H-16")
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/audio/transcriptions"])
async def test_a_bomb_is_a_413(backend, path):
    """What counts is the size behind the coding."""
    packed = gzip.compress(b'{"a": "' + b" " * 40_000_000)
    kind = "application/json" if "chat" in path else "multipart/form-data; boundary=x"
    config = seed_like(backend.url) + "\n        general_settings: {max_request_size_mb: 1}\n"
    async with running_proxy(config) as proxy:
        headers = {"content-encoding": "gzip", "content-type": kind}
        async with proxy.client.post(proxy.origin + path, data=packed, headers=headers) as response:
            assert response.status in ({413} if "chat" in path else {400, 413})

    assert backend.requests == []


@pytest.mark.row("H-20")
async def test_a_large_body_reaches_the_backend_as_it_was_but_for_the_model(proxy, backend):
    """Two megabytes of a picture and a text with escapes."""
    body = chat([{"type": "text", "text": 'a"\n日' * 1000}, {"type": "image_url", "url": "A" * 2_000_000}])
    sent = io.BytesIO(json.dumps(body).encode())
    headers = {"content-type": "application/json"}
    async with proxy.client.post(proxy.origin + "/v1/chat/completions", data=sent, headers=headers) as answered:
        assert answered.status == 200, await answered.text()

    assert backend.last.body == {**body, "model": "vicuna-13b"}


@pytest.mark.row("H-23")
async def test_a_body_in_tiny_chunks_is_read(proxy):
    """However it was cut."""
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY + b" " * 20_000)

    said = await told(
        proxy.port, CHAT + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )

    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.row("H-23")
@pytest.mark.parametrize("unit", [b"1\r\nx\r\n", b"1;" + b"y" * 500 + b"\r\nx\r\n"])
async def test_a_large_body_in_tiny_chunks_is_a_413(proxy, unit):
    """Each chunk costs as much as a large one, and a limit of bytes counts only what they hold."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(CHAT + b"Transfer-Encoding: chunked\r\n\r\n" + unit * (3_000_000 // len(unit)))
    found = await asyncio.wait_for(response(reader), 5)
    writer.close()

    assert found is not None
    assert found[0] == 413
    assert b"larger chunks" in found[2]


@pytest.mark.row("H-24")
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/audio/transcriptions", b"/v1/models"])
async def test_a_client_that_resets_in_mid_upload_leaves_no_trace(proxy, backend, caplog, path):
    """No error in the log, and nothing asked of a backend."""
    for kind in (b"application/json", b"multipart/form-data; boundary=x"):
        sock = socket.create_connection(("127.0.0.1", proxy.port))
        sock.sendall(
            b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: 90000\r\n\r\n{" % (path, kind)
        )
        await asyncio.sleep(0.05)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    await asyncio.sleep(0.1)

    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR", "CRITICAL"}] == []
    assert backend.requests == []


@pytest.mark.row("H-25")
async def test_a_thousand_requests_ahead_are_answered_in_order(proxy):
    """Each once."""
    requests = [b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(1000)]
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"".join(requests))
    async with asyncio.timeout(20):
        for number in range(1000):
            found = await response(reader)
            assert found is not None
            assert b"'/%d'" % number in found[2]
    writer.close()


@pytest.mark.row("H-29")
@pytest.mark.parametrize("model", ["wild/a\r\nx-evil: 1", "wild/日本", "wild/\u0000", "wild/a\u2028b"])
async def test_a_name_from_a_request_does_not_split_a_response(proxy, model):
    """In a header it is percent-encoded."""
    async with proxy.post("/v1/chat/completions", chat() | {"model": model, "user": "a\r\nx-evil: 1"}) as answered:
        assert "x-evil" not in answered.headers
        assert all(value.isascii() for value in answered.headers.values())
        assert answered.status < 500


@pytest.mark.row("H-10")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405), ("PUT", "/v1/models", 405)),
        *(("GET", "/v1/models/", 404), ("GET", "/V1/models", 404), ("GET", "/nope", 404), ("POST", "//v1/models", 404)),
        *(("HEAD", "/v1/models", 200), ("OPTIONS", "/v1/models", 200)),
    ],
)
async def test_other_methods_and_paths_are_told_what_there_is(proxy, method, path, status):
    """405 with Allow, 404 with words."""
    async with proxy.client.request(method, URL(proxy.origin + path, encoded=True)) as answered:
        assert answered.status == status
        assert status != 405 or answered.headers["allow"]
        assert status < 400 or (await answered.json())["error"]["message"]


@pytest.mark.row("H-11")
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *((None, 200), ("text/plain", 200), ("application/json; charset=utf-8", 200), ("application/json;x", 200)),
        *(("application/json; charset=shift_jis", 415), ("application/json; charset=utf-16", 415)),
    ],
)
async def test_json_is_tried_whatever_a_body_is_called(proxy, kind, status):
    """But for another charset, which we would misread."""
    line = b"" if kind is None else f"Content-Type: {kind}\r\n".encode()
    said = await told(
        proxy.port,
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s"
        % (len(BODY), line, BODY),
    )

    assert said.startswith(b"HTTP/1.1 %d " % status)


def mutated(random: Random, sent: bytes) -> bytes:
    """A request with something wrong, or not."""
    data = bytearray(sent)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(data) or 1)
        match random.randrange(4):
            case 0:
                data[at : at + 1] = random.randbytes(1)
            case 1:
                del data[at : at + random.randrange(1, 30)]
            case 2:
                data[at:at] = random.choice(SPICES)
            case _:
                data[at:at] = data[at : at + random.randrange(1, 60)]
    return bytes(data) or b"x"


async def fuzzed(port: int, random: Random) -> bytes:
    """What comes back for one broken request; its sender has nothing more to say."""
    vector = random.choice(CLASSES[random.choice(list(CLASSES))])
    sent = filled(vector.sent, *ROUTES[random.choice(list(ROUTES))])[:4000]
    sent = random.randbytes(random.randrange(1, 300)) if random.randrange(10) == 0 else mutated(random, sent)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def fuzz(port: int, seed: int, count: int) -> None:
    """So many broken requests: each answer is HTTP, and none says that something went wrong here."""
    random = Random(seed)
    for number in range(count):
        said = await fuzzed(port, random)

        assert said == b"" or said.startswith(b"HTTP/1."), (seed, number)
        assert b"HTTP/1.1 50" not in said.replace(b"HTTP/1.1 501", b"").replace(b"HTTP/1.1 505", b""), (seed, number)


@pytest.mark.row("H-30", "F-01")
async def test_broken_requests_do_no_harm(proxy, caplog):
    """Some hundred mutations; afterwards the proxy answers as before."""
    await fuzz(proxy.port, 1, 600)

    assert "Traceback" not in caplog.text
    async with proxy.get("/health/liveliness") as answered:
        assert answered.status == 200


@pytest.mark.deep
@pytest.mark.row("H-30", "F-01")
@pytest.mark.parametrize("seed", range(8))
async def test_many_broken_requests_do_no_harm(proxy, caplog, seed):
    """Some ten thousand mutations for each seed."""
    await fuzz(proxy.port, 100 + seed, 10_000)

    assert "Traceback" not in caplog.text


@pytest.mark.deep
@pytest.mark.row("H-17", "H-18", "H-19")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"POST /v1/ch", b"408"),
        (CHAT, b"408"),
        (CHAT + b"Content-Length: 1000\r\n\r\n{", b"408"),
        (SPEECH + b"Content-Length: 1000\r\n\r\n--x", b"408"),
        (CHAT + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"408"),
    ],
)
async def test_a_client_that_does_not_go_on_is_let_go(proxy, sent, status):
    """Between 10 and 15 seconds, however far it came."""
    started_s = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(sent)
    async with asyncio.timeout(20):
        said = await reader.read()
    writer.close()

    assert said.split(b" ", 2)[1:2] == ([status] if status else [])
    assert 9 < time.monotonic() - started_s < 15


class Loop:
    """How long the event loop is away at most, while the block runs."""

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            slept_at_s = time.perf_counter()
            await asyncio.sleep(0.001)
            self.worst_s = max(self.worst_s, time.perf_counter() - slept_at_s)


@pytest.mark.deep
@pytest.mark.row("H-20", "L-06")
async def test_a_hundred_megabytes_are_read_in_turns():
    """While they are checked, others are served: the longest turn is a small part of the whole."""
    body = json.dumps(chat("A" * 100_000_000)).encode()
    started_s = time.perf_counter()
    async with Loop() as loop:
        fields = await read_fields(body)
        took_s = time.perf_counter() - started_s

    assert set(fields) == {"model", "messages"}
    assert loop.worst_s < took_s / 3
