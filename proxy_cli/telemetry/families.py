"""Every metric by name: what it says, its labels, and where its figures stand.

Names and labels are LiteLLM's where it has such a metric (a label that it has more of is simply not there), else ours.
Labels are bounded by the configuration: a name that a caller made up is `other`, a path that does not exist too.
"""

from typing import Final, Literal, NamedTuple

# LiteLLM's, so that its dashboards' thresholds are there.
LATENCY_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 420, 600)
# What we add ourselves is less than that by some powers of ten.
OVERHEAD_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)


class Family(NamedTuple):
    """One metric. A histogram's figures are its sum and the number of each bucket, the last without an upper bound."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    kind: Literal["counter", "gauge", "histogram"] = "counter"
    buckets: tuple[float, ...] = ()
    largest: bool = False  # over the processes, a gauge is the largest of them instead of their sum

    @property
    def size(self) -> int:
        """How many figures it has."""
        return len(self.buckets) + 2 if self.buckets else 1


_MODEL: Final = ("requested_model", "model", "model_id", "api_provider", "api_base")
_DEPLOYMENT: Final = ("requested_model", "model_id")
_FALLBACK: Final = ("requested_model", "fallback_model")


def _seconds(name: str, text: str, buckets: tuple[float, ...] = LATENCY_S) -> Family:
    return Family(name, text, _MODEL, "histogram", buckets)


# One entry for each route, name, deployment and status that came.
REQUESTS: Final = (
    Family(
        "litellm_proxy_total_requests_metric_total",
        "Requests.",
        ("route", "requested_model", "model_id", "status_code", "stream"),
    ),
)
# One entry for each deployment, in this order.
ANSWERS: Final = (
    _seconds("litellm_request_total_latency_metric", "From a request's head to the last byte of its answer."),
    _seconds("litellm_llm_api_latency_metric", "The part of a request that the backend took."),
    _seconds("litellm_llm_api_time_to_first_token_metric", "From the call of the backend to a stream's first bytes."),
    _seconds("litellm_overhead_latency_metric", "The part of a request that llmproxy took itself.", OVERHEAD_S),
    Family("litellm_input_tokens_metric_total", "Tokens of prompts.", _MODEL),
    Family("litellm_output_tokens_metric_total", "Tokens of answers.", _MODEL),
    Family("litellm_input_cached_tokens_metric_total", "Tokens of prompts that the backend had in its cache.", _MODEL),
    Family("litellm_spend_metric_total", "What answers cost, in USD.", _MODEL),
    Family("llmproxy_response_bytes_total", "Bytes of answers that were sent to callers.", _MODEL),
)
# One entry for each deployment and way to fail.
FAILURES: Final = (
    Family(
        "llmproxy_upstream_errors_total",
        "Requests that a deployment answered with an error or not to the end.",
        (*_DEPLOYMENT, "code"),
    ),
)

# Counted by name, from anywhere.
COUNTS: Final = {
    each.name: each
    for each in (
        Family("llmproxy_requests_shed_total", "Requests refused because there was too much to do.", ("reason",)),
        Family("llmproxy_client_disconnects_total", "Callers who left before the end of their answer."),
        Family("llmproxy_log_lines_dropped_total", "Lines that the log's output was too slow for."),
        Family("llmproxy_telemetry_failures_total", "Exceptions while a request was logged or counted.", ("part",)),
        Family("llmproxy_config_reloads_total", "Configurations that were taken into use while running."),
        Family("llmproxy_config_reload_failed_total", "Configurations that were refused while running."),
        Family("llmproxy_upstream_connections_opened_total", "Connections that were opened.", ("backend",)),
        Family("llmproxy_upstream_connect_failures_total", "Connections that could not be opened.", ("backend",)),
        Family("llmproxy_upstream_retries_total", "Requests sent again over a fresh connection.", ("backend",)),
        Family("llmproxy_mirror_skipped_total", "Copies that were not sent because too many were under way."),
        Family("llmproxy_upstream_pool_full_total", "Requests that found no connection in time.", ("backend",)),
        Family("litellm_deployment_success_responses_total", "Attempts that a deployment answered.", _MODEL),
        Family(
            "litellm_deployment_failure_responses_total",
            "Attempts that it failed by its own fault, whatever became of the request.",
            (*_MODEL, "exception_status"),
        ),
        Family("litellm_deployment_cooled_down_total", "Times that a deployment was made to rest.", _MODEL),
        Family("litellm_deployment_successful_fallbacks_total", "Answers that came from another name.", _FALLBACK),
        Family("litellm_deployment_failed_fallbacks_total", "Other names that were asked in vain.", _FALLBACK),
        Family("llmproxy_retries_total", "Further attempts under the same name.", ("requested_model",)),
        Family("llmproxy_retries_refused_total", "Retries that were too many by their bound.", ("requested_model",)),
        Family(
            "llmproxy_queue_refused_total",
            "Calls that got no place at a deployment: who may not wait, found the queue full, or waited in vain.",
            ("requested_model", "reason"),
        ),
        Family("llmproxy_hedges_total", "Second tries beside a slow first one."),
        Family(
            "llmproxy_usage_problems_total",
            "Answers whose backend counted nothing, or counted what cannot be.",
            ("kind",),
        ),
    )
}
# Set by name, by each process for itself; of a process that has ended they do not count any more.
GAUGES: Final = {
    each.name: each
    for each in (
        Family("litellm_in_flight_requests", "Requests under way.", (), "gauge"),
        Family("llmproxy_streams", "Streams under way that have begun.", (), "gauge"),
        Family("llmproxy_requests_waiting", "Requests that wait for a place.", (), "gauge"),
        Family("llmproxy_requests_limit", "Requests that may be under way at once.", (), "gauge"),
        Family("llmproxy_event_loop_lag_seconds", "How late the busiest process is.", (), "gauge", largest=True),
        Family("llmproxy_upstream_connections", "Connections to backends.", ("backend", "state"), "gauge"),
        Family("llmproxy_upstream_waiting", "Requests that wait for a connection.", ("backend",), "gauge"),
        # Of each process's own account, which the others hear of within a moment: the worst is the newest.
        Family(
            "litellm_deployment_state",
            "0: it is asked. 1: it is busy, loading, or has yet to show that it is well again. 2: it is not asked.",
            _MODEL,
            "gauge",
            largest=True,
        ),
        Family("llmproxy_deployment_in_flight", "Attempts under way at a deployment.", _DEPLOYMENT, "gauge"),
        Family("llmproxy_deployment_places_taken", "Places taken at one with limits.", _DEPLOYMENT, "gauge"),
        Family("llmproxy_deployment_waiting", "Requests that wait for a place at it.", _DEPLOYMENT, "gauge"),
    )
}
# Made of others when they are told.
FAILED: Final = Family(
    "litellm_proxy_failed_requests_metric_total",
    "Requests that failed.",
    ("route", "requested_model", "model_id", "exception_status", "stream"),
)
TOKENS: Final = Family("litellm_total_tokens_metric_total", "Tokens of prompts and answers.", _MODEL)
WORKERS: Final = Family("llmproxy_workers", "Processes that serve.", (), "gauge")
UNTOLD: Final = Family("llmproxy_metrics_untold_total", "Figures of names for which there was no room.")

# What stands in one entry: an entry's kind is its number here.
LAYOUTS: Final[tuple[tuple[Family, ...], ...]] = (
    REQUESTS,
    ANSWERS,
    FAILURES,
    *((each,) for each in COUNTS.values()),
    *((each,) for each in GAUGES.values()),
    (UNTOLD,),
)
FAMILIES: Final = (*(each for layout in LAYOUTS for each in layout), FAILED, TOKENS, WORKERS)
KINDS: Final = {families[0].name: number for number, families in enumerate(LAYOUTS)}
SIZES: Final = tuple(sum(each.size for each in families) for families in LAYOUTS)
