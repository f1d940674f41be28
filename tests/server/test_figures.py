"""/metrics as Prometheus sees it: behind the key, right over processes, while requests come and go."""

import asyncio
import signal

import aiohttp
import pytest

from tests.fakes.command import HELLO, Command, free_port
from tests.fakes.proxy import running_proxy
from tests.server.conftest import chat, seed_like
from tests.telemetry.test_exposition import samples

KEY = "sk-abcdefghijklmnopqrstuvwxyz"
PATH = "/v1/chat/completions"
REQUESTS = "litellm_proxy_total_requests_metric_total"


@pytest.fixture
def command(tmp_path):
    """Runs `llmproxy` as a program; whatever still serves at the end is killed."""
    running = Command(tmp_path)
    yield running
    running.close()


async def figures(proxy, path="/metrics", **more):
    """All samples of a running proxy."""
    async with proxy.get(path, **more) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return samples(await response.read())


def total(found, name, *labels):
    """The sum of a metric over all series that have these labels."""
    return sum(value for key, value in found.items() if key[0] == name and set(labels) <= set(key))


@pytest.mark.row("A-08")
@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
async def test_metrics_need_the_key_unless_the_settings_open_them(backend, path):
    """Without a word in the settings only key holders read them."""
    config = seed_like(backend.url) + f"\n        general_settings: {{master_key: {KEY}}}\n"
    async with running_proxy(config) as proxy:
        async with proxy.get(path) as response:
            assert response.status == 401
        await figures(proxy, path, headers={"authorization": f"Bearer {KEY}"})
    opened = config + "        litellm_settings: {require_auth_for_metrics_endpoint: false}\n"
    async with running_proxy(opened) as proxy:
        await figures(proxy, path)
        async with proxy.get("/health") as response:
            assert response.status == 401


async def test_each_kind_of_request_is_counted(proxy, backend):
    """A plain answer, a stream, a refusal and a path that is not there; tokens and connections, too."""
    for body in (chat("a"), chat("b", stream=True), {"model": "nope", "messages": []}):
        async with proxy.post(PATH, json=body) as response:
            await response.read()
    async with proxy.get("/nope/" + "x" * 50):
        pass

    found = await figures(proxy)

    assert total(found, REQUESTS, "route", PATH, "requested_model", "gpt-3.5-turbo", "status_code", "200") == 2
    assert total(found, REQUESTS, "status_code", "200", "stream", "true") == 1
    assert total(found, REQUESTS, "requested_model", "other", "status_code", "400") == 1
    assert total(found, REQUESTS, "route", "other", "status_code", "404") == 1
    assert total(found, "litellm_proxy_failed_requests_metric_total") == 2
    assert total(found, "litellm_output_tokens_metric_total") > 0
    assert total(found, "litellm_overhead_latency_metric_count") == 2
    assert total(found, "litellm_llm_api_time_to_first_token_metric_count") == 1
    assert total(found, "llmproxy_upstream_connections_opened_total") >= 1
    assert found["litellm_in_flight_requests",] == 1, "the one that asks"
    assert found["llmproxy_workers",] == 1


async def test_a_backend_that_fails_is_counted_by_code(backend):
    """One that refuses connections, and one that says 500."""
    config = f"""
        model_list:
          - model_name: dead
            litellm_params: {{model: openai/x, api_base: "http://127.0.0.1:9/v1"}}
          - model_name: ill
            litellm_params: {{model: openai/x, api_base: "{backend.url}"}}
        router_settings: {{num_retries: 0}}
    """
    async with running_proxy(config) as proxy:
        for name in ("dead", "ill"):
            async with proxy.post(PATH, json={**chat("[[mock status=500]]"), "model": name}) as response:
                assert response.status >= 500
        found = await figures(proxy)

    assert (
        total(found, "llmproxy_upstream_errors_total", "requested_model", "dead", "code", "upstream_unavailable") == 1
    )
    assert total(found, "llmproxy_upstream_errors_total", "requested_model", "ill") == 1
    assert total(found, "llmproxy_upstream_connect_failures_total") == 1


async def test_a_stream_that_breaks_off_is_counted_by_its_failure(proxy, backend):
    """Its status was 200; that it failed is told all the same, and how."""
    async with proxy.post(PATH, json=chat("[[mock cut=3]] one two three four five", stream=True)) as response:
        assert response.status == 200
        await response.read()

    found = await figures(proxy)

    assert total(found, "llmproxy_upstream_errors_total", "code", "upstream_truncated") == 1
    assert total(found, "litellm_request_total_latency_metric_count") == 0


async def test_streams_under_way_are_told(proxy, backend):
    """A stream that has begun counts as one, and no more when it has ended or its caller has left."""
    async with proxy.post(PATH, json=chat("[[mock gap=0.2]] one two three four five six", stream=True)) as response:
        await response.content.readany()
        found = await figures(proxy)
        assert found["llmproxy_streams",] == 1
        response.close()
    async with asyncio.timeout(5):
        while (found := await figures(proxy))["llmproxy_streams",]:
            await asyncio.sleep(0.02)

    assert found["llmproxy_client_disconnects_total",] == 1
    assert found["litellm_in_flight_requests",] == 1


async def test_figures_are_right_over_processes(command):
    """Whichever worker is asked tells what all have done; a reload is counted once, not by each."""
    port = free_port()
    command.write("config.yaml", HELLO)
    process = command.serve(
        "--config", "config.yaml", "--port", str(port), "--num_workers", "2", "--host=127.0.0.1", port=port
    )

    async def told() -> dict[tuple[str, ...], float]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
            return samples(await response.read())

    for _ in range(40):  # each on a connection of its own: the kernel deals them out
        async with aiohttp.ClientSession() as session:
            async with session.post(f"http://127.0.0.1:{port}{PATH}", json={**chat("x"), "model": "hello"}) as response:
                assert response.status == 200
    first, second = await told(), await told()
    assert total(first, REQUESTS, "route", PATH) == total(second, REQUESTS, "route", PATH) == 40
    assert first["llmproxy_workers",] == 2
    process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(10):
        while ("llmproxy_config_reloads_total",) not in (found := await told()):
            await asyncio.sleep(0.05)
    assert found["llmproxy_config_reloads_total",] == 1
    assert total(found, REQUESTS, "route", PATH) == 40
