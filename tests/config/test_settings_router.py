"""`router_settings`: aliases, fallbacks, strategies."""

import pytest

from proxy_cli.config.reading import Unreadable
from proxy_cli.config.settings_router import RouterSettings


def test_an_alias_is_written_short_or_in_full():
    """A bare name is listed; the full form may hide it."""
    settings = RouterSettings.model_validate({"model_group_alias": {"a": "x", "b": {"model": "y", "hidden": True}}})

    aliases = settings.model_group_alias
    assert [(name, each.model, each.hidden) for name, each in aliases.items()] == [("a", "x", False), ("b", "y", True)]


def test_fallbacks_name_models_in_either_form():
    """As a name, or as a mapping that has one."""
    settings = RouterSettings.model_validate({"fallbacks": [{"a": ["b", {"model": "c", "temperature": 0}]}]})

    assert settings.fallbacks == ({"a": ("b", "c")},)


@pytest.mark.parametrize("broken", [[{"a": "b"}], [{"a": [True]}], [{"a": [{"name": "b"}]}], {"a": ["b"]}, [["a"]]])
def test_fallbacks_of_another_shape_are_refused(broken):
    """They would silently do nothing."""
    with pytest.raises(Unreadable):
        RouterSettings.model_validate({"fallbacks": broken})


def test_a_strategy_nobody_knows_is_refused_with_the_known_ones():
    """The near one is named."""
    with pytest.raises(Unreadable, match="did you mean 'least-busy'"):
        RouterSettings.model_validate({"routing_strategy": "least-bussy"})


def test_defaults_for_all_entries_may_be_anything_but_the_model():
    """They are read like an entry's own parameters."""
    settings = RouterSettings.model_validate({"default_litellm_params": {"temperature": 0, "api_key": "k"}})

    assert settings.default_litellm_params.request == {"temperature": 0.0}
