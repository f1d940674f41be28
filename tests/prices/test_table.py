"""The price table in the package."""

import pytest

from proxy_cli.prices.table import PriceTable


@pytest.fixture(scope="module")
def table() -> PriceTable:
    return PriceTable.load()


def test_table_holds_the_models_it_says_it_holds(table):
    """The data file is whole and its rules about names are not taken for a model."""
    assert len(table) == 4240
    assert table.find("fallback_generalizations") is None


def test_find_knows_a_bare_name(table):
    """A name alone finds its entry."""
    assert table.find("gpt-4o")["input_cost_per_token"] == 2.5e-06


def test_find_prefers_the_entry_of_the_provider(table):
    """A provider's own entry wins over that of the bare name."""
    assert table.find("gpt-4o", "azure")["litellm_provider"] == "azure"
    assert table.find("gpt-4o", "openai")["litellm_provider"] == "openai"


def test_find_does_not_take_a_namesake_of_another_provider(table):
    """A local server that calls its model gpt-4o is not billed at OpenAI's prices."""
    assert table.find("gpt-4o", "hosted_vllm") is None


def test_find_takes_the_base_model_first(table):
    """A deployment's own name says nothing; its base_model does, with or without the provider's prefix."""
    by_prefix = table.find("our-chat", "azure", base_model="azure/gpt-4o")
    by_name = table.find("our-chat", "azure", base_model="gpt-4o")

    assert by_prefix == by_name == table.find("azure/gpt-4o")


def test_find_returns_none_for_an_unknown_name(table):
    """What is not in the table has no entry."""
    assert table.find("vicuna-13b", "openai") is None


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "openai"),
        ("text-embedding-ada-002", "openai"),
        ("whisper-1", "openai"),
        ("ft:gpt-4o-mini-2024-07-18:team::abc", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("gemini-2.5-pro", "vertex_ai"),
        ("command-r-08-2024", "cohere"),
        ("anthropic.claude-opus-5", "bedrock"),
        ("deepseek-chat", "deepseek"),
        ("vicuna-13b", None),
    ],
)
def test_provider_of_names_whose_model_it_is(table, model, provider):
    """A name without a prefix belongs to one provider, under the name that prefixes use, or to none."""
    assert table.provider_of(model) == provider
