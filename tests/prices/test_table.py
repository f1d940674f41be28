"""The price table in the package."""

from datetime import UTC, datetime

import pytest

from proxy_cli.prices.cost import Prices, rates_of
from proxy_cli.prices.kept import take
from proxy_cli.prices.table import PriceTable
from proxy_cli.shapes import Operation, Usage


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


def test_pictures_are_found_by_model_and_provider(table):
    """Entries that the table has by quality and size; a namesake of another provider has none."""
    own = table.pictures("dall-e-3", "azure")

    assert own["hd/1024-x-1024"]["input_cost_per_pixel"] == 8.39233e-08
    assert set(own) >= {"standard/1024-x-1024", "hd/1792-x-1024"}
    assert table.pictures("our-pictures", "azure", base_model="dall-e-3") == own
    assert table.pictures("gpt-image-1.5", "openai")["low/1024-x-1024"]["input_cost_per_image"] == 0.009
    assert table.pictures("gpt-image-1.5", "hosted_vllm") == {}
    assert table.pictures("gpt-4o", "openai") == {}


def test_an_entry_is_priced_with_its_pictures(table):
    """A model without an entry of its own may have them, too."""
    rates = rates_of({}, {}, table.priced({}, "dall-e-3", "azure"))

    nano = Prices(rates).cost_nano(Usage(images=2, picture="hd/1024x1024"), Operation.IMAGE_GENERATIONS)

    assert nano == round(2 * 1024 * 1024 * 83.9233)
    assert table.priced({"mode": "chat"}, "gpt-4o", "openai") == {"mode": "chat"}


def test_prices_that_are_kept_go_before_those_that_ship(tmp_path):
    """And the others stay."""
    source = tmp_path / "list.json"
    source.write_text('{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 1}, "mine": {}}')
    take(source, tmp_path, datetime(2026, 1, 2, tzinfo=UTC))

    table = PriceTable.load(tmp_path)

    assert table.find("gpt-4o") == {"litellm_provider": "openai", "input_cost_per_token": 1}
    assert table.find("gpt-4o-mini") is not None
    assert len(table) == 4241
    assert table.note == "prices of 2 models are those of list.json, taken on 2026-01-02"
    assert PriceTable.load().note == ""


def test_the_models_of_a_provider_are_named_without_its_prefix(table):
    """Each once, in order, and none of anybody else's."""
    names = table.names_of("deepseek")

    assert "deepseek-chat" in names
    assert list(names) == sorted(set(names))
    assert not [name for name in names if "/" in name]
    assert table.names_of("nobody") == ()
