"""What a configuration says about routing, made the one value that the rules of routing read.

Owns: which of two sections wins where both say the same, and what holds where none says anything. What the file's
reader has let through is sound; nothing is refused here.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from proxy_cli.config.schema import Config
from proxy_cli.config.settings_router import NOT_YET, StrategyArgs, joined
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Json, Target, Targets

Number = TypeVar("Number", int, float)
_USUAL: Final = Rules()
# Of what a process takes on, the part that may wait for deployments without a place: they keep no other from work.
_WAITING_SHARE: Final = 0.75


def rules_of(
    config: Config,
    *,
    serves: Callable[[str], bool] = lambda _name: True,
    deadline_s: float | None = None,
    in_flight: int | None = None,
) -> Rules:
    """The rules of a configuration.

    `serves` says which names may be asked for; `deadline_s` is that of every call; `in_flight` is what a process takes
    on at once.
    """
    router, litellm, general = config.router_settings, config.litellm_settings, config.general_settings
    retries = _first(router.num_retries, router.max_retries, litellm.num_retries, litellm.num_retries_per_request)
    strategy = router.routing_strategy
    return Rules(
        strategy=_USUAL.strategy if strategy in NOT_YET else strategy,
        strategy_args=_args(router.routing_strategy_args),
        retries=_USUAL.retries if retries is None else retries,
        retry_after_s=router.retry_after or 0.0,
        retry_policy=router.retry_policy,
        group_retry_policy=router.model_group_retry_policy,
        fallbacks=_fallbacks(config),
        context_window_fallbacks=_for_long_prompts(config, serves),
        content_policy_fallbacks=joined(router.content_policy_fallbacks or litellm.content_policy_fallbacks),
        max_fallbacks=_USUAL.max_fallbacks if router.max_fallbacks is None else router.max_fallbacks,
        allowed_fails=_first(router.allowed_fails, litellm.allowed_fails),
        allowed_fails_policy=router.allowed_fails_policy,
        rest_s=_first(router.cooldown_time, litellm.cooldown_time),
        rests=not router.disable_cooldowns,
        checks_calls=bool(router.enable_pre_call_checks),
        by_tags=bool(router.enable_tag_filtering),
        any_tag=router.tag_filtering_match_any,
        tag_prefix=router.tag_routing_prefix or "",
        hedges=bool(router.hedging),
        queues=general.queue,
        most_queued=general.max_queued_requests_per_deployment,
        most_waiting=_USUAL.most_waiting if in_flight is None else max(int(in_flight * _WAITING_SHARE), 1),
        priority=_USUAL.priority if router.default_priority is None else router.default_priority,
        max_wait_s=deadline_s or _USUAL.max_wait_s,
    )


def _fallbacks(config: Config) -> Targets:
    router, litellm = config.router_settings, config.litellm_settings
    return joined(router.fallbacks or litellm.fallbacks, any_name=router.default_fallbacks or litellm.default_fallbacks)


def _for_long_prompts(config: Config, serves: Callable[[str], bool]) -> Targets:
    """What `context_window_fallbacks` says, and for other names `context_window_fallback_dict`."""
    router, litellm = config.router_settings, config.litellm_settings
    found = joined(router.context_window_fallbacks or litellm.context_window_fallbacks)
    longer = {
        name: (Target(other),)
        for name, other in litellm.context_window_fallback_dict.items()
        if name not in found and serves(other)
    }
    return {**longer, **found}


def _args(given: StrategyArgs) -> dict[str, Json]:
    buffer = given.lowest_latency_buffer
    return {} if buffer is None else {"lowest_latency_buffer": buffer}


def _first(*values: Number | None) -> Number | None:
    return next((value for value in values if value is not None), None)
