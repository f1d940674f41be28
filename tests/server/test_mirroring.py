"""Copies of calls: sent beside the answer, put down, and nobody's business."""

import asyncio
import json

import pytest

from proxy_cli.mock.faults import Faults
from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy


def config(real, shadow, percent=100):
    """The model `a`, whose calls are copied for `shadow`."""
    mirror = {"model": "shadow", "percent": percent}
    entries = [
        {
            "model_name": "a",
            "litellm_params": {"model": "openai/m", "api_base": real, "api_key": "k", "mirror": mirror},
        },
        {"model_name": "shadow", "litellm_params": {"model": "openai/s", "api_base": shadow, "api_key": "k"}},
    ]
    return json.dumps({"model_list": entries})


MASTER = "sk-master-1234567890abcdef"
BEARER = {"authorization": f"Bearer {MASTER}"}


def kept(real, shadow):
    """The same with a ledger."""
    return json.dumps({**json.loads(config(real, shadow)), "general_settings": {"master_key": MASTER}})


def chat(**more):
    return {"model": "a", "messages": [{"role": "user", "content": "Hi"}], **more}


async def until(condition):
    """Wait for what happens beside requests."""
    for _ in range(300):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not happen")


async def test_a_mirror_gets_the_call_and_the_caller_the_deployments_answer():
    """The same body, with the mirror's own model name; the metrics tell of both."""
    async with running_backend() as real, running_backend() as shadow:
        async with running_proxy(config(real.url, shadow.url)) as proxy:
            async with proxy.post("/v1/chat/completions", chat(temperature=0.5)) as response:
                assert response.status == 200
                answered_by = response.headers["x-litellm-model-group"]
            await until(lambda: shadow.requests and shadow.last.finished)
            await until(lambda: proxy.server.snapshot.mirrors.under_way == 0)
            async with proxy.get("/metrics") as response:
                figures = await response.text()

    assert answered_by == "a"
    assert (shadow.last.body["model"], shadow.last.body["temperature"]) == ("s", 0.5)
    assert 'requested_model="shadow"' in figures


async def test_a_mirrored_stream_is_read_to_its_end():
    """The mirror works as it would for a caller."""
    async with running_backend() as real, running_backend() as shadow:
        async with running_proxy(config(real.url, shadow.url)) as proxy:
            async with proxy.post("/v1/chat/completions", chat(stream=True)) as response:
                assert (await response.read()).endswith(b"data: [DONE]\n\n")
            await until(lambda: shadow.requests and shadow.last.finished)

    assert shadow.last.body["stream"] is True


async def test_a_mirror_that_is_down_is_nobodys_business():
    """The caller has an answer, and the failure is put down under the mirror's own name."""
    async with running_backend() as real:
        async with running_proxy(config(real.url, "http://127.0.0.1:9/v1")) as proxy:
            async with proxy.post("/v1/chat/completions", chat()) as response:
                assert response.status == 200
            await until(lambda: proxy.server.snapshot.mirrors.under_way == 0)


async def test_a_share_of_nothing_copies_nothing():
    """Percent 0 is off."""
    async with running_backend() as real, running_backend() as shadow:
        async with running_proxy(config(real.url, shadow.url, percent=0)) as proxy:
            for _ in range(5):
                async with proxy.post("/v1/chat/completions", chat()) as response:
                    assert response.status == 200

    assert not shadow.requests


async def test_copies_under_way_end_with_the_server():
    """A mirror that never answers holds up no end."""
    async with running_backend() as real, running_backend(gap_s=60) as shadow:
        async with running_proxy(config(real.url, shadow.url)) as proxy:
            async with proxy.post("/v1/chat/completions", chat(stream=True)) as response:
                assert (await response.read()).endswith(b"data: [DONE]\n\n")
            mirrors = proxy.server.snapshot.mirrors
            assert mirrors.under_way == 1

    assert mirrors.under_way == 0


async def test_a_mirrored_stream_that_breaks_counts_against_the_mirror():
    """As it would for a caller: a server that breaks off rests in the end."""
    async with running_backend() as real, running_backend(faults=Faults(cut=3, gap_s=0.01)) as shadow:
        async with running_proxy(config(real.url, shadow.url)) as proxy:
            async with proxy.post("/v1/chat/completions", chat(stream=True)) as response:
                assert (await response.read()).endswith(b"data: [DONE]\n\n")
            await until(lambda: shadow.requests and proxy.server.snapshot.mirrors.under_way == 0)
            told = [state.last_failure for state in proxy.setup.fleet.states()]

    assert any("upstream_truncated" in each for each in told)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_down", [False, True])
async def test_a_copy_has_a_row_of_its_own(tmp_path, stream, is_down):
    """It was asked of a backend and is nobody's: the caller's row says nothing of it."""
    async with running_backend() as real, running_backend() as shadow:
        settings = kept(real.url, "http://127.0.0.1:9/v1" if is_down else shadow.url)
        async with running_proxy(settings, keeps=tmp_path) as proxy:
            async with proxy.post("/v1/chat/completions", chat(stream=stream), headers=BEARER) as response:
                await response.read()
            await until(lambda: proxy.server.snapshot.mirrors.under_way == 0)
            for _ in range(20):  # until the rows are in the store
                await asyncio.sleep(0.2)
                async with proxy.get("/spend/logs", headers=BEARER) as response:
                    rows = {each["model_group"]: each for each in await response.json()}
                if len(rows) == 2:
                    break

    assert rows["a"]["state"] == "settled"
    assert rows["shadow"]["state"] == ("failed" if is_down else "settled")
    assert rows["shadow"]["metadata"]["mirrored_from"] == rows["a"]["llmproxy_request_id"]


async def test_a_copy_stays_in_the_region_of_its_call():
    """What may not leave it does not do so as a copy."""
    async with running_backend() as real, running_backend() as shadow:
        settings = json.loads(config(real.url, shadow.url))
        settings["model_list"][0]["litellm_params"]["region_name"] = "eu"
        async with running_proxy(json.dumps(settings)) as proxy:
            async with proxy.post("/v1/chat/completions", chat(allowed_model_region="eu")) as response:
                assert response.status == 200
            await until(lambda: proxy.server.snapshot.mirrors.under_way == 0)

    assert not shadow.requests
