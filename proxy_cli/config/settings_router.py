"""The declaration of `router_settings`: which deployment of a name is asked, and what happens when it fails."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import msgspec

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
    Share,
    Tally,
    Text,
    read_anything,
    wrong,
)
from proxy_cli.config.models import SharedParams
from proxy_cli.config.privacy import shown
from proxy_cli.config.reading import BeforeValidator, PlainValidator, WithJsonSchema
from proxy_cli.config.request_fields import RequestFields
from proxy_cli.config.routing_values import AllowedFailsPolicy, Priority, Retries, RetryPolicy
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.state import Section, ignored, later, settings, used
from proxy_cli.shapes import Target, Targets

STRATEGIES: Final = (
    "simple-shuffle", "least-busy", "latency-based-routing", "usage-based-routing", "usage-based-routing-v2",
    "cost-based-routing", "round-robin", "power-of-two", "provider-budget-routing", "lar1",
)  # fmt: skip
NOT_YET: Final = STRATEGIES[-2:]
_ANY: Final = "*"
_FORGOTTEN: Final = "averages forget old answers by themselves"
_WHOEVER: Final = "calls are shared among the deployments of a name, whoever calls"
_ONE: Final = "nothing is shared between instances yet"

Strategy = Annotated[str, PlainValidator(Choice(STRATEGIES)), WithJsonSchema({"enum": list(STRATEGIES)})]


class AliasTarget(Section):
    """Where an alias leads."""

    model: Name = used("The name it stands for.", default=...)
    hidden: Flag = used("Leave it out of the list of models.", default=False)


def read_alias(value: object) -> object:
    """The full form of an alias: a bare name leads to that name and is listed."""
    return {"model": value} if isinstance(value, str | Scalar) else value


def read_target(value: object) -> Target:
    """One step of a fallback: a name, or `{model: name, ...}` with fields of the body that are then different."""
    if isinstance(value, Mapping) and "model" in value:
        fields = {str(key): _field(str(key), inner) for key, inner in value.items() if key != "model"}
        return Target(read_target(value["model"]).model, fields)
    if isinstance(value, Scalar) and value.kind not in ("bool", "null") and value.text:
        return Target(value.text)
    if isinstance(value, str) and value:
        return Target(value)
    raise wrong("expected the name of a model", 'write it as ["name", "other name"]')


def _field(name: str, value: object) -> msgspec.Raw:
    """A field of the body. What says where or how a call is sent has its place in an entry of `model_list`."""
    if name in settings(SharedParams) and name not in settings(RequestFields):
        raise wrong(
            f"a fallback cannot set '{shown(name)}'", "set it in an entry of model_list, and name that one here"
        )
    return msgspec.Raw(msgspec.json.encode(read_anything(value)))


def joined(steps: Iterable[Mapping[str, tuple[Target, ...]]], any_name: tuple[Target, ...] = ()) -> Targets:
    """Fallbacks as one mapping by the name that failed; `any_name` comes after what is said of `*`."""
    found: dict[str, tuple[Target, ...]] = {}
    for step in (*steps, {_ANY: any_name}):
        for name, targets in step.items():
            known = found.get(name, ())
            found[name] = (*known, *(each for each in targets if each not in known))
    return {name: targets for name, targets in found.items() if targets}


Alias = Annotated[AliasTarget, BeforeValidator(read_alias, json_schema_input_type=str | AliasTarget)]
FallbackTarget = Annotated[Target, PlainValidator(read_target), WithJsonSchema({"type": ["string", "object"]})]
Fallbacks = tuple[dict[str, tuple[FallbackTarget, ...]], ...]


class StrategyArgs(Section):
    """Fine points of the strategy."""

    lowest_latency_buffer: Share | None = used(
        "With latency-based-routing: how much slower than the fastest still counts as fast; 0.1 is 10 % (0)."
    )
    ttl: Seconds | None = ignored("How long figures count.", _FORGOTTEN)
    max_latency_list_size: Count | None = ignored("How many answers count.", _FORGOTTEN)


class RouterSettings(Section):
    """Which deployment of a name is asked, and what happens when it fails."""

    routing_strategy: Strategy = used(
        "How traffic is shared among the deployments of a name.", default="simple-shuffle", later=NOT_YET
    )
    routing_strategy_args: StrategyArgs = used("Fine points of the strategy.", default=StrategyArgs())
    model_group_alias: dict[str, Alias] = used("Other names for names: `{gpt-4: llama}`.", default={})
    timeout: Seconds | None = used("Time limit of a whole plain call, in seconds, where the entry has none.")
    stream_timeout: Seconds | None = used("Time limit up to the first event of a stream, in seconds.")
    default_litellm_params: SharedParams = used(
        "`litellm_params` of every entry that does not set them.", default=SharedParams()
    )

    num_retries: Retries | None = used("Tries after the first (2).")
    max_retries: Retries | None = used("Another name of `num_retries`.")
    retry_after: Pause | None = used("Shortest pause before the same deployment is tried again, in seconds (0).")
    retry_policy: RetryPolicy = used(
        "Tries after the first, by kind of failure: `{RateLimitErrorRetries: 3}`.", default={}
    )
    model_group_retry_policy: dict[str, RetryPolicy] = used("The same for single names.", default={})
    fallbacks: Fallbacks = used("Other names that are asked when one fails: `[{a: [b, c]}]`; `*` is any.", default=())
    context_window_fallbacks: Fallbacks = used("The same for prompts that are too long.", default=())
    content_policy_fallbacks: Fallbacks = used("The same for refused content.", default=())
    default_fallbacks: tuple[FallbackTarget, ...] = used("Names that are asked when any fails.", default=())
    max_fallbacks: Tally | None = used("How many names are asked in turn after the first (5).")
    enable_pre_call_checks: Flag | None = used(
        "Before choosing, leave out deployments that the prompt is too long for, or that do not take a field of it."
    )
    allowed_fails: Tally | None = used(
        "Failures a minute after which a deployment rests (without: five in a row, or every fifth of ten or more)."
    )
    allowed_fails_policy: AllowedFailsPolicy = used(
        "The same by kind of failure: `{TimeoutErrorAllowedFails: 10}`.", default={}
    )
    cooldown_time: Pause | None = used("How long a deployment rests, in seconds (1, growing to 60).")
    disable_cooldowns: Flag | None = used("Never rest a deployment.")
    default_max_parallel_requests: Count | None = used("Calls at a time to a deployment that says nothing of it.")
    default_priority: Priority | None = used("Priority of a waiting call that has none: 0 is first, 255 last (100).")
    enable_tag_filtering: Flag | None = used("Ask only deployments that have a tag of the request.")
    tag_filtering_match_any: Flag = used(
        "One common tag is enough; else all of the request's are needed.", default=True
    )
    tag_routing_prefix: Text | None = used("Only tags that begin like this count.")
    hedging: Flag | None = used(
        "Where a stream's first event is late for its deployment, ask a second one and take what comes first."
    )
    polling_interval: Seconds | None = ignored(
        "How often the queue is looked at.", "a waiting call is woken by the end of another"
    )
    enable_weighted_failover: Flag | None = later("Fail over by weight.", "any other deployment of the name is asked")
    optional_pre_call_checks: Names = later(
        "Further looks before choosing.", "`enable_pre_call_checks` looks at length and fields", default=()
    )
    provider_budget_config: JsonMap = later("Budgets by provider.", "`--max_budget` limits the whole proxy", default={})
    deployment_affinity_ttl_seconds: Seconds | None = later("How long a caller stays with a deployment.", _WHOEVER)
    routing_groups: Anything = later("Strategies for single names.", "`routing_strategy` holds for all")
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
