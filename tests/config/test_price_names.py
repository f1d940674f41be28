"""What prices are called."""

import gzip
import json
from importlib.resources import files

import pytest

from proxy_cli.config.price_names import is_known_price, is_modifier, is_price


@pytest.mark.parametrize(
    ("key", "price"),
    [
        ("input_cost_per_token", True),
        ("cache_read_input_token_cost", True),
        ("cost_per_second", True),
        ("search_context_cost_per_query", True),
        ("tiered_pricing", True),
        ("gpu_hour_cost", True),
        ("costume", False),
        ("accost", False),
    ],
)
def test_prices_are_known_by_their_names(key, price):
    """The price list has hundreds of them."""
    assert is_price(key) is price


def test_every_price_of_the_list_is_known():
    """With all their variants; nothing that the package ships is taken for a slip."""
    packed = files("proxy_cli").joinpath("data", "model_prices.json.gz").read_bytes()
    names = {
        name for entry in json.loads(gzip.decompress(packed)).values() if isinstance(entry, dict) for name in entry
    }
    prices = {name for name in names if is_price(name)}

    assert len(prices) > 100
    assert {name for name in prices if not is_known_price(name)} == set()


@pytest.mark.parametrize(
    "slip", ["input_cost_per_tokens", "input_cost_per_tokn", "cost_per_token", "input_cost_per_token_above_200k"]
)
def test_a_misspelt_price_is_not_known(slip):
    """It has the form of a price, and counts for nothing."""
    assert is_price(slip)
    assert not is_known_price(slip)


def test_discounts_and_surcharges_are_no_prices_of_their_own():
    """What they change are the prices beside them."""
    assert is_modifier("off_peak_pricing")
    assert is_modifier("regional_endpoint_uplift_multiplier")
    assert not is_modifier("input_cost_per_token")
