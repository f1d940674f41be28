"""The way to a backend, through the whole proxy: dead addresses, limits, certificates, HTTP proxies, long streams."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import aiohttp
import pytest

from tests.fakes.certificates import self_signed
from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import FIN, REQUEST, RawBackend
from tests.fakes.turned_clock import TurnedLoop

ANSWER = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
ASKED = {"model": "a", "messages": [{"role": "user", "content": "hello"}]}


def entry(url: str, **params: object) -> str:
    """One deployment of the name `a`."""
    given = {"model": "openai/m", "api_base": f"{url}/v1", "api_key": "sk-1", **params}
    return f"  - {{model_name: a, litellm_params: {json.dumps(given)}}}\n"


def config(*entries: str, more: str = "") -> str:
    """A file of these deployments."""
    return "model_list:\n" + "".join(entries) + more


@contextmanager
def deaf() -> Iterator[str]:
    """The address of a listener that drops what comes."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


@pytest.mark.row("U-01")
async def test_refused_connection_goes_to_another_deployment_or_is_a_502():
    """Nothing was sent, so nothing is paid for twice."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
        async with RawBackend([REQUEST, OK] * 3) as raw:
            text = config(entry(dead, weight=1), entry(f"{raw.backend}", weight=0))
            async with running_proxy(text) as proxy:
                for _ in range(3):
                    async with proxy.post("/v1/chat/completions", ASKED) as response:
                        assert response.status == 200
        async with running_proxy(config(entry(dead))) as proxy, proxy.post("/v1/chat/completions", ASKED) as response:
            assert response.status == 502
            assert (await response.json())["error"]["code"] == "upstream_unavailable"


@pytest.mark.row("U-02")
async def test_connection_that_does_not_come_about_goes_to_another_deployment():
    """The deployment's own limit is over, and nothing was sent; without another it is a 504 that names the timer."""
    with deaf() as dead:
        async with RawBackend([REQUEST, OK]) as raw:
            text = config(entry(dead, weight=1, timeout=0.3), entry(f"{raw.backend}", weight=0))
            async with running_proxy(text) as proxy, proxy.post("/v1/chat/completions", ASKED) as response:
                assert response.status == 200
        text = config(entry(dead, timeout=0.3))
        async with running_proxy(text) as proxy, proxy.post("/v1/chat/completions", ASKED) as response:
            assert response.status == 504
            assert "within 0.3 s (connect timeout)" in (await response.json())["error"]["message"]


@pytest.mark.row("U-08")
async def test_request_that_a_fresh_connection_swallowed_goes_to_another_deployment_only():
    """Never to the same one again: its model may be at work on it."""
    swallows = [REQUEST, FIN]
    async with RawBackend(swallows, swallows) as first, RawBackend(swallows, swallows) as second:
        text = config(entry(f"{first.backend}"), entry(f"{second.backend}"))
        async with running_proxy(text) as proxy, proxy.post("/v1/chat/completions", ASKED) as response:
            assert response.status == 502
            assert (await response.json())["error"]["code"] == "upstream_empty_response"

        assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.row("L-05")
async def test_call_that_gets_no_connection_within_a_second_is_a_503_with_retry_after():
    """The limit of connections is visible in the answer, and in the figures."""
    limit = "general_settings: {max_connections_per_backend: 1}\n"
    async with RawBackend([REQUEST]) as raw:
        async with running_proxy(config(entry(f"{raw.backend}"), more=limit)) as proxy:
            busy = asyncio.ensure_future(proxy.client.post(proxy.origin + "/v1/chat/completions", json=ASKED))
            while not raw.requests:
                await asyncio.sleep(0.01)
            async with proxy.post("/v1/chat/completions", ASKED) as response:
                assert response.status == 503
                assert response.headers["retry-after"] == "1"
                assert (await response.json())["error"]["code"] == "upstream_pool_full"

            (figures,) = proxy.server.snapshot.upstream.figures().values()
            assert (figures.open, figures.waiting, figures.refused_total) == (1, 0, 1)
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)


@pytest.mark.row("L-05")
async def test_full_backend_leaves_the_call_to_another_deployment():
    """Nothing was sent to the one that has no place."""
    limit = "general_settings: {max_connections_per_backend: 1}\n"
    async with RawBackend([REQUEST]) as full, RawBackend([REQUEST, OK]) as free:
        text = config(entry(f"{full.backend}", weight=1), entry(f"{free.backend}", weight=0), more=limit)
        async with running_proxy(text) as proxy:
            busy = asyncio.ensure_future(proxy.client.post(proxy.origin + "/v1/chat/completions", json=ASKED))
            while not full.requests:
                await asyncio.sleep(0.01)
            async with proxy.post("/v1/chat/completions", ASKED) as response:
                assert response.status == 200

            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)


@pytest.mark.row("U-04", "A-37")
async def test_each_deployment_has_certificates_of_its_own(require, tmp_path, monkeypatch):
    """What one trusts is nothing to another; a refusal is a 502 that says why. HTTPS_PROXY leads nowhere."""
    own = self_signed(require("openssl"), tmp_path, "IP:127.0.0.1")
    async with RawBackend([REQUEST, OK] * 3, tls=own.served()) as raw, RawBackend([]) as canary:
        monkeypatch.setenv("HTTPS_PROXY", f"{canary.backend}")
        monkeypatch.setenv("https_proxy", f"{canary.backend}")
        url = f"{raw.backend}"
        entries = (
            entry(url, ssl_verify=str(own.file)),
            entry(url).replace("model_name: a", "model_name: b"),
            entry(url, ssl_verify=False).replace("model_name: a", "model_name: c"),
        )
        async with running_proxy(config(*entries)) as proxy:
            seen = {}
            for name in "abc":
                async with proxy.post("/v1/chat/completions", {**ASKED, "model": name}) as response:
                    seen[name] = (response.status, await response.json())

        assert canary.connections == []
    assert {name: status for name, (status, _) in seen.items()} == {"a": 200, "b": 502, "c": 200}
    assert "certificate is not accepted: self-signed certificate" in seen["b"][1]["error"]["message"]


async def test_calls_go_by_way_of_the_http_proxy_that_the_file_names(tmp_path):
    """Its password goes to it, and appears in no answer."""
    async with RawBackend([REQUEST, OK]) as http_proxy:
        address = f"http://user:hunter2hunter2@127.0.0.1:{http_proxy.backend.port}"
        more = f"litellm_settings: {{http_proxy: '{address}'}}\n"
        async with running_proxy(config(entry("http://llm.test:8000"), more=more)) as proxy:
            async with proxy.post("/v1/chat/completions", ASKED) as response:
                assert response.status == 200
                shown = f"{response.headers}{await response.text()}"
            async with proxy.get("/v1/model/info") as response:
                shown += await response.text()

    (request,) = http_proxy.requests
    assert request.startswith(b"POST http://llm.test:8000/v1/chat/completions HTTP/1.1\r\n")
    assert b"\r\nproxy-authorization: Basic dXNlcjpodW50ZXIyaHVudGVyMg==\r\n" in request
    assert "hunter2" not in shown
    assert "dXNlcjpodW50ZXIyaHVudGVyMg" not in shown


@pytest.mark.row("S-23")
def test_stream_of_hours_completes_and_its_usage_is_right(deep):
    """No limit counts a stream's whole time, and none of the timers fires between its tokens. (Else half an hour.)"""
    whole_s, pace_s = (7200, 1.0) if deep else (1800, 30.0)
    tokens = int(whole_s / pace_s)
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        took_s, body = runner.run(long_stream(tokens, pace_s))

    events = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    assert took_s >= whole_s
    assert events[-1] == "[DONE]"
    assert sum(each.count('"content":"x"') for each in events) == tokens
    assert json.loads(events[-2])["usage"]["completion_tokens"] == tokens


async def long_stream(tokens: int, pace_s: float) -> tuple[float, str]:
    """How long a stream took at this pace, and what came of it."""

    def event(data: bytes) -> bytes:
        data = b"data: " + data + b"\n\n"
        return b"%x\r\n%s\r\n" % (len(data), data)

    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    token = event(b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}')
    counts = b'"usage":{"prompt_tokens":1,"completion_tokens":%d,"total_tokens":%d}' % (tokens, tokens + 1)
    end = event(b'{"id":"1","model":"m","choices":[],' + counts + b"}") + event(b"[DONE]") + b"0\r\n\r\n"
    pace: list[float | bytes] = [pace_s, token]
    async with RawBackend([REQUEST, head, *pace * tokens, end]) as raw:
        async with running_proxy(config(entry(f"{raw.backend}"))) as proxy:
            loop = asyncio.get_running_loop()
            began = loop.time()
            asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
            async with proxy.post("/v1/chat/completions", asked, timeout=aiohttp.ClientTimeout()) as response:
                body = await response.text()
            return loop.time() - began, body
