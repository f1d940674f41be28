"""Options that cannot be meant together, or mean nothing alone."""

import pytest

from proxy_cli.cli.agreement import disagreement, idle


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "openai/m", "config": "c.yaml"}, ["--model", "--config", "leave one of them out"]),
        ({"config": "c.yaml", "api_base": "http://h"}, ["--api_base", "--model", "litellm_params"]),
        ({"api_base": "http://h"}, ["--api_base", "--model"]),
        ({"config": "c.yaml", "key": "sk-secret"}, ["--key belongs to --health and --test", "LITELLM_MASTER_KEY"]),
        ({"config": "c.yaml", "url": "http://h"}, ["--url belongs to", "--port"]),
        ({"config": "c.yaml", "json": True}, ["--json belongs to", "json_logs"]),
        ({"config": "c.yaml", "local": True, "host": "0.0.0.0"}, ["--local", "--host names 0.0.0.0"]),
        ({"health": True, "test": ""}, ["--health and --test", "one of them"]),
    ],
)
def test_disagreement_names_both_options_and_the_way_out(values, words):
    """A sentence, and never the value of a key."""
    sentence = disagreement(values)

    assert sentence is not None
    assert all(word in sentence for word in words)
    assert "sk-secret" not in sentence


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"config": "c.yaml", "headers": {"a": "b"}, "temperature": 1, "alias": "x", "api_version": "v"},
        {"model": "openai/m", "api_base": "http://h", "config": None},
        {"test": "", "model": "gpt-4o", "config": "c.yaml", "key": "k", "json": True},
        {"health": True, "config": "c.yaml", "url": "http://h"},
        {"local": True},
        {"local": True, "host": "127.0.0.2"},
    ],
)
def test_disagreement_is_none_for_what_goes_together(values):
    """Client commands take a model, a file, an address and a key; --local takes any address of this machine."""
    assert disagreement(values) is None


def test_idle_tells_of_jitter_without_a_limit():
    """It would do nothing, and nothing is ignored without a word."""
    jitter = {"max_requests_before_restart_jitter": 5}

    assert "--max_requests_before_restart_jitter does nothing" in next(idle(jitter))
    assert not list(idle({**jitter, "max_requests_before_restart": 100}))
