import json

from proxy_cli import errors
from proxy_cli.server import compat
from tests.fakes.proxy import running_proxy
from tests.server.conftest import chat, seed_like


def test_a_backends_error_is_named_as_litellm_names_it():
    """Exception names and a provider stand before the backend's words."""
    told = compat.envelope(errors.BackendError(429, "slow down"))

    assert told["message"] == "litellm.RateLimitError: RateLimitError: OpenAIException - slow down"
    assert told["code"] == "429"


def test_missing_and_wrong_keys_are_told_as_litellm_tells_them():
    """One is a 401, the other, without a database, a 400."""
    missing = compat.envelope(errors.Unauthenticated("x", code="missing_api_key"))
    wrong = compat.envelope(errors.Unauthenticated("x"))

    assert (missing["message"], missing["code"]) == ("Authentication Error, No api key passed in.", "401")
    assert (wrong["type"], wrong["code"]) == ("no_db_connection", "400")


def test_only_the_field_itself_gets_a_choice():
    """Text that looks like it stays as it is."""
    event = b'data: {"choices":[],"usage":{"total_tokens":1}}\n\n'
    text = b'data: {"choices":[{"delta":{"content":"\\"choices\\":[] \\"usage\\""}}]}\n\n'

    assert compat.usage_event(event) == b'data: {"choices":[{"index":0,"delta":{}}],"usage":{"total_tokens":1}}\n\n'
    assert compat.usage_event(text) == text


async def test_streams_end_as_litellms_do(backend):
    """The usage chunk has a choice; after an error in the stream there is no end mark."""
    config = seed_like(backend.url) + "\n        general_settings: {compat: litellm}\n"
    async with running_proxy(config) as proxy:
        body = chat("a", stream=True, stream_options={"include_usage": True})
        async with proxy.post("/v1/chat/completions", body) as response:
            *_, usage, done, _ = (await response.text()).split("\n\n")
        async with proxy.post("/v1/chat/completions", chat("[[mock cut=2]]", stream=True)) as response:
            *_, last, _ = (await response.text()).split("\n\n")

    assert json.loads(usage.removeprefix("data: "))["choices"] == [{"index": 0, "delta": {}}]
    assert done == "data: [DONE]"
    assert "error" in json.loads(last.removeprefix("data: "))
