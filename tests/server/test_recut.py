"""A recorded stream through the whole proxy, however its lines end and wherever the network cuts it."""

import asyncio

import pytest

from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import FIN, REQUEST, RawBackend, Script
from tests.server.conftest import chat, seed_like

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BODIES = {
    "/v1/chat/completions": chat("a", stream=True, stream_options={"include_usage": True}),
    "/v1/completions": {
        "model": "gpt-3.5-turbo",
        "prompt": "a",
        "stream": True,
        "stream_options": {"include_usage": True},
    },
}
# Each place of the top-level model is marked, so that what must not be touched is seen to be left alone.
RECORDED = """: ping

data: {"id":"c", "model" : "@","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"x":{"model":"keep"}}

event: message
id: 7
data: {"choices":[{"index":1,"delta":{"content":"日本語😀\\"model\\":\\"vicuna-13b\\""}}],"model":"@"}

data:{"model":"@","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"model\\":1}"}}]}}]}

data: {"model":"@",
data: "choices":[{"index":0,"delta":{"reasoning_content":"考え","audio":{"data":"AA=="}}}]}

data: {"model":"@","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}

data: [DONE]

"""


def ended(ends: tuple[str, ...], model: str) -> bytes:
    """The recording with these line ends in turn, as the backend or the caller should see it."""
    lines = RECORDED.replace("@", model).splitlines()
    return "".join(line + ends[index % len(ends)] for index, line in enumerate(lines)).encode()


def chunked(pieces: list[bytes]) -> bytes:
    """The pieces as one chunk each."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def through(path: str, *steps: bytes | float) -> bytes:
    """What a caller receives of what the backend sends in these steps."""
    async with RawBackend([REQUEST, HEAD, *steps]) as raw:
        async with running_proxy(seed_like(f"http://127.0.0.1:{raw.backend.port}/v1")) as proxy:
            async with proxy.post(path, BODIES[path]) as response:
                assert response.status == 200
                received: bytes = await response.read()
                return received


@pytest.mark.row("S-13", "S-14", "S-27")
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte order mark"])
@pytest.mark.parametrize(
    "ends", [("\n",), ("\r\n",), ("\r",), ("\r\n", "\n", "\r", "\r")], ids=["LF", "CRLF", "CR", "mixed"]
)
async def test_a_stream_of_single_bytes_arrives_whole_but_for_the_model(path, mark, ends):
    """Every byte is a chunk of its own; what comes out is what the backend sent, with the name asked for."""
    sent = mark + ended(ends, "vicuna-13b")

    got = await through(path, chunked([sent[at : at + 1] for at in range(len(sent))]))

    assert got == ended(ends, "gpt-3.5-turbo")


@pytest.mark.row("S-13", "S-14")
@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_cut_at_every_byte_is_the_same_stream(path):
    """One connection for each cut, the two halves in chunks of their own and in segments of their own."""
    sent, expected = ended(("\r\n",), "vicuna-13b"), ended(("\r\n",), "gpt-3.5-turbo")
    closing = HEAD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    scripts: list[Script] = []
    for at in range(1, len(sent)):
        whole = chunked([sent[:at], sent[at:]])
        scripts.append([REQUEST, closing + whole[: at + 6], 0.001, whole[at + 6 :], FIN])

    async with RawBackend(*scripts) as raw:
        async with running_proxy(seed_like(f"http://127.0.0.1:{raw.backend.port}/v1")) as proxy:
            for _ in scripts:
                async with proxy.post(path, BODIES[path]) as response:
                    assert await response.read() == expected


async def test_a_caller_that_leaves_while_sound_is_spoken_frees_the_backend():
    """Speech is relayed as it comes, and let go of like every stream."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"
    async with RawBackend([REQUEST, head + b"5\r\nsound\r\n"]) as raw:
        async with running_proxy(seed_like(f"http://127.0.0.1:{raw.backend.port}/v1")) as proxy:
            body = {"model": "gpt-3.5-turbo", "input": "a", "voice": "alloy"}
            async with proxy.post("/v1/audio/speech", body) as response:
                assert await response.content.readany() == b"sound"
                response.close()
            await asyncio.wait_for(raw.connections[0].closed.wait(), 1)
