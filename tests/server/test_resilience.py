"""Several backends behind one name, some of them bad: what a caller sees, and how often each backend is asked."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import aiohttp
import pytest

from proxy_cli.mock.faults import Faults
from tests.fakes.backend import RunningBackend, running_backend
from tests.fakes.command import Command, ask, free_port
from tests.fakes.proxy import RunningProxy, running_proxy
from tests.fakes.raw_backend import FIN, REQUEST, RST, RawBackend, Script
from tests.server.test_upstream_faults import ANSWER, DONE, END, HEAD, STREAM, chunk, event, last_error, reply

PATH = "/v1/chat/completions"
NOBODY = "http://127.0.0.1:9/v1"  # nobody listens on the port of `discard`
GOOD = reply(ANSWER)
OUCH = reply(b'{"error":{"message":"ouch"}}', status="500 Oops")
LIMITED = b'{"error":{"message":"You exceeded your monthly limit","type":"rate_limit_error"}}'
DUPLICATE = "x-llmproxy-maybe-duplicate"
RETRIES = "x-litellm-attempted-retries"


def config(*urls: str, settings: str = "", **params: object) -> str:
    """The name `a`, whose deployments are asked in this order."""
    common = {"model": "openai/m", "api_key": "k", **params}
    entries = [
        {"model_name": "a", "litellm_params": {**common, "api_base": url, "order": place}}
        for place, url in enumerate(urls, 1)
    ]
    return f"model_list: {json.dumps(entries)}\n{settings}"


def chat(**more: object) -> dict[str, object]:
    """A chat with the name `a`."""
    return {"model": "a", "messages": [{"role": "user", "content": "Hi"}], **more}


def again(*steps: bytes) -> Script:
    """A script that answers with these, one a request, and with the last one from then on."""
    return [step for each in (*steps, *[steps[-1]] * 300) for step in (REQUEST, each)]


def url_of(raw: RawBackend) -> str:
    """Its `api_base`."""
    return f"{raw.backend}/v1"


def limited(*fields: str) -> bytes:
    """A 429 with these headers."""
    return reply(LIMITED, *fields, status="429 Too Many Requests")


async def asked(proxy: RunningProxy, headers: dict[str, str] | None = None, **more: object) -> tuple[int, Any, bytes]:
    """Status, headers and body of one chat, within ten seconds."""
    async with asyncio.timeout(10), proxy.post(PATH, chat(**more), headers=headers) as response:
        return response.status, response.headers, await response.read()


def code_of(body: bytes) -> str:
    """The code of an error."""
    return str(json.loads(body)["error"]["code"])


def rests(proxy: RunningProxy) -> list[float]:
    """How long each deployment still rests, in the order of the configuration."""
    fleet = proxy.server.snapshot.setup.fleet
    return [fleet.state(each).rests_s(time.monotonic()) for each in proxy.setup.table.deployments]


def chats(backend: RunningBackend) -> int:
    """How many chats a backend has seen."""
    return sum(each.method == "POST" for each in backend.requests)


@pytest.mark.row("U-01")
@pytest.mark.parametrize("stream", [False, True])
async def test_backend_that_is_not_there_is_passed_over(stream):
    """Nothing was sent to it, so the answer of the other one is the only one that a model has worked on."""
    async with running_backend() as well, running_proxy(config(NOBODY, well.url)) as proxy:
        status, headers, _ = await asked(proxy, stream=stream)

    assert (status, headers[RETRIES], headers["x-litellm-model-group"]) == (200, "1", "a")
    assert DUPLICATE not in headers
    assert chats(well) == 1


@pytest.mark.row("U-01")
@pytest.mark.parametrize("count", [1, 2])
async def test_where_no_backend_is_there_the_error_says_so(count):
    """Whether there was one to ask or several."""
    async with running_proxy(config(*[NOBODY] * count)) as proxy:
        status, _, body = await asked(proxy)

    assert (status, code_of(body)) == (502, "upstream_unavailable")


@pytest.mark.row("U-05")
async def test_backend_that_never_answers_is_left_for_another():
    """It may be at work on the call still, which the caller is told, and it is not asked a second time."""
    async with RawBackend(again(b"")) as mute, running_backend() as well:
        async with running_proxy(config(url_of(mute), well.url, timeout=0.3)) as proxy:
            status, headers, _ = await asked(proxy)

    assert (status, headers[DUPLICATE]) == (200, "true")
    assert (len(mute.requests), chats(well)) == (1, 1)


@pytest.mark.row("U-05")
async def test_where_no_other_is_left_a_silent_backend_is_asked_once():
    """A model that may be at work on a call does not get the same call again."""
    async with RawBackend(again(b"")) as mute, running_proxy(config(url_of(mute), timeout=0.3)) as proxy:
        status, _, body = await asked(proxy)
        async with proxy.get("/metrics") as response:
            figures = await response.text()

    assert (status, code_of(body)) == (504, "upstream_timeout")
    assert len(mute.requests) == 1
    assert 'status_code="504"' in figures


@pytest.mark.row("U-07")
async def test_stream_that_stalls_before_its_first_event_begins_at_another():
    """The head alone has not reached the caller: what it gets is one stream, whole."""
    async with RawBackend(again(HEAD)) as stalling, RawBackend(again(STREAM)) as well:
        async with running_proxy(config(url_of(stalling), url_of(well), stream_timeout=0.3)) as proxy:
            status, headers, body = await asked(proxy, stream=True)

    assert (status, headers[DUPLICATE]) == (200, "true")
    assert body == (event("日") + event("本") + DONE).replace(b'"m"', b'"a"')


@pytest.mark.row("U-07")
async def test_stream_that_stalls_everywhere_is_a_504():
    """Each of them was asked once."""
    async with RawBackend(again(HEAD)) as first, RawBackend(again(HEAD)) as second:
        async with running_proxy(config(url_of(first), url_of(second), stream_timeout=0.3)) as proxy:
            status, _, body = await asked(proxy, stream=True)

    assert (status, code_of(body)) == (504, "upstream_timeout")
    assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.row("U-22")
@pytest.mark.parametrize(
    "fields",
    [
        ["retry-after: 2"],
        ["retry-after: 120"],
        ["retry-after: 999999"],
        ["retry-after: soon"],
        ["retry-after: -1"],
        ["retry-after-ms: 1500"],
        [],
    ],
)
async def test_limited_backend_is_left_for_another_at_once_and_rests(fields):
    """Whatever wait it asks for, the caller does not wait, and it gets no more calls meanwhile."""
    async with RawBackend(again(limited(*fields))) as full, running_backend() as well:
        async with running_proxy(config(url_of(full), well.url)) as proxy:
            answers = [await asked(proxy) for _ in range(4)]
            first_s, second_s = rests(proxy)

    assert [status for status, _, _ in answers] == [200] * 4
    assert (len(full.requests), chats(well)) == (1, 4)
    assert 0 < first_s <= 300
    assert second_s == 0


@pytest.mark.row("U-22")
@pytest.mark.parametrize("field", ["retry-after-ms: 120", "retry-after: 1"])
async def test_short_wait_that_a_lone_backend_asks_for_is_waited(field):
    """And then it answers."""
    async with RawBackend(again(limited(field), GOOD)) as busy, running_proxy(config(url_of(busy))) as proxy:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        status, headers, _ = await asked(proxy)
        took_s = loop.time() - began_s

    assert (status, headers[RETRIES]) == (200, "1")
    assert took_s >= (0.12 if "ms" in field else 1.0)


@pytest.mark.row("U-22", "U-25")
@pytest.mark.parametrize("status", ["429 Too Many Requests", "401 Unauthorized"])
async def test_all_that_are_turned_away_at_once_are_answered_by_another(status):
    """No model has seen their calls, so what bounds retries does not leave some of them without an answer."""
    async with RawBackend(again(reply(LIMITED, status=status))) as full, running_backend() as well:
        async with running_proxy(config(url_of(full), well.url)) as proxy:
            answers = await asyncio.gather(*[asked(proxy) for _ in range(20)])

    assert [status for status, _, _ in answers] == [200] * 20
    assert chats(well) == 20


def in_so_long(seconds: int) -> list[str]:
    """A date as `Retry-After` may have it, and the backend's own clock, which is years behind."""
    now = datetime(2020, 1, 1, tzinfo=UTC)
    until = now + timedelta(seconds=seconds)
    return [f"date: {format_datetime(now, usegmt=True)}", f"retry-after: {format_datetime(until, usegmt=True)}"]


@pytest.mark.row("U-22")
@pytest.mark.parametrize(
    ("fields", "told_s"),
    [
        (["retry-after: 120"], 120),
        (["retry-after: 999999"], 86400),
        (["retry-after-ms: 90000"], 90),
        (in_so_long(100), 100),
        (["retry-after: 120", "retry-after-ms: 90500"], 91),
    ],
)
async def test_long_wait_that_a_lone_backend_asks_for_is_the_callers_to_make(fields, told_s):
    """It is asked once, and the caller hears when to come again, in whole seconds and not above a day."""
    async with RawBackend(again(limited(*fields))) as full, running_proxy(config(url_of(full))) as proxy:
        status, headers, body = await asked(proxy)
        rest_s = rests(proxy)[0]

    assert (status, headers["retry-after"]) == (429, str(told_s))
    assert "monthly limit" in json.loads(body)["error"]["message"]
    assert len(full.requests) == 1
    assert min(told_s, 300) - 5 < rest_s <= 300


@pytest.mark.row("U-22")
@pytest.mark.parametrize("fields", [[], ["retry-after: soon"], ["retry-after: Wed, 99 Foo 2026 00:00:00 GMT"]])
async def test_limited_backend_that_names_no_time_still_gives_the_caller_one(fields):
    """A refusal for the month has no Retry-After, and words in its place are none."""
    async with RawBackend(again(limited(*fields))) as full, running_proxy(config(url_of(full))) as proxy:
        status, headers, _ = await asked(proxy)

    assert status == 429
    assert 1 <= int(headers["retry-after"]) <= 10
    assert len(full.requests) == 3, "the first, and two tries after it"


@pytest.mark.row("U-23")
async def test_where_all_are_limited_the_caller_hears_the_shortest_wait():
    """And so does the next one, for whom those that rest were asked once more, as there is nobody else."""
    async with (
        RawBackend(again(limited("retry-after: 200"))) as first,
        RawBackend(again(limited("retry-after: 100"))) as second,
        running_proxy(config(url_of(first), url_of(second))) as proxy,
    ):
        answers = [await asked(proxy) for _ in range(2)]

    for status, headers, body in answers:
        assert (status, code_of(body)) == (429, "all_deployments_in_cooldown")
        assert 95 <= int(headers["retry-after"]) <= 100
    assert len(second.requests) == 2
    assert len(first.requests) <= 2


@pytest.mark.row("U-23")
async def test_where_all_are_sick_the_caller_hears_when_to_come_again():
    """With 503, because it is no matter of limits."""
    async with RawBackend(again(OUCH)) as first, RawBackend(again(OUCH)) as second:
        async with running_proxy(config(url_of(first), url_of(second))) as proxy:
            for _ in range(8):
                status, headers, body = await asked(proxy)

    assert (status, code_of(body)) == (503, "all_deployments_in_cooldown")
    assert 1 <= int(headers["retry-after"]) <= 60
    assert "ouch" in json.loads(body)["error"]["message"]


@pytest.mark.row("U-24")
async def test_third_attempt_answers_where_two_have_failed():
    """The caller sees the answer, and in a header what it took."""
    async with RawBackend(again(OUCH, OUCH, GOOD)) as flaky, running_proxy(config(url_of(flaky))) as proxy:
        status, headers, body = await asked(proxy)

    assert (status, headers[RETRIES]) == (200, "2")
    assert json.loads(body)["choices"][0]["message"]["content"] == "日本"
    assert len(flaky.requests) == 3


@pytest.mark.row("U-24")
@pytest.mark.parametrize("count", [1, 3])
async def test_fleet_that_fails_for_ever_is_not_melted_by_retries(count):
    """However many calls come at once: 1.2 attempts for each, and three more."""
    async with contextlib.AsyncExitStack() as opened:
        sick = [await opened.enter_async_context(running_backend(faults=Faults(status=500))) for _ in range(count)]
        proxy = await opened.enter_async_context(running_proxy(config(*[each.url for each in sick])))
        answers = await asyncio.gather(*[asked(proxy) for _ in range(150)])

        assert {status for status, _, _ in answers} <= {500, 503}
        assert sum(map(chats, sick)) <= 1.2 * len(answers) + 3


@pytest.mark.row("U-25")
@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 422])
async def test_what_is_wrong_with_a_request_is_said_once(status):
    """Another deployment would only say it again, and no backend is to blame."""
    refusal = reply(b'{"error":{"message":"no such luck"}}', status=f"{status} No")
    async with RawBackend(again(refusal)) as first, running_backend() as second:
        async with running_proxy(config(url_of(first), second.url)) as proxy:
            answers = [await asked(proxy) for _ in range(6)]
            resting = rests(proxy)

    assert {(got, json.loads(body)["error"]["message"]) for got, _, body in answers} == {(status, "no such luck")}
    assert (len(first.requests), chats(second)) == (6, 0)
    assert resting == [0, 0]


@pytest.mark.row("U-25")
@pytest.mark.parametrize("status", [401, 403])
async def test_backend_that_does_not_take_our_key_is_taken_out_with_one_warning(status, caplog):
    """The others go on; it is not asked again for a minute."""
    refusal = reply(b'{"error":{"message":"Incorrect API key"}}', status=f"{status} No")
    async with RawBackend(again(refusal)) as locked, running_backend() as well:
        with caplog.at_level(logging.WARNING):
            async with running_proxy(config(url_of(locked), well.url)) as proxy:
                answers = [await asked(proxy) for _ in range(4)]
                resting = rests(proxy)

    assert [got for got, _, _ in answers] == [200] * 4
    assert (len(locked.requests), chats(well)) == (1, 4)
    assert 55 < resting[0] <= 60
    warnings = [each.getMessage() for each in caplog.records if "does not take our key" in each.getMessage()]
    assert len(warnings) == 1
    assert f"status {status}" in warnings[0]


@pytest.mark.row("U-25")
async def test_lone_backend_that_does_not_take_our_key_is_asked_once_a_call():
    """The caller gets the backend's own status and words."""
    refusal = reply(b'{"error":{"message":"Incorrect API key"}}', status="401 No")
    async with RawBackend(again(refusal)) as locked, running_proxy(config(url_of(locked))) as proxy:
        status, _, body = await asked(proxy)

    assert (status, json.loads(body)["error"]["message"]) == (401, "Incorrect API key")
    assert len(locked.requests) == 1


@pytest.mark.row("S-08")
@pytest.mark.parametrize("end", [FIN, RST])
@pytest.mark.parametrize("events", [1, 3])
async def test_stream_that_breaks_after_content_ends_with_one_error_event(end, events):
    """No other deployment is asked: its text would follow half of another one's. The connection stays good."""
    broken = [REQUEST, HEAD + b"".join(chunk(event("x")) for _ in range(events)), 0.05, end]
    async with RawBackend(broken) as first, running_backend() as second:
        async with running_proxy(config(url_of(first), second.url)) as proxy:
            status, _, body = await asked(proxy, stream=True)

    assert status == 200
    assert body.count(b"choices") == events
    assert str(last_error(body)["code"]).startswith("upstream_")
    assert chats(second) == 0


FIRST_EVENT_FAILS = {
    "cut off": [HEAD, FIN],
    "reset": [HEAD, 0.05, RST],
    "an error": [HEAD, chunk(b'data: {"error":{"message":"ouch","code":500}}\n\n' + DONE) + END],
    "full": [HEAD, chunk(b'data: {"error":{"message":"busy","code":429}}\n\n' + DONE) + END],
    "no event at all": [HEAD, END],
}


@pytest.mark.row("S-09", "S-11")
@pytest.mark.parametrize("steps", FIRST_EVENT_FAILS.values(), ids=FIRST_EVENT_FAILS)
async def test_stream_that_fails_before_content_is_one_clean_stream_of_another(steps: Sequence[Any]):
    """The caller sees nothing of the first one."""
    async with RawBackend([REQUEST, *steps]) as first, RawBackend(again(STREAM)) as second:
        async with running_proxy(config(url_of(first), url_of(second))) as proxy:
            status, headers, body = await asked(proxy, stream=True)

    assert (status, headers[RETRIES]) == (200, "1")
    assert body == (event("日") + event("本") + DONE).replace(b'"m"', b'"a"')
    assert len(second.requests) == 1


async def test_limit_of_the_callers_own_never_makes_a_deployment_rest():
    """Short limits of one client are no reason to take a backend from the others."""
    async with running_backend(faults=Faults(delay_s=0.5)) as slow, running_proxy(config(slow.url)) as proxy:
        limit = {"x-litellm-timeout": "0.05"}
        answers = await asyncio.gather(*[asked(proxy, limit, stream=n % 2 == 0) for n in range(20)])
        resting = rests(proxy)
        status, _, _ = await asked(proxy)

    assert {(got, code_of(body)) for got, _, body in answers} == {(408, "request_timeout")}
    assert resting == [0]
    assert status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_leaves_never_makes_a_deployment_rest(stream):
    """Nor does it keep a deployment busy."""
    async with running_backend(faults=Faults(delay_s=0.3)) as slow, running_proxy(config(slow.url)) as proxy:
        patience = aiohttp.ClientTimeout(total=0.1)

        async def leaves() -> None:
            with contextlib.suppress(TimeoutError):
                async with proxy.post(PATH, chat(stream=stream), timeout=patience) as response:
                    await response.read()
                raise AssertionError("it has stayed")

        await asyncio.gather(*[leaves() for _ in range(20)])
        async with asyncio.timeout(2):
            while any(each.in_flight for each in proxy.setup.fleet.states()):
                await asyncio.sleep(0.01)
        resting = rests(proxy)
        status, _, _ = await asked(proxy)

    assert (resting, status) == ([0], 200)


async def test_reload_keeps_what_is_known_of_deployments(tmp_path):
    """One that rests is not asked again because the file has changed."""
    async with RawBackend(again(limited("retry-after: 200"))) as full, running_backend() as well:
        text = config(url_of(full), well.url)
        statuses = await asyncio.to_thread(partial(_asked_around_a_reload, Command(tmp_path), text))

    assert statuses == [200, 200, 200, 200]
    assert (len(full.requests), chats(well)) == (1, 3)


async def test_rest_of_a_deployment_holds_for_all_processes(tmp_path):
    """What one worker was told, the others need not ask."""
    async with RawBackend(again(limited("retry-after: 200"))) as full, running_backend() as well:
        text = config(url_of(full), well.url)
        statuses = await asyncio.to_thread(partial(_asked_of_two_workers, Command(tmp_path), text))

    assert statuses == [200] * 30
    assert (len(full.requests), chats(well)) == (1, 30)


def _asked_of_two_workers(command: Command, text: str) -> list[int]:
    """The statuses of thirty chats, each over a connection of its own, which the kernel deals out."""
    try:
        port = free_port()
        command.write("config.yaml", text)
        flags = ["--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "2"]
        command.serve(*flags, port=port)
        return [ask(port, PATH, chat())[0] for _ in range(30)]
    finally:
        command.close()


def _asked_around_a_reload(command: Command, text: str) -> list[int]:
    """The statuses of two chats, a reload, and one chat more."""
    try:
        port = free_port()
        command.write("config.yaml", text)
        command.serve("--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), port=port)
        before = [ask(port, PATH, chat())[0] for _ in range(2)]
        changed = "general_settings: {queue: false}\n"
        command.write("config.yaml", text + changed)
        return [*before, ask(port, "/config/reload", {})[0], ask(port, PATH, chat())[0]]
    finally:
        command.close()
