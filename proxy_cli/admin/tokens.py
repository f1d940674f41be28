"""How long a text is in tokens, what a call comes to, and what a model takes: answered without asking anybody.

Owns LiteLLM's small tools for clients. Rule: a count made here is an estimate by the length of the text, corrected by
what a deployment's backend has counted so far, and says so.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy_cli.admin.base import Ask, Flag, Map, Office, Section, Text, text, value_of
from proxy_cli.errors import InvalidRequest, UnknownModel, Unprocessable
from proxy_cli.prices.cost import Prices, own_prices, prices_of
from proxy_cli.routing import estimates
from proxy_cli.shapes import Call, Deployment, Json, Operation, Usage
from proxy_cli.wire.usage import usage_of

_CHAT_FIELDS: Final = (
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "reasoning_effort",
    "response_format", "seed", "service_tier", "stop", "store", "stream", "stream_options", "temperature",
    "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
)  # fmt: skip
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "embedding": ("dimensions", "encoding_format", "user"),
    "audio_transcription": ("language", "prompt", "response_format", "temperature", "timestamp_granularities"),
    "audio_speech": ("instructions", "response_format", "speed", "voice"),
    "image_generation": ("n", "quality", "response_format", "size", "style", "user"),
}
_OPERATIONS: Final[Mapping[str, Operation]] = {
    "embedding": Operation.EMBEDDINGS,
    "audio_transcription": Operation.TRANSCRIPTIONS,
    "audio_speech": Operation.SPEECH,
    "image_generation": Operation.IMAGE_GENERATIONS,
    "rerank": Operation.RERANK,
    "responses": Operation.RESPONSES,
}
_FAMILY_OF_TOKENIZERS: Final = {"openai": "openai_tokenizer", "anthropic": "anthropic_tokenizer"}


class Counting(msgspec.Struct, kw_only=True):
    """A prompt whose tokens are counted, in one of its dialects."""

    model: str
    prompt: Any = msgspec.UNSET
    messages: list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    contents: list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    tools: list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    system: Any = msgspec.UNSET
    call_endpoint: Flag = msgspec.UNSET


class Calculation(msgspec.Struct, kw_only=True):
    """A prompt, or an answer with its usage, whose price is asked for."""

    model: Text = msgspec.UNSET
    messages: list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    completion_response: Map = msgspec.UNSET


async def count(office: Office, ask: Ask) -> Json:
    """`POST /utils/token_counter`: about how many tokens a prompt is. Raises Unprocessable."""
    body: Counting = ask.body
    said = (value_of(body.messages, None), value_of(body.prompt, None), value_of(body.contents, None))
    given = [each for each in said if each is not None]
    if not given:
        raise Unprocessable("there is nothing to count; send messages, prompt or contents", param="messages")
    call = _call(body.model, [*given, value_of(body.system, "")], value_of(body.tools, []))
    deployment = _deployment(office, body.model)
    return {
        "total_tokens": _tokens(call, deployment),
        "request_model": body.model,
        "model_used": deployment.model if deployment is not None else body.model,
        "tokenizer_type": _FAMILY_OF_TOKENIZERS.get(deployment.provider if deployment else "", "openai_tokenizer"),
        "count_source": "local_estimate",
        "original_response": None,
        "error": False,
        "error_message": None,
        "status_code": None,
    }


def _call(model: str, texts: list[Json], tools: list[Json]) -> Call:
    """A call that is never sent, with these texts as its prompt."""
    said = [each for each in texts if each]
    fields = {"messages": msgspec.Raw(msgspec.json.encode(said[0] if len(said) == 1 else said))}
    if tools:
        fields["tools"] = msgspec.Raw(msgspec.json.encode(tools))
    return Call(request_id="count", operation=Operation.CHAT, model=model, body=b"", fields=fields)


def _tokens(call: Call, deployment: Deployment | None) -> int:
    return estimates.tokens(call, deployment) if deployment is not None else round(estimates.prompt(call).tokens)


def _deployment(office: Office, model: str) -> Deployment | None:
    """The first deployment behind a name, if there is one."""
    try:
        return next(iter(office.table.known(model)), None)
    except UnknownModel:
        return None


async def calculate(office: Office, ask: Ask) -> Json:
    """`POST /spend/calculate`: what a prompt, or a whole answer, costs. Raises Unprocessable, InvalidRequest."""
    body: Calculation = ask.body
    answer, messages = value_of(body.completion_response, {}), value_of(body.messages, None)
    model = value_of(body.model, "") or str(answer.get("model") or "")
    if not model:
        raise Unprocessable("model is missing: whose prices?", param="model")
    deployment = _deployment(office, model)
    if answer:
        usage = usage_of(msgspec.json.encode(answer.get("usage")))
        if usage is None:
            raise Unprocessable("completion_response has no usage; without one it has no price", param="usage")
    elif messages is not None:
        usage = Usage(prompt_tokens=_tokens(_call(model, [messages], []), deployment))
    else:
        raise Unprocessable("there is nothing to calculate; send messages or completion_response", param="messages")
    cost = _prices(office, model, deployment).cost_usd(usage, _operation(deployment))
    if cost is None:
        raise InvalidRequest(f"the price of the model {model[:100]!r} is not known", code="no_price", param="model")
    return {"cost": cost}


def _prices(office: Office, model: str, deployment: Deployment | None) -> Prices:
    """A model's prices: those of the name that callers ask for, else those of the price table."""
    if deployment is not None and deployment.rates:
        return prices_of(deployment)
    return Prices(own_prices(office.prices.find(model) or {}))


def _operation(deployment: Deployment | None) -> Operation:
    return _OPERATIONS.get((deployment.mode if deployment else None) or "", Operation.CHAT)


def fields_of(deployment: Deployment) -> list[str]:
    """The request fields that a deployment is not known to refuse."""
    known = _FIELDS.get(deployment.mode or "", _CHAT_FIELDS)
    return [name for name in known if name not in deployment.refuses or name in deployment.allowed_openai_params]


async def supported(office: Office, ask: Ask) -> Json:
    """`GET /utils/supported_openai_params?model=`. Raises Unprocessable, UnknownModel."""
    model = text(ask, "model")
    if model is None:
        raise Unprocessable("model is missing: GET /utils/supported_openai_params?model=...", param="model")
    return {"supported_openai_params": fields_of(office.table.find(model)[0])}


_SECTION: Final = Section("models", "key")
ENDPOINTS: Final = (
    _SECTION.post("/utils/token_counter", "token_counter", "About how many tokens a prompt is", count, Counting),
    Section("spend").post(
        "/spend/calculate", "spend_calculate", "What a prompt or an answer costs", calculate, Calculation
    ),
    _SECTION.get(
        "/utils/supported_openai_params", "supported_openai_params", "The request fields that a model takes", supported
    ),
)
