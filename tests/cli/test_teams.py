"""`llmproxy teams`: which options are which fields."""

from proxy_cli.cli.teams import TEAMS, teams


def test_every_field_has_its_option_and_every_option_does_something():
    """An option without a field would be accepted and ignored."""
    common = {"action", "name", "url", "host", "port", "key", "config", "timeout", "json"}

    assert {parameter.name for parameter in teams.params} - common == set(TEAMS.fields)
    assert teams.name == "teams" == f"{TEAMS.name}s"


def test_one_is_deleted_by_its_id():
    """In the shape that the proxy's path takes."""
    assert "one" in str(TEAMS.deleted_by("one"))
    assert TEAMS.root == "/team"
