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


def test_what_is_not_said_of_waiting_streams_and_servers_is_as_it_does_most_good():
    """Streams get their signs of life, calls wait for their turn, and servers are looked at."""
    settings = GeneralSettings()

    assert (settings.stream_keepalive_seconds, settings.early_commit_seconds) == (15.0, 30.0)
    assert (settings.queue, settings.max_queued_requests_per_deployment) == (True, 1000)
    assert settings.background_health_checks
    assert not settings.beats_are_chosen


def test_a_queue_is_turned_off_by_a_word():
    """And signs of life by a zero."""
    settings = GeneralSettings.model_validate({"queue": "off", "stream_keepalive_seconds": "0"})

    assert not settings.queue
    assert settings.stream_keepalive_seconds == 0
    assert settings.beats_are_chosen
