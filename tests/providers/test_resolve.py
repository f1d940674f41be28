"""Which provider a model name means."""

import pytest

from proxy_cli.prices.table import PriceTable
from proxy_cli.providers.catalog import NOT_BUILT, ROWS
from proxy_cli.providers.resolve import Resolved, resolve


@pytest.fixture(scope="module")
def price_provider():
    return PriceTable.load().provider_of


@pytest.mark.parametrize(
    ("model", "custom", "base", "expected"),
    [
        ("openai/vicuna-13b", None, True, Resolved("openai", "vicuna-13b")),
        ("openai/*", None, False, Resolved("openai", "*")),
        ("groq/openai/gpt-oss-20b", None, False, Resolved("groq", "openai/gpt-oss-20b")),
        ("hosted_vllm/meta-llama/Llama-3", None, True, Resolved("hosted_vllm", "meta-llama/Llama-3")),
        ("azure/our-chat", None, True, Resolved("azure", "our-chat")),
        ("azure/o_series/our-o3", None, True, Resolved("azure", "our-o3")),
        ("llama-3.1-8b-instant", "groq", False, Resolved("groq", "llama-3.1-8b-instant")),
        ("groq/llama", "groq", False, Resolved("groq", "llama")),
        ("openai/vicuna-13b", "groq", False, Resolved("openai", "vicuna-13b")),
        ("meta-llama/Llama-3", None, True, Resolved("openai", "meta-llama/Llama-3")),
        ("vicuna-13b", None, True, Resolved("openai", "vicuna-13b")),
        ("claude-sonnet-4-5", None, True, Resolved("openai", "claude-sonnet-4-5")),
        ("gpt-4o", None, False, Resolved("openai", "gpt-4o")),
        ("deepseek-chat", None, False, Resolved("deepseek", "deepseek-chat")),
    ],
)
def test_provider_is_the_prefix_else_the_setting_else_the_base_else_the_table(
    price_provider, model, custom, base, expected
):
    """In this order, and only a provider's name counts as a prefix."""
    assert resolve(model, custom, base, price_provider) == expected


@pytest.mark.parametrize(
    ("model", "custom", "words"),
    [
        ("grok/llama", None, ['"grok"', 'did you mean "groq"?', "openai/grok/llama"]),
        ("meta-llama/Llama-3", None, ['"meta-llama"', "openai/meta-llama/Llama-3", "api_base"]),
        ("vicuna-13b", None, ['"vicuna-13b"', "openai/vicuna-13b", "api_base"]),
        ("vicuna-13b", "opneai", ['"opneai"', 'did you mean "openai"?']),
        ("openai/", None, ['"openai/"', "openai/<model>"]),
        ("claude-sonnet-4-5", None, ['"anthropic" is known, but not yet supported', "https://api.anthropic.com/v1"]),
        ("anthropic/claude-x", None, ["not yet supported", "openai/claude-x", "https://api.anthropic.com/v1"]),
        ("ollama/llama3", None, ["not yet supported", "openai/llama3", "http://<host>:11434/v1"]),
        ("ollama_chat/llama3", None, ["openai/llama3", "http://<host>:11434/v1"]),
        ("sagemaker/x", None, ['"sagemaker" is known, but not yet supported', "openai/<model>"]),
    ],
)
def test_what_is_no_provider_is_answered_with_the_cure(price_provider, model, custom, words):
    """The sentence names what is wrong, what was probably meant, and what works."""
    with pytest.raises(ValueError, match="provider") as refused:
        resolve(model, custom, False, price_provider)

    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("provider", NOT_BUILT)
def test_provider_that_is_not_built_is_never_mistaken_for_another(price_provider, provider):
    """Even with an api_base a known prefix means its provider: an error, not a call in the wrong dialect."""
    with pytest.raises(ValueError, match="is known, but not yet supported"):
        resolve(f"{provider}/model", None, True, price_provider)


@pytest.mark.parametrize("provider", ROWS)
def test_provider_with_a_row_resolves_by_its_prefix(price_provider, provider):
    """Every row is found by its own name."""
    assert resolve(f"{provider}/a/b", None, False, price_provider) == Resolved(provider, "a/b")
