"""The command: what it takes, what it refuses, and one small run of it."""

import json

import pytest
from click.testing import CliRunner

from bench.__main__ import main


def test_an_unknown_gateway_is_told_with_the_known_ones():
    """A slip in --only names what there is."""
    done = CliRunner().invoke(main, ["--only", "nginx,llmprox"])

    assert done.exit_code == 2
    assert "no gateway named 'llmprox'; known: nginx, llmproxy" in done.output


@pytest.mark.deep
def test_a_run_measures_and_writes_what_it_measured(require, tmp_path):
    """One short round of the floor and us: a table, JSON, a plot and Markdown."""
    for tool in ("nginx", "wrk"):
        require(tool)
    told, plot, page = (tmp_path / name for name in ("run.json", "run.svg", "run.md"))
    page.write_text("<!-- measured -->\n<!-- end -->\n", "utf-8")
    options = ["--scenario", "requests", "--only", "nginx,llmproxy", "--rounds", "1", "--seconds", "1"]

    done = CliRunner().invoke(main, [*options, "--json", str(told), "--plot", str(plot), "--page", str(page)])

    assert done.exit_code == 0, done.output
    gateways = json.loads(told.read_text("utf-8"))["gateways"]
    assert gateways["llmproxy"]["failed"] == {}
    assert gateways["llmproxy"]["figures"]["us_per_request"]["median"] > 0
    assert plot.read_text("utf-8").startswith("<svg")
    assert "| CPU us/request |" in page.read_text("utf-8")
