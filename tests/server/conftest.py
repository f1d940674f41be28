"""A backend and a proxy in front of it, for the tests of the counter."""

import pytest

from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy


@pytest.fixture
async def backend():
    """Our mock backend."""
    async with running_backend() as running:
        yield running


def seed_like(url: str) -> str:
    """The seed's shape of a configuration, in front of one backend."""
    return f"""
        model_list:
          - model_name: gpt-3.5-turbo
            litellm_params: {{model: openai/vicuna-13b, api_base: "{url}", api_key: None}}
          - model_name: text-embedding-ada-002
            litellm_params: {{model: openai/sentence-luke, api_base: "{url}", api_key: None}}
          - model_name: "wild/*"
            litellm_params: {{model: "openai/*", api_base: "{url}"}}
    """


@pytest.fixture
async def proxy(backend):
    """llmproxy before it, without a master key."""
    async with running_proxy(seed_like(backend.url)) as running:
        yield running


def chat(content="こんにちは", **more):
    """A chat request's body."""
    return {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": content}], **more}
