"""The fields that only the operator of the proxy may set.

Owns: the table of names by which a caller could send a request elsewhere, with other credentials, at other prices or
into other logs, and the places where such a name would be read: the root, nested settings, fallbacks, form keys.
Rule: none of them is ever used by us, wherever it stands; the refusal is there so that a client learns it at once.
Tool schemas and messages are not looked at: there the same words are somebody's data.
"""

from collections.abc import Container, Iterator
from typing import Final

import msgspec

from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Fields, Json

# What each name does, for the message: "'api_base' says where requests go, so only the configuration may set it".
_NAMES: Final = {
    "says where requests go": (
        "api_base base_url deployment_url custom_llm_provider user_config model_list litellm_params model_info "
        "extra_headers use_ssl ssl_verify workspace_id endpoint_url azure_endpoint proxy_server_request"
    ),
    "is a credential of the backend": (
        "api_key azure_ad_token azure_ad_token_provider azure_username azure_password client_secret "
        "litellm_credential_name secret_fields"
    ),
    "makes up an answer": "mock_response mock_tool_calls mock_timeout mock_delay",
    "sets prices": (
        "custom_cost_per_token custom_cost_per_second tiered_pricing search_context_cost_per_query "
        "citation_cost_per_token ocr_cost_per_page annotation_cost_per_page code_interpreter_cost_per_session "
        "file_search_cost_per_1k_calls file_search_cost_per_gb_per_day vector_store_cost_per_gb_per_day "
        "cost_discount_config cost_margin_config"
    ),
    "says where calls are logged": (
        "callbacks success_callback failure_callback service_callback input_callback logger_fn "
        "litellm_logging_obj litellm_parent_otel_span wandb_api_key gcs_bucket_name gcs_path_service_account "
        "slack_webhook_url dd_api_key dd_site turn_off_message_logging"
    ),
    "is set by the proxy itself": "preset_cache_key specific_deployment litellm_disabled_callbacks",
}
_PREFIXES: Final = {
    "says where requests go": "nvcf_ sagemaker_ s3_",
    "is a credential of the backend": "aws_ vertex_ watsonx_",
    "makes up an answer": "mock_testing_",
    "sets prices": (
        "input_cost_per_ output_cost_per_ cache_creation_input_ cache_read_input_ computer_use_input_cost_ "
        "computer_use_output_cost_ regional_processing_uplift_"
    ),
    "says where calls are logged": (
        "langfuse_ langsmith_ posthog_ arize_ phoenix_ lunary_ humanloop_ braintrust_ helicone_ opik_ weave_ lago_ "
        "galileo_ datadog_ otel_exporter_"
    ),
    "is set by the proxy itself": "user_api_key_",
}
_WHY: Final = {name: why for why, names in _NAMES.items() for name in names.split()}
_WHY_PREFIX: Final = {prefix: why for why, prefixes in _PREFIXES.items() for prefix in prefixes.split()}
_ALL_PREFIXES: Final = tuple(_WHY_PREFIX)

# Fields whose values are, or may be, settings: there the names are looked for at every depth.
_NESTED: Final = frozenset(
    {
        "config",
        "content_policy_fallbacks",
        "context_window_fallback_dict",
        "context_window_fallbacks",
        "extra_body",
        "fallbacks",
        "litellm_embedding_config",
        "litellm_metadata",
        "metadata",
        "router_settings_override",
    }
)
# There a whole request may stand, and what a model is to read is somebody's data as it is at the root.
_OF_REQUESTS: Final = frozenset({"content_policy_fallbacks", "context_window_fallbacks", "fallbacks"})
_DATA: Final = frozenset({"functions", "input", "messages", "prompt", "response_format", "tools"})
# What is looked through holds up everybody else meanwhile.
_LARGEST_BYTES: Final = 1024 * 1024
_MOST_VALUES: Final = 20_000
# The everyday fields of the OpenAI endpoints; a request with no others is let through by one comparison of sets.
_EVERYDAY_NAMES: Final = """
    model messages stream stream_options temperature top_p n max_tokens max_completion_tokens stop seed user tools
    tool_choice parallel_tool_calls response_format presence_penalty frequency_penalty logit_bias logprobs top_logprobs
    functions function_call reasoning_effort modalities audio prediction store service_tier verbosity safety_identifier
    prompt_cache_key top_k min_p repetition_penalty prompt suffix echo best_of input encoding_format dimensions
    instructions previous_response_id text reasoning truncation include max_output_tokens size quality style voice
    speed query documents top_n return_documents
"""
_EVERYDAY: Final = frozenset(_EVERYDAY_NAMES.split())


def refuse_server_fields(fields: Fields, permitted: Container[str] = ()) -> None:
    """Raise InvalidRequest if the request sets what only the operator may set, and has not permitted at its root."""
    if _EVERYDAY.issuperset(fields):
        return
    for name in fields:
        if (why := _why_not(name)) and name not in permitted:
            raise _refusal(name, why)
    for name in _NESTED.intersection(fields):
        for path, inner in _names_within(_value(name, fields[name]), name):
            if why := _why_not(inner):
                raise _refusal(path, why)


def refuse_form_field(name: str) -> None:
    """The same for a form's field, whose name may spell a path: `metadata[api_base]`."""
    root, *inner = name.replace("]", "").replace("[", ".").split(".")
    for step in (root, *inner) if root in _NESTED else (root,):
        if why := _why_not(step):
            raise _refusal(name, why)


def _why_not(name: str) -> str | None:
    if why := _WHY.get(name):
        return why
    if not name.startswith(_ALL_PREFIXES):
        return None
    return next(why for prefix, why in _WHY_PREFIX.items() if name.startswith(prefix))


def _refusal(path: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"'{path}' {why}, so only the proxy's configuration may set it; remove it from the request",
        code="server_only_field",
        param=path,
    )


def _value(name: str, raw: msgspec.Raw) -> Json:
    if len(memoryview(raw)) > _LARGEST_BYTES:
        raise _too_large(name)
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest(f"'{name}' cannot be read; send plain JSON", code="invalid_json", param=name) from None


def _too_large(name: str) -> InvalidRequest:
    message = f"'{name}' is larger than settings may be: {_LARGEST_BYTES // 1024} KiB and {_MOST_VALUES} values"
    return InvalidRequest(message, code="invalid_value", param=name)


def _names_within(value: Json, path: str) -> Iterator[tuple[str, str]]:
    """Every name of every object in a value, with the way to it."""
    root, seen = path, 0
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES:
            raise _too_large(root)
        if isinstance(value, dict):
            for name, inner in value.items():
                yield f"{path}.{name}", name
                if root not in _OF_REQUESTS or name not in _DATA:
                    waiting.append((f"{path}.{name}", inner))
        elif isinstance(value, list):
            waiting += [(f"{path}[{number}]", inner) for number, inner in enumerate(value)]
