"""Requests for a model, from a client's bytes to a backend's and back."""

import hashlib
import io
import json

import aiohttp
import pytest

from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy
from tests.server.conftest import chat, seed_like


async def test_a_chat_reaches_the_backend_under_its_own_name_and_comes_back_under_ours(proxy, backend):
    """The backend gets its own model name; the caller sees the one it asked for; Japanese is intact."""
    async with proxy.post("/v1/chat/completions", chat("夕飯はお肉です。")) as response:
        body = await response.json()

    assert response.status == 200
    assert body["model"] == "gpt-3.5-turbo"
    assert "夕飯はお肉です。" in body["choices"][0]["message"]["content"]
    assert backend.last.body["model"] == "vicuna-13b"
    assert backend.last.headers["authorization"] == "Bearer None"


async def test_all_but_the_model_keeps_its_bytes_on_the_way_out(proxy, backend):
    """Odd spacing, unknown fields and escapes reach the backend as the client wrote them."""
    raw = (
        b'{ "x_vendor" : {"model": "keep", "a":1.50e0},\n'
        b'"messages":[{"role":"user","content":"\\u3053 \\"model\\": 1"}] ,  "model"  :  "gpt-3.5-turbo","z":null}'
    )
    async with proxy.client.post(proxy.origin + "/chat/completions", data=raw) as response:
        assert response.status == 200

    assert backend.last.raw == raw.replace(b'"gpt-3.5-turbo"', b'"vicuna-13b"')


@pytest.mark.parametrize("carrier", ["authorization", "x-api-key", "api-key", "cookie", "x-anything", "user-agent"])
async def test_no_header_of_the_caller_reaches_the_backend(proxy, backend, carrier):
    """Keys, cookies and odd headers of the client stay here."""
    async with proxy.post("/v1/chat/completions", chat(), headers={carrier: "callers-own"}) as response:
        assert response.status == 200

    assert "callers-own" not in str(backend.last.headers)


async def test_trace_headers_reach_the_backend(proxy, backend):
    """W3C trace context goes through."""
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b"}
    async with proxy.post("/v1/chat/completions", chat(), headers=headers) as response:
        assert response.status == 200

    assert {name: backend.last.headers[name] for name in headers} == headers


async def test_the_answer_carries_the_headers_that_litellm_users_read(proxy):
    """Ids, deployment, times; and every header of the backend under its prefix."""
    async with proxy.post("/v1/chat/completions", chat(), headers={"x-litellm-call-id": "mine-1"}) as response:
        headers = response.headers

    assert headers["x-litellm-call-id"] == "mine-1"
    assert headers["x-litellm-model-group"] == "gpt-3.5-turbo"
    assert headers["x-litellm-attempted-retries"] == "0"
    assert headers["x-litellm-model-name"] == "openai/vicuna-13b"
    assert len(headers["x-request-id"]) == 32
    assert float(headers["x-litellm-response-duration-ms"]) > 0
    assert float(headers["x-litellm-overhead-duration-ms"]) >= 0
    assert headers["llm_provider-content-type"].startswith("application/json")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.row("A-40")
@pytest.mark.parametrize("sent", ["a b", "x" * 129, "é", "a\tb"])
async def test_an_odd_call_id_is_replaced(proxy, sent):
    """What could confuse a log or a header is not echoed."""
    async with proxy.post("/v1/chat/completions", chat(), headers={"x-litellm-call-id": sent}) as response:
        assert response.headers["x-litellm-call-id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/gpt-3.5-turbo/chat/completions?api-version=2024-10-21",
        "/engines/gpt-3.5-turbo/chat/completions",
        "/openai/deployments/wild%2Fvicuna-13b/chat/completions",
        "/openai/deployments/wild/vicuna-13b/chat/completions",
    ],
)
async def test_the_model_in_the_path_wins_over_the_body(proxy, backend, path):
    """Azure's and the old engines' form name the model in the path."""
    async with proxy.post(path, {**chat(), "model": "other"}) as response:
        body = await response.json()

    assert response.status == 200, body
    assert backend.last.body["model"] == "vicuna-13b"


async def test_a_wildcard_hands_its_part_to_the_backend(proxy, backend):
    """`wild/*` with `openai/*` asks the backend for what stood in place of the star."""
    async with proxy.post("/v1/chat/completions", {**chat(), "model": "wild/karakuri-8x7b"}) as response:
        assert (await response.json())["model"] == "wild/karakuri-8x7b"

    assert backend.last.body["model"] == "karakuri-8x7b"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("completions", {"prompt": "Hi"}),
        ("embeddings", {"input": ["a", "b"]}),
        ("embeddings", {"input": "a", "encoding_format": "base64"}),
        ("moderations", {"input": "Hi"}),
        ("images/generations", {"prompt": "a dot"}),
        ("rerank", {"query": "a", "documents": ["a", "b"]}),
        ("responses", {"input": "Hi"}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_every_json_endpoint_is_forwarded(proxy, backend, prefix, path, body):
    """Each endpoint reaches the backend at its own path, and its answer comes back."""
    async with proxy.post(f"{prefix}/{path}", {"model": "gpt-3.5-turbo", **body}) as response:
        answer = await response.json()

    assert response.status == 200, answer
    assert backend.last.path == f"/v1/{path}"
    assert backend.last.body["model"] == "vicuna-13b"
    assert answer.get("model", "gpt-3.5-turbo") == "gpt-3.5-turbo"


async def test_speech_comes_back_as_sound(proxy, backend):
    """Bytes that are no JSON pass untouched, with their type."""
    async with proxy.post("/v1/audio/speech", {"model": "gpt-3.5-turbo", "input": "a", "voice": "alloy"}) as response:
        sound = await response.read()

    assert response.status == 200
    assert response.content_type.startswith("audio/")
    assert sound[:4] == b"RIFF"


@pytest.mark.parametrize("order", ["model first", "file first"])
@pytest.mark.parametrize("path", ["audio/transcriptions", "audio/translations"])
async def test_a_form_passes_through_whatever_its_order(proxy, backend, path, order):
    """The model is rewritten before and after the file; the file arrives as it was."""
    sound = bytes(range(256)) * 2000
    form = aiohttp.FormData()
    parts = [lambda: form.add_field("model", "gpt-3.5-turbo"), lambda: form.add_field("file", sound, filename="声.wav")]
    for add in parts if order == "model first" else reversed(parts):
        add()
    async with proxy.client.post(f"{proxy.origin}/v1/{path}", data=form) as response:
        text = await response.text()

    assert response.status == 200, text
    assert str(len(sound)) in text
    assert backend.last.body["model"] == "vicuna-13b"
    assert backend.last.body["files"][0]["sha256"] == hashlib.sha256(sound).hexdigest()


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", "request_body", "JSON"),
        (b"{'a': 1}", "request_body", "JSON"),
        (b"[]", None, "object"),
        (b'{"model": 5, "messages": []}', "model", "string"),
        (b'{"messages": []}', "model", "model"),
        (b'{"model": "gpt-3.5-turbo"}', "messages", "messages"),
        (b'{"model": "nope", "messages": []}', "model", "nope"),
        (b'{"model": "gpt-3.5-turbo", "messages": [], "stream": "yes"}', "stream", "stream"),
        (b'{"model": "gpt-3.5-turbo", "messages": [], "api_base": "http://evil"}', "api_base", "api_base"),
    ],
)
async def test_a_bad_request_gets_one_clear_sentence(proxy, backend, body, param, words):
    """400 in OpenAI's envelope, naming the field; the backend hears nothing."""
    async with proxy.client.post(proxy.origin + "/v1/chat/completions", data=body) as response:
        answer = await response.json()

    assert response.status == 400
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert words in answer["error"]["message"]
    if param:
        assert answer["error"]["param"] == param
    assert backend.requests == []


@pytest.mark.row("H-06")
async def test_a_doubled_model_is_refused(proxy, backend):
    """It must never be checked by one name and sent by the other."""
    raw = b'{"model": "gpt-3.5-turbo", "messages": [], "mod\\u0065l": "other"}'
    async with proxy.client.post(proxy.origin + "/v1/chat/completions", data=raw) as response:
        assert response.status == 400

    assert backend.requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 503])
async def test_a_backends_error_keeps_its_status_and_words(proxy, status):
    """What the backend says of a request is what the caller reads, in OpenAI's envelope."""
    asked = chat(f"[[mock status={status} retry-after=7]]", num_retries=0)
    async with proxy.post("/v1/chat/completions", asked) as response:
        answer = await response.json()

    assert response.status == status
    assert answer["error"]["message"]
    assert response.headers.get("retry-after") == "7"


async def test_an_unreachable_backend_is_a_502_and_the_next_of_its_name_is_asked():
    """Nothing was sent, so another server of the group may answer; alone it is a 502."""
    async with running_backend() as backend:
        pair = f"""
            model_list:
              - model_name: a
                litellm_params: {{model: openai/dead, api_base: "http://127.0.0.1:9/v1", weight: 1000000}}
              - model_name: a
                litellm_params: {{model: openai/live, api_base: "{backend.url}", weight: 0.000001}}
              - model_name: b
                litellm_params: {{model: openai/dead, api_base: "http://127.0.0.1:9/v1"}}
        """
        async with running_proxy(pair) as proxy:
            async with proxy.post("/v1/chat/completions", {**chat(), "model": "a"}) as response:
                assert response.status == 200
                assert response.headers["x-litellm-attempted-retries"] == "1"
            async with proxy.post("/v1/chat/completions", {**chat(), "model": "b"}) as response:
                answer = await response.json()

    assert response.status == 502
    assert answer["error"]["code"] == "upstream_unavailable"
    assert "127.0.0.1:9" in answer["error"]["message"]
    assert len(response.headers["x-litellm-model-id"]) == 64


async def test_our_timer_is_a_504_and_the_callers_a_408(backend):
    """The message names the timer."""
    config = seed_like(backend.url) + "\n        litellm_settings: {request_timeout: 0.2}\n"
    slow = chat("[[mock delay=5]]")
    async with running_proxy(config) as proxy:
        async with proxy.post("/v1/chat/completions", slow) as response:
            ours = await response.json()
        assert response.status == 504
        async with proxy.post("/v1/chat/completions", slow, headers={"x-litellm-timeout": "0.1"}) as response:
            theirs = await response.json()
        assert response.status == 408

    assert "0.2" in ours["error"]["message"]
    assert "0.1" in theirs["error"]["message"]


async def test_a_body_over_the_limit_is_refused(backend):
    """413, with the setting that raises the limit."""
    config = seed_like(backend.url) + "\n        general_settings: {max_request_size_mb: 1}\n"
    async with running_proxy(config) as proxy:
        body = json.dumps(chat("x" * 1_100_000)).encode()
        async with proxy.client.post(f"{proxy.origin}/v1/chat/completions", data=io.BytesIO(body)) as response:
            answer = await response.json()

    assert response.status == 413
    assert "max_request_size_mb" in answer["error"]["message"]


async def test_steering_fields_stay_here(proxy, backend):
    """What steers us is taken out; what does nothing yet is named in a header."""
    body = chat(timeout=30, drop_params=True, cache={"no-cache": True}, metadata={"a": "b"}, user="u")
    async with proxy.post("/v1/chat/completions", body) as response:
        assert response.status == 200

    assert set(backend.last.body) == {"model", "messages", "metadata", "user"}
    assert response.headers["x-llmproxy-not-yet-supported"] == "cache"


@pytest.mark.row("A-21", "A-22")
@pytest.mark.parametrize(
    "text", ["os.environ/DATABASE_URL", "oidc/env_path/X", "file:///etc/passwd", "{{7*7}}", "${HOME}"]
)
async def test_text_in_a_request_is_only_text(proxy, backend, text):
    """References and templates are neither resolved nor rendered, in any field."""
    async with proxy.post("/v1/chat/completions", chat(text, user=text, stop=[text])) as response:
        assert response.status == 200

    assert backend.last.body["messages"][0]["content"] == text
    assert (backend.last.body["user"], backend.last.body["stop"]) == (text, [text])


@pytest.mark.row("A-28")
async def test_an_address_in_a_prompt_is_not_fetched(proxy):
    """An image's URL goes to the backend as text; we never open it."""
    async with running_backend() as canary:
        part = {"type": "image_url", "image_url": {"url": f"{canary.origin}/mock/image.png"}}
        async with proxy.post("/v1/chat/completions", chat([part, {"type": "text", "text": "a"}])) as response:
            assert response.status == 200

        assert canary.requests == []


@pytest.mark.row("A-37")
async def test_proxy_variables_do_not_lead_us_elsewhere(backend, monkeypatch):
    """HTTP_PROXY in the environment is not followed."""
    async with running_backend() as canary:
        monkeypatch.setenv("HTTP_PROXY", canary.origin)
        monkeypatch.setenv("http_proxy", canary.origin)
        async with running_proxy(seed_like(backend.url)) as proxy:
            async with proxy.post("/v1/chat/completions", chat()) as response:
                assert response.status == 200

        assert canary.requests == []
        assert len(backend.requests) == 1


async def test_the_budget_ends_when_it_is_spent(backend):
    """Once the money is gone the answer is LiteLLM's budget error."""
    config = f"""
        model_list:
          - model_name: a
            litellm_params:
              {{model: openai/m, api_base: "{backend.url}", input_cost_per_token: 1, output_cost_per_token: 1}}
    """
    async with running_proxy(config, max_budget_usd=3.0) as proxy:
        async with proxy.post("/v1/chat/completions", {**chat("a" * 40), "model": "a"}) as response:
            assert response.status == 200
            assert float(response.headers["x-litellm-response-cost"]) > 3
        async with proxy.post("/v1/chat/completions", {**chat(), "model": "a"}) as response:
            answer = await response.json()

    assert response.status == 422
    assert answer["error"]["type"] == "budget_exceeded"
    assert "Max budget: 3.0" in answer["error"]["message"]


async def test_a_streams_usage_counts_against_the_budget(backend):
    """Also when the caller did not ask for usage."""
    config = f"""
        model_list:
          - model_name: a
            litellm_params:
              {{model: openai/m, api_base: "{backend.url}", input_cost_per_token: 1, output_cost_per_token: 1}}
    """
    async with running_proxy(config, max_budget_usd=3.0) as proxy:
        async with proxy.post("/v1/chat/completions", {**chat("a" * 40, stream=True), "model": "a"}) as response:
            text = await response.text()
        assert '"usage"' not in text
        async with proxy.post("/v1/chat/completions", {**chat(), "model": "a"}) as response:
            assert response.status == 422


async def test_forced_values_win_over_the_body_and_defaults_do_not(backend):
    """--temperature is for every request; a model's own default only where the caller says nothing."""
    config = f"""
        model_list:
          - model_name: a
            litellm_params: {{model: openai/m, api_base: "{backend.url}", top_p: 0.5, seed: 1}}
    """
    async with running_proxy(config, temperature=0.3, max_tokens=9) as proxy:
        body = {**chat(), "model": "a", "temperature": 1, "top_p": 0.9}
        async with proxy.post("/v1/chat/completions", body) as response:
            assert response.status == 200

    sent = backend.last.body
    assert (sent["temperature"], sent["max_tokens"], sent["top_p"], sent["seed"]) == (0.3, 9, 0.9, 1)


async def test_one_model_without_a_file_answers_to_every_name(backend):
    """--model serves under any requested name, and the answer shows that name."""
    async with running_proxy(None, model="openai/m", api_base=backend.url) as proxy:
        async with proxy.post("/v1/chat/completions", chat()) as response:
            assert (await response.json())["model"] == "gpt-3.5-turbo"

    assert backend.last.body["model"] == "m"


async def test_json_of_the_answer_is_the_backends_bytes_but_for_the_model(proxy, backend):
    """Unknown fields, order and spacing of the backend's answer survive."""
    async with proxy.post("/v1/chat/completions", chat("same")) as response:
        through = await response.read()
    async with proxy.client.post(
        f"{backend.url}/chat/completions", json={**chat("same"), "model": "vicuna-13b"}
    ) as direct:
        straight = await direct.read()

    assert through == straight.replace(b'"vicuna-13b"', b'"gpt-3.5-turbo"', 1)
    assert json.loads(through)


async def test_a_moderation_without_a_model_names_the_setting_that_gives_it_one(proxy, backend):
    """OpenAI's clients leave the name out; the answer does not speak of a name that nobody wrote."""
    async with proxy.post("/v1/moderations", {"input": "a"}) as response:
        answer = await response.json()

    assert response.status == 400
    assert "general_settings.moderation_model" in answer["error"]["message"]
    assert "omni" not in answer["error"]["message"]


async def test_the_line_of_a_failed_request_says_which_backend_was_asked(proxy, backend, caplog):
    """Also when the answer is the backend's own error."""
    with caplog.at_level("INFO"):
        async with proxy.post("/v1/chat/completions", chat("[[mock status=503]]")) as response:
            await response.read()

    (line,) = [each.getMessage() for each in caplog.records if response.headers["x-request-id"] in each.getMessage()]
    assert f"gpt-3.5-turbo -> vicuna-13b @ {backend.origin} 503" in line


@pytest.mark.row("H-09")
async def test_a_model_that_nobody_knows_is_refused_with_the_near_names_alone(backend):
    """The near ones that are shown, and no hidden one."""
    config = (
        seed_like(backend.url)
        + """
    router_settings:
      model_group_alias:
        gpt-3.5-secret: {model: gpt-3.5-turbo, hidden: true}
    """.replace("\n    ", "\n        ")
    )
    async with running_proxy(config) as proxy:
        async with proxy.post("/v1/chat/completions", {**chat(), "model": "gpt-3.5-turb"}) as response:
            told = (await response.json())["error"]

    assert (response.status, told["code"], told["param"]) == (400, "model_not_found", "model")
    assert "'gpt-3.5-turbo'" in told["message"]
    assert "secret" not in told["message"]
