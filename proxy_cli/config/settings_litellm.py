"""The declaration of `litellm_settings`: what holds for every call."""

import re
from typing import Annotated

from proxy_cli.config.fields import (
    Anything,
    Count,
    Flag,
    HttpProxy,
    JsonMap,
    Name,
    NameOrNames,
    Names,
    Pause,
    Seconds,
    Status,
    Tally,
    Text,
    TimeZone,
    Usd,
    Verify,
    read_text,
    wrong,
)
from proxy_cli.config.margins import Discounts, Margins
from proxy_cli.config.reading import PlainValidator, ValidationInfo, WithJsonSchema
from proxy_cli.config.routing_values import Retries
from proxy_cli.config.settings_router import Fallbacks, FallbackTarget
from proxy_cli.config.state import Section, ignored, later, used

_WHERE = "where `router_settings` does not say it"
_NO_SINKS = "every request is one line of the log, and with --detailed_debug its bodies"
_NO_CACHE = "nothing is cached yet"
_NO_KEYS = "keys know no such thing yet"
_NO_METRICS = "`/metrics` has its own labels and buckets so far"
_NO_REDACTION = "bodies are logged with --detailed_debug only"


def _read_pattern(value: object, info: ValidationInfo) -> str:
    """A regular expression."""
    text = read_text(value, info)
    try:
        re.compile(text)
    except re.error as error:
        raise wrong(f"{text!r} is no regular expression: {error}", "write one as team-[a-z]+") from None
    return text


Pattern = Annotated[str, PlainValidator(_read_pattern), WithJsonSchema({"type": "string"})]


class LiteLLMSettings(Section):
    """What holds for every call."""

    drop_params: Flag = used("Leave out request fields that the target is known not to take.", default=False)
    request_timeout: Seconds | None = used("Time limit of a call, in seconds (600).")
    json_logs: Flag = used("Log as lines of JSON.", default=False)
    max_budget: Usd | None = used("What may be spent since start, in USD.")
    budget_exceeded_status_code: Status | None = used("Status of the answer once the budget is spent (422).")
    require_auth_for_metrics_endpoint: Flag = used("Whether `/metrics` asks for a key (true).", default=True)
    add_function_to_prompt: Flag = used("Put tools into the prompt of models without tools.", default=False)
    ssl_verify: Verify | None = used(
        "Check the backends' certificates: true, false, or the path of a file or folder of CA certificates."
    )
    ssl_certificate: Name | None = used("A client certificate for the backends: the path of a PEM file.")
    ssl_keyfile: Name | None = used("The key of `ssl_certificate`, where it has a file of its own.")
    http_proxy: HttpProxy | None = used(
        "The HTTP proxy on the way to backends on other machines: `http://user:password@host:port`."
    )
    forward_traceparent_to_llm_provider: Flag | None = used(
        "Send W3C trace headers on.", note="trace headers are always sent on"
    )
    telemetry: Flag | None = ignored("LiteLLM's usage statistics.", "llmproxy never phones home")
    set_verbose: Flag | None = ignored("Log more.", "use --debug or --detailed_debug")
    suppress_debug_info: Flag | None = ignored("Print less.", "nothing is printed beside the log")
    expose_router_debug_in_errors: Flag | None = ignored("Names in errors.", "errors never hold debug text")
    redact_messages_in_exceptions: Flag | None = ignored("Redaction.", "errors never hold messages")
    network_mock: Flag | None = ignored("LiteLLM's own benchmark.", "use `llmproxy mock`")
    disable_hf_tokenizer_download: Flag | None = ignored("Download no tokenizers.", "none is ever downloaded")
    disable_copilot_system_to_assistant: Flag | None = ignored("Deprecated.", "LiteLLM does not use it either")
    disable_add_transform_inline_image_block: Flag | None = ignored(
        "Leave image addresses alone.", "they are never changed"
    )
    enable_preview_features: Flag | None = ignored("LiteLLM's previews.", "there are none here")

    num_retries: Retries | None = used(f"Tries after the first, {_WHERE}.")
    num_retries_per_request: Retries | None = used("Another name of `num_retries`.")
    allowed_fails: Tally | None = used(f"Failures a minute after which a deployment rests, {_WHERE}.")
    cooldown_time: Pause | None = used(f"How long a deployment rests, in seconds, {_WHERE}.")
    fallbacks: Fallbacks = used(f"Other names that are asked when one fails, {_WHERE}.", default=())
    context_window_fallbacks: Fallbacks = used(f"The same for prompts that are too long, {_WHERE}.", default=())
    content_policy_fallbacks: Fallbacks = used(f"The same for refused content, {_WHERE}.", default=())
    default_fallbacks: tuple[FallbackTarget, ...] = used(f"Names that are asked when any fails, {_WHERE}.", default=())
    context_window_fallback_dict: dict[str, Name] = used(
        "Longer models for long prompts: `{short: long}`, for names that `context_window_fallbacks` leaves out.",
        default={},
    )
    sse_keepalive_ping_interval_seconds: Seconds | None = used(
        "How often a silent stream gets a comment, where `general_settings.stream_keepalive_seconds` does not say it."
    )
    modify_params: Flag | None = later("Repair requests that a provider would refuse.")
    model_alias_map: JsonMap = later("Other names.", "use `router_settings.model_group_alias`", default={})
    model_group_settings: JsonMap = later(
        "Header forwarding by name.", "use `general_settings.forward_client_headers_to_llm_api`", default={}
    )
    force_ipv4: Flag | None = later("Connect by IPv4 only.")
    custom_provider_map: Anything = later("Providers written in Python.")
    aws_sqs_callback_params: Anything = later("Logging to SQS.", _NO_SINKS)
    check_provider_endpoint: Flag | None = later("Ask providers which models a wildcard covers.")
    enable_json_schema_validation: Flag | None = later("Check answers against `response_format`.")
    include_cost_in_streaming_usage: Flag | None = later("Put the cost into a stream's usage.")
    anthropic_sse_ping_interval_seconds: Seconds | None = later("Send a ping into quiet streams this often.")
    use_chat_completions_url_for_anthropic_messages: Flag | None = later("Answer `/v1/messages` by way of chat.")
    route_all_chat_openai_to_responses: Flag | None = later("Answer chat by way of `/responses`.")
    add_user_information_to_llm_headers: Flag | None = later("Tell the backend who calls.")
    overwrite_user_with_key_hash: Flag | None = later("Tell the backend which key calls.")
    default_in_memory_ttl: Seconds | None = later("How long cached answers live.", _NO_CACHE)
    default_redis_ttl: Seconds | None = later("How long cached answers live.", _NO_CACHE)
    default_redis_batch_cache_expiry: Seconds | None = later("How long lists live in the cache.", _NO_CACHE)
    cache: Anything = later("Keep answers.", _NO_CACHE)
    cache_params: JsonMap = later("Where and how answers are kept.", _NO_CACHE, default={})
    enable_caching_on_provider_specific_optional_params: Flag | None = later("Cache by all fields.", _NO_CACHE)
    enable_redis_auth_cache: Flag | None = later("Keep keys in Redis.", _NO_CACHE)

    callbacks: NameOrNames = later("Where calls are logged to.", _NO_SINKS, default=())
    success_callback: NameOrNames = later("Where answered calls are logged to.", _NO_SINKS, default=())
    failure_callback: NameOrNames = later("Where failed calls are logged to.", _NO_SINKS, default=())
    service_callback: NameOrNames = later("Where failures of services are logged to.", _NO_SINKS, default=())
    service_callbacks: NameOrNames = later("Where failures of services are logged to.", _NO_SINKS, default=())
    audit_log_callbacks: NameOrNames = later("Where changes are logged to.", _NO_SINKS, default=())
    input_callback: NameOrNames = later("Where calls are logged to.", _NO_SINKS, default=())
    post_call_rules: Anything = later("A Python function that judges answers.")
    turn_off_message_logging: Flag | None = later("Log no messages.", _NO_REDACTION)
    redact_user_api_key_info: Flag | None = later("Log nothing about keys.", "a key is never logged")
    langfuse_default_tags: Names = later("Tags for Langfuse.", _NO_SINKS, default=())
    langsmith_batch_size: Count | None = later("Calls sent to LangSmith at a time.", _NO_SINKS)
    s3_callback_params: JsonMap = later("Logging to S3.", _NO_SINKS, default={})
    s3_v2_callback_params: JsonMap = later("Logging to S3.", _NO_SINKS, default={})
    gcs_pub_sub_use_v1: Flag | None = later("Logging to Pub/Sub.", _NO_SINKS)
    datadog_params: JsonMap = later("Logging to Datadog.", _NO_SINKS, default={})
    datadog_llm_observability_params: JsonMap = later("Logging to Datadog.", _NO_SINKS, default={})
    generic_api_use_v1: Flag | None = later("Logging to a web address.", _NO_SINKS)
    standard_logging_payload_excluded_fields: Names = later("Fields left out of logs.", _NO_SINKS, default=())
    log_raw_request_response: Flag | None = later("Log raw requests and answers.", "use --detailed_debug")
    store_audit_logs: Flag | None = later("Keep a log of changes.")
    prometheus_metrics_config: Anything = later("Which metrics there are.", _NO_METRICS)
    prometheus_initialize_budget_metrics: Flag | None = later("Budgets as metrics.", _NO_METRICS)
    prometheus_emit_stream_label: Flag | None = later("Streams apart in metrics.", _NO_METRICS)
    prometheus_latency_buckets: Anything = later("Buckets of latency metrics.", _NO_METRICS)
    custom_prometheus_metadata_labels: Names = later("More labels.", _NO_METRICS, default=())
    custom_prometheus_tags: Names = later("More labels.", _NO_METRICS, default=())
    enable_end_user_cost_tracking_prometheus_only: Flag | None = later("Metrics by end user.", _NO_METRICS)

    budget_duration: Text | None = used(
        "How long `max_budget` lasts before it begins anew: `30d`, `1mo` (for ever; without a database it counts since "
        "the start)."
    )
    budget_exceeded_throttle_percentage: Anything = later("Slow down instead of refusing.")
    budget_rollover: Flag | None = later("Carry over what is left.", _NO_KEYS)
    budget_reset_time: Text | None = later("Hour at which budgets start anew.", _NO_KEYS)
    timezone: TimeZone | None = used("Time zone in which the periods of budgets begin, as `Europe/Berlin` (UTC).")
    default_soft_budget: Usd | None = later("Budget after which an alert is sent.", _NO_KEYS)
    max_internal_user_budget: Usd | None = used("Budget of new users with the role internal_user, in USD.")
    internal_user_budget_duration: Text | None = used("How long `max_internal_user_budget` lasts: `30d`.")
    default_internal_user_params: JsonMap = used(
        "What new users have unless the request says otherwise: `user_role`, `max_budget`, `models`, `teams`, ...",
        default={},
    )
    max_ui_session_budget: Usd | None = later("Budget of a session in the web page.", _NO_KEYS)
    max_end_user_budget: Usd | None = used("Budget of each end user who has none of his own, in USD.")
    max_end_user_budget_id: Name | None = used("The same by the id of a budget in the database.")
    default_team_settings: Anything = later("Settings of teams.", _NO_KEYS)
    default_team_params: JsonMap = later("Settings of new teams.", _NO_KEYS, default={})
    upperbound_key_generate_params: JsonMap = used(
        "The most a key may have: `max_budget`, `tpm_limit`, `rpm_limit`, `max_parallel_requests`, `duration`, "
        "`budget_duration`; a new key that says none gets this.",
        default={},
    )
    default_key_generate_params: JsonMap = used(
        "What new keys have unless the request says otherwise: any field of POST /key/generate.", default={}
    )
    key_generation_settings: JsonMap = used(
        "Who may make keys, and what they must say: `personal_key_generation` (`allowed_user_roles`, "
        "`required_params`) and `team_key_generation` (`allowed_team_member_roles`, `required_params`).",
        default={},
    )
    key_alias_pattern: Pattern | None = used(
        "The form of the keys' aliases: a regular expression for the whole of one, as `team-[a-z]+`."
    )
    enable_key_alias_format_validation: Flag | None = later("Check the keys' names.", _NO_KEYS)
    tag_budget_config: JsonMap = later("Budgets by tag.", _NO_KEYS, default={})
    priority_reservation: JsonMap = later("Shares kept for priorities.", _NO_KEYS, default={})
    priority_reservation_settings: JsonMap = later("Shares kept for priorities.", _NO_KEYS, default={})
    disable_end_user_cost_tracking: Flag | None = later("No spend by end user.", _NO_KEYS)
    disable_end_user_cost_tracking_prometheus_only: Flag | None = later("No metrics by end user.", _NO_KEYS)
    extra_spend_tag_headers: Names = later("Headers that spend is counted by.", _NO_KEYS, default=())
    block_requests_for_models_without_pricing: Flag | None = used(
        "Refuse models whose price is not known (as `general_settings.unpriced: deny`)."
    )
    cost_discount_config: Discounts = used(
        "What a provider takes off its prices, as a part of them: `{vertex_ai: 0.05}`.", default={}
    )
    cost_margin_config: Margins = used(
        "What is put on a provider's prices: a part of them, or `{percentage: 0.1, fixed_amount: 0.001}` with USD for "
        "each answer; `global` holds for providers that are not named.",
        default={},
    )
    public_routes: Names = used("Paths that need no key, beside `general_settings.public_routes`.", default=())
    mcp_aliases: JsonMap = later("Other names of MCP servers.", default={})
    guardrails: Anything = later("Guardrails.")
    guardrail_name_config_map: Anything = later("Guardrails.")
    presidio_ad_hoc_recognizers: Text | None = later("What Presidio looks for.")
    output_parse_pii: Flag | None = later("Put masked names back into answers.")
    default_vertex_config: Anything = later("Google Cloud credentials.")
    openai_moderations_model_name: Text | None = later("The model that moderates.")
    s3_bucket_name: Text | None = later("Logging to S3.", _NO_SINKS)
