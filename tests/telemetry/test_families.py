"""The table of metrics holds together."""

import re

from proxy_cli.telemetry.families import LATENCY_S, LAYOUTS, OVERHEAD_S, SIZES


def test_names_are_prometheus_names_and_stand_once():
    """A counter ends in `_total`, nothing else does, and no name is used twice."""
    families = [each for layout in LAYOUTS for each in layout]
    names = [each.name for each in families]

    assert len(set(names)) == len(names)
    for each in families:
        assert re.fullmatch(r"(litellm|llmproxy)_[a-z_]+", each.name)
        assert each.name.endswith("_total") == (each.kind == "counter"), each.name
        assert each.text.endswith(".")
        assert bool(each.buckets) == (each.kind == "histogram")


def test_figures_of_one_entry_have_the_same_labels():
    """What stands in one entry is named once."""
    assert all(len({each.labels for each in layout}) == 1 for layout in LAYOUTS)
    assert len(SIZES) == len(LAYOUTS)


def test_buckets_grow():
    """Each bound is above the one before."""
    for buckets in (LATENCY_S, OVERHEAD_S):
        assert list(buckets) == sorted(set(buckets))
