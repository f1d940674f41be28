"""Prices for a length of prompt and a tier of service."""

import pytest

from proxy_cli.prices.book import BY_SIZE, Book
from proxy_cli.prices.exact import nano

TIERS = {
    "input_cost_per_token": 1.0,
    "input_cost_per_token_priority": 2.0,
    "input_cost_per_token_above_272k_tokens": 3.0,
    "input_cost_per_token_above_272k_tokens_priority": 4.0,
    "output_cost_per_token": 5.0,
}


OUT, THOUGHT = "output_cost_per_token", "output_cost_per_reasoning_token"


def usd(units: int | None) -> float | None:
    return None if units is None else nano(units) / 1e9


@pytest.mark.parametrize(
    ("thresholds", "tier", "price"),
    [
        ([], "", 1.0),
        ([], "priority", 2.0),
        ([], "flex", 1.0),
        ([272], "", 3.0),
        ([272], "priority", 4.0),
        ([272], "flex", 3.0),
    ],
)
def test_the_price_of_the_length_and_the_tier_goes_first(thresholds, tier, price):
    """Where there is none of the tier, that of the length holds, and then the plain one."""
    assert usd(Book(TIERS, thresholds, tier).input) == price


@pytest.mark.parametrize(
    ("rates", "thresholds", "tier", "price"),
    [
        ({OUT: 2.0}, [], "", 2.0),
        ({OUT: 2.0, THOUGHT: 3.0}, [], "", 3.0),
        ({OUT: 2.0, THOUGHT: 3.0, f"{OUT}_above_200k_tokens": 4.0}, [200], "", 4.0),
        ({OUT: 2.0, THOUGHT: 2.0, f"{OUT}_flex": 1.0}, [], "flex", 1.0),
        ({OUT: 2.0, f"{THOUGHT}_flex": 0.0, f"{OUT}_flex": 1.0}, [], "flex", 0.0),
        ({}, [], "", 0.0),
    ],
)
def test_thinking_costs_as_the_answer_does_unless_it_has_a_price_of_its_own(rates, thresholds, tier, price):
    """A long prompt's thinking is not charged at a short one's price."""
    assert usd(Book(rates, thresholds, tier).reasoning) == price


@pytest.mark.parametrize(
    ("made", "price"),
    [
        ("", 0.04),
        ("standard/1024x1024", 0.04),
        ("hd/1024x1024", 0.08),
        ("hd/1792x1024", 0.08),
        ("auto/auto", 0.04),
        ("/512x512", 0.5),
        ("hd/9x9", 0.5),
        ("pixels/100x10", 1.0),
    ],
)
def test_a_picture_is_priced_by_quality_and_size(made, price):
    """The usual ones where a caller says nothing, and the price of any picture for a size that is not listed."""
    by_size = {
        "standard/1024-x-1024": {"output_cost_per_image": 0.04},
        "hd/1024-x-1024": {"input_cost_per_image": 0.08},
        "hd/1792-x-1024": {"output_cost_per_image": 0.08},
        "pixels/100-x-10": {"input_cost_per_pixel": 0.001, "output_cost_per_pixel": 0.0},
    }

    assert usd(Book({"output_cost_per_image": 0.5, BY_SIZE: by_size}, []).picture(made)) == price


def test_a_picture_without_any_price_has_none():
    """Not a price of zero."""
    assert Book({"input_cost_per_token": 1.0}, []).picture("hd/1024x1024") is None


@pytest.mark.parametrize(("size", "price"), [("", 0.01), ("low", 0.005), ("high", 0.02), ("vast", 0.01)])
def test_a_search_is_priced_by_how_much_is_read(size, price):
    """Medium, where nothing is said."""
    listed = {f"search_context_size_{each}": usd for each, usd in (("low", 0.005), ("medium", 0.01), ("high", 0.02))}

    assert usd(Book({"search_context_cost_per_query": listed}, []).search(size)) == price


def test_the_dearest_token_bounds_what_is_reserved():
    """Text that is put into the backend's cache, and an answer that is thought or spoken."""
    rates = {
        "input_cost_per_token": 1.0,
        "cache_creation_input_token_cost": 1.25,
        "output_cost_per_token": 2.0,
        "output_cost_per_audio_token": 8.0,
    }

    book = Book(rates, [])

    assert (usd(book.most_input), usd(book.most_output)) == (1.25, 8.0)
