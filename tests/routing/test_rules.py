"""The rules that hold where a configuration says nothing."""

from dataclasses import fields

import pytest

from proxy_cli.routing.rules import Rules


def test_nobody_can_change_what_all_share():
    """The mappings of one value of rules are not those of the next, nor can they be written to."""
    rules = Rules()

    shared = [getattr(rules, each.name) for each in fields(rules) if not isinstance(getattr(rules, each.name), str)]
    mappings = [value for value in shared if hasattr(value, "keys")]
    assert len(mappings) == 7
    for mapping in mappings:
        with pytest.raises(TypeError):
            mapping["x"] = 1
