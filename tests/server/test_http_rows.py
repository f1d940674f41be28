"""Bad HTTP over a raw socket, against the running proxy."""

import asyncio
import json

import pytest

from tests.server.conftest import chat
from tests.server.vectors import CLASSES, Vector

BODY = json.dumps(chat("x")).encode()
ROUTES = {"hot": (b"POST", b"/v1/chat/completions"), "cold": (b"GET", b"/v1/models")}
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
        found = []
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
