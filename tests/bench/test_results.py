"""Results: medians, ratios and what failed."""

from bench.results import Results


def filled() -> Results:
    """Three rounds of two contestants."""
    results = Results()
    for floor, own in [(10.0, 30.0), (20.0, 90.0), (12.0, 24.0)]:
        results.add("nginx", "us", floor)
        results.add("llmproxy", "us", own)
    return results


def test_the_median_is_of_all_rounds():
    """The middle value, which one disturbed round does not move."""
    assert filled().median("llmproxy", "us") == 30.0


def test_a_figure_with_a_fault_is_none():
    """A round in which answers failed leaves no figure, whatever the other rounds gave."""
    results = filled()

    results.fault("llmproxy", "us", "3 of 4 answers were no success")

    assert results.median("llmproxy", "us") is None
    assert results.median("nginx", "us") == 12.0


def test_what_was_not_measured_is_none():
    """Neither an unknown contestant nor an unknown figure is zero."""
    assert filled().median("llmproxy", "other") is None
    assert filled().median("nobody", "us") is None
