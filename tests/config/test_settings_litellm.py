"""`litellm_settings`: what holds for every call."""

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
