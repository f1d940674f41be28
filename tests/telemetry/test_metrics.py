"""Metrics: what is counted is told, right across processes, under names that are bounded."""

from dataclasses import replace
from functools import partial

import pytest

from proxy_cli.shapes import Backend, Deployment, Record, Usage
from proxy_cli.shared import Shared
from proxy_cli.telemetry.metrics import Metrics
from tests.telemetry.test_exposition import samples
from tests.test_shared import living_child

DEPLOYMENT = Deployment(
    id="d1", group="gpt", model="vicuna", provider="openai", backend=Backend("http", "h", 80), base_path="/v1"
)
ROUTE = "/v1/chat/completions"
REQUESTS = "litellm_proxy_total_requests_metric_total"


def record(**more) -> Record:
    values = {
        "request_id": "r1", "route": ROUTE, "model": "gpt", "deployment": DEPLOYMENT, "status": 200,
        "usage": Usage(100, 10, cached_tokens=30), "cost_usd": 0.5, "started_s": 10.0, "ended_s": 11.5,
        "waited_s": 1.4995, "bytes_out": 400, **more,
    }  # fmt: skip
    return Record(**values)


def known(**room) -> Metrics:
    metrics = Metrics(Shared(**room)) if room else Metrics()
    metrics.know(routes={ROUTE, "/health"}, names={"gpt"})
    return metrics


def test_a_request_is_counted_with_its_tokens_cost_and_bytes():
    """Each figure of a request stands under the name of its deployment."""
    metrics = known()

    for _ in range(3):
        metrics.add(record())

    found = samples(metrics.exposition())
    assert found[REQUESTS, "route", ROUTE, "requested_model", "gpt", "model_id", "d1", "status_code", "200",
                 "stream", "false"] == 3  # fmt: skip
    of = ("requested_model", "gpt", "model", "vicuna", "model_id", "d1", "api_provider", "openai",
          "api_base", "http://h/v1")  # fmt: skip
    assert found["litellm_input_tokens_metric_total", *of] == 300
    assert found["litellm_output_tokens_metric_total", *of] == 30
    assert found["litellm_total_tokens_metric_total", *of] == 330
    assert found["litellm_input_cached_tokens_metric_total", *of] == 90
    assert found["litellm_spend_metric_total", *of] == 1.5
    assert found["llmproxy_response_bytes_total", *of] == 1200


@pytest.mark.row("U-29")
def test_a_usage_that_cannot_be_is_counted_by_what_is_wrong():
    """An alarm for who bills by it."""
    metrics = known()

    for problem in ("negative", "negative", "missing", ""):
        metrics.add(record(usage=Usage(1, problem=problem)))

    found = samples(metrics.exposition())
    assert found["llmproxy_usage_problems_total", "kind", "negative"] == 2
    assert found["llmproxy_usage_problems_total", "kind", "missing"] == 1


@pytest.mark.parametrize(
    ("more", "total_le", "overhead_le", "first_count"),
    [
        ({}, "2", "0.0005", None),
        ({"stream": True, "first_byte_s": 10.3, "waited_s": 0.25}, "2", "0.1", 1),
        ({"ended_s": 10.004, "waited_s": 0.0038}, "0.005", "0.00025", None),
    ],
)
def test_times_fall_into_their_buckets(more, total_le, overhead_le, first_count):
    """The whole time, our part of it and the backend's first word are found in the bucket they belong to."""
    metrics = known()

    metrics.add(record(**more))

    found = samples(metrics.exposition())

    def first_bucket(name):
        bounds = {key[-1]: value for key, value in found.items() if key[0] == f"{name}_bucket"}
        return next(bound for bound, number in bounds.items() if number)

    assert first_bucket("litellm_request_total_latency_metric") == total_le
    assert first_bucket("litellm_overhead_latency_metric") == overhead_le
    counts = [value for key, value in found.items() if key[0] == "litellm_llm_api_time_to_first_token_metric_count"]
    assert counts == [first_count or 0]
    sums = {key[0]: value for key, value in found.items() if key[0].endswith("_sum")}
    total = sums["litellm_request_total_latency_metric_sum"]
    assert sums["litellm_overhead_latency_metric_sum"] + sums["litellm_llm_api_latency_metric_sum"] == (
        pytest.approx(total)
    )


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"status": 502, "error": "x", "error_code": "upstream_truncated"}, "upstream_truncated"),
        ({"status": 429, "error": "x"}, "http_429"),
        ({"status": 200, "error": "broke off"}, "in_stream"),
        ({"status": 500, "error": "x", "error_code": "words of\na backend"}, "other"),
    ],
)
def test_failures_of_a_deployment_are_counted_by_code(more, code):
    """An error stands under its code, and under `other` where a backend made up something else."""
    metrics = known()

    metrics.add(record(**more))

    found = samples(metrics.exposition())
    assert found["llmproxy_upstream_errors_total", "requested_model", "gpt", "model_id", "d1", "code", code] == 1
    assert not [key for key, value in found.items() if key[0].endswith("latency_metric_count") and value]


def test_a_caller_who_leaves_is_no_failure_of_the_backend():
    """Status 499 counts as a disconnect, with and without a deployment."""
    metrics = known()

    metrics.add(record(status=499, error="the client left"))
    metrics.add(record(status=499, error="the client left", deployment=None))

    found = samples(metrics.exposition())
    assert found["llmproxy_client_disconnects_total",] == 2
    assert not [key for key in found if key[0] == "llmproxy_upstream_errors_total"]


@pytest.mark.row("L-11")
def test_what_callers_make_up_has_no_series_of_its_own():
    """A thousand paths and names that do not exist, and as many codes of a backend, come to a few series."""
    metrics = known()

    for number in range(1000):
        metrics.add(record(route=f"/{number}", deployment=None, model="", status=404))
        metrics.add(record(deployment=None, model=f"m{number}", status=400))
        metrics.add(record(status=400, error="x", error_code=f"code_{number}"))

    found = samples(metrics.exposition())
    assert found[REQUESTS, "route", "other", "status_code", "404", "stream", "false"] == 1000
    assert found[REQUESTS, "route", ROUTE, "requested_model", "other", "status_code", "400", "stream", "false"] == 1000
    errors = [value for key, value in found.items() if key[0] == "llmproxy_upstream_errors_total"]
    assert (len(errors), sum(errors)) == (65, 1000)


def test_callers_of_a_wildcard_cannot_make_up_series():
    """Behind `openai/*` some models are told apart; any more of them are `other`."""
    metrics = known()

    for number in range(300):
        metrics.add(record(deployment=replace(DEPLOYMENT, group="openai/*", model=f"m{number}")))

    found = samples(metrics.exposition())
    spent = {key: value for key, value in found.items() if key[0] == "litellm_output_tokens_metric_total"}
    assert len(spent) == 257
    others = [
        value
        for key, value in found.items()
        if key[0] == "litellm_request_total_latency_metric_count" and "other" in key
    ]
    assert others == [300 - 256]


def test_names_that_find_no_room_are_counted_together():
    """In a memory that is too small nothing fails and nothing is lost, but the names."""
    metrics = known(slots=1, slot_bytes=8192)

    for number in range(50):
        deployment = Deployment(id=f"d{number}", group="gpt", model="m", provider="p", backend=DEPLOYMENT.backend)
        metrics.add(record(deployment=deployment))
        metrics.count("llmproxy_upstream_retries_total", f"backend {number}")

    found = samples(metrics.exposition())
    assert sum(value for key, value in found.items() if key[0] == REQUESTS) == 50
    assert sum(value for key, value in found.items() if key[0] == "litellm_spend_metric_total") == 25
    assert found["litellm_spend_metric_total", *("requested_model", "other", "model", "other", "model_id", "other",
                 "api_provider", "other", "api_base", "other")] > 0  # fmt: skip
    assert found["llmproxy_metrics_untold_total",] > 0


def test_a_gauge_that_finds_no_room_spoils_no_other_figure():
    """What cannot be named is counted as untold, one for each time, whatever the gauge says."""
    metrics = known(slots=1, slot_bytes=8192)

    for number in range(200):
        metrics.set("llmproxy_upstream_waiting", 1e9, f"backend {number}")

    found = samples(metrics.exposition())
    told = [key for key in found if key[0] == "llmproxy_upstream_waiting"]
    assert 0 < len(told) < 200
    assert found["llmproxy_metrics_untold_total",] == 200 - len(told)


def test_figures_of_processes_add_up_and_gauges_end_with_them():
    """Counters of a process that has ended stay; what it said of its state goes."""
    metrics = known()

    def work(number):
        metrics.enter(number)
        metrics.add(record())
        metrics.count("llmproxy_requests_shed_total", "full", amount=number)
        metrics.set("litellm_in_flight_requests", 7)
        metrics.set("llmproxy_event_loop_lag_seconds", 0.1 * number)
        metrics.publish()

    metrics.set("litellm_in_flight_requests", 1)
    with living_child(partial(work, 1)), living_child(partial(work, 2)):
        living = samples(metrics.exposition())
    killed = samples(metrics.exposition())

    assert living["litellm_in_flight_requests",] == 15
    assert living["llmproxy_event_loop_lag_seconds",] == pytest.approx(0.2)
    assert living["llmproxy_workers",] == 3
    assert living["llmproxy_requests_shed_total", "reason", "full"] == 3
    assert (killed["litellm_in_flight_requests",], killed["llmproxy_workers",]) == (1, 1)
    for found in (living, killed):
        assert sum(value for key, value in found.items() if key[0] == REQUESTS) == 2


def test_leaving_takes_the_state_and_keeps_the_counts():
    """A process that stops serving is no worker any more."""
    metrics = known()
    metrics.add(record())
    metrics.set("litellm_in_flight_requests", 7)
    metrics.publish()

    metrics.leave()

    reader = samples(metrics.exposition(publish=False))
    assert "litellm_in_flight_requests" not in {key[0] for key in reader}
    assert reader["llmproxy_workers",] == 0
    assert sum(value for key, value in reader.items() if key[0] == REQUESTS) == 1


def test_sources_are_asked_before_figures_are_read():
    """What others keep count of is told as it is at the moment of reading."""
    metrics = known()
    numbers = iter((3.0, 5.0))

    def source():
        metrics.set("llmproxy_upstream_waiting", next(numbers), "http://h")

    metrics.watch(source)
    metrics.publish()
    found = samples(metrics.exposition())
    metrics.unwatch(source)

    assert found["llmproxy_upstream_waiting", "backend", "http://h"] == 5
    metrics.publish()


def test_a_name_that_is_no_metric_is_a_mistake():
    """A typing error shows in the first test that passes by it."""
    metrics = known()

    with pytest.raises(KeyError):
        metrics.count("llmproxy_nothing_total")
    with pytest.raises(AssertionError):
        metrics.count("llmproxy_requests_shed_total")


def test_after_a_reload_the_new_names_are_told():
    """A deployment that keeps its id but not its model is told as it is now."""
    metrics = known()
    metrics.add(record())

    changed = Deployment(id="d1", group="gpt", model="vicuna-2", provider="openai", backend=DEPLOYMENT.backend)
    metrics.add(record(deployment=changed))

    models = {key[4] for key in samples(metrics.exposition()) if key[0] == "litellm_spend_metric_total"}
    assert models == {"vicuna", "vicuna-2"}
