"""The text format: Prometheus's own parser reads all of it, whatever the labels hold."""

from prometheus_client.parser import text_string_to_metric_families

from proxy_cli.shapes import Backend, Deployment, Record
from proxy_cli.telemetry.families import COUNTS, GAUGES
from proxy_cli.telemetry.metrics import Metrics


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Every sample by its name and labels, as Prometheus's parser reads them; empty labels are as none."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = [part for pair in sample.labels.items() if pair[1] for part in pair]
            key = (sample.name, *labels)
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def test_labels_with_quotes_line_ends_and_backslashes_come_back_whole():
    """What a configuration calls its models is told as it is."""
    name = 'a"b\\n\\\n日本{},='
    metrics = Metrics()
    metrics.know(routes={"/r"}, names={name})
    deployment = Deployment(id="d", group=name, model=name, provider="p", backend=Backend("http", "h", 1))

    metrics.add(Record(request_id="r", route="/r", deployment=deployment, status=200))

    models = {key[key.index("model") + 1] for key in samples(metrics.exposition()) if "model" in key}
    assert models == {name}


def test_every_family_is_told_with_its_type_once():
    """Help and type stand before the samples of each metric, and no metric is told in two places."""
    metrics = Metrics()
    for name, family in COUNTS.items():
        metrics.count(name, *("x" for _ in family.labels))
    for name, family in GAUGES.items():
        metrics.set(name, 2.5, *("x" for _ in family.labels))

    text = metrics.exposition().decode()

    types = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE")]
    assert {name for name, _ in types} == {*COUNTS, *GAUGES, "llmproxy_workers"}
    assert len(types) == len(COUNTS) + len(GAUGES) + 1
    assert all(kind == ("gauge" if name in GAUGES or name == "llmproxy_workers" else "counter") for name, kind in types)


def test_a_gauge_of_zero_is_told():
    """Nothing under way is worth a line: a series that comes and goes cannot be watched."""
    metrics = Metrics()
    metrics.set("litellm_in_flight_requests", 0)

    assert samples(metrics.exposition())["litellm_in_flight_requests",] == 0


def test_a_histogram_ends_in_its_count():
    """Buckets only grow, and the last is the count."""
    metrics = Metrics()
    deployment = Deployment(id="d", group="g", model="m", provider="p", backend=Backend("http", "h", 1))
    for ended_s in (0.001, 0.3, 7.0, 1e6):
        metrics.add(Record(request_id="r", route="/r", deployment=deployment, status=200, ended_s=ended_s))

    found = samples(metrics.exposition())

    name = "litellm_request_total_latency_metric"
    buckets = [value for key, value in found.items() if key[0] == f"{name}_bucket"]
    [count] = [value for key, value in found.items() if key[0] == f"{name}_count"]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1], count) == (1, 4, 4)


def test_with_nothing_counted_there_is_still_an_answer():
    """A process that has just begun tells that it is there."""
    assert samples(Metrics().exposition()) == {("llmproxy_workers",): 1}
