"""What happened to calls on their way, added up."""

from proxy_cli.routing.tally import Tally


def test_nothing_has_happened_at_first():
    """Every figure begins at nothing, and names come with what is counted."""
    tally = Tally()

    tally.retries["chat"] += 1

    assert tally.retries == {"chat": 1}
    assert tally.refused_retries == {}
    assert tally.good_fallbacks == {}
    assert tally.failed_fallbacks == {}
