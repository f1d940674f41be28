"""Deployments that take so much at a time: who waits, for how long, in which order, and what is told."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.fakes.command import Command, free_port
from tests.fakes.proxy import RunningProxy, running_proxy
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.server.test_upstream_faults import ANSWER, DONE, event, reply

PATH = "/v1/chat/completions"
POSITION, WAIT = "x-llmproxy-queue-position", "x-llmproxy-queue-wait"
NOBODY: Mapping[str, str] = MappingProxyType({})


class Slow:
    """A backend that takes its time, counts how many calls it has under way, and notes the `user` of each."""

    def __init__(self, hold_s: float) -> None:
        self.hold_s = hold_s
        self.in_flight = self.most_in_flight = 0
        self.begun: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        body = await request.json()
        self.begun.append(body.get("user", ""))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if body.get("stream"):
                return await self._stream(request)
            await asyncio.sleep(self.hold_s)
            return web.Response(body=ANSWER, content_type="application/json")
        finally:
            self.in_flight -= 1

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(3):
            await response.write(event("x"))
            await asyncio.sleep(self.hold_s / 3)
        await response.write(DONE)
        return response


@asynccontextmanager
async def slow_backend(hold_s: float = 0.05) -> AsyncIterator[Slow]:
    """It, while the block runs."""
    slow, app = Slow(hold_s), web.Application()
    app.router.add_post(PATH, slow.answer)
    # What a caller that leaves has left behind is over at once.
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        slow.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield slow
    finally:
        await runner.cleanup()


def entry(url: str, model: str = "a", **params: object) -> dict[str, Any]:
    """A deployment."""
    return {"model_name": model, "litellm_params": {"model": "openai/m", "api_base": url, "api_key": "k", **params}}


def config(*entries: dict[str, Any], **settings: object) -> str:
    """These deployments, with these general settings and no retries."""
    router = settings.pop("router", {"num_retries": 0})
    return json.dumps({"model_list": entries, "router_settings": router, "general_settings": settings})


def chat(**more: object) -> dict[str, object]:
    """A chat with the name `a`."""
    return {"model": "a", "messages": [{"role": "user", "content": "Hi"}], **more}


async def asked(proxy: RunningProxy, headers: Mapping[str, str] = NOBODY, **more: object) -> tuple[int, Any, Any]:
    """Status, headers and body of one chat."""
    async with asyncio.timeout(15), proxy.post(PATH, chat(**more), headers=headers) as response:
        return response.status, response.headers, await response.read()


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def waiting(proxy: RunningProxy, slow: Slow) -> int:
    """How many calls have no place at the backend yet."""
    return proxy.server.requests_under_way - slow.in_flight


async def test_places_are_never_exceeded_and_shared_fairly_among_keys():
    """Two places and fifty callers of three keys, most of them of one: each key gets a third of what is served."""
    async with slow_backend() as slow, running_proxy(config(entry(slow.url, max_parallel_requests=2))) as proxy:

        async def calls_for_ever(key: str) -> None:
            while True:
                status, _, _ = await asked(proxy, {"authorization": f"Bearer {key}"}, user=key)
                assert status == 200

        keys = ["loud"] * 40 + ["usual"] * 6 + ["quiet"] * 4
        callers = [asyncio.create_task(calls_for_ever(key)) for key in keys]
        # Not before all are there: until then there is nothing to share.
        await until(lambda: len(slow.begun) >= 6)
        before = len(slow.begun)
        await until(lambda: len(slow.begun) >= before + 60)
        shares = Counter(slow.begun[before : before + 60])
        for caller in callers:
            caller.cancel()
        ends = await asyncio.gather(*callers, return_exceptions=True)

        await until(lambda: proxy.server.requests_under_way == slow.in_flight == 0, within_s=1)

    assert {type(each) for each in ends} == {asyncio.CancelledError}
    assert slow.most_in_flight == 2
    assert all(18 <= shares[key] <= 22 for key in ("loud", "usual", "quiet")), shares


async def test_every_caller_is_answered_when_there_is_time():
    """Fifty at once for two places: nobody is refused, and nobody is forgotten."""
    async with slow_backend(0.02) as slow, running_proxy(config(entry(slow.url, max_parallel_requests=2))) as proxy:
        answers = await asyncio.gather(*[asked(proxy, stream=n % 3 == 0) for n in range(50)])

        assert {status for status, _, _ in answers} == {200}
        assert slow.most_in_flight == 2
        assert proxy.server.requests_under_way == slow.in_flight == 0


@pytest.mark.parametrize("whose", ["the caller's", "the deployment's"])
async def test_nobody_waits_past_the_deadline(whose):
    """Whose turn does not come in time hears so, and when to come again."""
    theirs = whose == "the caller's"
    limits: dict[str, Any] = {} if theirs else {"timeout": 0.6}
    async with slow_backend(0.25) as slow:
        async with running_proxy(config(entry(slow.url, max_parallel_requests=2, **limits))) as proxy:

            async def timed() -> tuple[int, Any, Any, float]:
                began_s = time.monotonic()
                answer = await asked(proxy, {"x-litellm-timeout": "0.6"} if theirs else {})
                return *answer, time.monotonic() - began_s

            answers = await asyncio.gather(*[timed() for _ in range(50)])

    refused = [each for each in answers if each[0] == 429]
    assert sum(each[0] == 200 for each in answers) >= 2
    assert {each[0] for each in answers} <= {200, 429, *([408] if theirs else [])}
    assert len(refused) >= 30
    assert {json.loads(body)["error"]["code"] for _, _, body, _ in refused} == {"queue_timeout"}
    assert all(int(headers["retry-after"]) >= 1 for _, headers, _, _ in refused)
    assert max(took_s for *_, took_s in answers) < 2.5, "all of them one after the other take more than six seconds"


async def test_caller_that_leaves_the_queue_frees_its_place_in_it():
    """The next one to come is the next one to be served."""
    async with slow_backend(0.6) as slow, running_proxy(config(entry(slow.url, max_parallel_requests=1))) as proxy:
        holder = asyncio.create_task(asked(proxy, user="holder"))
        await until(lambda: slow.in_flight == 1)
        leaving = [asyncio.create_task(asked(proxy, user="gone", stream=n % 2 == 0)) for n in range(10)]
        await until(lambda: waiting(proxy, slow) == 10)

        for each in leaving:
            each.cancel()
        await until(lambda: waiting(proxy, slow) == 0, within_s=1)
        _, headers, _ = await asked(proxy, user="next")
        await holder

    assert headers[POSITION] == "1"
    assert slow.begun == ["holder", "next"]


@pytest.mark.parametrize("stream", [False, True])
async def test_caller_that_leaves_in_the_middle_frees_its_place_at_the_backend(stream):
    """Whoever waits gets it within a second, not when the answer would have been whole."""
    async with slow_backend(30) as slow, running_proxy(config(entry(slow.url, max_parallel_requests=1))) as proxy:
        holder = asyncio.create_task(asked(proxy, user="holder", stream=stream))
        await until(lambda: slow.in_flight == 1)
        waits = asyncio.create_task(asked(proxy, user="next"))
        await until(lambda: waiting(proxy, slow) == 1)

        slow.hold_s = 0.01
        holder.cancel()
        await until(lambda: slow.begun == ["holder", "next"], within_s=1)
        status, _, _ = await waits

    assert status == 200
    assert slow.most_in_flight == 1


async def test_headers_tell_of_the_wait():
    """The position at the start of it, and the seconds it took; nothing where there was none."""
    async with slow_backend(0.1) as slow, running_proxy(config(entry(slow.url, max_parallel_requests=1))) as proxy:
        first = asyncio.create_task(asked(proxy))
        await until(lambda: slow.in_flight == 1)
        second = asyncio.create_task(asked(proxy, stream=True))
        await until(lambda: waiting(proxy, slow) == 1)
        third = asyncio.create_task(asked(proxy))
        told = [headers for _, headers, _ in await asyncio.gather(first, second, third)]

    assert [headers.get(POSITION) for headers in told] == [None, "1", "2"]
    assert WAIT not in told[0]
    assert 0 < float(told[1][WAIT]) < float(told[2][WAIT])


async def test_stream_holds_its_place_to_its_end():
    """Its first event is not the end of the work."""
    async with slow_backend(0.3) as slow, running_proxy(config(entry(slow.url, max_parallel_requests=1))) as proxy:
        answers = await asyncio.gather(*[asked(proxy, stream=True) for _ in range(3)])

    assert [status for status, _, _ in answers] == [200] * 3
    assert all(body.endswith(DONE) for _, _, body in answers)
    assert slow.most_in_flight == 1


async def test_waiting_calls_go_by_priority():
    """By the body's word or a header's; the lowest number first, and without one it is the usual 100."""
    async with slow_backend(0.1) as slow, running_proxy(config(entry(slow.url, max_parallel_requests=1))) as proxy:
        calls = [asyncio.create_task(asked(proxy, user="holder"))]
        await until(lambda: slow.in_flight == 1)
        late = {"x-litellm-priority": "200"}
        for headers, user, own in (late, "last", {}), ({}, "usual", {}), (late, "first", {"priority": 1}):
            calls.append(asyncio.create_task(asked(proxy, headers, user=user, **own)))
            await until(lambda: waiting(proxy, slow) == len(calls) - 1)
        await asyncio.gather(*calls)

    assert slow.begun == ["holder", "first", "usual", "last"]


async def test_without_a_queue_a_full_deployment_is_a_429():
    """At once, with the time after which a place may be free."""
    async with slow_backend(0.4) as slow:
        text = config(entry(slow.url, max_parallel_requests=1), queue=False, router={"num_retries": 3})
        async with running_proxy(text) as proxy:
            first = asyncio.create_task(asked(proxy))
            await until(lambda: slow.in_flight == 1)
            status, headers, body = await asked(proxy)
            still_at_work = not first.done()
            await first

    assert (status, json.loads(body)["error"]["code"]) == (429, "deployment_full")
    assert int(headers["retry-after"]) >= 1
    assert still_at_work
    assert len(slow.begun) == 1


async def test_full_queue_is_a_429():
    """It is bounded, as everything that waits."""
    async with slow_backend(0.3) as slow:
        text = config(entry(slow.url, max_parallel_requests=1), max_queued_requests_per_deployment=1)
        async with running_proxy(text) as proxy:
            first = [asyncio.create_task(asked(proxy))]
            await until(lambda: slow.in_flight == 1)
            first.append(asyncio.create_task(asked(proxy)))
            await until(lambda: waiting(proxy, slow) == 1)
            status, headers, body = await asked(proxy)
            statuses = [each[0] for each in await asyncio.gather(*first)]

    assert (status, json.loads(body)["error"]["code"]) == (429, "queue_full")
    assert int(headers["retry-after"]) >= 1
    assert statuses == [200, 200]


async def test_name_that_is_full_falls_back_where_nobody_waits():
    """The other name has a place now."""
    async with slow_backend(0.3) as slow, slow_backend(0.01) as other:
        entries = entry(slow.url, max_parallel_requests=1), entry(other.url, "b")
        router = {"num_retries": 0, "fallbacks": [{"a": ["b"]}]}
        async with running_proxy(config(*entries, queue=False, router=router)) as proxy:
            first = asyncio.create_task(asked(proxy))
            await until(lambda: slow.in_flight == 1)
            status, headers, _ = await asked(proxy)
            await first

    assert (status, headers["x-litellm-model-group"]) == (200, "b")
    assert (len(slow.begun), len(other.begun)) == (1, 1)


async def test_call_waits_for_whichever_deployment_is_free_first():
    """One line for all of a name, so that no place is idle while somebody waits."""
    async with slow_backend(0.02) as fast, slow_backend(0.5) as slow:
        entries = [entry(each.url, max_parallel_requests=1) for each in (fast, slow)]
        async with running_proxy(config(*entries)) as proxy:
            answers = await asyncio.gather(*[asked(proxy) for _ in range(12)])

    assert {status for status, _, _ in answers} == {200}
    assert (fast.most_in_flight, slow.most_in_flight) == (1, 1)
    assert len(fast.begun) >= 8


async def test_requests_a_minute_are_kept_and_who_cannot_wait_so_long_hears_when():
    """The third of two a minute is refused at once, as its time would be up before the minute is."""
    async with slow_backend(0.01) as slow, running_proxy(config(entry(slow.url, rpm=2, timeout=5))) as proxy:
        answers = [await asked(proxy) for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert 30 <= int(answers[2][1]["retry-after"]) <= 60
    assert len(slow.begun) == 2


async def test_places_hold_for_all_processes_together(tmp_path):
    """Two workers and two places: never more than two calls under way, and every caller is served."""
    command, port = Command(tmp_path), free_port()
    connector = aiohttp.TCPConnector(force_close=True, limit=0)  # so that the kernel deals the calls out to both
    async with slow_backend() as slow, contextlib.AsyncExitStack() as opened:
        opened.callback(command.close)
        command.write("config.yaml", config(entry(slow.url, max_parallel_requests=2)))
        flags = ["--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "2"]
        await asyncio.to_thread(command.serve, *flags, port=port)
        client = await opened.enter_async_context(aiohttp.ClientSession(connector=connector))

        async def status(number: int) -> int:
            url, key = f"http://127.0.0.1:{port}{PATH}", {"authorization": f"Bearer {number % 3}"}
            async with asyncio.timeout(20), client.post(url, json=chat(), headers=key) as response:
                return response.status

        statuses = await asyncio.gather(*map(status, range(40)))

    assert set(statuses) == {200}
    assert slow.most_in_flight == 2


async def test_callers_of_a_full_deployment_leave_room_for_those_of_others():
    """However many of them wait: another model's calls are served at once."""
    async with slow_backend(30) as slow, slow_backend() as quick:
        models = (entry(slow.url, max_parallel_requests=1), entry(quick.url, "b"))
        async with running_proxy(config(*models, max_in_flight_requests_per_worker=8)) as proxy:
            callers = [asyncio.create_task(asked(proxy)) for _ in range(12)]
            await until(lambda: sum(each.done() for each in callers) == 5)

            status, _, _ = await asked(proxy, model="b")

            refused = [each.result()[0] for each in callers if each.done()]
            for each in callers:
                each.cancel()
            await asyncio.gather(*callers, return_exceptions=True)

    assert status == 200
    assert refused == [429] * 5


async def test_a_call_that_waits_before_it_is_tried_again_is_told_of_the_end():
    """Its backend asked for more time than the process has left."""
    busy = reply(b"{}", "retry-after: 50", status="503 Service Unavailable")
    times = {"drain_wait_seconds": 0.01, "drain_timeout_seconds": 0.1, "drain_stream_timeout_seconds": 0.1}
    async with RawBackend([REQUEST, busy]) as raw:
        text = config(entry(f"{raw.backend}/v1", timeout=100), router={"num_retries": 1}, **times)
        async with running_proxy(text) as proxy:
            caller = asyncio.create_task(asked(proxy))
            await until(lambda: len(raw.requests) == 1)
            await asyncio.sleep(0.05)

            await proxy.server.stop()

            status, _, body = await caller

    assert status == 503
    assert json.loads(body)["error"]["code"] == "shutting_down"
