"""What the configuration says about routing, as one value: made once, read by every rule here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy_cli.shapes import NOTHING, Json, Targets


def _nothing() -> Mapping[str, Json]:
    return NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Times in seconds; kinds of failures by LiteLLM's names (`RateLimitErrorRetries`, ...)."""

    strategy: str = "simple-shuffle"
    strategy_args: Mapping[str, Json] = field(default_factory=_nothing)
    retries: int = 2  # tries after the first
    retry_after_s: float = 0.0  # the shortest pause before a try
    retry_policy: Mapping[str, int] = field(default_factory=_nothing)
    group_retry_policy: Mapping[str, Mapping[str, int]] = field(default_factory=_nothing)
    fallbacks: Targets = field(default_factory=_nothing)
    context_window_fallbacks: Targets = field(default_factory=_nothing)
    content_policy_fallbacks: Targets = field(default_factory=_nothing)
    max_fallbacks: int = 5
    allowed_fails: int | None = None  # failures a minute; None: the usual breaker
    allowed_fails_policy: Mapping[str, int] = field(default_factory=_nothing)
    rest_s: float | None = None  # cooldown_time; None: growing from 1 s to 60 s
    rests: bool = True  # not disable_cooldowns
    checks_calls: bool = False  # enable_pre_call_checks
    by_tags: bool = False  # enable_tag_filtering
    any_tag: bool = True  # tag_filtering_match_any
    tag_prefix: str = ""
    hedges: bool = False
    queues: bool = True  # a call that has no place waits for one
    most_queued: int = 1000  # of one deployment
    most_waiting: int = 750  # of all of them in one process, which takes on more than that: the rest is for others
    priority: int = 100  # default_priority
    max_wait_s: float = 600.0  # in a queue, where the request has no deadline of its own
