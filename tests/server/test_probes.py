"""`POST /health/test`: every deployment is asked for something small."""

import asyncio

import pytest

from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy


def three(url: str) -> str:
    """A chat model, an embedding model whose kind is found out, and a dead one."""
    return f"""
        model_list:
          - model_name: chat
            litellm_params: {{model: openai/c, api_base: "{url}", api_key: sk-secret-0123456789}}
            model_info: {{mode: chat, id: one}}
          - model_name: found-out
            litellm_params: {{model: openai/e, api_base: "{url}"}}
          - model_name: dead
            litellm_params: {{model: openai/d, api_base: "http://127.0.0.1:9/v1"}}
    """


async def test_health_asks_every_deployment_and_tells_in_litellms_shape():
    """Healthy and unhealthy endpoints with their counts; no key in it."""
    async with running_backend() as backend, running_proxy(three(backend.url)) as proxy:
        async with proxy.post("/health/test") as response:
            text = await response.text()
            answer = await response.json()

    assert response.status == 200
    assert (answer["healthy_count"], answer["unhealthy_count"]) == (2, 1)
    assert [each["model"] for each in answer["healthy_endpoints"]] == ["openai/c", "openai/e"]
    assert "127.0.0.1:9" in answer["unhealthy_endpoints"][0]["error"]
    assert "sk-secret" not in text
    assert backend.requests[0].body["max_tokens"] == 1


async def test_one_deployment_can_be_asked_for():
    """By name or id; a 503 when none of them is healthy."""
    async with running_backend() as backend, running_proxy(three(backend.url)) as proxy:
        async with proxy.post("/health/test?model_id=one") as response:
            assert ((await response.json())["healthy_count"], response.status) == (1, 200)
        async with proxy.post("/health/test?model=dead") as response:
            assert ((await response.json())["unhealthy_count"], response.status) == (1, 503)
        async with proxy.post("/health/test?model=nope") as response:
            assert response.status == 400


async def test_callers_who_come_together_share_one_round():
    """A board that polls does not multiply the requests."""
    async with running_backend(gap_s=0.0) as backend, running_proxy(three(backend.url)) as proxy:

        async def ask():
            async with proxy.post("/health/test") as response:
                return (await response.json())["healthy_count"]

        counts = await asyncio.gather(*(ask() for _ in range(8)))

    assert counts == [2] * 8
    assert len(backend.requests) == 2


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        ("chat", "chat/completions"),
        ("completion", "completions"),
        ("embedding", "embeddings"),
        ("moderation", "moderations"),
        ("rerank", "rerank"),
        ("responses", "responses"),
        ("audio_speech", "audio/speech"),
        ("audio_transcription", "audio/transcriptions"),
        ("image_generation", "images/generations"),
    ],
)
async def test_each_mode_is_asked_for_something_of_its_kind(mode, path):
    """model_info.mode decides the endpoint."""
    async with running_backend() as backend:
        config = f"""
            model_list:
              - model_name: a
                litellm_params: {{model: openai/m, api_base: "{backend.url}"}}
                model_info: {{mode: {mode}}}
        """
        async with running_proxy(config) as proxy:
            async with proxy.post("/health/test") as response:
                answer = await response.json()

        assert answer["healthy_count"] == 1, answer
        assert [each.path for each in backend.requests] == [f"/v1/{path}"]
        assert backend.last.body["model"] == "m"


async def test_a_wildcard_is_asked_by_its_health_check_model():
    """A pattern has no model of its own to ask."""
    async with running_backend() as backend:
        config = f"""
            model_list:
              - model_name: "x/*"
                litellm_params: {{model: "openai/*", api_base: "{backend.url}"}}
              - model_name: "y/*"
                litellm_params: {{model: "openai/*", api_base: "{backend.url}"}}
                model_info: {{health_check_model: openai/small}}
        """
        async with running_proxy(config) as proxy:
            async with proxy.post("/health/test") as response:
                answer = await response.json()

    assert (answer["healthy_count"], answer["unhealthy_count"]) == (1, 1)
    assert "health_check_model" in answer["unhealthy_endpoints"][0]["error"]
    assert backend.last.body["model"] == "small"
