"""The request boundary: ids, keys, CORS, odd paths, limits."""

import asyncio

import aiohttp
import pytest
from yarl import URL

from proxy_cli.server.routes import ROUTES
from tests.fakes.proxy import running_proxy
from tests.server.conftest import chat, seed_like

MASTER = "sk-master-0123456789"


@pytest.fixture
async def locked(backend):
    """A proxy with a master key."""
    config = seed_like(backend.url) + f"\n        general_settings: {{master_key: {MASTER}}}\n"
    async with running_proxy(config) as running:
        yield running


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {MASTER}"},
        {"x-litellm-api-key": MASTER},
        {"x-api-key": MASTER},
        {"api-key": MASTER},
        {"x-goog-api-key": MASTER},
        {"Ocp-Apim-Subscription-Key": MASTER},
    ],
)
async def test_the_master_key_opens_in_every_header(locked, backend, headers):
    """And it never reaches the backend."""
    async with locked.post("/v1/chat/completions", chat(), headers=headers) as response:
        assert response.status == 200

    assert MASTER not in str(backend.last.headers)


async def test_without_a_credential_only_the_public_routes_answer(locked, backend):
    """A walk over the whole table: everything else is a 401 in OpenAI's envelope, and nothing is asked."""
    for route in ROUTES:
        path = route.path_template.replace("{model}", "gpt-3.5-turbo")
        async with locked.client.request(route.method, locked.origin + path, json={}) as response:
            assert (response.status == 401) is not route.public, path
            if not route.public:
                assert (await response.json())["error"]["code"] == "missing_api_key"
                assert response.headers["x-request-id"]

    assert backend.requests == []


async def test_a_wrong_key_is_a_401(locked):
    """With a hint of the key at most."""
    async with locked.get("/v1/models", headers={"authorization": "Bearer sk-not-the-one-000"}) as response:
        answer = await response.json()

    assert response.status == 401
    assert "sk-not-the-one-000" not in answer["error"]["message"]
    assert "WWW-Authenticate" in response.headers


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/models/", "/V1/models", "/model%2finfo", "//v1/models"])
async def test_an_unknown_path_is_a_404_in_json(proxy, path):
    """No HTML, no redirect."""
    async with proxy.client.get(URL(proxy.origin + path, encoded=True)) as response:
        answer = await response.json()

    assert response.status == 404
    assert answer["error"]["code"] == "not_found"


@pytest.mark.row("A-23")
@pytest.mark.parametrize("path", ["/config/update", "/prompts/test", "/guardrails/apply_guardrail", "/ui/"])
async def test_there_is_no_way_to_add_code_or_settings(proxy, path):
    """What does not exist cannot be misused."""
    async with proxy.post(path, {"code": "print(1)", "command": "id"}) as response:
        assert response.status == 404


async def test_a_wrong_method_is_a_405_with_what_is_allowed(proxy):
    """The header names the methods."""
    async with proxy.get("/v1/chat/completions") as response:
        assert response.status == 405
        assert response.headers["allow"] == "POST, OPTIONS"


async def test_a_preflight_is_answered(proxy):
    """Web pages may call, as with LiteLLM."""
    headers = {
        "origin": "http://page.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    async with proxy.client.options(proxy.origin + "/v1/chat/completions", headers=headers) as response:
        assert response.status == 200

    assert response.headers["access-control-allow-origin"] == "*"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "authorization,content-type"


async def test_cors_can_be_limited_to_origins(backend):
    """An origin that is not listed gets no permission."""
    config = seed_like(backend.url) + '\n        general_settings: {cors_allowed_origins: ["http://ours.example"]}\n'
    async with running_proxy(config) as proxy:
        for origin, allowed in (("http://ours.example", True), ("http://theirs.example", False)):
            async with proxy.get("/v1/models", headers={"origin": origin}) as response:
                assert (response.headers.get("access-control-allow-origin") == origin) is allowed


async def test_over_the_limit_of_concurrency_it_is_a_503(backend):
    """--limit_concurrency refuses at once, with a wait."""
    async with running_proxy(seed_like(backend.url), limit_concurrency=1) as proxy:
        first = asyncio.ensure_future(
            proxy.client.post(f"{proxy.origin}/v1/chat/completions", json=chat("[[mock delay=1]]"))
        )
        while not backend.requests:
            await asyncio.sleep(0.01)
        async with proxy.get("/v1/models") as response:
            assert response.status == 503
            assert response.headers["retry-after"] == "1"
        async with await first as response:
            assert response.status == 200


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x00\xa5", b"GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer s3cret\x00x\r\n\r\n"]
)
async def test_what_is_not_http_gets_json_and_no_echo(proxy, sent):
    """The parser's error page would repeat the header; ours does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(sent + b"\r\n\r\n")

    answer = await asyncio.wait_for(reader.read(), 2)

    assert b" 400 " in answer.split(b"\r\n")[0]
    assert b"invalid_http" in answer
    assert b"s3cret" not in answer
    writer.close()
    await writer.wait_closed()


async def test_compat_litellm_answers_as_litellm_does(backend):
    """Statuses and code texts by setting."""
    config = """
        model_list:
          - model_name: a
            litellm_params: {model: openai/m, api_base: "http://127.0.0.1:9/v1"}
        general_settings: {compat: litellm}
    """
    async with running_proxy(config) as proxy:
        async with proxy.post("/v1/chat/completions", {**chat(), "model": "a"}) as response:
            answer = await response.json()

    assert response.status == 500
    assert answer["error"]["code"] == "500"


async def raw(port: int, head: bytes, body: bytes = b"") -> tuple[bytes, bytes]:
    """What comes before the body is sent, and what comes after."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    before = await asyncio.wait_for(reader.read(4096), 2)
    writer.write(body)
    after = await asyncio.wait_for(reader.read(4096), 2) if body else b""
    writer.close()
    await writer.wait_closed()
    return before, after


async def test_a_known_caller_is_invited_to_upload(locked):
    """100 comes once the key is known, then the answer."""
    body = b'{"model": "gpt-3.5-turbo", "messages": []}'
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: %s\r\nexpect: 100-continue\r\n" % MASTER.encode()
    )

    before, after = await raw(locked.port, head + b"content-length: %d\r\n\r\n" % len(body), body)

    assert before == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert after.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_unknown_caller_is_not_invited_to_upload(locked):
    """The refusal comes at once, no 100 before it."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 20000000\r\n\r\n"

    before, _ = await raw(locked.port, head)

    assert before.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in before


async def test_another_expectation_is_a_417(proxy):
    """What is not understood is not ignored."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nexpect: x\r\ncontent-length: 2\r\n\r\n{}"

    before, _ = await raw(proxy.port, head)

    assert before.startswith(b"HTTP/1.1 417 ")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("body", [b"no gzip at all", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"])
async def test_a_body_that_does_not_decode_is_a_400(proxy, path, body):
    """The caller's mistake, whichever way the body is read."""
    kind = "multipart/form-data; boundary=x" if "audio" in path else "application/json"
    headers = {"content-encoding": "gzip", "content-type": kind}
    async with proxy.client.post(proxy.origin + path, data=body, headers=headers) as response:
        answer = await response.json()

    assert response.status == 400
    assert answer["error"]["code"] == "invalid_body"


@pytest.mark.parametrize("origin", [b"http://a:80", b"HTTP://A"])
@pytest.mark.parametrize(
    ("path", "status"), [(b"/v1/models", b"401"), (b"/health/liveness?a=b", b"200"), (b"", b"200"), (b"/x", b"404")]
)
async def test_the_absolute_form_of_an_address_means_its_path(locked, origin, path, status):
    """As clients of proxies send it (RFC 9112, section 3.2.2), with the same rules."""
    before, _ = await raw(locked.port, b"GET %s%s HTTP/1.1\r\nhost: a\r\n\r\n" % (origin, path))

    assert before.startswith(b"HTTP/1.1 " + status)


@pytest.mark.row("A-11")
@pytest.mark.parametrize("origin", [b"http://elsewhere:80", b"http://a:81", b"HTTPS://user:word@a", b"ftp://a"])
async def test_an_address_with_another_host_is_refused(locked, origin):
    """Two hosts for one request are one too many; what the address says is not repeated."""
    before, _ = await raw(locked.port, b"GET %s/health/liveness HTTP/1.1\r\nhost: a\r\n\r\n" % origin)

    assert before.startswith(b"HTTP/1.1 400 ")
    assert b"elsewhere" not in before
    assert b"user:word" not in before


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/images/generations"])
async def test_a_form_where_json_is_read_is_a_415(proxy, backend, path):
    """It would pass by what the configuration says of parameters."""
    form = aiohttp.FormData({"model": "gpt-3.5-turbo"})
    form.add_field("file", b"x", filename="a")
    async with proxy.client.post(proxy.origin + path, data=form) as response:
        answer = await response.json()

    assert (response.status, answer["error"]["code"]) == (415, "unsupported_media_type")
    assert backend.requests == []
