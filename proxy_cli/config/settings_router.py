"""The declaration of `router_settings`: which deployment of a name is asked, and what happens when it fails."""

from typing import Annotated, Final

from proxy_cli.config.fields import (
    Anything,
    Choice,
    Count,
    Flag,
    JsonMap,
    Key,
    Name,
    Names,
    Pause,
    Seconds,
    Tally,
    Text,
    wrong,
)
from proxy_cli.config.models import SharedParams
from proxy_cli.config.reading import BeforeValidator, PlainValidator, WithJsonSchema
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.state import Section, ignored, later, used

STRATEGIES: Final = (
    "simple-shuffle", "least-busy", "latency-based-routing", "usage-based-routing", "usage-based-routing-v2",
    "cost-based-routing", "provider-budget-routing", "lar1",
)  # fmt: skip
_SHUFFLED: Final = "requests are shared at random, by weight"
_TRIED: Final = "a failed connection goes to another deployment of the name; nothing else is tried again"
_NO_REST: Final = "no deployment is rested after failures yet"
_NO_LIMIT: Final = "no limit is enforced yet"
_ONE: Final = "nothing is shared between instances yet"

Strategy = Annotated[str, PlainValidator(Choice(STRATEGIES)), WithJsonSchema({"enum": list(STRATEGIES)})]


class AliasTarget(Section):
    """Where an alias leads."""

    model: Name = used("The name it stands for.", default=...)
    hidden: Flag = used("Leave it out of the list of models.", default=False)


def read_alias(value: object) -> object:
    """The full form of an alias: a bare name leads to that name and is listed."""
    return {"model": value} if isinstance(value, str | Scalar) else value


def fallback_name(value: object) -> str:
    """The name in one step of a fallback: the name itself, or `{model: name, ...}`."""
    if isinstance(value, dict) and "model" in value:
        return fallback_name(value["model"])
    if isinstance(value, Scalar) and value.kind not in ("bool", "null") and value.text:
        return value.text
    if isinstance(value, str) and value:
        return value
    raise wrong("expected the name of a model", 'write it as ["name", "other name"]')


Alias = Annotated[AliasTarget, BeforeValidator(read_alias, json_schema_input_type=str | AliasTarget)]
FallbackName = Annotated[str, PlainValidator(fallback_name), WithJsonSchema({"type": ["string", "object"]})]
Fallbacks = tuple[dict[str, tuple[FallbackName, ...]], ...]


class RouterSettings(Section):
    """Which deployment of a name is asked, and what happens when it fails."""

    routing_strategy: Strategy = used(
        "How traffic is shared among the deployments of a name.", default="simple-shuffle", later=STRATEGIES[1:]
    )
    routing_strategy_args: JsonMap = later("Fine points of the strategy.", _SHUFFLED, default={})
    model_group_alias: dict[str, Alias] = used("Other names for names: `{gpt-4: llama}`.", default={})
    timeout: Seconds | None = used("Time limit of a whole plain call, in seconds, where the entry has none.")
    stream_timeout: Seconds | None = used("Time limit up to the first event of a stream, in seconds.")
    default_litellm_params: SharedParams = used(
        "`litellm_params` of every entry that does not set them.", default=SharedParams()
    )

    num_retries: Tally | None = later("Tries after the first.", _TRIED)
    max_retries: Tally | None = later("Tries after the first.", _TRIED)
    retry_after: Pause | None = later("Shortest pause between two tries, in seconds.", _TRIED)
    retry_policy: dict[str, Tally] = later("Tries after the first, by kind of failure.", _TRIED, default={})
    model_group_retry_policy: JsonMap = later("The same for single names.", _TRIED, default={})
    fallbacks: Fallbacks = later("Other names that are asked when one fails.", _TRIED, default=())
    context_window_fallbacks: Fallbacks = later("The same for prompts that are too long.", _TRIED, default=())
    content_policy_fallbacks: Fallbacks = later("The same for refused content.", _TRIED, default=())
    default_fallbacks: tuple[FallbackName, ...] = later("Names that are asked when any fails.", _TRIED, default=())
    max_fallbacks: Tally | None = later("How many names are asked in turn.", _TRIED)
    enable_weighted_failover: Flag | None = later("Fail over by weight.", _TRIED)
    enable_pre_call_checks: Flag | None = later("Look at prompt length and limits before choosing.", _SHUFFLED)
    optional_pre_call_checks: Names = later("Further looks before choosing.", _SHUFFLED, default=())
    allowed_fails: Tally | None = later("Failures a minute before a deployment rests.", _NO_REST)
    allowed_fails_policy: dict[str, Tally] = later("The same by kind of failure.", _NO_REST, default={})
    cooldown_time: Pause | None = later("How long a deployment rests, in seconds.", _NO_REST)
    disable_cooldowns: Flag | None = used("Never rest a deployment.", note=_NO_REST)
    default_max_parallel_requests: Count | None = later("Calls at a time to one deployment.", _NO_LIMIT)
    default_priority: Tally | None = later("Priority of a queued request.")
    polling_interval: Seconds | None = later("How often the queue is looked at, in seconds.")
    enable_tag_filtering: Flag | None = later("Route by tags.", _SHUFFLED)
    tag_filtering_match_any: Flag | None = later("One common tag is enough.", _SHUFFLED, always=True)
    tag_routing_prefix: Text | None = later("Prefix of the tags that count.", _SHUFFLED)
    provider_budget_config: JsonMap = later("Budgets by provider.", "`--max_budget` limits the whole proxy", default={})
    deployment_affinity_ttl_seconds: Seconds | None = later("How long a caller stays with a deployment.", _SHUFFLED)
    routing_groups: Anything = later("Strategies for single names.", _SHUFFLED)
    assistants_config: Anything = later("Assistants.")
    guardrail_list: Anything = later("Guardrails.")
    search_tools: Anything = later("Search providers.")

    redis_host: Text | None = later("Redis server.", _ONE)
    redis_port: Count | None = later("Redis port.", _ONE)
    redis_password: Key | None = later("Redis password.", _ONE)
    redis_url: Key | None = later("Redis address.", _ONE)
    redis_db: Tally | None = later("Redis database.", _ONE)
    redis_ssl: Flag | None = later("Redis over TLS.", _ONE)
    cache_responses: Flag | None = later("Keep answers.", "nothing is cached yet")
    cache_kwargs: JsonMap = later("Fine points of the cache.", "nothing is cached yet", default={})
    caching_groups: Anything = later("Names that share cached answers.", "nothing is cached yet")
    client_ttl: Seconds | None = ignored("How long LiteLLM keeps its clients.", "connections are pooled by backend")
    alerting_config: JsonMap = later("Alerts from the router.", default={})
    set_verbose: Flag | None = ignored("Log more.", "use --debug or --detailed_debug")
    debug_level: Text | None = ignored("Log more.", "use --debug or --detailed_debug")
    ignore_invalid_deployments: Flag | None = ignored(
        "Start without entries that are wrong.", "a wrong entry is an error, so that nobody misses it later"
    )
