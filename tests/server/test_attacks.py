"""What callers try: settings, addresses and keys of ours, from inside a request."""

import aiohttp
import pytest

from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy
from tests.fakes.raw_backend import FIN, REQUEST, RawBackend
from tests.server.conftest import chat, seed_like

KEY = "sk-upstream-0123456789"
FIELDS = [
    "api_base", "base_url", "user_config", "model_list", "aws_sts_endpoint", "aws_web_identity_token", "aws_role_name",
    "aws_profile_name", "aws_session_name", "aws_external_id", "aws_session_tags", "aws_bedrock_runtime_endpoint",
    "aws_bedrock_project_id", "workspace_id", "vertex_credentials", "vertex_ai_credentials", "azure_ad_token",
    "s3_endpoint_url", "sagemaker_base_url", "deployment_url", "nvcf_function_id", "use_ssl", "langfuse_host",
    "langfuse_secret_key", "posthog_api_url", "wandb_api_key", "input_cost_per_token", "user_api_key_auth_metadata",
    "api_key", "extra_headers", "mock_response", "mock_testing_fallbacks", "callbacks", "proxy_server_request",
    "custom_llm_provider", "litellm_credential_name",
]  # fmt: skip
PLACES = {
    "root": lambda field, value: {field: value},
    "extra_body": lambda field, value: {"extra_body": {field: value}},
    "nested": lambda field, value: {"extra_body": {"deeper": {field: value}}},
    "metadata": lambda field, value: {"metadata": {field: value}},
    "litellm_metadata": lambda field, value: {"litellm_metadata": {field: value}},
    "fallbacks": lambda field, value: {"fallbacks": [{"model": "a", field: value}]},
}


@pytest.fixture
async def pair():
    """A proxy with a key for its backend, and a canary that must never be called."""
    async with running_backend() as backend, running_backend() as canary:
        config = f"""
            model_list:
              - model_name: gpt-3.5-turbo
                litellm_params: {{model: openai/m, api_base: "{backend.url}", api_key: {KEY}}}
        """
        async with running_proxy(config) as proxy:
            yield proxy, backend, canary


@pytest.mark.row("A-19")
@pytest.mark.parametrize("place", PLACES)
async def test_a_field_that_only_the_operator_may_set_is_a_400(pair, place):
    """At the root, in extra_body, metadata and fallbacks: named, refused, and nobody is called."""
    proxy, backend, canary = pair
    backend.clear()
    for field in FIELDS:
        async with proxy.post("/v1/chat/completions", chat(**PLACES[place](field, canary.url))) as response:
            answer = await response.json()
        assert response.status == 400, field
        assert field in answer["error"]["message"]
        assert KEY not in str(answer)

    assert backend.requests == canary.requests == []


@pytest.mark.row("A-19")
@pytest.mark.parametrize("name", ["api_base", "metadata[api_base]", "extra_body[api_key]"])
async def test_a_forms_fields_are_no_way_round(pair, name):
    """The same names in a multipart form."""
    proxy, backend, canary = pair
    backend.clear()
    form = aiohttp.FormData()
    form.add_field("model", "gpt-3.5-turbo")
    form.add_field(name, canary.url)
    form.add_field("file", b"x", filename="a.wav")
    async with proxy.client.post(f"{proxy.origin}/v1/audio/transcriptions", data=form) as response:
        assert response.status == 400

    assert canary.requests == []
    assert not any(each.status == 200 for each in backend.requests)


@pytest.mark.row("A-19")
async def test_the_words_of_tools_and_messages_are_data(pair):
    """A tool may have a parameter that is called api_base."""
    proxy, backend, _ = pair
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"api_base": {}}}}}
    body = chat("api_base: http://elsewhere", tools=[tool])
    async with proxy.post("/v1/chat/completions", body) as response:
        assert response.status == 200

    assert backend.last.body["tools"] == [tool]


@pytest.mark.row("A-39")
async def test_a_backend_that_echoes_our_key_does_not_give_it_away():
    """In the body of its error, in a header, in what is no JSON at all."""
    for body in (b'{"error": {"message": "Incorrect API key: %s"}}' % KEY.encode(), b"<h1>%s</h1>" % KEY.encode()):
        head = b"HTTP/1.1 401 No\r\nx-echo: Bearer %s\r\ncontent-length: %d\r\n\r\n" % (KEY.encode(), len(body))
        async with RawBackend([REQUEST, head + body]) as raw:
            config = f"""
                model_list:
                  - model_name: gpt-3.5-turbo
                    litellm_params:
                      {{model: openai/m, api_base: "http://127.0.0.1:{raw.backend.port}", api_key: {KEY}}}
            """
            async with running_proxy(config) as proxy:
                async with proxy.post("/v1/chat/completions", chat()) as response:
                    text = await response.text()

        assert response.status == 401
        assert KEY not in text + str(response.headers)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status):
    """Neither the key nor the prompt goes to where a backend points."""
    async with running_backend() as canary:
        head = b"HTTP/1.1 %d Go\r\nlocation: %s/v1/chat/completions\r\ncontent-length: 0\r\n\r\n"
        async with RawBackend([REQUEST, head % (status, canary.origin.encode())]) as raw:
            config = f"""
                model_list:
                  - model_name: gpt-3.5-turbo
                    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{raw.backend.port}"}}
            """
            async with running_proxy(config) as proxy:
                async with proxy.post("/v1/chat/completions", chat()) as response:
                    answer = await response.json()

        assert response.status == 502
        assert answer["error"]["code"] == "upstream_redirect"
        assert canary.requests == []


async def test_a_backends_cookie_goes_nowhere(pair):
    """Neither to the caller nor back to the backend with the next call."""
    reply = (
        b"HTTP/1.1 200 OK\r\nset-cookie: tenant=one\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )
    async with RawBackend([REQUEST, reply, REQUEST, reply]) as raw:
        config = f"""
            model_list:
              - model_name: gpt-3.5-turbo
                litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{raw.backend.port}"}}
        """
        async with running_proxy(config) as proxy:
            for _ in range(2):
                async with proxy.post("/v1/chat/completions", chat()) as response:
                    assert "tenant" not in str(response.headers)

        sent = b"".join(connection.received for connection in raw.connections)
    assert b"cookie" not in sent.lower()


@pytest.mark.row("A-39")
@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n"])
async def test_a_backends_error_inside_a_stream_is_the_only_one_and_keeps_our_key(end):
    """Whether the backend then ends its reply or breaks it off: its event, the end mark, and no key."""
    event = b'data: {"choices":[]}\n\ndata: {"error":{"message":"Incorrect API key: %s"}}\n\n' % KEY.encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    async with RawBackend([REQUEST, head + b"%x\r\n%s\r\n" % (len(event), event) + end, FIN]) as raw:
        config = f"""
            model_list:
              - model_name: gpt-3.5-turbo
                litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{raw.backend.port}", api_key: {KEY}}}
        """
        async with running_proxy(config) as proxy, proxy.post("/v1/chat/completions", chat(stream=True)) as response:
            text = await response.text()

    assert text == 'data: {"choices":[]}\n\ndata: {"error":{"message":"Incorrect API key: ***"}}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("also", ["x-note", "baggage"])
async def test_the_callers_key_stays_here_in_whichever_header_it_came(backend, also):
    """Also in a header of the team's own, and repeated in others, where the callers' headers are forwarded."""
    key = "sk-master-0123456789abcdef"
    settings = f"{{master_key: {key}, litellm_key_header_name: X-Team, forward_client_headers_to_llm_api: true}}"
    async with running_proxy(f"{seed_like(backend.url)}\n        general_settings: {settings}\n") as proxy:
        headers = {"X-Team": f"Bearer {key}", also: f"a={key}", "x-plain": "blue"}
        async with proxy.post(f"/v1/chat/completions?key={key}", chat(), headers=headers) as response:
            assert response.status == 200, await response.text()

    assert key not in f"{backend.last.headers}{backend.last.path}"
    assert backend.last.headers["x-plain"] == "blue"
