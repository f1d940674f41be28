"""Names that stand in for others: by the configuration, by the request, by the kind of failure, and what is told."""

import asyncio
import json
from typing import Any

import pytest

from tests.fakes.backend import running_backend
from tests.fakes.proxy import RunningProxy, running_proxy
from tests.fakes.raw_backend import REQUEST, RawBackend
from tests.server.test_upstream_faults import reply

PATH = "/v1/chat/completions"
TOO_LONG = {
    "OpenAI": (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
    "vLLM": (
        400,
        {"message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"},
    ),
    "llama.cpp": (400, {"error": {"message": "x", "type": "exceed_context_size_error"}}),
    "Anthropic": (400, {"type": "error", "error": {"type": "x", "message": "prompt is too long: 210000 tokens"}}),
}
NOT_WANTED = {
    "OpenAI": (400, {"error": {"message": "no", "code": "content_policy_violation"}}),
    "Azure": (400, {"error": {"message": "triggering Azure OpenAI's content management policy", "code": "x"}}),
}

FAILURES = {"general_settings": {"dangerously_allow_mock_testing_request_params": True}}


def mock(name: str, answer: str) -> dict[str, Any]:
    """A model that answers by itself, or with the error that the answer names."""
    return {"model_name": name, "litellm_params": {"model": f"openai/{name}", "mock_response": answer}}


def real(name: str, url: str) -> dict[str, Any]:
    """A model of a backend."""
    return {"model_name": name, "litellm_params": {"model": f"openai/{name}-itself", "api_base": url, "api_key": "k"}}


SICK = mock("sick", "litellm.InternalServerError: I am sick")
SICK_TOO = mock("sick too", "litellm.ServiceUnavailableError: so am I")
LONG = mock("long", "litellm.ContextWindowExceededError: the context is too long")
RUDE = mock("rude", "litellm.ContentPolicyViolationError: not that")
WELL = mock("well", "from well")
OTHER = mock("other", "from other")
ALL = (SICK, SICK_TOO, LONG, RUDE, WELL, OTHER)


def config(*models: dict[str, Any], **settings: Any) -> str:
    """These models, whose failures are not tried again under the same name; requests may ask for failures."""
    return json.dumps({"model_list": models, "router_settings": {"num_retries": 0, **settings}, **FAILURES})


async def asked(proxy: RunningProxy, model: str, **more: Any) -> tuple[int, Any, Any]:
    """Status, headers and decoded body of one chat."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}
    async with asyncio.timeout(10), proxy.post(PATH, body) as response:
        text = await response.text()
        return response.status, response.headers, text if more.get("stream") else json.loads(text)


async def outcome(proxy: RunningProxy, model: str, **more: Any) -> str | int:
    """The text that answers, or the status of the error."""
    status, _, body = await asked(proxy, model, **more)
    return str(body["choices"][0]["message"]["content"]) if status == 200 else status


@pytest.mark.parametrize(
    ("settings", "model", "expected"),
    [
        ({"fallbacks": [{"sick": ["well"]}]}, "sick", "from well"),
        ({"fallbacks": [{"sick": ["sick too", "other"]}]}, "sick", "from other"),
        ({"fallbacks": [{"sick": ["sick too"]}, {"sick too": ["other"]}]}, "sick", "from other"),
        ({"fallbacks": [{"*": ["well"]}]}, "sick too", "from well"),
        ({"default_fallbacks": ["other"]}, "sick", "from other"),
        ({"fallbacks": [{"sick": ["well"]}], "default_fallbacks": ["other"]}, "sick", "from well"),
        ({"fallbacks": [{"sick": ["well"]}]}, "sick too", 503),
        ({"fallbacks": [{"sick": ["sick too"]}]}, "sick", 500),
        ({"fallbacks": [{"sick": ["sick too", "well"]}], "max_fallbacks": 0}, "sick", 500),
        ({"context_window_fallbacks": [{"long": ["well"]}]}, "long", "from well"),
        ({"context_window_fallbacks": [{"sick": ["well"]}]}, "sick", 500),
        ({"context_window_fallbacks": [{"long": ["well"]}], "fallbacks": [{"long": ["other"]}]}, "long", "from well"),
        ({"content_policy_fallbacks": [{"rude": ["well"]}]}, "rude", "from well"),
        ({"content_policy_fallbacks": [{"*": ["well"]}], "default_fallbacks": ["other"]}, "rude", "from well"),
        ({"content_policy_fallbacks": [{"rude": ["well"]}]}, "long", 400),
        ({"model_group_alias": {"ill": "sick"}, "fallbacks": [{"sick": ["well"]}]}, "ill", "from well"),
        ({"model_group_alias": {"fit": "well"}, "fallbacks": [{"sick": ["fit"]}]}, "sick", "from well"),
    ],
)
async def test_configuration_says_who_stands_in_for_whom(settings, model, expected):
    """By name, by any name, one after the other, through aliases, and by the kind of failure."""
    async with running_proxy(config(*ALL, **settings)) as proxy:
        assert await outcome(proxy, model) == expected


@pytest.mark.parametrize(
    ("fields", "model", "expected"),
    [
        ({"fallbacks": ["well"]}, "sick", "from well"),
        ({"fallbacks": ["sick too", {"model": "other"}]}, "sick", "from other"),
        ({"fallbacks": [{"sick": ["well"]}]}, "sick", "from well"),
        ({"fallbacks": [{"else": ["well"]}]}, "sick", 500),
        ({"fallbacks": []}, "sick too", 503),
        ({"fallbacks": ["nobody", "well"]}, "sick", "from well"),
        ({"context_window_fallbacks": [{"long": ["well"]}]}, "long", "from well"),
        ({"context_window_fallback_dict": {"long": "well"}}, "long", "from well"),
        ({"content_policy_fallbacks": [{"rude": ["well"]}]}, "rude", "from well"),
        ({"fallbacks": ["sick too", "well"], "max_fallbacks": 0}, "sick", 500),
        ({}, "sick too", "from other"),
        ({"disable_fallbacks": True}, "sick too", 503),
        ({"disable_fallbacks": True, "fallbacks": ["well"]}, "sick", 500),
        ({"mock_testing_fallbacks": True}, "well", "from other"),
        ({"mock_testing_fallbacks": True, "fallbacks": ["well"]}, "other", "from well"),
        ({"mock_testing_fallbacks": True, "disable_fallbacks": True}, "well", 500),
        ({"mock_testing_rate_limit_error": True, "disable_fallbacks": True}, "well", 429),
        ({"mock_testing_context_fallbacks": True, "context_window_fallbacks": [{"*": ["well"]}]}, "other", "from well"),
        (
            {"mock_testing_content_policy_fallbacks": True, "content_policy_fallbacks": [{"other": ["well"]}]},
            "other",
            "from well",
        ),
    ],
)
async def test_request_says_for_itself_who_stands_in(fields, model, expected):
    """Its word comes before the configuration's, whose usual stand-in is another one."""
    async with running_proxy(config(*ALL, default_fallbacks=["other"])) as proxy:
        assert await outcome(proxy, model, **fields) == expected


async def test_failures_can_be_asked_for_where_that_is_permitted_only():
    """Elsewhere they are refused, and no fallback is asked."""
    models = json.dumps({"model_list": [WELL, OTHER], "router_settings": {"default_fallbacks": ["other"]}})
    async with running_proxy(models) as proxy:
        assert await outcome(proxy, "well", mock_testing_fallbacks=True) == 400


@pytest.mark.parametrize("said", TOO_LONG.values(), ids=TOO_LONG)
async def test_prompt_that_a_backend_finds_too_long_goes_to_the_larger_model(said):
    """At once, however the backend says it; the ordinary stand-in is not asked."""
    status, words = said
    refusal = reply(json.dumps(words).encode(), status=f"{status} No")
    async with RawBackend([REQUEST, refusal]) as small:
        models = real("small", f"{small.backend}/v1"), WELL, OTHER
        settings = {"fallbacks": [{"small": ["other"]}], "context_window_fallbacks": [{"small": ["well"]}]}
        async with running_proxy(config(*models, **settings, num_retries=3)) as proxy:
            assert await outcome(proxy, "small") == "from well"

    assert len(small.requests) == 1


@pytest.mark.parametrize("said", NOT_WANTED.values(), ids=NOT_WANTED)
async def test_content_that_a_backend_does_not_want_goes_to_another(said):
    """At once, and not to those who stand in for other reasons."""
    status, words = said
    refusal = reply(json.dumps(words).encode(), status=f"{status} No")
    async with RawBackend([REQUEST, refusal]) as strict:
        models = real("strict", f"{strict.backend}/v1"), WELL, OTHER
        settings = {"fallbacks": [{"strict": ["other"]}], "content_policy_fallbacks": [{"strict": ["well"]}]}
        async with running_proxy(config(*models, **settings)) as proxy:
            assert await outcome(proxy, "strict") == "from well"


async def test_fallback_may_change_fields_of_the_request():
    """Those that it names, for the model that it names; the rest is the caller's."""
    fallback = {"model": "real", "temperature": 0.1, "max_tokens": 7, "messages": [{"role": "user", "content": "Oi"}]}
    async with running_backend() as backend:
        async with running_proxy(config(SICK, real("real", backend.url))) as proxy:
            status, _, body = await asked(proxy, "sick", fallbacks=[fallback], temperature=0.9, user="U")

    sent = backend.last.body
    assert (status, body["model"]) == (200, "sick"), "the caller sees the name that it asked for"
    assert {name: sent[name] for name in ("model", "temperature", "max_tokens", "user")} == {
        "model": "real-itself",
        "temperature": 0.1,
        "max_tokens": 7,
        "user": "U",
    }
    assert sent["messages"] == fallback["messages"]
    assert "fallbacks" not in sent


async def test_configured_fallback_may_change_fields_too():
    """As in the request."""
    fallbacks = [{"sick": [{"model": "real", "temperature": 0.1}]}]
    async with running_backend() as backend:
        async with running_proxy(config(SICK, real("real", backend.url), fallbacks=fallbacks)) as proxy:
            status, _, _ = await asked(proxy, "sick")

    assert (status, backend.last.body["temperature"]) == (200, 0.1)


async def test_stream_falls_back_before_it_has_begun():
    """What the caller gets is one stream, under the name that it asked for."""
    async with running_backend() as backend:
        models = SICK, real("real", backend.url)
        async with running_proxy(config(*models, fallbacks=[{"sick": ["real"]}])) as proxy:
            status, headers, text = await asked(proxy, "sick", stream=True)

    assert (status, headers["x-litellm-attempted-fallbacks"]) == (200, "1")
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert {event["model"] for event in events} == {"sick"}
    assert text.endswith("data: [DONE]\n\n")
    assert text.count("[DONE]") == 1


async def test_headers_tell_what_it_took():
    """How often it was tried again, how many names stood in, what each of the others said, and who answered."""
    settings = {"fallbacks": [{"sick": ["sick too", "well"]}], "num_retries": 1}
    async with running_proxy(config(*ALL, **settings)) as proxy:
        _, plain, _ = await asked(proxy, "well")
        _, fallen, _ = await asked(proxy, "sick")

    names = ("x-litellm-attempted-retries", "x-litellm-attempted-fallbacks", "x-litellm-model-group")
    assert [plain[name] for name in names] == ["0", "0", "well"]
    assert "x-litellm-fallback-errors" not in plain
    assert [fallen[name] for name in names] == ["2", "2", "well"]
    assert json.loads(fallen["x-litellm-fallback-errors"]) == [
        {"model": "sick", "error": "I am sick"},
        {"model": "sick too", "error": "so am I"},
    ]
    assert "x-llmproxy-maybe-duplicate" not in fallen


async def test_headers_tell_that_a_model_may_have_worked_twice():
    """Where the first one was still silent when its time was up."""
    async with RawBackend([REQUEST]) as mute:
        entry = real("mute", f"{mute.backend}/v1")
        entry["litellm_params"]["timeout"] = 0.2
        async with running_proxy(config(entry, WELL, fallbacks=[{"mute": ["well"]}])) as proxy:
            status, headers, _ = await asked(proxy, "mute")

    assert (status, headers["x-llmproxy-maybe-duplicate"]) == (200, "true")


async def test_when_all_fail_the_caller_hears_what_the_name_asked_for_has_said():
    """The errors of those that stood in are not the answer to its question."""
    async with running_proxy(config(*ALL, fallbacks=[{"sick": ["sick too"]}])) as proxy:
        status, _, body = await asked(proxy, "sick")

    assert (status, body["error"]["message"]) == (500, "I am sick")


@pytest.mark.parametrize(
    "field",
    ["api_base", "api_key", "base_url", "mock_response", "extra_headers", "aws_secret_access_key", "num_retries"],
)
async def test_fallback_of_a_request_cannot_set_what_is_the_operators(field):
    """Neither an address nor a credential nor an answer; nor what holds for the request as a whole."""
    async with running_backend() as backend, running_proxy(config(real("a", backend.url), WELL)) as proxy:
        fallback = {"model": "well", field: "http://evil.example"}
        status, _, body = await asked(proxy, "a", fallbacks=[fallback])
        by_name, _, _ = await asked(proxy, "a", fallbacks=[{"a": [fallback]}])

    assert (status, by_name) == (400, 400)
    assert field in body["error"]["message"]
    assert "evil" not in json.dumps(body)
    assert [each for each in backend.requests if each.method == "POST"] == []


@pytest.mark.parametrize(
    "fallbacks",
    ["well", 7, [7], [None], [{"model": 7}], [{"temperature": 1}], [[]], {"sick": ["well"]}, [{"sick": "well"}]],
)
async def test_fallbacks_that_cannot_be_read_are_a_400(fallbacks):
    """Before any model is asked, and with the field's name."""
    async with running_proxy(config(*ALL)) as proxy:
        status, _, body = await asked(proxy, "well", fallbacks=fallbacks)

    assert status == 400
    assert body["error"]["param"].startswith("fallbacks")


async def test_steering_fields_never_reach_a_backend():
    """It would refuse what it does not know."""
    fields = {
        "fallbacks": ["well"],
        "context_window_fallbacks": [{"a": ["well"]}],
        "content_policy_fallbacks": [{"a": ["well"]}],
        "max_fallbacks": 1,
        "disable_fallbacks": False,
        "mock_testing_fallbacks": False,
        "num_retries": 1,
        "priority": 3,
        "tags": ["x"],
    }
    async with running_backend() as backend, running_proxy(config(real("a", backend.url), WELL)) as proxy:
        status, _, _ = await asked(proxy, "a", **fields)

    assert status == 200
    assert sorted(backend.last.body) == ["messages", "model"]


async def test_a_fallback_with_a_name_beyond_all_measure_does_not_swell_the_headers():
    """Clients and hops refuse a response whose headers are larger than a few KB."""
    async with running_proxy(config(*ALL)) as proxy:
        status, headers, _ = await asked(proxy, "sick", fallbacks=["x" * 100_000, "y\r\nset-cookie: z", "well"])

    assert status == 200
    told = headers["x-litellm-fallback-errors"]
    assert len(told) < 2000
    assert "set-cookie" not in headers
    assert "y%5Cr%5Cnset-cookie" in told
