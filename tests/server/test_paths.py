"""Every endpoint in each of its forms, from the caller's path to the backend's."""

import aiohttp
import pytest
from yarl import URL

from tests.fakes.proxy import running_proxy

JSON = {
    "chat/completions": {"messages": [{"role": "user", "content": "a"}]},
    "completions": {"prompt": "a"},
    "embeddings": {"input": "a"},
    "moderations": {"input": "a"},
    "images/generations": {"prompt": "a"},
    "audio/speech": {"input": "a", "voice": "alloy"},
    "rerank": {"query": "a", "documents": ["a", "b"]},
    "responses": {"input": "a"},
}
FORMS = {
    "images/edits": "image",
    "images/variations": "image",
    "audio/transcriptions": "file",
    "audio/translations": "file",
}
# A name, an alias, a deployment's id, and a name with a slash in both ways to write it.
MODELS = ["team/large", "team%2Flarge", "nick", "the-deployment"]
FRAMES = ["/openai/deployments/{}", "/engines/{}", "/v1/engines/{}"]


@pytest.fixture
async def named(backend):
    """A proxy whose one model can be named in every way."""
    config = f"""
        model_list:
          - model_name: team/large
            litellm_params: {{model: openai/vicuna-13b, api_base: "{backend.url}"}}
            model_info: {{id: the-deployment}}
        router_settings: {{model_group_alias: {{nick: team/large}}}}
    """
    async with running_proxy(config) as running:
        yield running


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("frame", FRAMES)
async def test_every_endpoint_takes_its_model_from_the_path(named, backend, frame, model):
    """JSON and forms alike, whichever of its names the model goes by; the backend is asked at its own path."""
    for path, body in JSON.items():
        async with named.client.post(address(named, frame, model, path), json=body) as response:
            assert response.status == 200, (path, await response.text())
        assert (backend.last.path, backend.last.body["model"]) == (f"/v1/{path}", "vicuna-13b")
    for path, field in FORMS.items():
        form = aiohttp.FormData()
        form.add_field(field, b"\x00\xff\r\n--x" * 1000, filename="a.bin")
        async with named.client.post(address(named, frame, model, path), data=form) as response:
            assert response.status == 200, (path, await response.text())
        assert (backend.last.path, backend.last.body["model"]) == (f"/v1/{path}", "vicuna-13b")


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("model_first", [True, False])
async def test_every_form_is_read_with_and_without_v1(named, backend, prefix, model_first):
    """The model stands before or after the file."""
    for path, field in FORMS.items():
        form = aiohttp.FormData()
        if model_first:
            form.add_field("model", "nick")
        form.add_field(field, b"\x00" * 1000, filename="a.bin")
        if not model_first:
            form.add_field("model", "nick")
        async with named.client.post(f"{named.origin}{prefix}/{path}", data=form) as response:
            assert response.status == 200, (path, await response.text())
        assert (backend.last.path, backend.last.body["model"]) == (f"/v1/{path}", "vicuna-13b")


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("model", MODELS)
async def test_a_model_is_looked_up_by_each_of_its_names(named, prefix, model):
    """The path is decoded once, and what comes back is the name that was asked for."""
    async with named.client.get(address(named, prefix, "", f"models/{model}")) as response:
        assert (await response.json())["id"] == model.replace("%2F", "/")


def address(proxy, frame: str, model: str, path: str) -> URL:
    """The path as it is written here, percent signs included."""
    return URL(f"{proxy.origin}{frame.format(model)}/{path}", encoded=True)
