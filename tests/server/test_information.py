"""What the proxy says of itself."""

import asyncio
import json
import time

import pytest
from yarl import URL

from proxy_cli.server.drain import Drain
from proxy_cli.server.information import ready
from tests.fakes.proxy import running_proxy
from tests.server.conftest import seed_like


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
async def test_the_models_are_listed_in_litellms_shape(proxy, path):
    """Names in the order of the file, the wildcard as it stands, one constant for created."""
    async with proxy.get(path) as response:
        answer = await response.json()

    assert answer["object"] == "list"
    assert [each["id"] for each in answer["data"]] == ["gpt-3.5-turbo", "text-embedding-ada-002", "wild/*"]
    assert answer["data"][0] == {
        "id": "gpt-3.5-turbo", "object": "model", "created": 1677610602, "owned_by": "openai",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["gpt-3.5-turbo", "wild/anything", "wild%2Fanything"])
async def test_one_model_is_found(proxy, name):
    """Also one that only a wildcard reaches."""
    async with proxy.client.get(URL(f"{proxy.origin}/v1/models/{name}", encoded=True)) as response:
        answer = await response.json()

    assert response.status == 200
    assert answer["id"] == name.replace("%2F", "/")


async def test_one_model_that_is_not_there_is_a_404(proxy):
    """With the way to the list."""
    async with proxy.get("/v1/models/nope") as response:
        answer = await response.json()

    assert response.status == 404
    assert "GET /v1/models" in answer["error"]["message"]


@pytest.mark.parametrize("path", ["/model/info", "/v1/model/info"])
async def test_model_info_shows_everything_but_secrets(backend, path):
    """Parameters, id and what is known; no key, no header."""
    config = f"""
        model_list:
          - model_name: a
            litellm_params:
              model: openai/gpt-4o
              api_base: "{backend.url}"
              api_key: sk-very-secret-000111
              extra_headers: {{x-team: secret-team}}
            model_info: {{id: my-id, note: ours}}
    """
    async with running_proxy(config) as proxy:
        async with proxy.get(path) as response:
            text = await response.text()
            (entry,) = (await response.json())["data"]
        async with proxy.get(f"{path}?litellm_model_id=my-id") as response:
            assert len((await response.json())["data"]) == 1
        async with proxy.get(f"{path}?litellm_model_id=other") as response:
            assert response.status == 404

    assert "sk-very-secret" not in text
    assert "secret-team" not in text
    assert entry["model_name"] == "a"
    assert entry["litellm_params"]["model"] == "openai/gpt-4o"
    assert entry["model_info"]["id"] == "my-id"
    assert entry["model_info"]["db_model"] is False
    assert entry["model_info"]["note"] == "ours"
    assert entry["model_info"]["max_input_tokens"] == 128000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/health/liveliness", "I'm alive!"),
        ("/health/liveness", "I'm alive!"),
        ("/health/readiness", {"status": "healthy", "db": "Not connected"}),
        ("/test", {"route": "/test"}),
    ],
)
async def test_small_routes_answer_as_litellms_do(proxy, path, body):
    """Probes of existing deployments keep working."""
    async with proxy.get(path) as response:
        assert await response.json() == body


@pytest.mark.parametrize(("has_store", "word"), [(True, "connected"), (False, "Not connected")])
def test_readiness_tells_of_the_database_and_does_not_wait_for_it(has_store, word):
    """While it is away, callers who are known are served: no balancer need go elsewhere."""
    assert json.loads(ready(Drain(time.monotonic), lambda: has_store)) == {"status": "healthy", "db": word}


async def test_a_proxy_with_a_database_that_answers_is_connected(tmp_path):
    """It is looked at twice a second."""
    config = "general_settings: {master_key: sk-master-1234567890abcdef}"
    async with running_proxy(config, keeps=tmp_path) as running:
        for _ in range(100):
            async with running.get("/health/readiness") as response:
                told = await response.json()
            if told["db"] == "connected":
                break
            await asyncio.sleep(0.02)

    assert told == {"status": "healthy", "db": "connected"}


async def test_routes_lists_every_path(proxy):
    """In LiteLLM's shape."""
    async with proxy.get("/routes") as response:
        listed = (await response.json())["routes"]

    assert {"/v1/chat/completions", "/health", "/v1/models/{model}"} <= {each["path"] for each in listed}
    assert all(each["methods"] for each in listed)


async def test_the_pages_answer_people(proxy):
    """A home page, the docs and the document they show."""
    for path, kind, words in (
        ("/", "text/html", "llmproxy"),
        ("/docs", "text/html", "openapi.json"),
        ("/openapi.json", "application/json", "/v1/chat/completions"),
    ):
        async with proxy.get(path) as response:
            assert response.status == 200
            assert response.content_type == kind
            assert words in await response.text()


async def test_a_root_path_shows_in_the_pages(backend):
    """Behind a reverse proxy with a prefix the links stay right."""
    async with running_proxy(seed_like(backend.url), {"SERVER_ROOT_PATH": "/llm"}) as proxy:
        async with proxy.get("/llm/v1/models") as response:
            assert response.status == 200
        async with proxy.get("/llm/openapi.json") as response:
            assert (await response.json())["servers"][0]["url"] == "/llm"


async def test_the_access_groups_are_listed_alone(backend):
    """Where a client asks for them: without groups there is none, and no model."""
    config = f"""
        model_list:
          - model_name: a
            litellm_params: {{model: openai/a, api_base: "{backend.url}", api_key: x}}
            model_info: {{access_groups: [small, fast]}}
          - model_name: b
            litellm_params: {{model: openai/b, api_base: "{backend.url}", api_key: x}}
    """
    async with running_proxy(config) as proxy, proxy.get("/models?only_model_access_groups=True") as response:
        listed = (await response.json())["data"]

    assert [each["id"] for each in listed] == ["fast", "small"]


async def test_model_info_shows_the_prices_that_count(backend):
    """Those of the entry, over those of the price table."""
    config = f"""
        model_list:
          - model_name: a
            litellm_params:
              {{model: openai/gpt-4o, api_base: "{backend.url}", api_key: x, input_cost_per_token: 0.25}}
    """
    async with running_proxy(config) as proxy, proxy.get("/model/info") as response:
        (entry,) = (await response.json())["data"]

    assert entry["model_info"]["input_cost_per_token"] == 0.25
