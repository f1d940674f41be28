"""Streams on their way to the caller, and callers that leave."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from proxy_cli.server.reply import at_once
from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import FIN, REQUEST, RawBackend
from tests.server.conftest import chat, seed_like

PATHS = {
    "/v1/chat/completions": chat,
    "/v1/completions": lambda text="a", **more: {"model": "gpt-3.5-turbo", "prompt": text, **more},
}


def events_of(text: str):
    """The data of a stream's events, decoded but for the end mark."""
    data = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


async def until(condition, seconds: float = 2.0) -> None:
    """Wait for something that is about to be true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", PATHS)
async def test_a_stream_comes_through_with_our_name_in_every_event(proxy, path):
    """Each event carries the name asked for, the end mark is there, no usage that nobody asked for."""
    async with proxy.post(path, PATHS[path]("日本語", stream=True)) as response:
        events = events_of(await response.text())

    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert response.headers["x-accel-buffering"] == "no"
    assert "no-cache" in response.headers["cache-control"]
    assert events[-1] == "[DONE]"
    assert {each["model"] for each in events[:-1]} == {"gpt-3.5-turbo"}
    assert not any(each.get("usage") for each in events[:-1])


async def test_usage_comes_when_it_is_asked_for(proxy):
    """The usage chunk has empty choices, as OpenAI's has."""
    body = chat("a", stream=True, stream_options={"include_usage": True})
    async with proxy.post("/v1/chat/completions", body) as response:
        *_, last, done = events_of(await response.text())

    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0


async def test_usage_is_asked_of_the_backend_even_so(proxy, backend):
    """What a stream used is known here whether or not the caller wants to see it."""
    async with proxy.post("/v1/chat/completions", chat("a", stream=True)) as response:
        await response.read()

    assert backend.last.body["stream_options"] == {"include_usage": True}


async def test_a_backend_that_refuses_stream_options_is_asked_once_without(proxy, backend):
    """And from then on it is not asked for them again."""
    body = chat("[[mock refuse-stream-options]]", stream=True)
    for _ in range(2):
        async with proxy.post("/v1/chat/completions", body) as response:
            assert events_of(await response.text())[-1] == "[DONE]"

    assert ["stream_options" in each.body for each in backend.requests] == [True, False, False]


async def test_the_head_waits_for_the_first_event_and_comes_with_it(proxy):
    """One segment holds head and first event, so nothing is sent before the backend speaks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    body = json.dumps(chat("[[mock delay=0.3 gap=0.2]] abcdefgh", stream=True)).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    first = await asyncio.wait_for(reader.read(65536), 3)

    assert first.startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\n" in first
    assert b"data: {" in first
    writer.close()
    await writer.wait_closed()


async def test_a_failure_before_the_first_event_is_an_http_error(proxy):
    """S-09's half that needs no second server: status and envelope, not an event."""
    async with proxy.post("/v1/chat/completions", chat("[[mock cut=0]]", stream=True)) as response:
        answer = await response.json()

    assert response.status == 502
    assert answer["error"]["code"] == "upstream_truncated"


@pytest.mark.row("S-08")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", ["cut=3", "reset cut=3"])
async def test_a_backend_that_dies_in_a_stream_leaves_one_error_event(proxy, path, fault):
    """After some content the stream ends with the error and the end mark, and the connection ends cleanly."""
    text = f"[[mock {fault} events=9]]"
    async with proxy.post(path, PATHS[path](text, stream=True)) as response:
        events = events_of(await response.text())

    assert response.status == 200
    assert events[-1] == "[DONE]"
    assert events[-2]["error"]["type"] == "backend_error"
    assert sum("error" in each for each in events[:-1]) == 1
    assert len(events) > 2


@pytest.mark.row("S-12")
@pytest.mark.parametrize("path", PATHS)
async def test_a_stream_without_its_end_mark_is_an_error(proxy, path):
    """A clean end of the connection is not an end of the answer."""
    async with proxy.post(path, PATHS[path]("[[mock no-done]]", stream=True)) as response:
        events = events_of(await response.text())

    assert events[-2]["error"]["code"] == "upstream_truncated"


@pytest.mark.row("S-01", "S-04")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("leave", ["close", "half-close", "reset"])
@pytest.mark.parametrize("after", [0, 1, 5, 20])
async def test_a_client_that_leaves_a_stream_frees_the_backend(proxy, backend, path, leave, after):
    """The backend sees its connection close within a second, whenever and however the client goes."""
    body = json.dumps(PATHS[path]("[[mock gap=0.02 events=500]]", stream=True)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body)) + body)
    seen = b""
    while seen.count(b"data: ") <= after:
        seen += await reader.read(65536)

    if leave == "half-close":
        writer.write_eof()
    elif leave == "reset":
        writer.transport.abort()
    else:
        writer.close()

    await until(lambda: backend.last.aborted, 1.0)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.row("S-02", "S-03")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "[[mock delay=30]]"}]}),
        ("completions", {"prompt": "[[mock delay=30]]"}),
        ("embeddings", {"input": "[[mock delay=30]]"}),
        ("responses", {"input": "[[mock delay=30]]"}),
        ("rerank", {"query": "[[mock delay=30]]", "documents": ["a"]}),
        ("moderations", {"input": "[[mock delay=30]]"}),
        ("images/generations", {"prompt": "[[mock delay=30]]"}),
        ("audio/speech", {"input": "[[mock delay=30]]", "voice": "alloy"}),
    ],
)
async def test_a_client_that_leaves_while_it_waits_frees_the_backend(proxy, backend, path, body, stream):
    """Before the first byte, streamed or plain, on every endpoint."""
    more = {"stream": True} if stream else {}
    request = asyncio.ensure_future(
        proxy.client.post(f"{proxy.origin}/v1/{path}", json={"model": "gpt-3.5-turbo", **body, **more})
    )
    await until(lambda: bool(backend.requests))

    request.cancel()

    await until(lambda: backend.last.aborted, 1.0)


async def test_a_client_that_leaves_an_upload_frees_the_backend(proxy, backend):
    """A form that is passed through is cut off at the backend too."""
    form = aiohttp.FormData()
    form.add_field("model", "gpt-3.5-turbo")
    form.add_field("prompt", "[[mock delay=30]]")
    form.add_field("file", b"x" * 1000, filename="a.wav")
    request = asyncio.ensure_future(proxy.client.post(f"{proxy.origin}/v1/audio/transcriptions", data=form))
    await until(lambda: bool(backend.requests))

    request.cancel()

    await until(lambda: backend.last.aborted, 1.0)


async def test_the_connection_to_the_backend_is_kept_after_a_stream(proxy, backend):
    """A stream that ended well leaves a connection that the next call uses."""
    for _ in range(3):
        async with proxy.post("/v1/chat/completions", chat("a", stream=True)) as response:
            await response.read()

    assert len({each.peer for each in backend.requests}) == 1


@pytest.mark.row("S-27")
@pytest.mark.parametrize("text", ["[[mock tool=get_weather]]", "[[mock reasoning=わかる]]"])
async def test_tool_calls_and_reasoning_pass_as_the_backend_sent_them(proxy, backend, text):
    """Every delta of a vendor survives: only the top-level model differs from what the backend sent."""
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    body = chat(text, stream=True, stream_options={"include_usage": True}, tools=tools, n=2)
    async with proxy.post("/v1/chat/completions", body) as response:
        through = await response.read()
    async with proxy.client.post(f"{backend.url}/chat/completions", json={**body, "model": "vicuna-13b"}) as direct:
        straight = await direct.read()

    assert through == straight.replace(b'"model":"vicuna-13b"', b'"model":"gpt-3.5-turbo"').replace(
        b'"model": "vicuna-13b"', b'"model": "gpt-3.5-turbo"'
    )


async def test_sound_that_breaks_off_is_cut_off():
    """No words are put into it, and its end does not look like a proper one."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"
    async with RawBackend([REQUEST, head + b"5\r\nsound\r\n", 0.1, FIN]) as raw:
        async with running_proxy(seed_like(f"http://127.0.0.1:{raw.backend.port}")) as proxy:
            body = {"model": "gpt-3.5-turbo", "input": "a", "voice": "alloy"}
            async with proxy.post("/v1/audio/speech", body) as response:
                assert await response.content.readany() == b"sound"
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()


async def test_a_stream_to_http_1_0_ends_with_its_connection(proxy):
    """Also where the client would like to keep it: nothing else tells it that the stream is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    body = json.dumps(chat("a", stream=True)).encode()
    head = b"POST /v1/chat/completions HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(body) + body)

    whole = await asyncio.wait_for(reader.read(), 3)

    assert whole.endswith(b"data: [DONE]\n\n")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(("end", "status"), [(b"data: [DONE]\n\n", " 200 "), (b"", " 499 ")])
async def test_a_caller_that_hangs_up_at_the_end_mark_has_got_everything(caplog, end, status):
    """Many do, before the end of the framing: only one that leaves earlier is logged as having left."""
    caplog.set_level("INFO")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    events = b'data: {"model": "m", "choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n' + end
    async with RawBackend([REQUEST, head + b"%x\r\n%s\r\n" % (len(events), events)]) as raw:
        async with running_proxy(seed_like(f"http://127.0.0.1:{raw.backend.port}")) as proxy:
            async with proxy.post("/v1/chat/completions", chat("a", stream=True)) as response:
                await response.content.readuntil(end or b"\n\n")
                response.close()
            await until(raw.connections[0].closed.is_set)

    (line,) = [each.getMessage() for each in caplog.records if "POST" in each.getMessage()]
    assert status in line


async def test_what_is_done_at_once_may_not_wait():
    """It is ended where it would, and whoever asked is told."""
    done = []

    async def work(*, waits):
        try:
            if waits:
                await asyncio.sleep(0)
            done.append("all")
        finally:
            done.append("end")

    at_once(work(waits=False))
    with pytest.raises(RuntimeError, match="at once"):
        at_once(work(waits=True))

    assert done == ["all", "end", "end"]
