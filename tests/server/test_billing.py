"""What is billed for a backend's answer, from its bytes to the caller's header and the metrics."""

import asyncio
import json

import pytest

from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import REQUEST, RawBackend, Step
from tests.telemetry.test_exposition import samples

CHAT = "/v1/chat/completions"
COST = "x-litellm-response-cost"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}
PRICES = "input_cost_per_token: 2.5e-6, output_cost_per_token: 1.0e-5, cache_read_input_token_cost: 1.25e-6"


def config(origin: str, prices: str = PRICES, general: str = "") -> str:
    return f"""
        model_list:
          - model_name: m
            litellm_params: {{model: openai/m, api_base: "{origin}/v1", api_key: x, {prices}}}
        router_settings: {{num_retries: 0}}
        litellm_settings: {{require_auth_for_metrics_endpoint: false}}
        general_settings: {{{general}}}
        """


def reply(usage: object = None, **more: object) -> bytes:
    """A whole answer with this usage."""
    choices = [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]
    answer = {"id": "1", "object": "chat.completion", "model": "m", "choices": choices, **more}
    body = json.dumps(answer if usage is None else answer | {"usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def events(*data: object) -> bytes:
    """A whole stream of these events."""
    body = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in data) + b"data: [DONE]\n\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def chunk(text: str, **more: object) -> dict[str, object]:
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return {"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}


async def figures(proxy):
    async with proxy.get("/metrics") as response:
        return samples(await response.read())


async def billed(answer: bytes, prices: str = PRICES, **more: object):
    """The header of the cost, and the metrics, after one answer."""
    async with RawBackend([REQUEST, answer]) as raw, running_proxy(config(str(raw.backend), prices)) as proxy:
        async with proxy.post(CHAT, ASKED | more) as response:
            assert response.status == 200
            await response.read()
            cost = response.headers.get(COST)
        found = await figures(proxy)
    spend = [value for names, value in found.items() if names[0] == "litellm_spend_metric_total"]
    problems = {names[2]: value for names, value in found.items() if names[0] == "llmproxy_usage_problems_total"}
    return cost, sum(spend), problems


async def test_the_worked_example_is_billed_to_the_digit():
    """Two fresh, three cached and two answered tokens of gpt-4o."""
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}

    assert await billed(reply(usage)) == ("2.875e-05", 2.875e-05, {})


@pytest.mark.row("U-29")
@pytest.mark.parametrize(
    ("usage", "nano", "problems"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, 0, {}),
        ({"prompt_tokens": -5, "completion_tokens": 2}, None, {"negative": 1}),
        ({"prompt_tokens": 5, "completion_tokens": "2"}, 32_500, {"text": 1}),
        ({"prompt_tokens": 5, "completion_tokens": 2**63}, None, {"too_large": 1}),
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 50}},
            26_250,
            {"parts": 1},
        ),
        (None, None, {"missing": 1}),
        ({}, None, {"missing": 1}),
        ([], None, {"missing": 1}),
    ],
)
async def test_a_usage_that_cannot_be_is_billed_by_the_ladder_and_counted(usage, nano, problems):
    """Never below zero, never nothing for something, and an alarm for who bills by it."""
    _, spend, found = await billed(reply(usage))

    assert found == problems
    if nano is None:
        assert 22_500 <= spend * 1e9 <= 5_000_000, "an estimate, of four hundred letters and a word at most"
    else:
        assert spend == nano / 1e9


@pytest.mark.row("U-29")
async def test_usages_of_one_stream_that_contradict_each_other_are_billed_by_the_larger():
    """What was used cannot become less."""
    stream = events(
        chunk("a", usage={"prompt_tokens": 5, "completion_tokens": 1}),
        chunk("b", usage={"prompt_tokens": 5, "completion_tokens": 2}),
        chunk("c", usage={"prompt_tokens": 5, "completion_tokens": 0}),
    )

    _, spend, problems = await billed(stream, stream=True)

    assert (spend, problems) == (32_500 / 1e9, {"falling": 1})


@pytest.mark.parametrize(("tier", "spend"), [("flex", 1.5e-05), ("default", 3e-05), ("auto", 3e-05)])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_tier_of_the_answer_has_its_price(tier, spend, stream):
    """Whatever was asked for; a stream says it with its usage."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    prices = (
        "input_cost_per_token: 1.0e-6, output_cost_per_token: 4.0e-6, "
        "input_cost_per_token_flex: 5.0e-7, output_cost_per_token_flex: 2.0e-6"
    )
    last = {
        "id": "1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [],
        "usage": usage,
        "service_tier": tier,
    }
    answer = events(chunk("hello"), last) if stream else reply(usage, service_tier=tier)

    assert (await billed(answer, prices, stream=stream))[1] == spend


async def test_calls_at_once_share_a_servers_hours():
    """Two calls on a server of 3600 USD an hour bear its seconds together, and nothing when it is idle."""
    answer = reply({"prompt_tokens": 5, "completion_tokens": 2})
    slow: list[Step | bytes | float] = [REQUEST, 0.2, answer]
    async with (
        RawBackend(slow, slow) as raw,
        running_proxy(config(str(raw.backend), "gpu_hour_cost: 3600")) as proxy,
    ):
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        async def ask() -> float:
            async with proxy.post(CHAT, ASKED) as response:
                return float(response.headers[COST])

        costs = await asyncio.gather(ask(), ask())
        took_s = loop.time() - began_s

    assert 0.2 <= sum(costs) <= took_s
    assert abs(costs[0] - costs[1]) < sum(costs)


@pytest.mark.row("C-64")
async def test_a_model_without_a_price_is_refused_where_prices_are_needed():
    """Nothing is sent to it, and the sentence says what to do."""
    async with (
        RawBackend([REQUEST, reply()]) as raw,
        running_proxy(config(str(raw.backend), "timeout: 5", "unpriced: deny")) as proxy,
    ):
        async with proxy.post(CHAT, ASKED) as response:
            told = (await response.json())["error"]

        assert (response.status, told["code"]) == (403, "model_without_price")
        assert "the price of m is not known" in told["message"]
        assert raw.connections == []
