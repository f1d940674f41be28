"""`litellm_settings`: what holds for every call."""

import pytest

from proxy_cli.config.reading import Unreadable
from proxy_cli.config.settings_litellm import LiteLLMSettings


def test_what_is_not_said_is_off():
    """An empty section changes nothing."""
    settings = LiteLLMSettings()

    assert not settings.drop_params
    assert not settings.json_logs
    assert settings.max_budget is None
    assert settings.ssl_verify is None


def test_a_bundle_or_a_switch_says_how_certificates_are_checked():
    """A path is a bundle."""
    assert LiteLLMSettings.model_validate({"ssl_verify": "false"}).ssl_verify is False
    assert LiteLLMSettings.model_validate({"ssl_verify": "/ca.pem"}).ssl_verify == "/ca.pem"


def test_fallbacks_are_read_as_the_routers_are():
    """LiteLLM takes them in either section."""
    settings = LiteLLMSettings.model_validate(
        {"fallbacks": [{"a": ["b"]}], "default_fallbacks": ["c"], "context_window_fallback_dict": {"a": "long"}}
    )

    assert [each.model for each in settings.fallbacks[0]["a"]] == ["b"]
    assert [each.model for each in settings.default_fallbacks] == ["c"]
    assert settings.context_window_fallback_dict == {"a": "long"}


def test_a_pattern_is_a_regular_expression():
    """One that is none is refused where it stands, with what is wrong about it."""
    assert LiteLLMSettings.model_validate({"key_alias_pattern": "team-[a-z]+"}).key_alias_pattern == "team-[a-z]+"
    with pytest.raises(Unreadable, match="is no regular expression"):
        LiteLLMSettings.model_validate({"key_alias_pattern": "team-["})
