"""`general_settings`: the server itself."""

import pytest

from proxy_cli.config.reading import Unreadable
from proxy_cli.config.settings_general import GeneralSettings


def test_what_is_not_said_is_as_with_litellm():
    """Any origin may call, and nothing of a caller is sent on."""
    settings = GeneralSettings()

    assert settings.cors_allowed_origins == ("*",)
    assert settings.compat == "openai"
    assert not settings.forward_client_headers_to_llm_api


def test_the_master_key_is_a_secret():
    """It is nowhere shown."""
    settings = GeneralSettings.model_validate({"master_key": "sk-of-mine-0123456789"})

    assert "of-mine" not in repr(settings)


def test_another_compatibility_is_refused():
    """There are two."""
    with pytest.raises(Unreadable, match="valid: openai, litellm"):
        GeneralSettings.model_validate({"compat": "azure"})
