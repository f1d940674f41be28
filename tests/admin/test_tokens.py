"""How long a text is in tokens, what a call comes to, and what a model takes."""

from typing import Any

import msgspec
import pytest

from proxy_cli.admin import tokens
from proxy_cli.errors import InvalidRequest, UnknownModel, Unprocessable
from tests.fakes.spending import CHAT, ask, office_of, send
from tests.fakes.store import fresh_store

MESSAGES = [{"role": "user", "content": "What is the capital of France, and how many people live in it today?"}]
ENTRIES = (
    CHAT,
    {
        "model_name": "own",
        "litellm_params": {
            "model": "openai/x", "api_base": "http://10.0.0.1/v1", "api_key": "k",
            "input_cost_per_token": 0.001, "output_cost_per_token": 0.002,
        },
    },
    {"model_name": "free", "litellm_params": {"model": "openai/y", "api_base": "http://10.0.0.1/v1", "api_key": "k"}},
    {"model_name": "vectors", "litellm_params": {"model": "openai/text-embedding-3-small", "api_key": "k"}},
    {"model_name": "thinker", "litellm_params": {"model": "openai/o3", "api_key": "k"}},
)  # fmt: skip


@pytest.fixture
async def office(tmp_path):
    store = fresh_store(tmp_path)
    yield office_of(store, *ENTRIES)
    await store.close()


async def post(office, path, **body):
    return await send(office, tokens.ENDPOINTS, path, msgspec.json.encode(body))


async def test_tokens_of_messages_are_about_as_many_as_a_tokenizer_counts(office):
    """Fifteen words are some twenty tokens; the answer says that it is an estimate."""
    found = await post(office, "/utils/token_counter", model="chat", messages=MESSAGES)

    assert 12 <= found.pop("total_tokens") <= 40
    assert found == {
        "request_model": "chat",
        "model_used": "gpt-4o",
        "tokenizer_type": "openai_tokenizer",
        "count_source": "local_estimate",
        "original_response": None,
        "error": False,
        "error_message": None,
        "status_code": None,
    }


@pytest.mark.parametrize(
    "more",
    [
        {"messages": MESSAGES, "tools": [{"type": "function", "function": {"name": "weather_in_a_place"}}]},
        {"messages": MESSAGES, "system": "You answer in rhymes, and never in prose."},
        {"messages": MESSAGES * 2},
    ],
)
async def test_what_is_sent_beside_counts_too(office, more):
    """Tools and the system's word."""
    plain = await post(office, "/utils/token_counter", model="chat", messages=MESSAGES)

    found = await post(office, "/utils/token_counter", model="chat", **more)

    assert found["total_tokens"] > plain["total_tokens"]


@pytest.mark.parametrize("prompt", [{"prompt": "a b c d e f"}, {"contents": [{"parts": [{"text": "a b c d"}]}]}])
async def test_prompts_of_other_dialects_are_counted_for_models_nobody_knows(office, prompt):
    """As LiteLLM does; nothing is asked of any backend."""
    found = await post(office, "/utils/token_counter", model="unheard-of", **prompt)

    assert found["total_tokens"] > 0
    assert found["model_used"] == "unheard-of"


async def test_nothing_to_count_is_refused(office):
    """With what may be sent."""
    with pytest.raises(Unprocessable, match="messages, prompt or contents"):
        await post(office, "/utils/token_counter", model="chat")


async def test_an_answer_costs_what_its_usage_says(office):
    """By the prices of the deployment, or of the price table; cached tokens at theirs."""
    usage: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    assert await post(office, "/spend/calculate", model="own", completion_response={"usage": usage}) == {"cost": 0.009}

    usage["prompt_tokens_details"] = {"cached_tokens": 3}
    answer = {"model": "gpt-4o", "usage": usage}
    assert await post(office, "/spend/calculate", completion_response=answer) == {"cost": 2.875e-05}


async def test_a_prompt_costs_its_tokens(office):
    """Without an answer there is no more to say."""
    count = (await post(office, "/utils/token_counter", model="own", messages=MESSAGES))["total_tokens"]

    found = await post(office, "/spend/calculate", model="own", messages=MESSAGES)

    assert found["cost"] == pytest.approx(count * 0.001)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": MESSAGES}, "whose prices"),
        ({"model": "own"}, "nothing to calculate"),
        ({"model": "own", "completion_response": {"choices": []}}, "no usage"),
    ],
)
async def test_what_cannot_be_calculated_is_refused(office, body, words):
    """With what is missing."""
    with pytest.raises(Unprocessable, match=words):
        await post(office, "/spend/calculate", **body)


@pytest.mark.parametrize("model", ["free", "unheard-of"])
async def test_a_model_without_a_price_costs_not_nothing_but_nobody_knows(office, model):
    """A zero would be an answer."""
    with pytest.raises(InvalidRequest, match="price of the model"):
        await post(office, "/spend/calculate", model=model, messages=MESSAGES)


async def supported(office, **query):
    return (await ask(office, tokens.ENDPOINTS, "/utils/supported_openai_params", **query))["supported_openai_params"]


async def test_a_model_takes_the_fields_that_it_is_not_known_to_refuse(office):
    """Chat models, models that think, and models that embed."""
    assert {"temperature", "tools", "response_format"} <= set(await supported(office, model="chat"))
    assert "temperature" not in await supported(office, model="thinker")
    assert await supported(office, model="vectors") == ["dimensions", "encoding_format", "user"]


async def test_the_fields_of_no_model_are_refused(office):
    """A name that is missing, or that nobody has."""
    with pytest.raises(Unprocessable, match="model is missing"):
        await supported(office)
    with pytest.raises(UnknownModel, match="no-such"):
        await supported(office, model="no-such")
