"""The debug views: what the caller sent, what went to the backend, what came back, tied by id and without secrets."""

import io
from collections.abc import Callable
from contextlib import contextmanager

import pytest

from proxy_cli.shapes import Backend, Headers, Timeouts, UpstreamRequest
from proxy_cli.telemetry.log import configure
from proxy_cli.telemetry.tap import Tap

KEY = "sk-abcdefghijklmnopqrstuvwx"
BODY = '{"model":"vicuna-13b","messages":[{"role":"user","content":"夕飯はお肉です。"}]}'.encode()
REQUEST = UpstreamRequest(
    backend=Backend("http", "host.docker.internal", 20080),
    target="/v1/chat/completions",
    headers=(("authorization", f"Bearer {KEY}"), ("content-type", "application/json")),
    body=BODY,
    timeouts=Timeouts(),
)


class Reply:
    """A backend's reply that is there already."""

    status = 200
    headers: Headers = (("content-type", "text/event-stream"),)

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.closed = False
        self.paused = False

    async def read(self) -> bytes:
        return b"".join(self._pieces)

    async def chunk(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        for piece in self._pieces:
            sink(piece)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True


@contextmanager
def shown():
    """What a log at debug level shows of what happens inside."""
    output = io.StringIO()
    logs = configure("detailed", json_logs=False, log_level=None, local=False, stream=output)
    lines: list[str] = []
    try:
        yield lines
    finally:
        logs.close()
        lines += output.getvalue().splitlines()


@pytest.mark.row("P-06")
def test_detailed_view_shows_the_request_without_its_key():
    """URL, headers and body of what goes to a backend are shown; the key is not; Japanese reads as it is."""
    with shown() as lines:
        Tap(detailed=True).sent("r1", REQUEST)

    text = "\n".join(lines)
    assert "[r1] sent to the backend: POST http://host.docker.internal:20080/v1/chat/completions" in lines[0]
    assert "authorization: Bearer ***" in text
    assert '"content": "夕飯はお肉です。"' in text
    assert KEY not in text


def test_detailed_view_shows_both_sides():
    """What the caller sent and got, and what the backend answered, all carry the request's id."""
    tap = Tap(detailed=True)
    with shown() as lines:
        tap.client_request("r1", "POST", "/v1/chat/completions", (("x-api-key", KEY),), BODY)
        tap.received("r1", 200, (("server", "vllm"),))
        tap.body("r1", b'{"answer":"\\u9ce5\\u53d6"}')
        tap.client_reply("r1", 200, (("x-request-id", "r1"),), b'{"reply":1}')

    heads = [line for line in lines if "    | " not in line]
    text = "\n".join(lines)
    assert len(heads) == 4
    assert all("[r1]" in head for head in heads)
    assert "x-api-key: ***" in text
    assert KEY not in text
    assert all(part in text for part in ("server: vllm", '"answer": "鳥取"', '"reply": 1'))


async def test_watched_stream_shows_its_pieces_in_whole_characters():
    """The reply passes untouched, and each piece is shown, a character cut in two with its second half."""
    data = 'data: {"a":"日本"}\n\n'.encode()
    reply = Reply(data[:13], data[13:])
    with shown() as lines:
        watched = Tap(detailed=True).watched("r1", reply)
        passed = b"".join([await watched.chunk(), await watched.chunk(), await watched.chunk()])
        watched.close()

    blocks = [line.removeprefix("    | ") for line in lines if line.startswith("    | ")]
    assert passed == data
    assert "".join(blocks) == 'data: {"a":"日本"}'
    assert "backend's stream is complete" in lines[-1]
    assert reply.closed


async def test_watched_stream_is_shown_while_it_is_poured():
    """Each piece is shown and handed on, and the reply beneath is paused with the one above it."""
    reply = Reply(b"data: 1\n\n", b"data: 2\n\n")
    passed: list[bytes] = []
    with shown() as lines:
        watched = Tap(detailed=True).watched("r1", reply)
        watched.pause()
        paused = reply.paused
        watched.resume()
        await watched.pour(passed.append)
        watched.close()

    assert passed == [b"data: 1\n\n", b"data: 2\n\n"]
    assert (paused, reply.paused) == (True, False)
    assert [line for line in lines if line.startswith("    | data: 2")]
    assert "backend's stream is complete, 18 bytes" in lines[-1]


async def test_watched_body_is_shown_once():
    """A whole answer is shown when it was read; closing it afterwards says nothing more."""
    with shown() as lines:
        watched = Tap(detailed=True).watched("r1", Reply(b"hello"))
        body = await watched.read()
        watched.close()

    assert body == b"hello"
    assert [line for line in lines if "hello" in line] == ["    | hello"]
    assert len(lines) == 2


async def test_reply_that_is_left_is_said_to_be():
    """A stream that nobody read to its end is seen in the log."""
    with shown() as lines:
        watched = Tap(detailed=True).watched("r1", Reply(b"data: 1\n\n", b"data: 2\n\n"))
        await watched.chunk()
        watched.close()

    assert "left after 9 bytes" in lines[-1]


def test_debug_view_is_one_line_a_step():
    """Without `detailed` the same calls say one line each, and no raw message."""
    tap = Tap(detailed=False)
    with shown() as lines:
        tap.step("r1", "resolved gpt to vicuna-13b")
        tap.client_request("r1", "POST", "/v1/chat/completions", (), BODY)
        tap.sent("r1", REQUEST)
        tap.received("r1", 200, (("server", "vllm"),))
        tap.piece("r1", b"data: 1\n\n")
        tap.body("r1", b"hello")
        tap.client_reply("r1", 200, (), None)

    assert len(lines) == 6
    assert "resolved gpt to vicuna-13b" in lines[0]
    assert not any("夕飯" in line or "hello" in line for line in lines)


@pytest.mark.row("A-40")
def test_hostile_messages_cannot_forge_lines():
    """Line ends and escape sequences of a caller or backend stay behind the bar, or are spelled out."""
    tap = Tap(detailed=True)
    with shown() as lines:
        tap.client_request(
            "r1", "POST", "/x\n[r2] forged", (("user-agent", "a\x1b[2J"),), b"[r3] forged\r\n[r4] forged"
        )

    assert not any(line.startswith(("[r2]", "[r3]", "[r4]")) for line in lines)
    assert "\x1b" not in "".join(lines)
