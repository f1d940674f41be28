"""`llmproxy budgets`: which options are which fields."""

from proxy_cli.cli.budgets import BUDGETS, budgets


def test_every_field_has_its_option_and_every_option_does_something():
    """An option without a field would be accepted and ignored."""
    common = {"action", "name", "url", "host", "port", "key", "config", "timeout", "json"}

    assert {parameter.name for parameter in budgets.params} - common == set(BUDGETS.fields)
    assert budgets.name == "budgets" == f"{BUDGETS.name}s"


def test_one_is_deleted_by_its_id():
    """In the shape that the proxy's path takes."""
    assert "one" in str(BUDGETS.deleted_by("one"))
    assert BUDGETS.root == "/budget"
