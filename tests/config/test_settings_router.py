"""`router_settings`: aliases, fallbacks, strategies."""

import pytest

from proxy_cli.config.reading import Unreadable
from proxy_cli.config.settings_router import STRATEGIES, RouterSettings, joined


def test_an_alias_is_written_short_or_in_full():
    """A bare name is listed; the full form may hide it."""
    settings = RouterSettings.model_validate({"model_group_alias": {"a": "x", "b": {"model": "y", "hidden": True}}})

    aliases = settings.model_group_alias
    assert [(name, each.model, each.hidden) for name, each in aliases.items()] == [("a", "x", False), ("b", "y", True)]


def test_fallbacks_name_models_in_either_form():
    """As a name, or as a mapping that has one."""
    settings = RouterSettings.model_validate({"fallbacks": [{"a": ["b", {"model": "c", "temperature": 0}]}]})

    ((name, targets),) = settings.fallbacks[0].items()
    assert (name, [each.model for each in targets]) == ("a", ["b", "c"])
    assert {key: bytes(raw) for key, raw in targets[1].fields.items()} == {"temperature": b"0"}


@pytest.mark.parametrize("field", ["api_base", "api_key", "timeout", "num_retries"])
def test_a_fallback_sets_fields_of_the_body_only(field):
    """Where a call goes is said by an entry of the list, and nothing is passed over."""
    with pytest.raises(Unreadable, match=f"cannot set '{field}'"):
        RouterSettings.model_validate({"fallbacks": [{"a": [{"model": "b", field: "1"}]}]})


def test_fallbacks_of_several_steps_are_joined_and_those_for_any_come_last():
    """A name may stand in several of them; the same target counts once."""
    settings = RouterSettings.model_validate(
        {"fallbacks": [{"a": ["b"]}, {"a": ["c", "b"], "*": ["d"]}], "default_fallbacks": ["e", "d"]}
    )

    found = joined(settings.fallbacks, settings.default_fallbacks)

    assert {name: [each.model for each in targets] for name, targets in found.items()} == {
        "a": ["b", "c"],
        "*": ["d", "e"],
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_may_be_named(strategy):
    """LiteLLM's, and our own."""
    assert RouterSettings.model_validate({"routing_strategy": strategy}).routing_strategy == strategy


@pytest.mark.parametrize("section", ["retry_policy", "model_group_retry_policy"])
def test_a_kind_of_failure_that_there_is_none_of_is_refused(section):
    """With the one that was likely meant."""
    policy = {"RateLimitRetries": 3}

    with pytest.raises(Unreadable, match="did you mean 'RateLimitErrorRetries'"):
        RouterSettings.model_validate({section: policy if section == "retry_policy" else {"a": policy}})


def test_a_priority_is_from_0_to_255():
    """As in LiteLLM's scheduler."""
    assert RouterSettings.model_validate({"default_priority": 0}).default_priority == 0
    with pytest.raises(Unreadable, match="must be at most 255"):
        RouterSettings.model_validate({"default_priority": 256})


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
