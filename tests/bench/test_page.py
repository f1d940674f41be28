"""The page: results stand between its marks, and the rest of it stays."""

import pytest

from bench import page
from bench.results import Results

RUN = {
    "date": "2026-01-02T03:04:05+00:00",
    "command": "python -m bench",
    "rounds": 5,
    "machine": {"cpus": 2, "kernel": "6.1", "python": "3.11.7", "load_before": [0.1], "load": [1.2]},
    "gateways": {"llmproxy": {"what": "all on", "version": "1.0"}, "portkey": {"what": "Node", "version": None}},
}


@pytest.fixture
def results() -> Results:
    """One figure, and one that failed."""
    results = Results()
    results.add("llmproxy", "us_per_request", 90.0)
    results.fault("portkey", "us_per_request", "answers\nwere <html>")
    return results


def test_results_replace_the_former_ones(results):
    """Between the marks; twice is the same as once."""
    text = "# Title\n\n<!-- measured -->\nformer\n<!-- end -->\n\nend of page\n"

    once = page.filled(text, results, RUN)

    assert once.startswith("# Title\n\n<!-- measured -->\n")
    assert once.endswith("<!-- end -->\n\nend of page\n")
    assert "former" not in once
    assert page.filled(once, results, RUN) == once


def test_contestants_stand_side_by_side(results):
    """A column for each, a line for each figure, and where it was measured."""
    lines = page.measured(results, RUN).splitlines()

    assert lines[0].startswith("Measured on 2026-01-02: 2 cores, Linux 6.1, Python 3.11.7; load average 0.1 before")
    assert "|  | llmproxy | portkey |" in lines
    assert "| CPU us/request | 90.0 | failed |" in lines
    assert "Versions: llmproxy 1.0 (all on)." in lines
    assert "- portkey: us_per_request: answers were &lt;html>" in lines


def test_a_page_without_marks_is_left_alone(results):
    """Nothing is written over, and the marks are named."""
    with pytest.raises(page.NoMarks, match="<!-- measured -->"):
        page.filled("# Title\n", results, RUN)
