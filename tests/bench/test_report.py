"""The report: cells, tables, JSON."""

import json

import pytest

from bench import report
from bench.report import Column
from bench.results import Results

COST = Column("CPU us/request", "us_per_request", "{:,.1f}")
RATIO = Column("to nginx", "us_per_request", "{:,.2f}", over="nginx")


@pytest.fixture
def results() -> Results:
    """One round of three contestants, one of which failed."""
    results = Results()
    results.add("nginx", "us_per_request", 30.0)
    results.add("llmproxy", "us_per_request", 90.0)
    results.fault("portkey", "us_per_request", "no request was answered")
    return results


def test_a_ratio_is_a_multiple_of_the_floor(results):
    """The floor's own is one."""
    assert report.cell(results, "llmproxy", RATIO) == "3.00"
    assert report.cell(results, "nginx", RATIO) == "1.00"


def test_a_ratio_may_be_to_another_figure_of_the_same_contestant(results):
    """Two workers are compared with one."""
    results.add("llmproxy", "one", 100.0)
    results.add("llmproxy", "two", 108.0)

    assert report.cell(results, "llmproxy", Column("two to one", "two", "{:.2f}", over="one")) == "1.08"


def test_a_contestant_that_failed_stands_in_the_table_without_figures(results):
    """Its row says so, and the reason is given."""
    lines = report.table(results, [COST, RATIO])

    assert lines == [
        ["", "CPU us/request", "to nginx"],
        ["nginx", "30.0", "1.00"],
        ["llmproxy", "90.0", "3.00"],
        ["portkey", "failed", "failed"],
    ]
    assert report.failures(results) == ["portkey: us_per_request: no request was answered"]


def test_columns_that_nobody_measured_are_left_out(results):
    """A run of one scenario prints a small table."""
    assert report.table(results, [COST, Column("idle MB", "idle_mb")])[0] == ["", "CPU us/request"]
    assert report.table(results, [Column("idle MB", "idle_mb")]) == []


def test_json_keeps_every_round(results):
    """Median, least, largest and each value."""
    results.add("nginx", "us_per_request", 40.0)

    told = report.as_json(results, rounds=2, seconds=4.0, load_before=(0.5, 0.4, 0.3))

    assert json.loads(json.dumps(told)) == told
    assert told["rounds"] == 2
    figure = told["gateways"]["nginx"]["figures"]["us_per_request"]
    assert figure == {"median": 35.0, "min": 30.0, "max": 40.0, "values": [30.0, 40.0]}
    assert told["gateways"]["portkey"]["failed"] == {"us_per_request": "no request was answered"}
