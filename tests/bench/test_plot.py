"""The plot: well-formed SVG that holds what was measured."""

from xml.etree import ElementTree as ET

from bench import plot
from bench.results import Results


def test_a_plot_has_a_bar_for_each_figure_that_was_measured():
    """Failed figures have none; the longest bar is the largest value's."""
    results = Results()
    results.add("nginx", "us_per_request", 30.0)
    results.add("llmproxy", "us_per_request", 90.0)
    results.add("litellm", "us_per_request", 18000.0)
    results.fault("portkey", "us_per_request", "no request was answered")

    picture = ET.fromstring(plot.draw(results))

    space = "{http://www.w3.org/2000/svg}"
    background, *bars = picture.findall(f"{space}rect")
    widths = [float(bar.get("width", "0")) for bar in bars]
    texts = [text.text for text in picture.findall(f"{space}text")]
    assert len(widths) == 3
    assert widths == sorted(widths)
    assert max(widths) < float(background.get("width", "0"))
    assert "90.0 (3.0 x nginx)" in texts
    assert "portkey" not in texts
