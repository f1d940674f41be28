"""Which fields of a request a target is known not to take, and what becomes of them.

It owns the knowledge (abilities of models, rows of the catalog, OpenAI's reasoning models) and the decision: dropped
with `drop_params`, else a 400 that names them. The rule to keep: only what is *known* is refused; of what nobody has
said anything, the backend decides.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from proxy_cli.errors import UnsupportedParameter
from proxy_cli.providers.catalog import Compatible
from proxy_cli.providers.prompting import prompts_tools
from proxy_cli.shapes import Call, Deployment, Json
from proxy_cli.wire.toolprompt import TOOL_FIELDS

_TOOLS: Final = frozenset(TOOL_FIELDS)

# What a `supports_...: false` in model_info (or the price table) rules out. `supports_vision` and its like are not
# here: they speak of a message's content, and there is no field to leave out.
_ABILITIES: Final = {
    "supports_function_calling": _TOOLS,
    "supports_tool_choice": frozenset({"tool_choice"}),
    "supports_parallel_function_calling": frozenset({"parallel_tool_calls"}),
    "supports_response_schema": frozenset({"response_format"}),
    "supports_reasoning": frozenset({"reasoning_effort"}),
    "supports_audio_output": frozenset({"audio", "modalities"}),
    "supports_web_search": frozenset({"web_search_options"}),
}

# https://platform.openai.com/docs/guides/latest-model: sampling is fixed for the o-series and the first GPT-5 models.
# Later ones (gpt-5.1 and on) take it with some settings and not with others, so it is theirs to say.
_REASONING: Final = re.compile(r"(ft:)?(o[1-9](?!\d)|gpt-5(?![.\d])(?!-chat))")
_NO_STOP: Final = re.compile(r"(ft:)?(o[3-9](?!\d)|gpt-5(?![.\d])(?!-chat))")
_SAMPLING: Final = frozenset(
    {
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
    }
)
_NO_EFFORT: Final = re.compile(r"(ft:)?(gpt-3\.5|gpt-4|chatgpt-4o)")
_NEWER_LIMIT: Final = re.compile(r"(ft:)?(o[1-9](?!\d)|gpt-5)")

# A field at the value that its absence means: leaving it out changes nothing, so nobody needs to be told.
_DEFAULTS: Final[Mapping[str, Json]] = {
    "temperature": 1,
    "top_p": 1,
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "logit_bias": {},
    "tools": [],
    "functions": [],
    "modalities": ["text"],
}


def refused(
    deployment: Deployment, info: Mapping[str, Json], entry: Mapping[str, Json] | None, row: Compatible
) -> frozenset[str]:
    """The fields that a target is known not to take: by model_info, else the price table, its row, its own host."""
    found = set(row.drops)
    for ability, fields in _ABILITIES.items():
        if _says(ability, info, entry) is False:
            found |= fields
    model = _plain_name(deployment, info)
    if _is_openai(deployment):
        if _REASONING.match(model):
            found |= _SAMPLING
        if _NO_STOP.match(model):
            found.add("stop")
        if _NO_EFFORT.match(model):
            found.add("reasoning_effort")
    return frozenset(found)


def takes_tools(refuses: frozenset[str], info: Mapping[str, Json], entry: Mapping[str, Json] | None) -> bool | None:
    """Whether a target that refuses these fields takes tools; None where nothing is known."""
    return False if "tools" in refuses else _says("supports_function_calling", info, entry)


def renames(deployment: Deployment, row: Compatible | None) -> tuple[tuple[str, str], ...]:
    """Fields that the target knows by another name: (ours, theirs)."""
    if _is_openai(deployment) and _NEWER_LIMIT.match(_plain_name(deployment, deployment.info)):
        return (("max_tokens", "max_completion_tokens"),)
    return row.renames if row else ()


def left_out(call: Call, deployment: Deployment) -> frozenset[str]:
    """The fields that are known not to be taken and must not be sent. Raises UnsupportedParameter without drop_params.

    The request's `drop_params` wins over the deployment's; `allowed_openai_params` of either lets a field pass. Tools
    that go into the prompt are not left out.
    """
    unwanted = deployment.refuses - deployment.allowed_openai_params - call.controls.allowed_openai_params
    if prompts_tools(call, deployment):
        unwanted -= _TOOLS
    if not unwanted:
        return unwanted
    unwanted = frozenset(name for name in unwanted if not _passes(name, call.fields.get(name)))
    drop = deployment.drop_params if call.controls.drop_params is None else call.controls.drop_params
    if not drop:
        # What the configuration itself sets is its owner's word: only the caller's fields are looked at.
        unwanted &= call.fields.keys()
        named = sorted(name for name in unwanted if _asks(name, call.fields.get(name)))
        if named:
            raise UnsupportedParameter(_message(call.model, named), param=named[0])
    return unwanted


def _message(model: str, names: list[str]) -> str:
    fields = ", ".join(f"'{name}'" for name in names)
    return (
        f"the model '{model}' is known not to take {fields}: leave it out of the request, set drop_params: true "
        f"(in the request, the deployment or litellm_settings) to have it dropped, "
        f"or name it in allowed_openai_params to have it passed on"
    )


def _says(ability: str, info: Mapping[str, Json], entry: Mapping[str, Json] | None) -> bool | None:
    """What model_info says of an ability, else what the price table says; silence is None."""
    for source in (info, entry or {}):
        if isinstance(said := source.get(ability), bool):
            return said
    return None


def _passes(name: str, raw: msgspec.Raw | None) -> bool:
    """A refused field that is fine in this form: of `response_format` only the schema is what some cannot do."""
    if name != "response_format" or raw is None:
        return False
    value = msgspec.json.decode(raw)
    return isinstance(value, dict) and value.get("type") in ("text", "json_object")


def _asks(name: str, raw: msgspec.Raw | None) -> bool:
    """Whether a field is there and asks for anything but what is done without it."""
    if raw is None:
        return False
    value = msgspec.json.decode(raw)
    return value is not None and not (name in _DEFAULTS and value == _DEFAULTS[name])


def _is_openai(deployment: Deployment) -> bool:
    """Whether it is OpenAI's own or Azure's server: another one may call its models as it likes."""
    host = deployment.backend.host
    return (deployment.provider == "openai" and host.endswith(".openai.com")) or (
        deployment.provider == "azure" and host.endswith(".azure.com")
    )


def _plain_name(deployment: Deployment, info: Mapping[str, Json]) -> str:
    """The model that a deployment stands for, without a provider's prefix."""
    base = info.get("base_model")
    return str(base or deployment.model).rpartition("/")[2]
